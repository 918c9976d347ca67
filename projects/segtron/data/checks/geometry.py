"""Boxes, polygons, areas and run lengths: against each other and against their images."""

from __future__ import annotations

from typing import Any

import numpy as np
from tqdm import tqdm

from segtron.data.checks.instances import Instances
from segtron.data.checks.problems import Problems
from segtron.data.checks.shapes import Shapes, drawn_areas
from segtron.data.checks.structure import Images

# How far, in pixels, a side may reach beyond the image: labelling tools round.
OUTSIDE_TOLERANCE = 1.0
# How far a box's side may be from its mask's, in pixels and as a share of the longer side.
BOX_TOLERANCE, BOX_SHARE = 2.0, 0.05
# How far a stated area may be from the mask's.
AREA_TOLERANCE, AREA_SHARE = 2.0, 0.05
# A larger polygon always has pixels, unless it crosses itself.
_SURELY_DRAWN = 4.0


def check_geometry(
    content: dict[str, Any],
    instances: Instances,
    shapes: Shapes,
    images: Images,
    problems: Problems,
) -> None:
    """Enter what is wrong with the shapes of annotations.

    Args:
        content: of the file.
        instances: its annotations.
        shapes: their measures.
        images: its images.
        problems: what is wrong is entered there.
    """
    sizes = _sizes(instances, images)
    _check_polygons(instances, shapes, problems)
    has_size = sizes[:, 0] > 0
    normalised = _check_normalised(instances, shapes, sizes, problems)
    is_empty = _check_empty(instances, shapes, images, has_size & ~normalised, problems)
    usable = ~normalised & ~is_empty
    _check_outside(instances, shapes, sizes, has_size & usable, problems)
    _check_boxes(instances, shapes, sizes, has_size & usable, problems)
    _check_areas(instances, shapes, images, usable, problems)
    _check_repeated(content, instances, shapes, problems)


def _sizes(instances: Instances, images: Images) -> np.ndarray:
    """(N, 2) height and width of the image of each annotation, 0 where it is not known."""
    with_unknown = np.concatenate([images.sizes, [[0, 0]]])
    return with_unknown[instances.image]


def _rows(chosen: np.ndarray) -> list[int]:
    return np.flatnonzero(chosen).tolist()


def _check_polygons(instances: Instances, shapes: Shapes, problems: Problems) -> None:
    short = instances.polygons.sizes < 3
    for row, count in zip(
        *(
            values.tolist()
            for values in np.unique(instances.polygons.owner[short], return_counts=True)
        ),
        strict=True,
    ):
        polygons = "a polygon has" if count == 1 else f"{count} polygons have"
        problems.add(
            "polygon-short",
            instances.file,
            instances.entry(row),
            f"{polygons} fewer than three corners",
        )
    for row, area in sorted(shapes.crossing.items()):
        problems.add(
            "polygon-crossing",
            instances.file,
            instances.entry(row),
            f"a polygon crosses itself; {area:.0f} pixels are in question",
        )


def _check_normalised(
    instances: Instances, shapes: Shapes, sizes: np.ndarray, problems: Problems
) -> np.ndarray:
    """(N,) bool: whose polygons lie in the first pixel of an image that has many."""
    x1y1 = shapes.boxes[:, 2:]
    found = (
        (shapes.parts > 0)
        & (x1y1 <= 1.001).all(axis=1)
        & (shapes.boxes[:, :2] >= 0).all(axis=1)
        & (sizes.min(axis=1) >= 8)
        & (shapes.areas > 0)
    )
    for row in _rows(found):
        problems.add(
            "coordinates-normalised",
            instances.file,
            instances.entry(row),
            "all coordinates are from 0 to 1",
        )
    return found


def _check_empty(
    instances: Instances, shapes: Shapes, images: Images, chosen: np.ndarray, problems: Problems
) -> np.ndarray:
    """(N,) bool: whose mask has no pixel."""
    without = ~instances.is_broken & np.isnan(shapes.areas)
    doubtful = shapes.areas < _SURELY_DRAWN
    doubtful[list(shapes.crossing)] = True
    doubtful &= chosen & (shapes.parts > 0)
    drawn = drawn_areas(instances, shapes, images, _rows(doubtful))
    has_pixels, not_drawn = np.zeros((2, len(instances)), bool)
    for row, area in drawn.items():
        has_pixels[row], not_drawn[row] = area > 0, area == 0
    nothing = (shapes.areas == 0) & ~has_pixels
    sizes = _sizes(instances, images)
    beyond = chosen & (
        (shapes.boxes[:, :2] >= sizes[:, ::-1]).any(axis=1) | (shapes.boxes[:, 2:] <= 0).any(axis=1)
    )
    reasons = (
        (without, "its segmentation has no polygon of three corners"),
        (nothing, "its mask has no area"),
        (beyond, "its mask lies outside of the image"),
        (not_drawn, "its mask is too thin to cover a pixel"),
    )
    is_empty = np.zeros(len(instances), bool)
    for found, reason in reasons:
        for row in _rows(found & ~is_empty):
            problems.add("mask-empty", instances.file, instances.entry(row), reason)
        is_empty |= found
    return is_empty


