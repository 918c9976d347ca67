"""Panoptic files of Cityscapes' layout, against those of the official converter."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from cityscapesscripts.preparation.createPanopticImgs import convert2panoptic
from PIL import Image

from segtron.data.cityscapes_panoptic_files import write_panoptic_files
from segtron.data.coco_panoptic import read_coco_panoptic
from segtron.data.panoptic_png import read_panoptic_png
from segtron.errors import UserError

PERSON, CAR, CARAVAN, TRAILER, ROAD, SKY = 24, 26, 29, 30, 7, 23


def write_labels(root: Path, name: str, ids: np.ndarray, split: str = "val") -> Path:
    path = root / "gtFine" / split / "ulm" / f"{name}_gtFine_instanceIds.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(ids).save(path)
    return path


def hand_frame() -> np.ndarray:
    ids = np.full((6, 8), ROAD, np.uint16)
    ids[0] = SKY
    ids[1, :3] = PERSON * 1000
    ids[4, 7] = PERSON * 1000  # its second part
    ids[2, 1:5] = CAR  # a group
    ids[3, 0:2] = CARAVAN * 1000 + 1
    ids[3, 2:4] = [TRAILER, 1]  # neither is scored
    ids[5, 0] = CAR * 1000 + 999
    ids[5, 1:3] = 33 * 1000 + 12
    return ids


def files_of(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_the_same_files_as_the_official_converter(tmp_path: Path, small_toytown: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(small_toytown / "gtFine", root / "gtFine")
    write_labels(root, "ulm_000000_000000", hand_frame())
    write_labels(root, "ulm_000001_000000", np.full((6, 8), 3, np.uint16))  # all void
    official = tmp_path / "official"
    official.mkdir()
    convert2panoptic(str(root / "gtFine"), str(official), setNames=["train", "val"])
    for split, count in (("train", 4), ("val", 6)):
        json_file = write_panoptic_files(root, split)
        assert json_file == root / "gtFine" / f"cityscapes_panoptic_{split}.json"
        reference = official / json_file.name
        assert json.loads(json_file.read_text()) == json.loads(reference.read_text())
        assert json_file.read_bytes() == reference.read_bytes()
        folder = json_file.with_suffix("")
        assert files_of(folder) == files_of(reference.with_suffix(""))
        assert len(files_of(folder)) == count
        for name in files_of(folder):
            with Image.open(folder / name) as ours, Image.open(official / folder.name / name) as th:
                assert ours.mode == th.mode
                np.testing.assert_array_equal(np.asarray(ours), np.asarray(th))
        # Both read as COCO's format.
        assert len(read_coco_panoptic(json_file)["annotations"]) == count


def test_images_are_not_needed(tmp_path: Path) -> None:
    write_labels(tmp_path, "ulm_000000_000000", hand_frame(), "test")
    json_file = write_panoptic_files(tmp_path, "test")
    (annotation,) = json.loads(json_file.read_text())["annotations"]
    ids = read_panoptic_png(json_file.with_suffix("") / annotation["file_name"])
    void = np.isin(hand_frame(), [CARAVAN * 1000 + 1, TRAILER, 1])
    np.testing.assert_array_equal(ids, np.where(void, 0, hand_frame()))
    areas = {s["id"]: s["area"] for s in annotation["segments_info"]}
    assert areas == {7: 25, 23: 8, 26: 4, 24000: 4, 26999: 1, 33012: 2}


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write_labels(tmp_path, "ulm_000000_000000", hand_frame())
    folder = tmp_path / "gtFine" / "cityscapes_panoptic_val"
    json_file = folder.with_name(f"{folder.name}.json")
    json_file.write_text("{}")
    with pytest.raises(UserError, match=r"cityscapes_panoptic_val\.json would be overwritten"):
        write_panoptic_files(tmp_path, "val")
    assert json_file.read_text() == "{}"
    assert not folder.exists()
    json_file.unlink()
    folder.mkdir()
    (folder / "mine.png").write_text("precious")
    with pytest.raises(UserError, match=r"cityscapes_panoptic_val would be overwritten"):
        write_panoptic_files(tmp_path, "val")
    assert files_of(folder) == ["mine.png"]
    assert not json_file.exists()


def test_a_broken_frame_leaves_nothing_behind(tmp_path: Path) -> None:
    for number in range(12):
        labels = write_labels(tmp_path, f"ulm_{number:06}_000000", hand_frame())
    labels.write_bytes(labels.read_bytes()[:60])
    before = files_of(tmp_path)
    with pytest.raises(UserError, match=r"ulm_000011_000000_gtFine_instanceIds\.png cannot be"):
        write_panoptic_files(tmp_path, "val")
    assert files_of(tmp_path) == before
    assert [p.name for p in (tmp_path / "gtFine").iterdir()] == ["val"]


def test_a_folder_without_labels_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no label files .*gtFine/train/<city>/\*_gtFine_inst"):
        write_panoptic_files(tmp_path, "train")
    assert files_of(tmp_path) == []
