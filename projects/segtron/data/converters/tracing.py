"""Outlines of masks: polygons that cover the very pixels, or fewer corners that nearly do."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import shapely

# Each pixel becomes so many a side: the contour that OpenCV draws through the middle of pixels then
# lies less than half a pixel from their edges.
_SCALE = 3


def trace(mask: np.ndarray, tolerance: float = 0.0) -> list[shapely.Polygon]:
    """Trace a mask.

    Args:
        mask: (H, W) bool.
        tolerance: by how many pixels an outline may leave the mask's, for fewer corners.

    Returns:
        A polygon a part, with holes; pixels that touch at a corner only are in different parts.
        With no tolerance their corners are corners of pixels.
    """
    if not mask.any():
        return []
    top, left, crop = _crop(mask)
    large = np.repeat(np.repeat(crop.astype(np.uint8), _SCALE, axis=0), _SCALE, axis=1)
    contours, hierarchy = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    holes: dict[int, list[np.ndarray]] = {}
    outer: list[int] = []
    for place, (*_, parent) in enumerate(hierarchy[0].tolist()):
        if parent < 0:
            outer.append(place)
        else:
            holes.setdefault(parent, []).append(_corners(contours[place]))
    parts = []
    for place in outer:
        parts += _polygons(_corners(contours[place]), holes.get(place, []))
    moved = [shapely.transform(part, lambda points: points + (left, top)) for part in parts]
    return [part.simplify(tolerance) for part in moved] if tolerance else moved


def _crop(mask: np.ndarray) -> tuple[int, int, np.ndarray]:
    """Where a mask begins, and the part of it that isn't empty."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    top, left = int(rows[0]), int(columns[0])
    return top, left, mask[top : rows[-1] + 1, left : columns[-1] + 1]


def _corners(contour: np.ndarray) -> np.ndarray:
    """The corners of pixels, (N, 2), that the points of a contour are nearest to."""
    return np.rint((contour[:, 0] + 0.5) / _SCALE)


def _polygons(outline: np.ndarray, holes: Sequence[np.ndarray]) -> list[shapely.Polygon]:
    """Polygons that don't touch themselves, without corners on straight lines."""
    whole = shapely.Polygon(outline, holes)
    if not whole.is_valid:
        whole = shapely.make_valid(whole)
    pieces = [piece for group in shapely.get_parts(whole) for piece in shapely.get_parts(group)]
    return [piece.simplify(0) for piece in pieces if isinstance(piece, shapely.Polygon)]
