"""Binary masks: where they are, and their COCO run lengths, without touching empty frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pycocotools.mask as mask_util


def bounding_slices(mask: np.ndarray) -> tuple[slice, slice] | None:
    """The smallest window that holds every pixel of a mask.

    Args:
        mask: (H, W) bool.

    Returns:
        The window's rows and columns, or None for a mask with no pixel.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if not rows.size:
        return None
    rows = slice(int(rows[0]), int(rows[-1]) + 1)
    columns = np.flatnonzero(mask[rows].any(axis=0))
    return rows, slice(int(columns[0]), int(columns[-1]) + 1)


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """A mask as COCO's compressed run lengths, equal byte for byte to `pycocotools.mask.encode`.

    COCO's runs go down the columns. Only the mask's own window is transposed and searched for
    edges, so that a small object in a large frame costs little more than finding it.

    Args:
        mask: (H, W) bool.

    Returns:
        {"size": [H, W], "counts": str}, ready for JSON.
    """
    height, width = mask.shape
    window = bounding_slices(mask)
    if window is None:
        counts = [height * width]
    else:
        rows, columns = window
        # One empty row beside the window ends the runs of each column. A window as high as the
        # frame has none and needs none: there runs do go on from column to column.
        top, bottom = max(rows.start - 1, 0), min(rows.stop + 1, height)
        crop = np.pad(mask[top:bottom, columns].T.ravel(), 1)
        edges = np.flatnonzero(crop[1:] != crop[:-1])
        # An end is found from the run's last pixel: the one after may lie in the next column.
        column, row = np.divmod(edges - np.arange(edges.size) % 2, bottom - top)
        edges = (column + columns.start) * height + row + top + np.arange(edges.size) % 2
        counts = np.diff(edges, prepend=0).tolist()
        if edges[-1] < height * width:
            counts.append(height * width - int(edges[-1]))
    rle = mask_util.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}


def as_rle(segmentation: dict[str, Any] | list, height: int, width: int) -> dict[str, Any]:
    """A segmentation in any of COCO's forms as compressed run lengths.

    Args:
        segmentation: polygons [[x, y, x, y, …], …], or run lengths, compressed or not.
        height: of the image.
        width: of the image.
    """
    if isinstance(segmentation, list):
        return mask_util.merge(mask_util.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return mask_util.frPyObjects(segmentation, height, width)
    return segmentation
