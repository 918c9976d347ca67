"""Targets by one map are those of Detectron2's own mapper, in many draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import detectron2.data.transforms as T
import numpy as np
import pytest
from detectron2.config import CfgNode
from detectron2.data import DatasetMapper
from detectron2.structures import BitMasks, BoxMode, Instances
from pycocotools import mask as mask_util

from segtron.config import get_default_config
from segtron.data import SegmentationMapper, augmentations, instance_targets, mapper
from segtron.data.cityscapes import load_instances, load_panoptic, load_sem_seg

HEIGHT, WIDTH = 96, 192  # of `small_toytown`


@pytest.fixture(scope="module")
def records(small_toytown: Path) -> list[dict[str, Any]]:
    return load_instances(small_toytown, "train")


def assert_equal(found: Instances, expected: Instances) -> None:
    assert found.image_size == expected.image_size
    assert found.get_fields().keys() == expected.get_fields().keys()
    assert found.gt_classes.equal(expected.gt_classes)
    assert found.gt_boxes.tensor.equal(expected.gt_boxes.tensor)
    assert found.gt_boxes.tensor.dtype == expected.gt_boxes.tensor.dtype
    if expected.has("gt_masks"):
        assert found.gt_masks.tensor.dtype == expected.gt_masks.tensor.dtype
        assert found.gt_masks.tensor.equal(expected.gt_masks.tensor)


def config_of(settings: dict[str, Any]) -> Any:
    cfg = get_default_config()
    cfg.MODEL.MASK_ON, cfg.INPUT.MASK_FORMAT = True, "bitmask"
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN = settings.get("sizes", (0,)), 300
    cfg.INPUT.RANDOM_FLIP = "horizontal"
    cfg.INPUT.VERTICAL_FLIP_PROB = settings.get("vertical", 0.0)
    cfg.INPUT.COLOR_AUG_SSD = settings.get("colour", False)
    if "crop" in settings:
        cfg.INPUT.CROP.ENABLED = True
        cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE = settings["crop"]
        cfg.INPUT.CROP.AFTER_RESIZE = settings.get("after", False)
    return cfg


def plain_mapper(cfg: Any) -> DatasetMapper:
    """Detectron2's own, with the same augmentations."""
    arguments = DatasetMapper.from_config(cfg, True)
    arguments["augmentations"] = augmentations.build_augmentations(cfg, True)
    return DatasetMapper(**arguments)


def assert_draws_equal(record: dict[str, Any], cfg: CfgNode, number: int) -> None:
    """Both mappers, with the same random numbers."""
    ours, theirs = SegmentationMapper(cfg), plain_mapper(cfg)
    for draw in range(number):
        np.random.seed(draw)
        found = ours(record)["instances"]
        np.random.seed(draw)
        assert_equal(found, theirs(record)["instances"])


