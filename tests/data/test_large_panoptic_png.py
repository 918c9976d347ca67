"""Panoptic PNGs of large maps, which are written some rows at a time."""

from __future__ import annotations

import numpy as np
import pytest

from segtron.data import panoptic_png
from segtron.data.panoptic_png import read_panoptic_png, write_panoptic_png


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.uint32, np.int64])
@pytest.mark.parametrize("size", [(1, 1), (256, 3), (257, 40), (700, 33)])
def test_they_are_read_as_others_are(tmp_path, monkeypatch, kind, size):
    monkeypatch.setattr(panoptic_png, "MAX_PIXELS", 0)
    largest = min(2**24, np.iinfo(kind).max + 1)
    ids = np.random.default_rng(0).integers(0, largest, size).astype(kind)
    ids[0, 0] = largest - 1
    write_panoptic_png(tmp_path / "ä" / "a.png", ids)
    assert np.array_equal(read_panoptic_png(tmp_path / "ä" / "a.png"), ids)
    assert [path.name for path in (tmp_path / "ä").iterdir()] == ["a.png"]