def _check_outside(
    instances: Instances, shapes: Shapes, sizes: np.ndarray, chosen: np.ndarray, problems: Problems
) -> None:
    far = _overhang(shapes.boxes, sizes)
    for row in _rows(chosen & (shapes.parts > 0) & (far > OUTSIDE_TOLERANCE)):
        problems.add(
            "polygon-outside",
            instances.file,
            instances.entry(row),
            f"it reaches {far[row]:.1f} pixels beyond the image of {_size_text(sizes[row])}",
        )


def _overhang(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(N,) by how many pixels [x0, y0, x1, y1] reach beyond an image; nan without a box."""
    return np.concatenate([-boxes[:, :2], boxes[:, 2:] - sizes[:, ::-1]], axis=1).max(axis=1)


def _size_text(size: np.ndarray) -> str:
    return f"{size[1]} x {size[0]}"


def _check_boxes(
    instances: Instances, shapes: Shapes, sizes: np.ndarray, chosen: np.ndarray, problems: Problems
) -> None:
    boxes = instances.boxes
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    edges = np.tile(sizes[:, ::-1], 2)
    masks = np.clip(shapes.boxes, 0, edges)
    longest = (masks[:, 2:] - masks[:, :2]).max(axis=1)
    tolerance = np.maximum(BOX_TOLERANCE, BOX_SHARE * longest)
    with np.errstate(invalid="ignore"):
        is_empty = (boxes[:, 2:] <= 0).any(axis=1)
        off = np.abs(np.clip(corners, 0, edges) - masks).max(axis=1)
        # What boxes would be if they were corners.
        off_as_corners = np.abs(boxes - masks).max(axis=1)
        as_corners = chosen & (off > tolerance) & (off_as_corners <= tolerance)
        is_off = chosen & ~as_corners & ~is_empty & (off > tolerance)
        far = _overhang(corners, sizes)
        outside = chosen & ~as_corners & ~is_empty & (far > OUTSIDE_TOLERANCE)
    for row in _rows(as_corners):
        problems.add(
            "box-corners",
            instances.file,
            instances.entry(row),
            f"'bbox' {_box_text(boxes[row])} is that of the mask as corners",
        )
    for row in _rows(is_empty & ~as_corners):
        problems.add(
            "box-empty", instances.file, instances.entry(row), f"'bbox' is {_box_text(boxes[row])}"
        )
    for row in _rows(outside):
        problems.add(
            "box-outside",
            instances.file,
            instances.entry(row),
            f"'bbox' {_box_text(boxes[row])} reaches {far[row]:.1f} pixels beyond the image of "
            f"{_size_text(sizes[row])}",
        )
    for row in _rows(is_off):
        right = np.concatenate([masks[row, :2], masks[row, 2:] - masks[row, :2]])
        problems.add(
            "box-off",
            instances.file,
            instances.entry(row),
            f"'bbox' is {_box_text(boxes[row])}, the mask's {_box_text(right)}",
        )


def _box_text(box: np.ndarray) -> str:
    return "[" + ", ".join(f"{value:.6g}" for value in box) + "]"


def _check_areas(
    instances: Instances, shapes: Shapes, images: Images, chosen: np.ndarray, problems: Problems
) -> None:
    stated = instances.stated_area
    with np.errstate(invalid="ignore"):
        suspect = chosen & _is_off(stated, shapes.areas) & (instances.image >= 0)
    rows = _rows(suspect)
    # What polygons enclose and the pixels that they cover differ; either will do.
    progress = tqdm(rows, desc=f"areas of {instances.file.name}", delay=2, leave=False)
    drawn = drawn_areas(instances, shapes, images, progress)
    for row, area in drawn.items():
        if _is_off(stated[row], np.float64(area)):
            problems.add(
                "area-wrong",
                instances.file,
                instances.entry(row),
                f"'area' is {stated[row]:.6g}, the mask has {area} pixels",
            )


def _is_off(stated: np.ndarray, areas: np.ndarray) -> np.ndarray:
    return np.abs(stated - areas) > np.maximum(AREA_TOLERANCE, AREA_SHARE * areas)


def _check_repeated(
    content: dict[str, Any], instances: Instances, shapes: Shapes, problems: Problems
) -> None:
    for row, first in repeated(content, instances, shapes).items():
        problems.add(
            "object-repeated",
            instances.file,
            instances.entry(row),
            f"it is the same object as {instances.entry(first)}",
        )


def repeated(content: dict[str, Any], instances: Instances, shapes: Shapes) -> dict[int, int]:
    """Annotations of one image, class and segmentation.

    Returns:
        Row -> the first row that is the same object.
    """
    key = np.column_stack(
        [
            instances.image,
            instances.category,
            instances.is_crowd,
            np.nan_to_num(shapes.areas, nan=-1),
            np.nan_to_num(shapes.boxes, nan=-1),
        ]
    )
    known = (instances.image >= 0) & (instances.category >= 0) & ~np.isnan(shapes.areas)
    rows = np.flatnonzero(known)
    _, group, counts = np.unique(key[rows], axis=0, return_inverse=True, return_counts=True)
    group = group.ravel()
    found: dict[int, int] = {}
    first_of: dict[tuple[int, str], int] = {}
    for row, of_group in zip(rows.tolist(), group.tolist(), strict=True):
        if counts[of_group] == 1:
            continue
        annotation = content["annotations"][instances.numbers[row]]
        first = first_of.setdefault((of_group, repr(annotation["segmentation"])), row)
        if first != row:
            found[row] = first
    return found
