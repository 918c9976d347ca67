"""Drawn shapes as COCO segmentations: clipped to the image, without crossings, holes cut out.

Coordinates are in pixels from the top left corner of the image: pixel (x, y) is the square from
there to (x + 1, y + 1).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import shapely
from pycocotools import mask as mask_util

from segtron.data.coco import FARTHEST
from segtron.data.masks import as_rle, with_text
from segtron.data.tangles import is_tangled
from segtron.errors import UserError

# What COCO's JSON holds for an object: polygons [x0, y0, x1, y1, ...] or a compressed RLE.
Segmentation = list[list[float]] | dict[str, Any]

# How far, in pixels, the corners that stand for a circle may leave it.
_FLATNESS = 0.02
_DECIMALS = 2


class NoAreaError(ValueError):
    """A shape that covers nothing of its image; the text says why."""


def polygon(points: Any, where: str) -> np.ndarray:
    """Corners from outside, checked.

    Args:
        points: a list of pairs x, y.
        where: what to call the shape.

    Returns:
        (N, 2) float64.

    Raises:
        UserError: they are no pairs of finite numbers, or of absurd ones.
    """
    try:
        corners = np.array(points if points else np.zeros((0, 2)))
    except (ValueError, OverflowError):  # of several lengths
        corners = np.zeros(0)
    is_list = corners.ndim == 2 and corners.shape[1] == 2 and corners.dtype.kind in "iuf"
    # Not "> FARTHEST", since nan is neither.
    if not is_list or not (np.abs(corners) <= FARTHEST).all():
        raise UserError(f"{where}: the points are no list of pairs x, y in pixels; export it again")
    return corners.astype(np.float64)


def numbers(values: Iterable[Any], where: str) -> list[float]:
    """Lengths and coordinates from outside, checked.

    Raises:
        UserError: one of them is no number that a picture could have.
    """
    values = list(values)
    for value in values:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not abs(value) <= FARTHEST:
            raise UserError(
                f"{where}: {repr(value)[:40]} is no coordinate in pixels; export it again"
            )
    return [float(value) for value in values]


def rectangle(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    """The corners of an upright rectangle, (4, 2), given two opposite ones."""
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64)


def ellipse(x: float, y: float, rx: float, ry: float, angle: float = 0.0) -> np.ndarray:
    """Corners that stand for an ellipse, (N, 2), nowhere more than 0.02 pixels off.

    Args:
        x, y: the centre.
        rx, ry: the two half axes.
        angle: in radians, by which it is turned, from the x axis to the y axis.
    """
    longest = max(abs(rx), abs(ry), 1.0)
    count = max(16, math.ceil(math.pi / math.acos(1 - _FLATNESS / longest)))
    turn = np.linspace(0, 2 * math.pi, count, endpoint=False)
    u, v = abs(rx) * np.cos(turn), abs(ry) * np.sin(turn)
    cos, sin = math.cos(angle), math.sin(angle)
    return np.stack([x + u * cos - v * sin, y + u * sin + v * cos], axis=1)


def is_closed(points: np.ndarray) -> bool:
    """Whether a line of points (N, 2) comes back to its first point and so encloses an area."""
    return len(points) > 3 and bool((points[0] == points[-1]).all())


def segmentation_of(outlines: Sequence[np.ndarray], height: int, width: int) -> Segmentation:
    """One object's segmentation.

    Each outline covers what a line of its corners encloses, crossings as in COCO's own polygons:
    what is enclosed twice is not covered. The object is all that any outline covers.

    Args:
        outlines: (N, 2) each, the corners of the object's parts; the last need not repeat the
            first.
        height, width: of the image, in pixels. What lies outside is cut off.

    Returns:
        Polygons without crossings, to 0.01 pixels, those that lie inside and have none as they were
        given; a compressed RLE where there is a hole.

    Raises:
        NoAreaError: nothing is left; says why. A part with no area beside others is left out.

    Example:
        >>> segmentation_of([rectangle(-5, 2, 4, 6)], height=10, width=10)
        [[4.0, 2.0, 4.0, 6.0, 0.0, 6.0, 0.0, 2.0]]
    """
    if not outlines:
        raise NoAreaError("has no points")
    parts: list[_Part] = []
    reasons = []
    for outline in outlines:
        try:
            parts += _simple_parts(outline, height, width)
        except NoAreaError as error:
            reasons.append(str(error))
    if not parts:
        raise NoAreaError(reasons[0])
    if not any(part.holes for part in parts):
        return [part.corners.ravel().tolist() for part in parts]
    masks = [_with_holes(part, height, width) for part in parts]
    return with_text(mask_util.merge(masks))


def union(segmentations: Sequence[Segmentation], height: int, width: int) -> Segmentation:
    """The segmentation of an object that several make up.

    Args:
        segmentations: of its parts, one at least.
        height, width: of the image.
    """
    if all(isinstance(part, list) for part in segmentations):
        return [polygon for part in segmentations for polygon in part]
    return with_text(mask_util.merge([as_rle(part, height, width) for part in segmentations]))


class _Part(NamedTuple):
    """A polygon without crossings: its corners (N, 2), and those of its holes."""

    corners: np.ndarray
    holes: list[np.ndarray]


def _simple_parts(outline: np.ndarray, height: int, width: int) -> list[_Part]:
    """What an outline covers of the image, on the grid of COCO's decimals."""
    if len(outline) < 3:
        raise NoAreaError("has fewer than 3 points")
    outline = outline.round(_DECIMALS)
    whole = shapely.Polygon(outline)
    inside = bool(((outline >= 0) & (outline <= (width, height))).all())
    is_valid = whole.is_valid
    if is_valid and inside:
        is_closed_already = (outline[0] == outline[-1]).all()
        return [_Part(outline[:-1] if is_closed_already else outline, [])]
    if not is_valid and is_tangled(outline):
        raise NoAreaError("crosses itself too often to be an outline")
    covered = whole if is_valid else shapely.make_valid(whole)
    if not inside:
        covered = shapely.intersection(covered, shapely.box(0, 0, width, height))
    on_grid = shapely.set_precision(covered, 10.0**-_DECIMALS)
    # Lines and points are what is left of an outline where it has no width.
    pieces = [piece for group in shapely.get_parts(on_grid) for piece in shapely.get_parts(group)]
    parts = [
        _Part(_corners(piece.exterior), [_corners(ring) for ring in piece.interiors])
        for piece in pieces
        if isinstance(piece, shapely.Polygon) and piece.area > 0
    ]
    if not parts:
        outside = not inside and whole.area > 0
        raise NoAreaError("lies outside of the image" if outside else "has no area")
    return parts


def _corners(ring: shapely.LinearRing) -> np.ndarray:
    """(N, 2), without the last corner, which repeats the first."""
    return shapely.get_coordinates(ring)[:-1].round(_DECIMALS)


def _with_holes(part: _Part, height: int, width: int) -> dict[str, Any]:
    """A part as RLE.

    One line goes round the outline and on to each hole, round it, and back the same way, along
    which nothing is enclosed: so pycocotools, which counts crossings, sees one polygon.
    """
    start = part.corners[:1]
    path = [part.corners, start]
    for hole in part.holes:
        path += [hole, hole[:1], start]
    return mask_util.frPyObjects([np.concatenate(path).ravel().tolist()], height, width)[0]
