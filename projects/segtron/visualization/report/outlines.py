"""Outlines as the data of SVG paths, in few bytes."""

from __future__ import annotations

import cv2
import numpy as np
from matplotlib.path import Path as Outline

# Coordinates are whole numbers of quarters of a pixel.
UNITS = 4
# How far, in pixels of the picture, an outline may lie beside the true one.
TOLERANCE = 0.4


def svg_path(outline: Outline, scale: float) -> str:
    """The `d` of an SVG path, to be filled by the rule nonzero, alone or joined with others'.

    Args:
        outline: rings, each ended by CLOSEPOLY; holes run against the sense of the others.
        scale: of the picture on which it is drawn, by the image of which the outline is.

    Returns:
        Whole numbers, `UNITS` to a pixel of the picture. Never empty: what is too small to be seen
        is a speck of one unit.
    """
    vertices = (outline.vertices * scale).astype(np.float32)
    starts = np.flatnonzero(outline.codes == Outline.MOVETO)
    ends = [*starts[1:], len(vertices)]
    # The vertex of CLOSEPOLY says nothing.
    rings = [vertices[a : b - 1] for a, b in zip(starts, ends, strict=True)]
    paths = [text for ring in rings if (text := _ring(ring))]
    if paths:
        return "".join(paths)
    x, y = np.floor(vertices.mean(axis=0) * UNITS).astype(int).tolist()
    return f"M{x} {y}h1v1h-1z"


def _ring(ring: np.ndarray) -> str:
    simple = cv2.approxPolyDP(ring, TOLERANCE, closed=True)[:, 0]
    points = np.round(simple * UNITS).astype(np.int64)
    points = points[np.any(points != np.roll(points, 1, axis=0), axis=1)]
    if len(points) < 3:
        return ""
    steps = np.diff(points, axis=0).ravel().tolist()
    x, y = points[0].tolist()
    # A minus parts two numbers as well as a space does.
    return f"M{x} {y}l{' '.join(map(str, steps))}z".replace(" -", "-")
