"""In every draw of every augmentation image, boxes, masks, classes and segments agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode

from segtron.config import get_default_config
from segtron.config.checks import check_values
from segtron.data import SegmentationMapper
from segtron.data.mixing import build_mixer
from segtron.data.mixing.partners import Partners
from segtron.data.seeded import Purpose, derive, seeded_generators

from .painted_scenes import KINDS, Scene, paint_scenes

DRAWS = 24  # of each augmentation with each kind of labels: 1,080 in all
FILL = 128

# Whose images still say which segment a pixel belongs to, but for mixed colours at borders.
TOLD = {
    "scale jitter": ["SCALE_JITTER.ENABLED", True, "SCALE_JITTER.SIZE", [48, 64]],
    "crop and pad": ["MIN_SIZE_TRAIN", (30, 60, 75), "CROP.ENABLED", True, "CROP.TYPE", "absolute"]
    + ["CROP.SIZE", [50, 100], "CROP.AFTER_RESIZE", True, "CROP.PAD", True],
    "rotation": ["ROTATION.PROB", 0.8, "ROTATION.ANGLES", [-180.0, 180.0]],
    "copy-paste": ["COPY_PASTE.PROB", 1.0, "MIN_SIZE_TRAIN", (40, 60, 75)],
    "copy-paste after scale jitter": ["COPY_PASTE.PROB", 1.0, "SCALE_JITTER.ENABLED", True]
    + ["SCALE_JITTER.RANGE", [0.5, 1.5], "SCALE_JITTER.SIZE", [48, 64]],
    "mosaic": ["MOSAIC.PROB", 1.0, "MOSAIC.SIZE", [70, 51], "MIN_SIZE_TRAIN", (20, 60)],
    "all that moves": ["COPY_PASTE.PROB", 0.5, "MOSAIC.PROB", 0.5, "MOSAIC.SIZE", [70, 90]]
    + ["ROTATION.PROB", 0.5, "ROTATION.ANGLES", [-20.0, 20.0], "SCALE_JITTER.ENABLED", True]
    + ["SCALE_JITTER.SIZE", [48, 64], "SCALE_JITTER.RANGE", [0.5, 1.5]],
}
UNTOLD = {
    "colours": ["COLOR_JITTER.BRIGHTNESS", 0.5, "COLOR_JITTER.CONTRAST", 0.5]
    + ["COLOR_JITTER.SATURATION", 0.5, "COLOR_JITTER.HUE", 0.5, "ROTATION.PROB", 0.5],
    "albumentations": [
        "ALBUMENTATIONS",
        [
            {"name": "ElasticTransform", "alpha": 60, "sigma": 6, "p": 0.5},
            {"name": "Affine", "scale": [0.7, 1.3], "shear": [-20, 20], "fill": FILL, "p": 0.5},
            {"name": "RandomScale", "scale_limit": 0.3, "p": 0.5},
            {"name": "GaussNoise", "p": 0.5},
        ],
    ],
}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[Scene]:
    return paint_scenes(tmp_path_factory.mktemp("scenes"), 5)


def config_of(keys: list[Any]) -> CfgNode:
    cfg = get_default_config()
    cfg.INPUT.FORMAT, cfg.MODEL.PIXEL_MEAN = "RGB", [float(FILL)] * 3
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.RANDOM_FLIP, cfg.MODEL.MASK_ON = (0,), "horizontal", True
    cfg.INPUT.COPY_PASTE.MIN_VISIBLE = 0.0
    pairs = zip(keys[::2], keys[1::2], strict=True)
    cfg.merge_from_list([part for key, value in pairs for part in (f"INPUT.{key}", value)])
    check_values(cfg)
    return cfg


def drawing(cfg: CfgNode, records: list[dict[str, Any]]) -> Callable[[int], dict[str, Any]]:
    """What a training is fed, without its loader; by the number of a draw."""
    mapper, mixer = SegmentationMapper(cfg), build_mixer(cfg)
    partners = Partners(records, np.ones(len(records)))

    def draw(number: int) -> dict[str, Any]:
        index = number % len(records)
        with seeded_generators(derive(3, Purpose.AUGMENTATION, number)):
            if mixer is None:
                return mapper(records[index])
            return mixer.mix(
                lambda size: mapper.map(records[index], size),
                lambda size: mapper.map(records[partners.draw(index)], size),
            )

    return draw


class Told:
    """What an image says: which segment of which scene each pixel belongs to."""

    def __init__(self, image: torch.Tensor, scenes: list[Scene]) -> None:
        colors = np.concatenate([scene.colors for scene in scenes] + [[[FILL] * 3]])
        codes = colors.astype(np.int64) @ [1, 256, 65536]
        pixels = np.tensordot([1, 256, 65536], image.numpy().astype(np.int64), axes=1)
        order = np.argsort(codes)
        found = order[np.searchsorted(codes[order], pixels).clip(max=len(codes) - 1)]
        self.known = codes[found] == pixels  # elsewhere colours are mixed
        nothing = {"category_id": 255, "isthing": False, "iscrowd": 0}
        self.segments = [s for scene in scenes for s in (nothing, *scene.segments)] + [nothing]
        self.numbers = np.where(self.known, found, -1)
        self.classes = np.array([s["category_id"] for s in self.segments])[found]

    def things(self) -> dict[int, int]:
        """Pixels of each thing that is no crowd, where colours are not mixed."""
        numbers, counts = np.unique(self.numbers[self.known], return_counts=True)
        return {
            int(n): int(c)
            for n, c in zip(numbers, counts, strict=True)
            if self.segments[n]["isthing"] and not self.segments[n]["iscrowd"]
        }


def assert_boxes_are_tight(fed: dict[str, Any]) -> None:
    instances = fed["instances"]
    assert instances.image_size == tuple(fed["image"].shape[1:])
    assert len(instances.gt_boxes) == len(instances.gt_classes)
    masks = instances.gt_masks.tensor.numpy() if len(instances) else []
    for mask, box in zip(masks, instances.gt_boxes.tensor.tolist(), strict=True):
        rows, columns = np.nonzero(mask)
        assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def assert_follows_from_segments(fed: dict[str, Any]) -> None:
    """Masks are the segments' pixels, and classes theirs."""
    pan_seg, segments = fed["pan_seg"].numpy(), fed["segments_info"]
    assert pan_seg.min() >= 0 and pan_seg.max() <= len(segments)
    classes = np.array([255, *(s["category_id"] for s in segments)])
    np.testing.assert_array_equal(fed["sem_seg"], classes[pan_seg])
    things = [
        (s["thing_category_id"], pan_seg == place)
        for place, s in enumerate(segments, start=1)
        if s["isthing"] and not s["iscrowd"] and (pan_seg == place).any()
    ]
    instances = fed["instances"]
    assert instances.gt_classes.tolist() == [label for label, _ in things]
    for mask, (_, expected) in zip(instances.gt_masks.tensor, things, strict=True):
        np.testing.assert_array_equal(mask, expected)