@pytest.mark.parametrize(
    "settings",
    [
        {"vertical": 0.5},
        {"crop": ("absolute", [40, 70]), "vertical": 0.5},
        {"crop": ("absolute", [9, 9])},
        {"sizes": (31, 64, 150)},
        {"sizes": (31, 64, 96, 150), "crop": ("relative_range", [0.3, 0.3]), "colour": True},
        {"sizes": (50, 96, 150), "crop": ("absolute", [40, 70]), "after": True, "vertical": 0.5},
    ],
)
def test_targets_are_those_of_detectron2(
    records: list[dict[str, Any]], settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = config_of(settings)
    ours, theirs = SegmentationMapper(cfg), plain_mapper(cfg)
    # All of them go by the map.
    monkeypatch.setattr(mapper, "targets_one_by_one", None)
    numbers = []
    for draw in range(40):
        record = records[draw % len(records)]
        np.random.seed(draw)
        found = ours(record)
        np.random.seed(draw)
        expected = theirs(record)
        assert_equal(found["instances"], expected["instances"])
        numbers.append(len(expected["instances"]) / len(record["annotations"]))
        assert found["image"].shape == expected["image"].shape
        assert found["image"].is_contiguous()
        if not cfg.INPUT.COLOR_AUG_SSD:
            difference = found["image"].int() - expected["image"].int()
            assert difference.abs().max() <= (2 if settings.get("after") else 0)
    if "crop" in settings:
        assert min(numbers) < 0.7  # some are cut off


def record_of(image_file: str, masks: list[np.ndarray], **extra: Any) -> dict[str, Any]:
    height, width = masks[0].shape
    annotations_ = []
    for number, mask in enumerate(masks):
        rows, columns = np.nonzero(mask)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        annotations_.append(
            {
                "bbox": [float(x) for x in box],
                "bbox_mode": BoxMode.XYXY_ABS,
                "category_id": number % 8,
                "iscrowd": 0,
                "segmentation": encode(mask),
            }
        )
    record = {"file_name": image_file, "image_id": 0, "height": height, "width": width}
    return record | {"annotations": annotations_} | extra


def encode(mask: np.ndarray) -> dict[str, Any]:
    return mask_util.encode(np.asfortranarray(mask.astype(np.uint8)))


@pytest.mark.parametrize("count", [1, 3, 260])
def test_many_small_instances(records: list[dict[str, Any]], count: int) -> None:
    rng = np.random.default_rng(count)
    blocks = np.zeros(24 * 48, int)
    blocks[: 4 * count] = np.repeat(np.arange(1, count + 1), 4)
    places = np.kron(rng.permutation(blocks).reshape(24, 48), np.ones((4, 4), int))
    masks = [places == place for place in range(1, count + 1)]
    record = record_of(records[0]["file_name"], masks)
    for settings in (
        {"sizes": (29, 70, 150), "crop": ("absolute", [40, 50])},
        {"sizes": (29, 70, 150), "vertical": 0.5},
    ):
        cfg = config_of(settings)
        assert_draws_equal(record, cfg, 4)


def test_instances_that_share_pixels_go_one_by_one(records: list[dict[str, Any]]) -> None:
    first, second = np.zeros((2, HEIGHT, WIDTH), bool)
    first[20:60, 30:90] = second[50:80, 80:150] = True
    record = record_of(records[0]["file_name"], [first, second])
    cfg = config_of({"crop": ("absolute", [70, 120])})
    assert_draws_equal(record, cfg, 10)


def test_frames_with_crowds_only_or_nothing(records: list[dict[str, Any]]) -> None:
    cfg = config_of({})  # with a crop Detectron2 fails
    for annotations_ in (
        [],
        [annotation | {"iscrowd": 1} for annotation in records[0]["annotations"]],
    ):
        record = records[0] | {"annotations": annotations_}
        found = SegmentationMapper(cfg)(record)["instances"]
        assert_equal(found, plain_mapper(cfg)(record)["instances"])
        assert len(found) == 0


def test_whole_numbers_of_boxes_lose_their_fractions_as_in_detectron2() -> None:
    """Of boxes in whole numbers Detectron2 keeps no fractions after a resize; of floats it does."""
    mask = np.zeros((10, 10), bool)
    mask[1:4, 1:4] = True
    annotation = {
        "bbox": [1, 1, 4, 4],
        "bbox_mode": BoxMode.XYXY_ABS,
        "category_id": 0,
        "segmentation": encode(mask),
    }
    transforms = T.TransformList([T.ResizeTransform(10, 10, 15, 15)])
    for box, expected in (([1, 1, 4, 4], [1, 1, 6, 6]), ([1.0, 1, 4, 4], [1.5, 1.5, 6, 6])):
        instances = instance_targets.targets_by_map(
            [annotation | {"bbox": box}], transforms, (10, 10), recompute_boxes=False
        )
        assert instances.gt_boxes.tensor.tolist() == [expected]
        assert isinstance(instances.gt_masks, BitMasks)


def test_one_map_serves_every_task(small_toytown: Path) -> None:
    """Instances, classes and segments of one frame and one draw agree with each other."""
    cfg = config_of({"crop": ("absolute", [60, 100]), "vertical": 0.5})
    cfg.MODEL.MASK_ON = True
    mapping = SegmentationMapper(cfg)
    lists = [load(small_toytown, "val") for load in (load_instances, load_sem_seg, load_panoptic)]
    for draw, records in enumerate(zip(*lists, strict=True)):
        mapped = []
        for record in records:
            np.random.seed(draw)
            mapped.append(mapping(record))
        instances, semantic, panoptic = mapped
        assert_equal(instances["instances"], panoptic["instances"])
        assert semantic["sem_seg"].equal(panoptic["sem_seg"])
        assert semantic["image"].equal(instances["image"])
        assert panoptic["image"].equal(instances["image"])
