"""Tiles against known scenes: the "model" reads instances and classes off the image's colours."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.structures import Boxes, Instances
from torch import nn

from segtron.config import get_default_config
from segtron.errors import UserError
from segtron.inference.tiling import TiledPredictor
from segtron.modeling.panoptic_merging import merge_panoptic

CLASSES = 3


class Oracle:
    """Finds what has a colour of its own, as a model would that never errs.

    Blue and green are the number of an object, 0 being none; its class is the number modulo 3. Red
    is the class of the pixel.

    Attributes:
        model: has no limits to raise.
        least: objects with fewer pixels in a tile are overlooked.
        blind: pixels along the border of a tile where masks end too early.
        sizes: heights and widths of the tiles that were given.
    """

    def __init__(self, cfg: CfgNode, *, least: int = 1, blind: int = 0, panoptic: bool = False):
        self.cfg, self.least, self.blind, self.panoptic = cfg, least, blind, panoptic
        self.model = nn.Module()
        self.sizes: list[tuple[int, int]] = []
        self.scales: list[float | None] = []

    def __call__(self, images, *, scale=None):
        self.scales += [scale] * len(images)
        return [self._see(image) for image in images]

    def _see(self, image):
        self.sizes.append(image.shape[:2])
        ids = image[..., 0].astype(int) + 256 * image[..., 1].astype(int)
        frame = np.ones(ids.shape, bool)
        if self.blind:
            frame[:] = False
            frame[self.blind : -self.blind, self.blind : -self.blind] = True
        masks = {i: (ids == i) & frame for i in np.unique(ids) if i}
        masks = {i: mask for i, mask in masks.items() if mask.sum() >= self.least}
        found = as_instances(masks, ids.shape)
        classes = torch.from_numpy(image[..., 2].astype(np.int64))
        logits = torch.nn.functional.one_hot(classes, CLASSES).permute(2, 0, 1).float()
        output = {"instances": found, "sem_seg": logits}
        return output | ({"panoptic_seg": (None, [])} if self.panoptic else {})


def as_instances(masks, size):
    instances = Instances(tuple(size))
    boxes = [[*cv2.boundingRect(mask.astype(np.uint8))] for mask in masks.values()]
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    instances.pred_boxes = Boxes(boxes)
    # The larger, the more certain; the number, so that no two are equal.
    instances.scores = torch.tensor(
        [min(mask.sum() / 1e5, 0.9) + i * 1e-6 for i, mask in masks.items()], dtype=torch.float64
    )
    instances.pred_classes = torch.tensor([i % CLASSES for i in masks], dtype=torch.int64)
    masks = np.array(list(masks.values()), bool).reshape(-1, *size)
    instances.pred_masks = torch.from_numpy(masks)
    return instances


@pytest.fixture
def cfg() -> CfgNode:
    cfg = get_default_config()
    cfg.INPUT.MIN_SIZE_TEST = 128
    cfg.INPUT.MAX_SIZE_TEST = 192
    cfg.MODEL.META_ARCHITECTURE = "UnifiedPanopticFPN"
    cfg.MODEL.SEM_SEG_HEAD.THING_CLASSES = [1, 2, 0]
    return cfg


def scene(height, width, count, seed, largest=150):
    """Rotated rectangles, rings and bars that hide each other; some reach over many tiles."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((height, width), np.int32)
    for number in range(1, count + 1):
        center = (float(rng.integers(width)), float(rng.integers(height)))
        if number % 7 == 0:
            size = (3.0 * largest, 20.0)  # longer than any tile
        else:
            size = tuple(rng.integers(8, largest, 2).astype(float).tolist())
        angle = float(rng.integers(180))
        corners = cv2.boxPoints((center, size, angle)).astype(np.int32)
        thickness = -1 if number % 5 else 9
        cv2.drawContours(ids, [corners], 0, number, thickness)
    for number in range(1, count + 1):
        # What is left of an object must be in one piece: nothing tells where another one belongs.
        pieces, labels = cv2.connectedComponents((ids == number).astype(np.uint8), connectivity=4)
        sizes = [np.count_nonzero(labels == i) for i in range(1, pieces)]
        ids[(labels > 0) & (labels != np.argmax([0, *sizes]))] = 0
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0], image[..., 1] = ids % 256, ids // 256
    image[..., 2] = (
        rng.integers(0, CLASSES, (height // 8 + 1, width // 8 + 1))
        .repeat(8, 0)
        .repeat(8, 1)[:height, :width]
    )
    return image, ids


def truth_of(ids):
    return {i: ids == i for i in np.unique(ids).tolist() if i}


def best_ious(truth, masks):
    """For each true mask the largest IoU with one that was found."""
    found = masks.numpy().reshape(len(masks), -1).astype(np.float32)
    true = np.array(list(truth.values())).reshape(len(truth), -1).astype(np.float32)
    overlap = true @ found.T
    return (overlap / (true.sum(1)[:, None] + found.sum(1) - overlap)).max(axis=1)


@pytest.mark.parametrize(("seed", "overlap"), [(0, 64), (1, 32), (2, 64), (3, 40)])
def test_objects_of_any_size_are_found_once(cfg, seed, overlap):
    image, ids = scene(500 + 37 * seed, 700 - 51 * seed, 40, seed)
    oracle = Oracle(cfg)
    [output] = TiledPredictor(oracle, size=128, overlap=overlap)([image])
    assert max(oracle.sizes) == (128, 128) and len(oracle.sizes) > 20
    instances, truth = output["instances"], truth_of(ids)
    assert best_ious(truth, instances.pred_masks.dense()).min() >= 0.98
    assert len(instances) == len(truth)
    assert instances.scores.tolist() == sorted(instances.scores.tolist(), reverse=True)
    assert np.array_equal(output["sem_seg_classes"].numpy(), image[..., 2])


def test_parts_that_are_cut_short_and_slivers_that_are_overlooked(cfg):
    """Masks end 3 pixels before each border, and parts of fewer than 40 pixels are not found."""
    image, ids = scene(500, 700, 40, seed=1)
    [output] = TiledPredictor(Oracle(cfg, least=40, blind=3), size=128)([image])
    inner = np.zeros_like(ids)
    inner[3:-3, 3:-3] = ids[3:-3, 3:-3]
    truth = {i: mask for i, mask in truth_of(inner).items() if mask.sum() >= 40}
    assert len(output["instances"]) == len(truth)
    assert best_ious(truth, output["instances"].pred_masks.dense()).min() > 0.95


@pytest.mark.parametrize("size", [(128, 128), (60, 128), (60, 70)])
def test_what_fits_into_one_tile_is_predicted_as_without_tiles(cfg, size):
    image, _ = scene(*size, 5, seed=0, largest=60)
    oracle = Oracle(cfg)
    [output] = TiledPredictor(oracle, size=128)([image])
    assert oracle.scales == [None] and oracle.sizes == [size]
    [expected] = oracle([image])
    assert set(output) == set(expected)
    assert torch.equal(output["sem_seg"], expected["sem_seg"])
    assert torch.equal(output["instances"].pred_masks, expected["instances"].pred_masks)


def test_tiles_are_scaled_as_the_images_of_the_training(cfg):
    image, ids = scene(700, 900, 20, seed=2)
    oracle = Oracle(cfg)
    tiled = TiledPredictor(oracle, size=256, scale=0.5, batch_size=3)
    assert tiled.overlap == 128
    [output] = tiled([image])
    assert set(oracle.scales) == {0.5} and max(oracle.sizes) == (256, 256)
    assert len(output["instances"]) == len(truth_of(ids))


def test_segments_are_those_of_the_merged_instances_and_classes(cfg):
    image, _ = scene(400, 500, 30, seed=4)
    cfg.MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT = 1
    cfg.MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH = 0.02
    cfg.MODEL.SEM_SEG_HEAD.THING_CLASSES = [1, 2, 7]
    [output] = TiledPredictor(Oracle(cfg, panoptic=True), size=128)([image])
    dense = output["instances"]
    dense.pred_masks = dense.pred_masks.dense()
    ids, segments = merge_panoptic(
        dense,
        output["sem_seg_classes"],
        overlap_threshold=0.5,
        stuff_area_limit=1,
        confidence_threshold=0.02,
        thing_classes=[1, 2, 7],
    )
    for segment in segments:
        if segment["isthing"]:
            segment["category_id"] = [1, 2, 7][segment["category_id"]]
    assert output["panoptic_seg"][0].dtype == torch.uint16
    assert np.array_equal(output["panoptic_seg"][0].numpy(), ids.numpy())
    assert output["panoptic_seg"][1] == segments
    assert {segment["isthing"] for segment in segments} == {True, False}


def test_an_object_that_only_the_worse_tile_finds_is_dropped(cfg):
    """The tile that shows it best decides."""
    image = np.zeros((128, 500, 3), np.uint8)
    # 42 pixels from the border of the first tile, 4 from that of the second.
    image[40:80, 68:86, 0] = 1

    class Blind(Oracle):
        def _see(self, image):
            output = super()._see(image)
            if len(self.sizes) == 1:
                output["instances"] = output["instances"][:0]
            return output

    assert len(TiledPredictor(Oracle(cfg), size=128)([image])[0]["instances"]) == 1
    assert len(TiledPredictor(Blind(cfg), size=128)([image])[0]["instances"]) == 0


def test_two_parts_in_one_tile_are_one_object_where_another_shows_all_of_it(cfg):
    """A "U" that is cut above its bottom."""
    image = np.zeros((400, 128, 3), np.uint8)
    for rows, columns in (
        (slice(80, 140), slice(20, 40)),
        (slice(80, 140), slice(80, 100)),
        (slice(120, 140), slice(20, 100)),
    ):
        image[rows, columns, 0] = 1

    class Pieces(Oracle):
        def _see(self, image):
            output = super()._see(image)
            if len(self.sizes) == 1:  # the first tile ends at row 128; say it saw two
                masks = output["instances"].pred_masks[0].numpy()
                masks = {1: masks & (np.arange(128) < 60), 4: masks & (np.arange(128) >= 60)}
                output["instances"] = as_instances(masks, image.shape[:2])
            return output

    [output] = TiledPredictor(Pieces(cfg), size=128)([image])
    assert output["instances"].pred_masks.areas().tolist() == [(image[..., 0] == 1).sum()]


def test_nothing_to_find(cfg):
    [output] = TiledPredictor(Oracle(cfg, panoptic=True), size=128)(
        [np.zeros((300, 300, 3), np.uint8)]
    )
    assert len(output["instances"]) == 0 and output["instances"].pred_masks.shape == (0, 300, 300)
    assert [s["isthing"] for s in output["panoptic_seg"][1]] == []  # class 0 is a thing


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"size": 100}, "--tile 100 is no size for tiles; take 128 to 8192"),
        ({"size": 9000}, "--tile 9000 is no size"),
        (
            {"size": 128, "overlap": 65},
            "--overlap 65 doesn't go with tiles of 128 pixels; take 32 to 64",
        ),
        ({"overlap": 0}, "--overlap 0 doesn't go with tiles of 1024 pixels; take 32 to 512"),
    ],
)
def test_tiles_that_make_no_sense(cfg, options, sentence):
    with pytest.raises(UserError, match=sentence):
        TiledPredictor(Oracle(cfg), **options)


def test_boxes_without_masks_are_refused(cfg):
    class WithoutMasks(Oracle):
        def _see(self, image):
            output = super()._see(image)
            output["instances"].remove("pred_masks")
            return output

    with pytest.raises(UserError, match="--tile merges instances by their masks"):
        TiledPredictor(WithoutMasks(cfg), size=128)([np.zeros((300, 300, 3), np.uint8)])
