"""Segments of id maps against pycocotools and numpy, on hand-made and random maps."""

import numpy as np
import pytest
from pycocotools import mask as mask_util

from segtron.data import id_map
from segtron.data.id_map import encode_segments, measure_segments, replace_ids


def test_a_map_worked_out_by_hand() -> None:
    ids = np.array([[7, 7, 1], [1, 7, 1]], dtype=np.uint16)
    one, seven = encode_segments(ids)
    assert (one.id, one.area, one.box) == (1, 3, (0, 0, 3, 2))
    assert (seven.id, seven.area, seven.box) == (7, 3, (0, 0, 2, 2))
    np.testing.assert_array_equal(mask_util.decode(seven.rle), ids == 7)


def random_map(shape: tuple[int, int], ids: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, ids, shape).astype(np.uint16)


MAPS = [
    random_map((1, 1), 1, 0),
    random_map((1, 17), 3, 1),
    random_map((17, 1), 3, 2),
    random_map((23, 31), 5, 3),
    np.kron(random_map((4, 6), 4, 4), np.ones((5, 3), np.uint16)),
    np.full((4, 5), 9, np.uint8),  # one segment that fills the map
    np.full((3, 4), 26001, np.int32),
]


@pytest.mark.parametrize("ids", MAPS)
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


@pytest.mark.parametrize("ids", [*MAPS, MAPS[3].T, MAPS[3][::-1, 1:-1].astype(np.int64) << 40])
def test_segments_are_measured_as_they_are_encoded(ids: np.ndarray) -> None:
    measures = measure_segments(ids)
    assert measures.ids.dtype == ids.dtype
    expected = [(s.id, s.area, s.box) for s in encode_segments(ids)]
    found = [
        (i, area, tuple(box)) for i, area, box in zip(*(m.tolist() for m in measures), strict=True)
    ]
    assert found == expected


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_an_empty_map_has_no_segments(shape: tuple[int, int]) -> None:
    measures = measure_segments(np.zeros(shape, np.int32))
    assert [m.shape for m in measures] == [(0,), (0,), (0, 4)]
    ids, values = np.array([1]), np.array([2], np.uint8)
    assert replace_ids(np.zeros(shape, np.int32), ids, values, 0).shape == shape


@pytest.mark.parametrize("ids", [*MAPS, MAPS[3].T, MAPS[3][::-1, 1:-1]])
def test_ids_are_replaced_in_any_order(ids: np.ndarray) -> None:
    # All but the smallest, and two that are not there, one on either side of those that are.
    known = np.array([*np.unique(ids)[1:], 40000, -3])
    known = np.random.default_rng(0).permutation(known)
    values = np.arange(100, 100 + len(known), dtype=np.uint8)
    table = dict(zip(known.tolist(), values.tolist(), strict=True))
    replaced = replace_ids(ids, known, values, default=7)
    assert replaced.dtype == np.uint8
    assert replaced.tolist() == [[table.get(i, 7) for i in row] for row in ids.tolist()]


def test_without_known_ids_all_is_the_default() -> None:
    nothing = np.array([], np.int64)
    assert replace_ids(MAPS[3], nothing, nothing, default=4).tolist() == [[4] * 31] * 23


@pytest.mark.parametrize("seed", range(10))
def test_large_maps_are_worked_on_in_bands(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(2, 30, 2)
    ids = rng.integers(0, 9, (height, width)).astype(np.uint16)
    old, new = rng.permutation(9)[:5], np.arange(1, 6, dtype=np.uint8)
    whole, replaced = measure_segments(ids), replace_ids(ids, old, new, 0)
    monkeypatch.setattr(id_map, "_BAND", int(rng.integers(1, 2 * width)))
    for part, expected in zip(measure_segments(ids), whole, strict=True):
        assert part.dtype == expected.dtype
        np.testing.assert_array_equal(part, expected)
    np.testing.assert_array_equal(replace_ids(ids, old, new, 0), replaced)
