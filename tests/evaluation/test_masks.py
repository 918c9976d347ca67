from __future__ import annotations

import numpy as np
import pycocotools.mask as mask_util
import pytest

from segtron.evaluation.masks import bounding_slices, encode_mask


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


def test_bounding_slices():
    mask = np.zeros((6, 8), dtype=bool)
    assert bounding_slices(mask) is None
    mask[2, 3] = mask[4, 1] = True
    assert bounding_slices(mask) == (slice(2, 5), slice(1, 4))
