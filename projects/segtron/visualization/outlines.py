"""Outlines of masks as matplotlib paths."""

from __future__ import annotations

import math

import cv2
import numpy as np
from matplotlib.path import Path as Outline


def mask_outline(mask: np.ndarray, smoothness: float = 1.0) -> Outline | None:
    """The outline of a binary mask, holes included, as a matplotlib path.

    Args:
        mask: (H, W), bool or uint8.
        smoothness: how many times larger than the mask it will be drawn; the outline has no visible
            steps at that size.

    Returns:
        A closed path in pixel coordinates, in which the top left pixel covers 0..1; holes run
        against the sense of the outer contours, so that filling leaves them free. None for an
        empty mask.
    """
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(columns):
        return None
    left, top = int(columns[0]), int(rows[0])
    crop = mask[top : rows[-1] + 1, left : columns[-1] + 1].astype(np.uint8) * 255
    # OpenCV follows pixel centres, which would shrink the mask by half a pixel on each side:
    # enlarging makes that small. The frame keeps the border from being clipped by the
    # interpolation.
    factor = max(2, math.ceil(smoothness))
    crop = cv2.copyMakeBorder(crop, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    large = cv2.resize(crop, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    contours, _ = cv2.findContours(
        (large >= 128).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE
    )
    points, codes = [], []
    for contour in contours:
        ring = (contour[:, 0].astype(np.float64) + 0.5) / factor - 1 + (left, top)
        if len(ring) < 3:
            continue
        points += [ring, ring[:1]]
        codes += [Outline.MOVETO, *[Outline.LINETO] * (len(ring) - 1), Outline.CLOSEPOLY]
    return Outline(np.concatenate(points), codes) if points else None
