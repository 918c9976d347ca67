"""Outlines that nobody drew."""

import numpy as np
import pytest
import shapely

from segtron.data.tangles import is_tangled


def zigzag(number: int, size: float) -> np.ndarray:
    """From side to side, in places without an order."""
    index = np.arange(number)
    return np.stack([index % 2 * size, index * 7919 % size], axis=1).astype(np.float64)


@pytest.mark.parametrize("size", [1000, 10**6])
def test_many_crossings(size):
    assert not is_tangled(zigzag(300, size))
    assert is_tangled(zigzag(3000, size))
    assert is_tangled(zigzag(20_000, size))


def test_many_corners_are_no_crossings():
    turn = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    radius = 500 + 20 * np.sin(90 * turn)
    assert not is_tangled(np.stack([radius * np.cos(turn), radius * np.sin(turn)], axis=1))
    # Every loop of it crosses others.
    flower = 500 * np.sin(7 * turn)
    flower = np.stack([flower * np.cos(turn), flower * np.sin(turn)], axis=1)
    assert not shapely.is_valid(shapely.Polygon(flower))
    assert not is_tangled(flower)
