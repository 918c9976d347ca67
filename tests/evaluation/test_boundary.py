from __future__ import annotations

import numpy as np
import pycocotools.mask as mask_util
import pytest

from segtron.evaluation.boundary import (
    boundary,
    boundary_of_labels,
    boundary_rles,
    boundary_width,
)


def by_definition(mask, distance):
    """Pixel by pixel: is any within the distance, along rows and columns, not of the mask?"""
    height, width = mask.shape
    result = np.zeros_like(mask)
    for row, column in np.argwhere(mask):
        for y in range(row - distance, row + distance + 1):
            for x in range(column - distance, column + distance + 1):
                if not (0 <= y < height and 0 <= x < width and mask[y, x]):
                    result[row, column] = True
    return result


def encoded(mask):
    rle = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": rle["size"], "counts": rle["counts"].decode("ascii")}


def masks():
    """Name -> mask of an image of 15x20 pixels, whose diagonal is 25."""
    empty = np.zeros((15, 20), dtype=bool)

    def boxes(*all_boxes, of=empty, value=True):
        mask = of.copy()
        for top, bottom, left, right in all_boxes:
            mask[top:bottom, left:right] = value
        return mask

    rows, columns = np.indices(empty.shape)
    disc = (rows - 7) ** 2 + (columns - 9) ** 2 < 49
    rng = np.random.default_rng(0)
    return {
        "empty": empty,
        "whole image": ~empty,
        "one pixel": boxes((4, 5, 6, 7)),
        "one pixel in the corner": boxes((14, 15, 19, 20)),
        "thin line": boxes((6, 8, 1, 18)),
        "thin column, full height": boxes((0, 15, 3, 5)),
        "inside": boxes((3, 12, 4, 16)),
        "upper border": boxes((0, 9, 4, 16)),
        "corner": boxes((5, 15, 0, 11)),
        "full width": boxes((3, 13, 0, 20)),
        "full height": boxes((0, 15, 8, 17)),
        "two parts": boxes((0, 7, 0, 7), (8, 15, 12, 20)),
        "disc": disc,
        "hole": boxes((7, 8, 9, 10), of=disc, value=False),
        "all but one pixel": boxes((7, 8, 10, 11), of=~empty, value=False),
        "all but the corners": boxes((0, 1, 0, 1), (14, 15, 19, 20), of=~empty, value=False),
        "sparse": rng.random(empty.shape) < 0.1,
        "dense": rng.random(empty.shape) < 0.97,
    }


RATIOS_AND_WIDTHS = [(0.001, 1), (0.04, 1), (0.08, 2), (0.13, 3), (0.28, 7), (0.4, 10)]


@pytest.mark.parametrize("name", masks())
@pytest.mark.parametrize(("ratio", "distance"), RATIOS_AND_WIDTHS)
def test_equals_the_definition(name, ratio, distance):
    mask = masks()[name]
    before = mask.copy()
    expected = by_definition(mask, distance)
    found = boundary(mask, ratio)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(mask, before)
    # the same in run lengths, and byte for byte those of pycocotools
    assert boundary_rles([encoded(mask)], ratio) == [encoded(expected)]


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3), (7, 7)])
@pytest.mark.parametrize("ratio", [0.02, 0.2, 5])
def test_tiny_images(shape, ratio):
    rng = np.random.default_rng(1)
    for density in (0.5, 0.9, 1):
        mask = rng.random(shape) < density
        expected = by_definition(mask, boundary_width(*shape, ratio))
        np.testing.assert_array_equal(boundary(mask, ratio), expected)
        assert boundary_rles([encoded(mask)], ratio) == [encoded(expected)]


def test_run_lengths_of_large_frames():
    """Numbers of one to five characters, of both signs; bytes as pycocotools gives them."""
    rng = np.random.default_rng(2)
    blocks = rng.random((12, 16)) < 0.4
    mask = np.kron(blocks, np.ones((50, 64), dtype=bool))
    mask[rng.random(mask.shape) < 1e-3] = True
    mask[:, 500:800] = False
    rle = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
    expected = boundary(mask, 0.005)
    assert boundary_rles([rle], 0.005) == [encoded(expected)]
    assert 0 < expected.sum() < mask.sum()


def test_many_masks_keep_their_order():
    all_masks = list(masks().values())
    boundaries = boundary_rles([encoded(mask) for mask in all_masks], 0.08)
    assert boundaries == [encoded(boundary(mask, 0.08)) for mask in all_masks]
    assert boundary_rles([], 0.08) == []


@pytest.mark.parametrize(
    ("height", "width", "ratio", "expected"),
    [
        (1024, 2048, 0.02, 46),  # 45.79
        (1024, 2048, 0.005, 11),  # 11.45
        (480, 640, 0.02, 16),
        (3, 4, 0.02, 1),
        (15, 20, 0.1, 2),  # 2.5 and 3.5 are rounded to the even number, as in the reference
        (21, 28, 0.1, 4),
    ],
)
def test_width(height, width, ratio, expected):
    assert boundary_width(height, width, ratio) == expected


def boundary_iou(first, second, ratio=0.02):
    first, second = boundary(first, ratio), boundary(second, ratio)
    return np.count_nonzero(first & second) / np.count_nonzero(first | second)


def test_boundary_iou_of_shifted_boxes():
    first, second = np.zeros((2, 30, 40), dtype=bool)  # a diagonal of 50: the boundary has 1 pixel
    first[5:15, 5:15] = True
    second[5:15, 7:17] = True
    # Each contour has 36 pixels; in common are 2 * 8 along the shifted sides, none else.
    assert boundary_iou(first, second) == 16 / (36 + 36 - 16)
    assert boundary_iou(first, first) == 1
    assert boundary_iou(first, np.zeros_like(first)) == 0
    # Where the boundary is the whole mask, Boundary IoU is IoU.
    assert boundary_iou(first, second, 0.2) == 80 / 120


@pytest.mark.parametrize("ratio", [0.001, 0.08, 0.13, 0.28, 0.4])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_boundary_of_labels(ratio, dtype):
    all_masks = masks()
    distance = boundary_width(15, 20, ratio)
    one = np.full((15, 20), 7)
    two = np.where(all_masks["disc"], 200, 3)
    many = two + all_masks["corner"] + 2 * all_masks["hole"] + 4 * all_masks["thin line"]
    stripes = np.indices((15, 20))[0] // 5
    for labels in (one, two, many, stripes, stripes[:, :1], stripes[:1]):
        labels = labels.astype(dtype)
        distance = boundary_width(*labels.shape, ratio)
        found = boundary_of_labels(labels, ratio)
        expected = sum(by_definition(labels == label, distance) for label in np.unique(labels))
        np.testing.assert_array_equal(found, expected.astype(bool))