def assert_agrees(fed: dict[str, Any], kind: str) -> None:
    """Labels agree with each other."""
    shape = tuple(fed["image"].shape[1:])
    assert fed["image"].dtype == torch.uint8
    if kind == "panoptic":
        assert fed["pan_seg"].shape == shape
        assert_follows_from_segments(fed)
    if kind != "semantic":
        assert_boxes_are_tight(fed)
    if kind in ("semantic", "instances and classes"):
        assert fed["sem_seg"].shape == shape and fed["sem_seg"].dtype == torch.int64
        assert set(fed["sem_seg"].unique().tolist()) <= {0, 2, 3, 4, 255}
    if kind == "instances and classes" and len(fed["instances"]):
        for mask, label in zip(
            fed["instances"].gt_masks.tensor, fed["instances"].gt_classes.tolist(), strict=True
        ):
            assert (fed["sem_seg"][mask] == 2 + label).all()


def assert_is_told(fed: dict[str, Any], kind: str, told: Told) -> None:
    """Labels agree with what the image says, and no object is missing."""
    assert told.known.mean() > 0.5
    if "sem_seg" in fed:
        np.testing.assert_array_equal(fed["sem_seg"].numpy()[told.known], told.classes[told.known])
    if kind == "semantic":
        return
    masks = fed["instances"].gt_masks.tensor.numpy() if len(fed["instances"]) else []
    classes = fed["instances"].gt_classes.tolist()
    if kind != "polygons":  # which also hold what lies upon them
        for mask, label in zip(masks, classes, strict=True):
            numbers = np.unique(told.numbers[mask & told.known])
            assert len(numbers) <= 1
            assert all(told.segments[n]["thing_category_id"] == label for n in numbers)
    for number, count in told.things().items():
        # A mosaic or a paste can show an object more than once.
        label = told.segments[number]["thing_category_id"]
        own = [mask for mask, other in zip(masks, classes, strict=True) if other == label]
        pixels = told.numbers == number
        assert np.count_nonzero(np.any(own, axis=0) & pixels) == count


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*TOLD, *UNTOLD])
def test_targets_agree_in_every_draw(name: str, kind: str, scenes: list[Scene]) -> None:
    if name == "albumentations":
        pytest.importorskip("albumentations")
    cfg = config_of((TOLD | UNTOLD)[name])
    draw = drawing(cfg, [scene.records[kind] for scene in scenes])
    images = set()
    for number in range(DRAWS):
        fed = draw(number)
        assert_agrees(fed, kind)
        # A polygon that is pasted also shows parts of what lies upon it.
        if name in TOLD and not (kind == "polygons" and cfg.INPUT.COPY_PASTE.PROB):
            assert_is_told(fed, kind, Told(fed["image"], scenes))
        images.add(fed["image"].numpy().tobytes())
    assert len(images) > DRAWS / 2
    # The same number, whatever came before, gives the same.
    again = drawing(cfg, [scene.records[kind] for scene in scenes])
    for number in (7, 2):
        assert_equal(again(number), draw(number))


def assert_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for key in ("image", "sem_seg", "pan_seg"):
        assert key not in one or one[key].equal(other[key])
    if "instances" in one and len(one["instances"]):
        assert one["instances"].gt_masks.tensor.equal(other["instances"].gt_masks.tensor)
        assert one["instances"].gt_boxes.tensor.equal(other["instances"].gt_boxes.tensor)
