"""The reader of Cityscapes' layout, on a frame worked out by hand."""

import gc
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from PIL import Image
from pycocotools import mask as mask_util

from segtron.data.cityscapes import (
    INSTANCE_READER,
    SEM_SEG_LABELS,
    THING_LABELS,
    label_ids_of,
    load_frames,
    load_instances,
    load_panoptic,
    load_sem_seg,
    panoptic_folder,
)
from segtron.data.panoptic import read_pan_seg
from segtron.data.panoptic_png import write_panoptic_png
from segtron.data.sem_seg import read_sem_seg
from segtron.errors import UserError

PERSON, RIDER, CAR, CARAVAN, ROAD = 24, 25, 26, 29, 7


def write_frame(root: Path, split: str, name: str, ids: np.ndarray | None, size=(4, 6)) -> Path:
    image = root / "leftImg8bit" / split / "ulm" / f"{name}_leftImg8bit.png"
    image.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(image)
    labels = root / "gtFine" / split / "ulm" / f"{name}_gtFine_instanceIds.png"
    if ids is not None:
        labels.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(ids).save(labels)
    return labels


@pytest.fixture
def ids() -> np.ndarray:
    ids = np.full((4, 6), ROAD, np.uint16)
    ids[0, 0:2] = PERSON * 1000 + 1
    ids[2:4, 1] = PERSON * 1000 + 1  # the second part of the same person
    ids[1, 3:6] = CAR  # a group of cars
    ids[3, 4] = CARAVAN * 1000  # not scored
    ids[3, 5] = RIDER * 1000
    return ids


def test_instances_groups_and_what_is_left_out(tmp_path: Path, ids: np.ndarray) -> None:
    write_frame(tmp_path, "val", "ulm_000000_000000", ids)
    (record,) = load_instances(tmp_path, "val")
    assert record["image_id"] == "ulm_000000_000000_leftImg8bit.png"
    assert (record["height"], record["width"]) == (4, 6)
    found = [
        (a["category_id"], a["iscrowd"], a["area"], a["bbox"], a["bbox_mode"])
        for a in record["annotations"]
    ]
    assert found == [
        (2, 1, 3, [3, 1, 6, 2], BoxMode.XYXY_ABS),
        (0, 0, 4, [0, 0, 2, 4], BoxMode.XYXY_ABS),
        (1, 0, 1, [5, 3, 6, 4], BoxMode.XYXY_ABS),
    ]
    person = mask_util.decode(record["annotations"][1]["segmentation"])
    np.testing.assert_array_equal(person, ids == PERSON * 1000 + 1)


def test_dicts_are_made_without_looking_for_garbage(tmp_path: Path, ids: np.ndarray) -> None:
    write_frame(tmp_path, "train", "a", ids)
    looked = []
    reader = INSTANCE_READER._replace(build=lambda *_: looked.append(gc.isenabled()) or {})
    assert load_frames(tmp_path, "train", reader) == [{}]
    assert looked == [False] and gc.isenabled()


def test_the_official_classes_in_the_official_order() -> None:
    names = ["person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"]
    assert [label.name for label in THING_LABELS] == names
    for name in ("cityscapes_fine_instance_seg_val", "toytown_instance_seg_train"):
        assert MetadataCatalog.get(name).thing_classes == names
    ids = np.array([26003, 26, 999, 1000], np.uint16)
    assert label_ids_of(ids).tolist() == [26, 26, 999, 1]
    assert label_ids_of(np.array([7], np.uint8)).tolist() == [7]


def test_importing_segtron_replaces_detectron2s_loader(
    tmp_path: Path, ids: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    write_frame(tmp_path / "cityscapes", "train", "ulm_000000_000000", ids)
    (record,) = DatasetCatalog.get("cityscapes_fine_instance_seg_train")
    assert "instance_ids_file_name" in record


def test_test_frames_may_have_dummy_labels_or_none(tmp_path: Path) -> None:
    write_frame(tmp_path, "test", "a_000000_000000", np.full((4, 6), 3, np.uint16))
    write_frame(tmp_path, "test", "b_000000_000000", None)
    records = load_instances(tmp_path, "test")
    assert [r["annotations"] for r in records] == [[], []]
    assert [(r["height"], r["width"]) for r in records] == [(4, 6), (4, 6)]


def test_a_missing_folder_names_tree_and_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    with pytest.raises(UserError) as error:
        DatasetCatalog.get("cityscapes_fine_instance_seg_val")
    assert "DETECTRON2_DATASETS" in str(error.value)
    assert f"{tmp_path}/cityscapes/{{leftImg8bit,gtFine}}/val" in str(error.value)


def test_a_missing_label_file_is_named(tmp_path: Path, ids: np.ndarray) -> None:
    write_frame(tmp_path, "val", "a_000000_000000", ids)
    labels = write_frame(tmp_path, "val", "b_000000_000000", None)
    with pytest.raises(UserError, match="1 of 2 label files are missing") as error:
        load_instances(tmp_path, "val")
    assert str(labels) in str(error.value)


def test_a_truncated_label_file_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 2**16, (64, 64)).astype(np.uint16)
    labels = write_frame(tmp_path, "val", "a_000000_000000", noise)
    labels.write_bytes(labels.read_bytes()[:2000])
    with pytest.raises(UserError, match="cannot be read") as error:
        load_instances(tmp_path, "val")
    assert str(labels) in str(error.value)


