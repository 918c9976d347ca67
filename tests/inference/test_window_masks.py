"""Masks in windows against the tensors that they stand for, and pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from detectron2.structures import Instances
from pycocotools import mask as mask_util

from segtron.data.pixels import Window
from segtron.inference.window_masks import WindowMasks


def random_masks(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 12, 2).tolist()
    shares = rng.choice([0.0, 0.1, 0.5, 0.95, 1.0], 6)
    return np.array([rng.random((height, width)) < share for share in shares])


def masks_of(dense):
    masks = WindowMasks(dense.shape[1:])
    masks.extend(torch.from_numpy(dense))
    return masks


@pytest.mark.parametrize("seed", range(40))
def test_all_that_can_be_asked_for(seed):
    dense = random_masks(seed)
    masks = masks_of(dense)
    assert masks.shape == dense.shape and len(masks) == len(dense)
    assert np.array_equal(masks.dense().numpy(), dense)
    assert masks.areas().tolist() == dense.sum(axis=(1, 2)).tolist()
    expected = [mask_util.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in dense]
    assert masks.encode() == [{**e, "counts": e["counts"].decode()} for e in expected]
    for mask, (window, pixels), box in zip(dense, masks, masks.boxes(), strict=True):
        assert np.array_equal(window.of(mask), pixels)
        assert mask.sum() == pixels.sum()
        if mask.any():
            rows, columns = mask.nonzero()
            tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert box.tolist() == tight
    for (rows, columns), place in zip(
        (crop[0] for crop in masks.crops([3, 0])), (3, 0), strict=True
    ):
        window = masks.windows[place]
        assert (rows.start, rows.stop) == (window.top, window.bottom)
        assert (columns.start, columns.stop) == (window.left, window.right)


@pytest.mark.parametrize(
    "item",
    [
        slice(1, 4),
        [5, 0],
        [],
        torch.tensor([2, 2]),
        torch.tensor([True, False, True, False, False, True]),
        np.zeros(6, bool),
    ],
)
def test_they_are_indexed_as_tensors_are(item):
    dense = random_masks(7)
    index = np.array(item, np.int64) if isinstance(item, list) else item
    index = index.numpy() if isinstance(index, torch.Tensor) else index
    assert np.array_equal(masks_of(dense)[item].dense().numpy(), dense[index])


def test_they_are_a_field_of_instances():
    instances = Instances((3, 4), scores=torch.tensor([0.1, 0.9]))
    instances.pred_masks = masks_of(np.ones((2, 3, 4), bool))
    assert len(instances[instances.scores > 0.5].to("cpu").pred_masks) == 1


def test_parts_of_a_large_image_take_their_own_memory_only():
    masks = WindowMasks((1_000_000, 1_000_000))
    masks.extend(torch.ones(1, 10, 20), left=999_980, top=5)
    assert masks.windows == [Window(999_980, 5, 1_000_000, 15)]
    [rle] = WindowMasks((50_000, 40_000), [(Window(7, 2, 9, 5), np.ones((3, 2), bool))]).encode()
    assert mask_util.toBbox(rle).tolist() == [7, 2, 2, 3]


@pytest.mark.parametrize(
    ("window", "shape"),
    [(Window(0, 0, 3, 2), (3, 2)), (Window(-1, 0, 2, 2), (2, 3)), (Window(0, 0, 3, 5), (5, 3))],
)
def test_masks_that_are_not_in_the_image(window, shape):
    with pytest.raises(ValueError, match="Window"):
        WindowMasks((4, 4), [(window, np.ones(shape, bool))])
