"""Masks, boxes, areas and ids of annotations put right."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from pycocotools import mask as mask_util

from segtron.data.checks.changes import REMOVED, Change
from segtron.data.checks.classes import check_crowds
from segtron.data.checks.geometry import check_geometry, repeated
from segtron.data.checks.instances import Instances, read_instances
from segtron.data.checks.problems import Problems
from segtron.data.checks.shapes import Shapes, corners_of, encode, measure
from segtron.data.checks.structure import Images, read_categories, read_images
from segtron.data.masks import with_text

# What the mask puts right.
_BY_MASK = frozenset(
    [
        "box-value",
        "box-corners",
        "box-outside",
        "box-empty",
        "box-off",
        "area-value",
        "area-wrong",
        "area-missing",
    ]
)


@dataclass
class _CodesByEntry(Problems):
    """Problems by entry, so that what the checks find is just what is mended."""

    codes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, code: str, file: Any, entry: str, message: str) -> None:
        """See `Problems`."""
        self.codes[entry].append(code)


@dataclass(frozen=True)
class _Read:
    images: Images
    instances: Instances
    shapes: Shapes
    codes: dict[str, list[str]]


def _read(content: dict[str, Any], file: Path) -> _Read:
    found = _CodesByEntry()
    images = read_images(content, file, found)
    categories = read_categories(content, file, found)
    instances = read_instances(content, images, categories, file, found)
    shapes = measure(instances)
    check_geometry(content, instances, shapes, images, found)
    check_crowds(instances, shapes, categories, found)
    return _Read(images, instances, shapes, found.codes)


def number_annotations(content: dict[str, Any], file: Path, changes: list[Change]) -> None:
    """Give annotations without an id, and those with another's, the next numbers."""
    codes = _read(content, file).codes
    annotations = content.get("annotations")
    annotations = annotations if isinstance(annotations, list) else []
    used = [a["id"] for a in annotations if isinstance(a, dict) and type(a.get("id")) is int]
    following = max([0, *used]) + 1
    for number, annotation in enumerate(annotations):
        entry = f"annotations[{number}]"
        for code in codes.get(entry, ()):
            if code in ("annotation-id-repeated", "annotation-id-missing"):
                changes.append(Change(code, entry, f"its id is now {following}"))
                annotation["id"] = following
                following += 1


def mend_masks(content: dict[str, Any], file: Path, changes: list[Change]) -> bool:
    """Remove empty and repeated objects, and clip, clean and encode the masks of others.

    Returns:
        Whether anything was changed.
    """
    read = _read(content, file)
    again = repeated(content, read.instances, read.shapes)
    before = len(changes)
    removed = set()
    for row, number in enumerate(read.instances.numbers.tolist()):
        entry = read.instances.entry(row)
        codes = read.codes.get(entry, ())
        annotation = content["annotations"][number]
        if "mask-empty" in codes:
            removed.add(number)
            changes.append(Change("mask-empty", entry, f"{REMOVED}{_named(annotation)}"))
        elif row in again:
            removed.add(number)
            same = read.instances.entry(again[row])
            message = f"{REMOVED}{_named(annotation)}, it is the same as {same}"
            changes.append(Change("object-repeated", entry, message))
        else:
            _mend_mask(annotation, row, read, codes, changes)
    content["annotations"] = [
        annotation
        for number, annotation in enumerate(_annotations(content))
        if number not in removed
    ]
    return len(changes) > before


def _annotations(content: dict[str, Any]) -> list[Any]:
    annotations = content.get("annotations")
    return annotations if isinstance(annotations, list) else []


def _named(annotation: dict[str, Any]) -> str:
    return f" (id {annotation['id']})" if "id" in annotation else ""


def _mend_mask(
    annotation: dict[str, Any], row: int, read: _Read, codes: Any, changes: list[Change]
) -> None:
    entry = read.instances.entry(row)
    if "crowd-polygons" in codes:
        mask = encode(read.instances, read.shapes, read.images, row)
        if mask is not None:
            annotation["segmentation"] = with_text(mask)
            changes.append(Change("crowd-polygons", entry, "its mask is now run lengths"))
            return
    if "polygon-short" in codes:
        polygons = annotation["segmentation"]
        annotation["segmentation"] = [polygon for polygon in polygons if len(polygon) >= 6]
        left_out = len(polygons) - len(annotation["segmentation"])
        changes.append(Change("polygon-short", entry, f"polygons left out: {left_out}"))
    if "polygon-outside" in codes:
        clipped = _clip(row, read)
        if clipped is not None:
            annotation["segmentation"] = clipped
            changes.append(Change("polygon-outside", entry, "clipped to its image"))


def _clip(row: int, read: _Read) -> list[list[float]] | dict[str, Any] | None:
    """An annotation's mask within its image: polygons, or run lengths where these won't do."""
    height, width = read.images.sizes[read.instances.image[row]].tolist()
    frame = shapely.box(0, 0, width, height)
    polygons = [shapely.Polygon(corners) for corners in corners_of(read.shapes.polygons, row)]
    if all(polygon.is_valid for polygon in polygons):
        inside = [part for polygon in polygons for part in _parts(polygon.intersection(frame))]
        if not any(part.interiors for part in inside):
            rings = [np.array(part.exterior.coords)[:-1] for part in inside]
            return [ring.ravel().tolist() for ring in rings]
    # Of a polygon that crosses itself, the pixels are what models see.
    mask = encode(read.instances, read.shapes, read.images, row)
    return None if mask is None else with_text(mask)


def _parts(geometry: shapely.Geometry) -> list[shapely.Polygon]:
    parts = shapely.get_parts(geometry).tolist()
    return [part for part in parts if isinstance(part, shapely.Polygon) and part.area > 0]


def mend_boxes(content: dict[str, Any], file: Path, changes: list[Change]) -> None:
    """Take boxes and areas from masks, where they are missing or wrong."""
    read = _read(content, file)
    for row, number in enumerate(read.instances.numbers.tolist()):
        entry = read.instances.entry(row)
        codes = [code for code in read.codes.get(entry, ()) if code in _BY_MASK]
        if not codes:
            continue
        mask = encode(read.instances, read.shapes, read.images, row)
        if mask is None:
            continue
        annotation = content["annotations"][number]
        if any(code.startswith("box") for code in codes):
            x0, y0, x1, y1 = _box_within(row, read)
            annotation["bbox"] = [x0, y0, x1 - x0, y1 - y0]
        if any(code.startswith("area") for code in codes):
            annotation["area"] = int(mask_util.area(mask))
        for code in codes:
            name = "bbox" if code.startswith("box") else "area"
            changes.append(Change(code, entry, f"'{name}' is now {annotation[name]}"))


def _box_within(row: int, read: _Read) -> list[float]:
    height, width = read.images.sizes[read.instances.image[row]].tolist()
    return np.clip(read.shapes.boxes[row], 0, [width, height, width, height]).round(2).tolist()
