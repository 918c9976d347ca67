"""Boundaries of masks, and how well they agree: Boundary IoU (Cheng et al. 2021).

A mask's boundary is its pixels within a distance d of its contour, d being a share of the image's
diagonal. The distance is that of the reference implementation, d erosions by 3x3 pixels: a pixel
belongs to the boundary unless the square of 2d + 1 pixels around it lies within the mask, and
outside the image there is no mask. A boundary never leaves its mask, so all work is done within the
mask's own window, and a mask that is nowhere wider than 2d is its own boundary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pycocotools.mask as mask_util

from segtron.data.masks import bounding_slices, encode_changes, with_text
from segtron.data.run_lengths import decode_run_lengths

RLE = dict[str, Any]

# The share of the diagonal that Cheng et al. take for COCO and LVIS, and for Cityscapes.
DILATION_RATIO = 0.02
CITYSCAPES_DILATION_RATIO = 0.005


def boundary_width(height: int, width: int, dilation_ratio: float = DILATION_RATIO) -> int:
    """How far a boundary reaches into its mask, in pixels, at least 1.

    Args:
        height: of the image.
        width: of the image.
        dilation_ratio: the share of the image's diagonal.
    """
    return max(1, round(dilation_ratio * math.sqrt(height**2 + width**2)))


def boundary(mask: np.ndarray, dilation_ratio: float = DILATION_RATIO) -> np.ndarray:
    """The pixels of a mask that are close to its contour.

    Args:
        mask: (H, W) bool, of the whole image.
        dilation_ratio: see `boundary_width`.

    Returns:
        (H, W) bool.
    """
    result = mask.copy()
    window = bounding_slices(mask)
    if window is not None:
        hollow_out(result[window], boundary_width(*mask.shape, dilation_ratio))
    return result


def boundary_rles(rles: Sequence[RLE], dilation_ratio: float = DILATION_RATIO) -> list[RLE]:
    """The boundaries of masks in COCO's compressed run lengths, without a full frame for any.

    Args:
        rles: N masks {"size": [H, W], "counts": str or bytes}.
        dilation_ratio: see `boundary_width`.

    Returns:
        N boundaries of the same form, for `pycocotools.mask.iou`.
    """
    return [_boundary_rle(rle, dilation_ratio) for rle in rles]


def boundary_of_labels(labels: np.ndarray, dilation_ratio: float = DILATION_RATIO) -> np.ndarray:
    """The boundaries of all segments of a label map at once.

    Args:
        labels: (H, W) integers. Pixels of equal label are one segment.
        dilation_ratio: see `boundary_width`.

    Returns:
        (H, W) bool: the pixels that belong to the boundary of their segment's mask.
    """
    distance = boundary_width(*labels.shape, dilation_ratio)
    size = 2 * distance + 1
    result = np.ones(labels.shape, dtype=bool)
    if size <= min(labels.shape):
        # A square is of one label if each of its rows is, and its middle column.
        rows_alike = _all_of(_all_of((labels[:, 1:] == labels[:, :-1]).T, size - 1).T, size)
        column_alike = _all_of(labels[1:] == labels[:-1], size - 1)[:, distance:-distance]
        result[distance:-distance, distance:-distance] = ~(rows_alike & column_alike)
    return result


def hollow_out(mask: np.ndarray, distance: int) -> None:
    """Leave the boundary of a mask that has no pixel outside this window, in place.

    Args:
        mask: (H, W) bool, a window of the image.
        distance: how far the boundary reaches, in pixels; see `boundary_width`.
    """
    size = 2 * distance + 1
    if size <= min(mask.shape):
        interior = _all_of(_all_of(mask, size).T, size).T
        mask[distance:-distance, distance:-distance] &= ~interior


def _all_of(values: np.ndarray, length: int) -> np.ndarray:
    """Whether all values are true in each stretch of rows, by stretches that double in length.

    Args:
        values: (H, W) bool.
        length: 1 to H.

    Returns:
        (H - length + 1, W) bool: row i is about the rows i to i + length - 1.
    """
    done = 1
    while done < length:
        step = min(done, length - done)
        values = values[:-step] & values[step:]
        done += step
    return values


def _boundary_rle(rle: RLE, dilation_ratio: float) -> RLE:
    height, width = rle["size"]
    distance = boundary_width(height, width, dilation_ratio)
    left, top, columns, rows = (int(number) for number in mask_util.toBbox(rle))
    if min(columns, rows) <= 2 * distance:
        return rle
    # COCO's runs go down the columns, so those of the mask's own columns lie side by side.
    start, num_pixels = left * height, columns * height
    ends = np.clip(np.cumsum(decode_run_lengths(rle["counts"])) - start, 0, num_pixels)
    is_mask = np.arange(len(ends)) % 2 == 1
    band = np.repeat(is_mask, np.diff(ends, prepend=0)).reshape(columns, height)
    hollow_out(band[:, top : top + rows], distance)

    edges = np.flatnonzero(np.diff(band.ravel(), prepend=False, append=False)) + start
    return with_text(encode_changes(edges, height, width))
