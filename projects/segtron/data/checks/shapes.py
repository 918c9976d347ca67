"""What the masks of annotations are: their boxes and areas, and how their polygons run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import shapely
from pycocotools import mask as mask_util

from segtron.data.checks.instances import Instances, Polygons
from segtron.data.checks.structure import Images
from segtron.data.masks import as_rle
from segtron.data.tangles import is_tangled

# With more at once `pycocotools.mask.area` fails on NumPy 2: on its way it puts their number into a
# byte.
_MASKS_AT_ONCE = 255
# A polygon's mask is drawn where it is no more than this many pixels long; drawing takes memory in
# proportion.
_LONGEST_DRAWN = 100_000


@dataclass(frozen=True)
class Shapes:
    """What the masks of the N annotations of a file are.

    Attributes:
        boxes: (N, 4) float64, [x0, y0, x1, y1] around the mask, nan without one.
        areas: (N,) float64, pixels of run lengths; of polygons with three corners the sum of what
            each encloses, in which overlaps of two count twice; nan without a mask.
        outlines: (N,) float64, the length of all polygons, 0 for run lengths.
        parts: (N,) int64, polygons with three corners at least.
        polygons: those that have three corners at least.
        crossing: rows whose polygons cross themselves -> the area in question, in pixels.
    """

    boxes: np.ndarray
    areas: np.ndarray
    outlines: np.ndarray
    parts: np.ndarray
    polygons: Polygons
    crossing: dict[int, float]


def measure(instances: Instances) -> Shapes:
    """Measure all masks."""
    number = len(instances)
    polygons = instances.polygons.select(instances.polygons.sizes >= 3)
    boxes = np.full((number, 4), np.nan)
    areas, outlines = np.full(number, np.nan), np.zeros(number)
    parts = np.bincount(polygons.owner, minlength=number)
    has_polygons = parts > 0
    signed, lengths, extents = _measure_polygons(polygons)
    enclosed = _enclosed(polygons, np.abs(signed))
    areas[has_polygons] = np.bincount(polygons.owner, enclosed, number)[has_polygons]
    outlines[:] = np.bincount(polygons.owner, lengths, number)
    if len(polygons.owner):
        owners, first = np.unique(polygons.owner, return_index=True)
        boxes[owners, :2] = np.minimum.reduceat(extents[:, :2], first)
        boxes[owners, 2:] = np.maximum.reduceat(extents[:, 2:], first)
    _measure_run_lengths(instances, boxes, areas)
    crossing = _crossing(polygons, np.abs(signed), enclosed)
    return Shapes(boxes, areas, outlines, parts, polygons, crossing)


def _measure_polygons(polygons: Polygons) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signed area, length, and [x0, y0, x1, y1] of each polygon."""
    if not len(polygons.owner):
        return np.zeros(0), np.zeros(0), np.zeros((0, 4))
    starts, corners = polygons.starts[:-1], polygons.corners
    lower, upper = (f.reduceat(corners, starts) for f in (np.minimum, np.maximum))
    # Near zero, or products of large coordinates would eat up the digits of small areas.
    near = corners - np.repeat(lower, polygons.sizes, axis=0)
    following = np.concatenate([near[1:], near[:1]])
    following[polygons.starts[1:] - 1] = near[starts]
    cross = near[:, 0] * following[:, 1] - near[:, 1] * following[:, 0]
    steps = np.hypot(*(following - near).T)
    extents = np.concatenate([lower, upper], axis=1)
    return np.add.reduceat(cross, starts) / 2, np.add.reduceat(steps, starts), extents


def _measure_run_lengths(instances: Instances, boxes: np.ndarray, areas: np.ndarray) -> None:
    rows = np.fromiter(instances.run_lengths, np.int64, len(instances.run_lengths))
    for first in range(0, len(rows), _MASKS_AT_ONCE):
        bunch = rows[first : first + _MASKS_AT_ONCE]
        masks = [instances.run_lengths[row] for row in bunch.tolist()]
        areas[bunch] = mask_util.area(masks)
        found = mask_util.toBbox(masks)
        boxes[bunch] = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:]], axis=1)


def as_geometry(polygons: Polygons) -> np.ndarray:
    """(P,) shapely polygons; each of `polygons` has three corners at least."""
    if not len(polygons.owner):
        return np.zeros(0, object)
    places = np.repeat(np.arange(len(polygons.owner)), polygons.sizes)
    return shapely.polygons(shapely.linearrings(polygons.corners, indices=places))


def _enclosed(polygons: Polygons, areas: np.ndarray) -> np.ndarray:
    """What each polygon encloses, though it cross itself.

    Of one that does so too often to be resolved it is more than its sides sum up to.

    Args:
        polygons: of three corners at least.
        areas: (P,) what their sides sum up to, which is the same unless a polygon crosses itself.
    """
    geometry = as_geometry(polygons)
    invalid = ~shapely.is_valid(geometry)
    enclosed = areas.copy()
    for row in np.flatnonzero(invalid):
        corners = polygons.corners[polygons.starts[row] : polygons.starts[row + 1]]
        if is_tangled(corners):
            # Surely another area than that of its sides.
            enclosed[row] = areas[row] + np.prod(np.ptp(corners, axis=0))
            invalid[row] = False
    enclosed[invalid] = shapely.area(shapely.make_valid(geometry[invalid]))
    return enclosed


def _crossing(polygons: Polygons, summed: np.ndarray, enclosed: np.ndarray) -> dict[int, float]:
    """Rows of annotations that have a polygon that crosses itself.

    A polygon may touch itself, and bridges of no width lead to its holes and parts. It crosses
    itself where what it encloses is another area than its sides sum up to.
    """
    off = np.abs(enclosed - summed)
    (crosses,) = np.nonzero(off > np.maximum(1.0, 0.01 * enclosed))
    found: dict[int, float] = {}
    for owner, area in zip(polygons.owner[crosses].tolist(), off[crosses].tolist(), strict=True):
        found[owner] = max(area, found.get(owner, 0.0))
    return found


def drawn_areas(
    instances: Instances, shapes: Shapes, images: Images, rows: Iterable[int]
) -> dict[int, int]:
    """The pixels that masks have when they are drawn.

    Args:
        instances: of a file.
        shapes: their measures.
        images: of the file.
        rows: of the annotations to draw.

    Returns:
        Row -> pixels; without those that have no mask, or one too large to be drawn.
    """
    areas = {}
    for row in rows:
        mask = encode(instances, shapes, images, row)
        if mask is not None:
            areas[row] = int(mask_util.area(mask))
    return areas


def encode(
    instances: Instances, shapes: Shapes, images: Images, row: int
) -> dict[str, object] | None:
    """Run lengths of an annotation's mask, {"size": [height, width], "counts": bytes}; None if it
    has no mask, or one too large to be drawn."""
    if row in instances.run_lengths:
        return instances.run_lengths[row]
    if not shapes.parts[row] or instances.image[row] < 0:
        return None
    height, width = images.sizes[instances.image[row]].tolist()
    if not height or shapes.outlines[row] > _LONGEST_DRAWN:
        return None
    polygons = [corners.ravel().tolist() for corners in corners_of(shapes.polygons, row)]
    return as_rle(polygons, height, width)


def corners_of(polygons: Polygons, row: int) -> list[np.ndarray]:
    """The corners of each polygon of an annotation, (K, 2)."""
    first, last = np.searchsorted(polygons.owner, [row, row + 1])
    return [
        polygons.corners[polygons.starts[i] : polygons.starts[i + 1]] for i in range(first, last)
    ]