def test_a_colour_picture_is_no_id_map(tmp_path: Path) -> None:
    labels = write_frame(tmp_path, "val", "a_000000_000000", np.zeros((4, 6), np.uint16))
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(labels)
    with pytest.raises(UserError, match="one-channel"):
        load_instances(tmp_path, "val")


def test_train_ids_are_derived_from_label_ids(tmp_path: Path, ids: np.ndarray) -> None:
    instance_ids = write_frame(tmp_path, "val", "ulm_000000_000000", ids)
    label_ids = instance_ids.with_name("ulm_000000_000000_gtFine_labelIds.png")
    labels = np.array([[0, 7, 8, 11, 26, 33], [1, 29, 30, 24, 25, 9]], np.uint8)
    Image.fromarray(np.repeat(labels, 2, axis=0)).save(label_ids)
    (record,) = load_sem_seg(tmp_path, "val")
    assert record["image_id"] == "ulm_000000_000000_leftImg8bit.png"
    assert (record["height"], record["width"]) == (4, 6)
    assert record["sem_seg_file_name"] == str(label_ids)
    assert record["instance_ids_file_name"] == str(instance_ids)
    expected = [[255, 0, 1, 2, 13, 18], [255, 255, 255, 11, 12, 255]]
    assert read_sem_seg(record)[::2].tolist() == expected


def test_the_official_train_ids_are_taken_where_somebody_made_them(
    tmp_path: Path, ids: np.ndarray
) -> None:
    instance_ids = write_frame(tmp_path, "val", "ulm_000000_000000", ids)
    for name, value in (("labelIds", 7), ("labelTrainIds", 0)):
        path = instance_ids.with_name(f"ulm_000000_000000_gtFine_{name}.png")
        Image.fromarray(np.full((4, 6), value, np.uint8)).save(path)
    (record,) = load_sem_seg(tmp_path, "val")
    # Detectron2's own mapper takes this file's values as they are.
    assert record["sem_seg_file_name"].endswith("_gtFine_labelTrainIds.png")
    assert (read_sem_seg(record) == 0).all()


def test_semantic_labels_may_be_missing_in_test_only(tmp_path: Path, ids: np.ndarray) -> None:
    write_frame(tmp_path, "test", "ulm_000000_000000", None)
    (record,) = load_sem_seg(tmp_path, "test")
    assert "sem_seg_file_name" not in record
    assert (record["height"], record["width"]) == (4, 6)
    write_frame(tmp_path, "val", "ulm_000000_000000", ids)
    with pytest.raises(UserError, match=r"1 of 1 label files are missing.*_gtFine_labelIds\.png"):
        load_sem_seg(tmp_path, "val")


def test_the_official_semantic_classes_in_the_official_order() -> None:
    assert [label.trainId for label in SEM_SEG_LABELS] == list(range(19))
    assert [label.name for label in SEM_SEG_LABELS][:3] == ["road", "sidewalk", "building"]


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_semantic_metadata_is_detectron2s(split: str) -> None:
    metadata = MetadataCatalog.get(f"cityscapes_fine_sem_seg_{split}")
    assert metadata.evaluator_type == "cityscapes_sem_seg"
    assert metadata.stuff_classes == [label.name for label in SEM_SEG_LABELS]
    assert metadata.stuff_colors[0] == (128, 64, 128)
    assert metadata.ignore_label == 255
    assert metadata.stuff_dataset_id_to_contiguous_id[33] == 18


def panoptic_ids(ids: np.ndarray) -> np.ndarray:
    """A frame with every kind of id: things, their groups, stuff, stuff with a number, void."""
    ids = ids.copy()
    ids[0, 3:6] = [4, 0, 30 * 1000 + 1]  # static, unlabelled, a trailer
    ids[3, 0] = ROAD * 1000 + 5
    ids[3, 2:4] = [PERSON, 23]  # a group of one pixel, sky
    return ids


@pytest.mark.parametrize("strange", [99, 34 * 1000 + 1])
def test_an_id_of_no_label_is_refused(tmp_path: Path, ids: np.ndarray, strange: int) -> None:
    ids[0, 0] = strange
    write_frame(tmp_path, "val", "ulm_000000_000000", ids)
    with pytest.raises(UserError, match=f"instanceIds.png has the id {strange}, whose label"):
        load_panoptic(tmp_path, "val")


