"""What is drawn in CVAT as COCO segmentations."""

from __future__ import annotations

import math
from collections.abc import Callable
from xml.etree.ElementTree import Element

import numpy as np

from segtron.data.converters.cvat_xml import lengths, whole_number
from segtron.data.converters.pictures import Picture
from segtron.data.converters.shapes import (
    NoAreaError,
    Segmentation,
    ellipse,
    numbers,
    rectangle,
    segmentation_of,
)
from segtron.data.image_io import MAX_PIXELS, UPRIGHT
from segtron.data.masks import encode_mask
from segtron.errors import UserError


def segmentation_of_shape(shape: Element, picture: Picture, where: str) -> Segmentation:
    """The segmentation of one shape.

    Args:
        shape: a polygon, box, ellipse or mask.
        picture: of its image.
        where: what to call it.

    Raises:
        NoAreaError: it covers nothing of the image, or is of another kind.
        UserError: it is malformed.
    """
    if shape.tag == "mask":
        return _mask(shape, picture, where)
    outline = _OUTLINES.get(shape.tag)
    if outline is None:
        raise NoAreaError(f"is of the kind {shape.tag[:40]}, which covers no area")
    points = picture.orient(outline(shape, where))
    return segmentation_of([points], picture.height, picture.width)


def _polygon(shape: Element, where: str) -> np.ndarray:
    text = shape.get("points", "")
    is_pairs = all(pair.count(",") == 1 for pair in text.split(";"))
    try:
        values = [float(value) for value in text.replace(";", ",").split(",")] if is_pairs else []
    except ValueError:
        values = []
    if not values:
        raise UserError(f"{where}: 'points' are no list x,y;x,y;...; export it again")
    points = np.array(values)
    numbers((float(points.min()), float(points.max())), where)  # nan, if one is
    return points.reshape(-1, 2)


def _box(shape: Element, where: str) -> np.ndarray:
    x0, y0, x1, y1 = lengths(shape, ("xtl", "ytl", "xbr", "ybr"), where)
    corners = rectangle(x0, y0, x1, y1)
    angle = _angle(shape, where)
    cos, sin = math.cos(angle), math.sin(angle)
    centre = np.array([x0 + x1, y0 + y1]) / 2
    # Clockwise on the screen, where y points down.
    return (corners - centre) @ np.array([[cos, sin], [-sin, cos]]) + centre if angle else corners


def _ellipse(shape: Element, where: str) -> np.ndarray:
    return ellipse(*lengths(shape, ("cx", "cy", "rx", "ry"), where), _angle(shape, where))


def _angle(shape: Element, where: str) -> float:
    """In radians; CVAT has degrees."""
    if shape.get("rotation") is None:
        return 0.0
    return math.radians(lengths(shape, ("rotation",), where)[0])


_OUTLINES: dict[str, Callable[[Element, str], np.ndarray]] = {
    "polygon": _polygon,
    "box": _box,
    "ellipse": _ellipse,
}


def _mask(shape: Element, picture: Picture, where: str) -> Segmentation:
    """Runs row by row within a box, of pixels outside and inside by turns."""
    left, top, width, height = (
        whole_number(shape, name, where) for name in ("left", "top", "width", "height")
    )
    if not (0 < width <= MAX_PIXELS and height > 0 and width * height <= MAX_PIXELS):
        raise UserError(f"{where} is {width} x {height} pixels large; export it again")
    try:
        runs = [int(run) for run in shape.get("rle", "").split(",")]
    except ValueError:
        runs = []
    if any(run < 0 for run in runs) or sum(runs) != width * height:
        raise UserError(
            f"{where}: the runs of its 'rle' do not add up to its {width} x {height} pixels; "
            "export it again"
        )
    pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    full_height, full_width = picture.annotated_size
    # What lies outside of the image is cut off, as of outlines.
    x0, y0 = min(max(left, 0), full_width), min(max(top, 0), full_height)
    y1, x1 = max(full_height - top, 0), max(full_width - left, 0)
    pixels = pixels[max(-top, 0) : y1, max(-left, 0) : x1]
    if not pixels.any():
        raise NoAreaError("covers no pixel of the image")
    if picture.orientation == UPRIGHT:
        return encode_mask(pixels, x0, y0, picture.annotated_size)
    whole = np.zeros(picture.annotated_size, bool)
    whole[y0 : y0 + pixels.shape[0], x0 : x0 + pixels.shape[1]] = pixels
    return encode_mask(picture.orient_mask(whole))
