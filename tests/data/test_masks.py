from __future__ import annotations

import numpy as np
import pycocotools.mask as mask_util
import pytest

from segtron.data.masks import as_rle, bounding_slices, encode_mask, with_text


def masks():
    rng = np.random.default_rng(0)
    empty = np.zeros((7, 9), dtype=bool)
    yield empty
    yield ~empty
    for rows, columns in (
        (slice(0, 1), slice(0, 1)),
        (slice(6, 7), slice(8, 9)),
        (slice(0, 7), slice(3, 5)),
        (slice(4, 7), slice(2, 6)),
        (slice(0, 3), slice(2, 9)),
        (slice(2, 5), slice(3, 4)),
    ):
        mask = empty.copy()
        mask[rows, columns] = True
        yield mask
    both_borders = empty.copy()
    both_borders[[0, 6], 2:5] = True
    yield both_borders
    for density in (0.02, 0.3, 0.5, 0.95):
        for shape in ((1, 1), (1, 12), (12, 1), (13, 11)):
            yield rng.random(shape) < density


@pytest.mark.parametrize("mask", list(masks()))
def test_encoding_equals_pycocotools(mask):
    expected = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
    encoded = encode_mask(mask)
    assert encoded == {
        "size": list(mask.shape),
        "counts": expected["counts"].decode("ascii"),
    }
    np.testing.assert_array_equal(mask_util.decode(encoded), mask)


@pytest.mark.parametrize("mask", list(masks()))
@pytest.mark.parametrize(("left", "top"), [(0, 0), (2, 5), (8, 7)])
def test_a_mask_in_a_part_of_an_image(mask, left, top):
    whole = np.zeros((20, 20), bool)
    whole[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    assert encode_mask(mask, left, top, (20, 20)) == encode_mask(whole)


def test_a_segmentation_in_any_form():
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:5] = mask[4:6, 6:8] = True
    compressed = encode_mask(mask)
    polygons = [[2, 1, 5, 1, 5, 4, 2, 4], [6, 4, 8, 4, 8, 6, 6, 6]]
    runs = {"size": [6, 8], "counts": [13, 3, 3, 3, 3, 3, 12, 2, 4, 2]}
    for form in (polygons, runs, compressed):
        assert with_text(as_rle(form, 6, 8)) == compressed


def test_bounding_slices():
    mask = np.zeros((6, 8), dtype=bool)
    assert bounding_slices(mask) is None
    mask[2, 3] = mask[4, 1] = True
    assert bounding_slices(mask) == (slice(2, 5), slice(1, 4))
