"""Numbering of panoptic segments."""

from types import SimpleNamespace

import numpy as np
import pytest

from segtron.visualization.panoptic_map import panoptic_map

NO_NAMES = SimpleNamespace(get=lambda name, default=None: default)


def _segments(*ids):
    return [{"id": i, "category_id": 0, "isthing": True} for i in ids]


def test_a_map_that_is_numbered_already_is_not_copied():
    ids = np.array([[0, 1, 1], [2, 2, 2]], np.uint16)
    result = panoptic_map(ids, _segments(1, 2), NO_NAMES)
    assert np.shares_memory(result.numbers, ids)
    assert result.areas.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("ids", "listed", "numbers"),
    [
        pytest.param([[0, 1, 1], [2, 2, 3]], (1, 2), [[0, 1, 1], [2, 2, 0]], id="one_not_listed"),
        pytest.param([[0, 1, 1], [2, 2, 2]], (2, 1), [[0, 2, 2], [1, 1, 1]], id="another_order"),
        pytest.param([[0, 1, 1], [3, 3, 3]], (1, 3), [[0, 1, 1], [2, 2, 2]], id="a_gap"),
        pytest.param([[0, 2, 2], [3, 3, 3]], (1, 2, 3), [[0, 1, 1], [2, 2, 2]], id="no_pixel"),
    ],
)
@pytest.mark.parametrize("kind", [np.uint16, np.int32])
def test_other_ids_are_numbered_by_their_place_in_the_list(ids, listed, numbers, kind):
    ids = np.array(ids, kind)
    before = ids.copy()
    result = panoptic_map(ids, _segments(*listed), NO_NAMES)
    assert result.numbers.tolist() == numbers
    assert result.numbers.dtype == np.uint16
    counts = np.bincount(np.ravel(numbers), minlength=len(result.segments) + 1)
    assert result.areas.tolist() == counts.tolist()
    assert np.array_equal(ids, before)
