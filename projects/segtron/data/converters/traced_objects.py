"""Objects in the shapes that labelling tools draw: polygons, or a mask where polygons won't do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pycocotools import mask as mask_util

from segtron.data.converters.labelled_image import LabelledImage, LabelledObject
from segtron.data.converters.tracing import trace


@dataclass(frozen=True)
class TracedObject:
    """An object as a tool shows it.

    Attributes:
        polygons: its parts, (N, 2) corners in pixels; empty where there is a mask.
        mask: (h, w) bool, the pixels of an object with holes; None where there are polygons.
        left, top: where the mask lies.
    """

    polygons: list[np.ndarray]
    mask: np.ndarray | None = None
    left: int = 0
    top: int = 0


def traced(labelled: LabelledObject, image: LabelledImage, tolerance: float) -> TracedObject | None:
    """Put an object into shapes that cover the same pixels.

    Polygons stay as they are. A mask becomes polygons, or if it has holes stays a mask.

    Args:
        labelled: the object.
        image: that it is on.
        tolerance: as for `segtron.data.converters.tracing.trace`.

    Returns:
        None where it covers no pixel.
    """
    if isinstance(labelled.segmentation, list):
        return TracedObject([np.reshape(p, (-1, 2)) for p in labelled.segmentation])
    x, y, width, height = map(int, mask_util.toBbox(labelled.segmentation))
    if not width or not height:
        return None
    pixels = mask_util.decode(labelled.segmentation)[y : y + height, x : x + width] > 0
    parts = trace(pixels, tolerance)
    if any(part.interiors for part in parts):
        return TracedObject([], pixels, x, y)
    # The last corner repeats the first.
    return TracedObject([np.array(part.exterior.coords)[:-1] + (x, y) for part in parts])
