"""Mosaics by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from segtron.data.mixing.mosaic import assemble, cut_canvas
from segtron.data.pixels import Window

from .test_copy_paste import CAT, CROWD, DOG, SKY, panoptic

CANVAS = (8, 12)
WINDOWS = [Window(0, 0, 6, 4), Window(6, 0, 12, 4), Window(0, 4, 6, 8), Window(6, 4, 12, 8)]


@pytest.mark.parametrize("size", [(2, 2), (7, 100), (640, 640)])
def test_a_canvas_is_cut_into_four(size: tuple[int, int]) -> None:
    np.random.seed(0)
    points = set()
    for _ in range(50):
        windows = cut_canvas(size)
        covered = np.zeros(size, int)
        for window in windows:
            window.of(covered)[:] += 1
            assert min(window.shape) >= 1
        assert (covered == 1).all()
        points.add((windows[0].right / size[1], windows[0].bottom / size[0]))
    if size == (640, 640):
        assert 0.25 <= min(min(p) for p in points) < 0.3 < 0.7 < max(max(p) for p in points) <= 0.75


def test_segments_by_hand() -> None:
    one = np.ones((4, 6), int)
    places = one.copy()
    places[:2, 3:], places[3] = 2, 0
    pieces = [
        panoptic(places, [SKY, DOG], 10),
        panoptic(one, [CAT], 20),
        panoptic(0 * one, [], 30),
        panoptic(places, [CROWD, SKY], 40),
    ]
    mixed = assemble(pieces, WINDOWS, CANVAS)
    joined = np.block([[places, 3 * one], [0 * one, np.where(places, places + 3, 0)]])
    np.testing.assert_array_equal(mixed["pan_seg"], joined)
    assert [s["category_id"] for s in mixed["segments_info"]] == [0, 1, 2, 1, 0]
    np.testing.assert_array_equal(mixed["sem_seg"], np.array([255, 0, 1, 2, 1, 0])[joined])
    assert mixed["instances"].gt_classes.tolist() == [0, 1]
    assert mixed["instances"].gt_boxes.tensor.tolist() == [[3, 0, 6, 2], [6, 0, 12, 4]]
    assert mixed["image"].shape == (3, *CANVAS)
    assert mixed["image"][2, ::4, ::6].tolist() == [[10, 20], [30, 40]]
    assert mixed["file_name"] == "10.png"
    assert pieces[0]["segments_info"] == [SKY, DOG]


def test_instances_and_classes_by_hand() -> None:
    size = (4, 6)
    pieces: list[dict[str, Any]] = []
    for number in range(4):
        piece = {"image": torch.zeros((3, *size), dtype=torch.uint8)}
        piece["sem_seg"] = torch.full(size, number)
        instances = Instances(size, gt_boxes=Boxes(torch.zeros(0, 4)))
        instances.gt_classes = torch.zeros(0, dtype=torch.int64)
        piece["instances"] = instances
        pieces.append(piece)
    pieces[3]["instances"] = panoptic(np.ones(size), [CAT], 1)["instances"]
    mixed = assemble(pieces, WINDOWS, CANVAS)
    assert mixed["instances"].image_size == CANVAS
    assert mixed["instances"].gt_boxes.tensor.tolist() == [[6, 4, 12, 8]]
    mask = np.zeros(CANVAS, bool)
    mask[4:, 6:] = True
    np.testing.assert_array_equal(mixed["instances"].gt_masks.tensor[0], mask)
    assert mixed["sem_seg"][::4, ::6].tolist() == [[0, 1], [2, 3]]
    assert mixed["sem_seg"].dtype == torch.int64
