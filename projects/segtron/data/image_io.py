"""Reading images and id maps from disk, with errors that name the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from detectron2.data import detection_utils
from PIL import Image

from segtron.errors import UserError

# What Pillow raises for a file that is no image, ends too early or claims an absurd size.
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


def read_image(path: str | Path, format: str) -> np.ndarray:
    """Read a photograph, upright as its EXIF orientation says.

    Args:
        path: the image file.
        format: "RGB", "BGR" or another that `detectron2.data.detection_utils.read_image` knows.

    Returns:
        (H, W, C) uint8.

    Raises:
        UserError: the file is missing, truncated or no image.
    """
    try:
        return detection_utils.read_image(str(path), format=format)
    except _UNREADABLE as error:
        raise _unreadable("image", path, error) from error


def read_image_size(path: str | Path) -> tuple[int, int]:
    """Height and width of an image as stored, from its header alone.

    Raises:
        UserError: the file is missing or no image.
    """
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except _UNREADABLE as error:
        raise _unreadable("image", path, error) from error


def read_ids(path: str | Path) -> np.ndarray:
    """Read a PNG whose values are ids, exactly as stored.

    Args:
        path: a one-channel PNG of 8 or 16 bits.

    Returns:
        (H, W) uint8 or uint16.

    Raises:
        UserError: the file is missing, truncated, or not a one-channel PNG.
    """
    try:
        # Pillow, not OpenCV: the latter can return a truncated PNG half black, with no error.
        with Image.open(path) as image:
            mode = image.mode
            ids = np.asarray(image)
    except _UNREADABLE as error:
        raise _unreadable("label file", path, error) from error
    if mode == "I" and ids.size and ids.min() >= 0 and ids.max() < 2**16:
        ids = ids.astype(np.uint16)  # how older Pillows open a PNG of 16 bits
    if ids.ndim != 2 or ids.dtype not in (np.uint8, np.uint16) or mode == "P":
        raise UserError(
            f"label file {path} has Pillow mode {mode}; ids are read from one-channel PNGs of 8 or "
            "16 bits (a palette or colour picture only shows them)"
        )
    return ids


def _unreadable(what: str, path: str | Path, error: Exception) -> UserError:
    if isinstance(error, FileNotFoundError):
        return UserError(f"{what} {path} does not exist; restore it or remove its entry")
    reason = " ".join(str(error).split()) or type(error).__name__
    return UserError(f"{what} {path} cannot be read ({reason}); restore or remove it")
