"""Outlines that cross themselves so often that nothing was drawn by them."""

from __future__ import annotations

import numpy as np
import shapely

# Fewer crossings are resolved in less than half a second, ten times as many in a minute.
_MOST_CROSSINGS = 50_000
# Sides whose crossings are counted.
_SAMPLE = 50


def is_tangled(corners: np.ndarray) -> bool:
    """Whether an outline crosses itself more often than can be resolved in passable time.

    Estimated from some of its sides.

    Args:
        corners: (N, 2), in pixels; the last need not repeat the first.

    Example:
        >>> is_tangled(np.array([[0, 0], [4, 4], [4, 0], [0, 4]]))
        False
    """
    # Each side crosses each other one at most.
    if len(corners) ** 2 / 2 < _MOST_CROSSINGS:
        return False
    sides = shapely.linestrings(np.stack([corners, np.roll(corners, -1, axis=0)], axis=1))
    sample = sides[:: max(1, len(sides) // _SAMPLE)]
    found, _ = shapely.STRtree(sides).query(sample, predicate="intersects")
    # A side meets itself and its two neighbours.
    return (len(found) / len(sample) - 3) * len(sides) / 2 > _MOST_CROSSINGS
