"""Masks that overlap, in maps of which each holds what doesn't; and the targets made of them."""

from __future__ import annotations

from typing import Any

import detectron2.data.transforms as T
import numpy as np
import pytest
from pycocotools import mask as mask_util

from segtron.data.augmentations.filling import filled_with
from segtron.data.augmentations.fixed_size import Pad
from segtron.data.augmentations.rotation import Rotate
from segtron.data.instance_layers import encode_masks, map_layers
from segtron.data.instance_targets import targets_by_layers
from segtron.data.pixels import read_all
from segtron.data.place_map import as_numbers
from segtron.errors import UserError

SHAPE = (20, 30)


def random_masks(number: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    masks = np.zeros((number, *SHAPE), bool)
    for mask in masks:
        y, x = generator.integers(0, (15, 25))
        mask[y : y + 9, x : x + 9] = generator.random((min(9, 20 - y), min(9, 30 - x))) < 0.6
        mask[y, x] = True
    return masks


def encode(mask: np.ndarray) -> dict[str, Any]:
    return mask_util.encode(np.asfortranarray(mask.astype(np.uint8)))


@pytest.mark.parametrize("number", [1, 2, 9, 60, 300])
def test_each_mask_is_in_one_layer(number: int) -> None:
    masks = random_masks(number, number)
    members, layers = [], 0
    for indices, pixels in map_layers([encode(mask) for mask in masks], SHAPE):
        layer = as_numbers(read_all(pixels))
        for place, index in enumerate(indices, start=1):
            np.testing.assert_array_equal(layer == place, masks[index])
        members += indices.tolist()
        layers += 1
    assert sorted(members) == list(range(number))
    assert layers <= number


def test_masks_apart_are_in_one_layer_and_no_masks_in_none() -> None:
    masks = np.zeros((4, *SHAPE), bool)
    for i, mask in enumerate(masks):
        mask[5 * i : 5 * i + 5, ::2] = True
    assert len(list(map_layers([encode(mask) for mask in masks], SHAPE))) == 1
    # Crossed, though their boxes overlap.
    crossed = np.stack([np.eye(20, 30, dtype=bool), np.eye(20, 30, k=1, dtype=bool)])
    assert len(list(map_layers([encode(mask) for mask in crossed], SHAPE))) == 1
    assert list(map_layers([], SHAPE)) == []


def test_masks_in_every_form() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[2:7, 3:11] = mask[10:12, 3:5] = True
    polygons = [[3, 2, 11, 2, 11, 7, 3, 7], [3, 10, 5, 10, 5, 12, 3, 12]]
    columns = mask.T.ravel()
    changes = np.flatnonzero(np.diff(np.concatenate([[0], columns, [0]]).astype(int)))
    counts = np.diff(np.concatenate([[0], changes, [columns.size]])).tolist()
    forms = [polygons, encode(mask), {"size": list(SHAPE), "counts": counts}, mask]
    for encoding in encode_masks([{"segmentation": form} for form in forms], SHAPE):
        np.testing.assert_array_equal(mask_util.decode(encoding), mask)


@pytest.mark.parametrize(
    "annotation", [{}, {"segmentation": []}, {"segmentation": encode(np.zeros((3, 3)))}]
)
def test_an_instance_without_a_mask_is_a_sentence(annotation: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="instance 1 of an image of 30 x 20 has no mask"):
        encode_masks([{"segmentation": encode(np.zeros(SHAPE))}, annotation], SHAPE)


def test_broken_run_lengths_are_a_sentence() -> None:
    good = encode(random_masks(1, 0)[0])
    with pytest.raises(UserError, match="has broken run lengths"):
        list(map_layers([good, good, encode(np.ones((99, 99))) | {"size": list(SHAPE)}], SHAPE))


def test_targets_are_those_of_each_mask_by_itself() -> None:
    masks = random_masks(25, 3)
    annotations = [
        {"segmentation": encode(mask), "category_id": i % 7} for i, mask in enumerate(masks)
    ]
    transforms = filled_with(
        0,
        T.TransformList(
            [T.CropTransform(8, 4, 15, 12), Pad(1, 2, 3, 4, (0,)), Rotate((18, 19), 25.0, (0,))]
        ),
    )
    found = targets_by_layers(annotations, transforms, SHAPE, (18, 19))
    expected = [transforms.apply_segmentation(mask.astype(np.uint8)) for mask in masks]
    kept = [i for i, mask in enumerate(expected) if mask.any()]
    assert 3 < len(kept) < 25
    assert found.gt_classes.tolist() == [i % 7 for i in kept]
    for mask, box, i in zip(found.gt_masks.tensor, found.gt_boxes.tensor, kept, strict=True):
        np.testing.assert_array_equal(mask, expected[i])
        rows, columns = np.nonzero(expected[i])
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_no_annotations() -> None:
    found = targets_by_layers([], T.TransformList([]), SHAPE, (5, 6))
    assert len(found) == 0 and found.gt_masks.tensor.shape == (0, 5, 6)
    assert found.image_size == (5, 6)
