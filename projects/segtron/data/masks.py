"""Binary masks: where they are, and COCO's run lengths of what is given in any form."""

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


def encode_mask(
    mask: np.ndarray, left: int = 0, top: int = 0, size: tuple[int, int] | None = None
) -> dict[str, Any]:
    """A mask as COCO's compressed run lengths, equal byte for byte to `pycocotools.mask.encode`.

    COCO's runs go down the columns. Only the mask's own window is transposed and searched for
    edges, so that a small object in a large frame costs little more than finding it.

    Args:
        mask: (h, w) bool.
        left, top: where it lies in the image.
        size: of the image, height and width, into which it fits there; default: that of the mask.

    Returns:
        {"size": [H, W], "counts": str}, ready for JSON.
    """
    height, width = mask.shape if size is None else size
    window = bounding_slices(mask)
    if window is None:
        return with_text(encode_changes(np.zeros(0, np.int64), height, width))
    rows, columns = window
    num_rows, num_columns = rows.stop - rows.start, columns.stop - columns.start
    # One empty row below the window ends the runs of each column. A window as high as the image
    # needs none: there runs do go on from column to column.
    rows_apart = min(num_rows + 1, height)
    # With nothing before the first column and after the last.
    pixels = np.zeros(num_columns * rows_apart + 2, bool)
    pixels[1:-1].reshape(num_columns, rows_apart)[:, :num_rows] = mask[window].T
    edges = np.flatnonzero(pixels[1:] != pixels[:-1])
    # An end is found from the run's last pixel: the one after may lie in the next column.
    is_end = np.arange(edges.size) % 2
    column, row = np.divmod(edges - is_end, rows_apart)
    changes = (column + columns.start + left) * height + row + rows.start + top + is_end
    return with_text(encode_changes(changes, height, width))


def encode_changes(changes: np.ndarray, height: int, width: int) -> dict[str, Any]:
    """Compressed run lengths of a mask by the places where its pixels change.

    Args:
        changes: (2 * N,) int64, counted down the columns: where each of N runs begins and where it
            ends, ascending.
        height, width: of the image.

    Returns:
        {"size": [H, W], "counts": bytes}, as pycocotools gives it.
    """
    counts = np.diff(changes, prepend=0, append=height * width)
    if counts[-1] == 0:  # pycocotools leaves an empty last gap out, too
        counts = counts[:-1]
    rle = {"size": [height, width], "counts": counts.tolist()}
    return mask_util.frPyObjects(rle, height, width)


def as_rle(segmentation: dict[str, Any] | list, height: int, width: int) -> dict[str, Any]:
    """A segmentation in any of COCO's forms as compressed run lengths.

    Args:
        segmentation: polygons [[x, y, x, y, …], …], or run lengths, compressed or not.
        height: of the image.
        width: of the image.

    Returns:
        {"size": [H, W], "counts": bytes}, or what is compressed already as it is.
    """
    if isinstance(segmentation, list):
        return mask_util.merge(mask_util.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return mask_util.frPyObjects(segmentation, height, width)
    return segmentation


def with_text(rle: dict[str, Any]) -> dict[str, Any]:
    """Compressed run lengths as JSON holds them: as text, of which pycocotools makes bytes."""
    height, width = rle["size"]
    counts = rle["counts"]
    text = counts.decode("ascii") if isinstance(counts, bytes) else counts
    return {"size": [int(height), int(width)], "counts": text}
