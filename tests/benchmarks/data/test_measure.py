"""The benchmark of reading data: small, whole, and with eyes for what differs."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks

from segtron.benchmarks.data import augmentations, measure, memory, ways
from segtron.benchmarks.data.frames import DataFrames
from segtron.benchmarks.data.measure import copy_rate, measure_data
from segtron.benchmarks.data.ways import (
    check_equal_images,
    check_equal_targets,
    check_same_dicts,
    check_same_images,
    check_same_masks,
    crop_config,
    mapping,
    num_bytes,
    our_mapper,
    their_mapper,
)
from segtron.data.image_io import read_ids


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> DataFrames:
    root = tmp_path_factory.mktemp("data") / "frames"
    return DataFrames(root, 2, size=(160, 320), most_instances=6, seed=0)


def test_frames_have_so_many_instances(frames: DataFrames) -> None:
    for record in frames.instance_records:
        ids = read_ids(record["instance_ids_file_name"])
        assert ids.shape == (160, 320)
        assert 0 < np.unique(ids[ids >= 1000]).size <= 6
    for record in frames.sem_seg_records:
        assert record["sem_seg_file_name"].endswith("_labelTrainIds.png")
    assert len(frames.panoptic_records) == 2


def test_frames_are_repeated(frames: DataFrames, tmp_path: Path) -> None:
    root = frames.repeat(tmp_path / "many", 5)
    images = sorted((root / "leftImg8bit").rglob("*.png"))
    assert len(images) == len(list((root / "gtFine").rglob("*_instanceIds.png"))) == 5
    first = Path(frames.instance_records[0]["file_name"]).read_bytes()
    assert images[4].read_bytes() == first != images[1].read_bytes()


def test_the_whole_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(measure, "CITYSCAPES_TRAIN", 101)
    monkeypatch.setattr(measure, "_COPIED", 2**20)
    monkeypatch.setattr(memory, "_BATCHES", 3)
    pytest.importorskip("albumentations")
    report = measure_data(2, (160, 320), num_pairs=1)
    rows = {(row.work.split(",")[0], row.against.split(",")[0]) for row in report.rows}
    assert ("dicts", "Detectron2's loader") in rows
    assert ("instances", "Detectron2's DatasetMapper") in rows
    assert len(report.rows) == 18
    assert ("rotation", "Detectron2's RandomRotation") in rows
    assert ("mosaic", "the same without it") in rows
    assert all(row.timing.ours_s > 0 and row.timing.theirs_s > 0 for row in report.rows)
    (growth,) = report.growth
    assert growth.images == 101 and growth.predictions > 101
    assert [floor.bound for floor in report.floors] == ["bytes copied"] * 2
    assert [entry.by for entry in report.memory] == ["Segtron", "Detectron2's loader"]
    assert json.loads(json.dumps(report.as_dict()))["settings"]["size"] == [160, 320]
    assert os.environ["XDG_CACHE_HOME"] == str(tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_albumentations_its_rows_are_left_out(
    frames: DataFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(augmentations.importlib.util, "find_spec", lambda name: None)
    rows, left_out = augmentations.compare_augmentations(frames.instance_records)
    assert len(rows) == 6 and "albumentations is not installed" in left_out[0]


def test_sizes_that_differ_are_noticed(frames: DataFrames) -> None:
    rows, _ = augmentations.compare_augmentations(frames.instance_records)
    jittered, plain = rows[0].ours().result, rows[-1].theirs().result
    augmentations.check_same_sizes(plain, plain)
    with pytest.raises(RuntimeError, match="another size"):
        augmentations.check_same_sizes(jittered, plain)


def test_without_detectron2s_loader_its_rows_are_left_out(
    frames: DataFrames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(ways.importlib, "import_module", fail)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    comparisons, left_out = measure._compare_reading(frames, tmp_path)
    assert len(comparisons) == 1
    assert left_out == ["Detectron2's loader of Cityscapes can't be imported here."]


@pytest.fixture(scope="module")
def mapped(frames: DataFrames) -> list[dict[str, Any]]:
    cfg = crop_config()
    run = mapping(our_mapper(cfg), frames.instance_records)()
    expected = mapping(their_mapper(cfg), frames.instance_records)().result
    check_equal_targets(run.result, expected)
    assert run.seconds > 0
    return run.result


def shift_box(one: dict[str, Any]) -> None:
    one["instances"].gt_boxes.tensor[0, 0] += 1


def change_mask(one: dict[str, Any]) -> None:
    masks = one["instances"].gt_masks.tensor.clone()
    masks[-1, 5, 7] = ~masks[-1, 5, 7]
    one["instances"].gt_masks = BitMasks(masks)


def change_class(one: dict[str, Any]) -> None:
    one["instances"].gt_classes[0] += 1


def leave_one_out(one: dict[str, Any]) -> None:
    one["instances"] = one["instances"][1:]


def change_image(one: dict[str, Any]) -> None:
    one["image"][0, 3, 4] ^= 1


@pytest.mark.parametrize(
    "change", [shift_box, change_mask, change_class, leave_one_out, change_image]
)
def test_targets_that_differ_are_noticed(mapped: list[dict[str, Any]], change: Any) -> None:
    other = copy.deepcopy(mapped)
    check_equal_targets(mapped, other)
    change(other[1])
    with pytest.raises(RuntimeError, match="differ"):
        check_equal_targets(mapped, other)
    if change is change_image:
        with pytest.raises(RuntimeError, match="differs"):
            check_equal_images(mapped, other)
    else:
        check_equal_images(mapped, other)


def test_classes_that_differ_are_noticed() -> None:
    image = torch.zeros(3, 2, 2, dtype=torch.uint8)
    ours = {"file_name": "a.png", "image": image, "sem_seg": torch.zeros(2, 2)}
    check_equal_targets([ours], [ours])
    with pytest.raises(RuntimeError, match="sem_seg differs"):
        check_equal_targets([ours], [ours | {"sem_seg": torch.ones(2, 2)}])


def test_dicts_that_differ_are_noticed(frames: DataFrames) -> None:
    records = frames.instance_records
    other = copy.deepcopy(records)
    for check in (check_same_dicts, check_same_images, check_same_masks):
        check(records, other)
    other[1]["annotations"][0]["iscrowd"] ^= 1
    check_same_images(records, other)
    for check in (check_same_dicts, check_same_masks):
        with pytest.raises(RuntimeError):
            check(records, other)
    other[0]["height"] += 1
    with pytest.raises(RuntimeError, match="other images"):
        check_same_images(records, other)


def test_bytes_of_what_is_fed(mapped: list[dict[str, Any]]) -> None:
    instances = mapped[0]["instances"]
    height, width = instances.image_size
    # Of an instance a mask, a class of 8 bytes and a box of 16.
    expected = 3 * height * width + len(instances) * (height * width + 24)
    assert num_bytes(mapped[:1]) == expected


def test_a_rate_of_copying(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_COPIED", 2**22)
    assert 1e7 < copy_rate() < 1e12