def test_segments_groups_and_void(tmp_path: Path, ids: np.ndarray) -> None:
    ids = panoptic_ids(ids)
    instance_ids = write_frame(tmp_path, "val", "ulm_000000_000000", ids)
    (record,) = load_panoptic(tmp_path, "val")
    assert record["image_id"] == "ulm_000000_000000"
    assert record["file_name"].endswith("ulm_000000_000000_leftImg8bit.png")
    assert (record["height"], record["width"]) == (4, 6)
    assert record["pan_seg_file_name"] == record["instance_ids_file_name"] == str(instance_ids)
    assert "annotations" not in record
    thing, crowd = {"isthing": True, "iscrowd": 0}, {"isthing": True, "iscrowd": 1}
    stuff = {"isthing": False, "iscrowd": 0}
    assert record["segments_info"] == [
        {"id": 7, "category_id": 0, **stuff, "area": 9, "bbox": [0, 0, 6, 3]},
        {"id": 23, "category_id": 10, **stuff, "area": 1, "bbox": [3, 3, 1, 1]},
        {"id": 24, "category_id": 11, **crowd, "area": 1, "bbox": [2, 3, 1, 1]}
        | {"thing_category_id": 0},
        {"id": 26, "category_id": 13, **crowd, "area": 3, "bbox": [3, 1, 3, 1]}
        | {"thing_category_id": 2},
        {"id": 7005, "category_id": 0, **stuff, "area": 1, "bbox": [0, 3, 1, 1]},
        {"id": 24001, "category_id": 11, **thing, "area": 4, "bbox": [0, 0, 2, 4]}
        | {"thing_category_id": 0},
        {"id": 25000, "category_id": 12, **thing, "area": 1, "bbox": [5, 3, 1, 1]}
        | {"thing_category_id": 1},
    ]
    void = np.isin(ids, [4, 0, 30001, CARAVAN * 1000])
    np.testing.assert_array_equal(read_pan_seg(record), np.where(void, 0, ids))
    classes = {7: 0, 7005: 0, 23: 10, 24: 11, 26: 13, 24001: 11, 25000: 12}
    expected = [[classes.get(i, 255) for i in row] for row in ids.tolist()]
    assert read_sem_seg(record).tolist() == expected


def test_a_frame_without_segments(tmp_path: Path) -> None:
    write_frame(tmp_path, "train", "ulm_000000_000000", np.full((4, 6), 3, np.uint16))
    (record,) = load_panoptic(tmp_path, "train")
    assert record["segments_info"] == []
    assert not read_pan_seg(record).any()
    assert (read_sem_seg(record) == 255).all()


def test_official_files_are_taken_where_somebody_made_them(tmp_path: Path, ids: np.ndarray) -> None:
    ids = panoptic_ids(ids)
    instance_ids = write_frame(tmp_path, "val", "ulm_000000_000000", ids)
    (bare,) = load_panoptic(tmp_path, "val")
    png = panoptic_folder(tmp_path, "val") / "ulm_000000_000000_gtFine_panoptic.png"
    assert png.parent == tmp_path / "gtFine" / "cityscapes_panoptic_val"
    write_panoptic_png(png, read_pan_seg(bare))
    train_ids = instance_ids.with_name("ulm_000000_000000_gtFine_labelTrainIds.png")
    Image.fromarray(read_sem_seg(bare)).save(train_ids)
    (record,) = load_panoptic(tmp_path, "val")
    # What Detectron2's own mappers read.
    assert record["pan_seg_file_name"] == str(png)
    assert record["sem_seg_file_name"] == str(train_ids)
    assert "pan_seg_encoding" not in record
    assert record["segments_info"] == bare["segments_info"]
    np.testing.assert_array_equal(read_pan_seg(record), read_pan_seg(bare))
    np.testing.assert_array_equal(read_sem_seg(record), read_sem_seg(bare))
    # One that was made before the labels were changed.
    write_panoptic_png(png, np.where(read_pan_seg(bare) == 23, 7, read_pan_seg(bare)))
    with pytest.raises(UserError, match=r"_gtFine_panoptic\.png"):
        read_pan_seg(load_panoptic(tmp_path, "val")[0])


def test_panoptic_labels_are_needed(tmp_path: Path, ids: np.ndarray) -> None:
    write_frame(tmp_path, "train", "a_000000_000000", ids)
    write_frame(tmp_path, "train", "b_000000_000000", None)
    with pytest.raises(UserError, match=r"1 of 2 label files .*b_000000_000000_gtFine_instanceIds"):
        load_panoptic(tmp_path, "train")


@pytest.mark.parametrize("split", ["train", "val"])
def test_panoptic_and_semantic_sets_agree(small_toytown: Path, split: str) -> None:
    panoptic, semantic = load_panoptic(small_toytown, split), load_sem_seg(small_toytown, split)
    assert len(panoptic) == len(semantic) == 4
    for a, b in zip(panoptic, semantic, strict=True):
        assert a["file_name"] == b["file_name"]
        np.testing.assert_array_equal(read_sem_seg(a), read_sem_seg(b))
        read_pan_seg(a)  # agrees with its segments
