"""encode_segments against pycocotools, on hand-made and random maps."""

import numpy as np
import pytest
from pycocotools import mask as mask_util

from segtron.data.id_map import encode_segments


def test_a_map_worked_out_by_hand() -> None:
    ids = np.array([[7, 7, 1], [1, 7, 1]], dtype=np.uint16)
    one, seven = encode_segments(ids)
    assert (one.id, one.area, one.box) == (1, 3, (0, 0, 3, 2))
    assert (seven.id, seven.area, seven.box) == (7, 3, (0, 0, 2, 2))
    np.testing.assert_array_equal(mask_util.decode(seven.rle), ids == 7)


def random_map(shape: tuple[int, int], ids: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, ids, shape).astype(np.uint16)


@pytest.mark.parametrize(
    "ids",
    [
        random_map((1, 1), 1, 0),
        random_map((1, 17), 3, 1),
        random_map((17, 1), 3, 2),
        random_map((23, 31), 5, 3),
        np.kron(random_map((4, 6), 4, 4), np.ones((5, 3), np.uint16)),
        np.full((4, 5), 9, np.uint8),  # one segment that fills the map
        np.full((3, 4), 26001, np.int32),
    ],
)
def test_each_segment_equals_its_mask_encoded_alone(ids: np.ndarray) -> None:
    segments = encode_segments(ids)
    assert [s.id for s in segments] == np.unique(ids).tolist()
    for segment in segments:
        mask = ids == segment.id
        expected = mask_util.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert segment.rle == expected
        assert segment.area == mask.sum()
        rows, columns = np.nonzero(mask)
        assert segment.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_select_keeps_what_it_names() -> None:
    ids = random_map((9, 9), 6, 5)
    assert [s.id for s in encode_segments(ids, lambda runs: runs > 3)] == [4, 5]
    assert encode_segments(ids, lambda runs: runs > 99) == []
