"""Picture files: can they be read, which size have they, and what do they look like from afar?"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from segtron.data.image_io import UPRIGHT, read_image, read_orientation
from segtron.errors import UserError

# Columns and rows of the small grey copies that pictures are compared by; neighbours in a row give
# the bits of dHash (https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html).
THUMBNAIL = (17, 16)


@dataclass(frozen=True)
class Picture:
    """What there is to know of a file.

    Attributes:
        path: of the file.
        error: why it can't be read, "" if it can.
        is_missing: whether there is no such file.
        height, width: in pixels, as it is shown, 0 if it can't be read.
        orientation: its EXIF orientation, 1 for upright.
        num_bytes: its length.
        thumbnail: (16, 17) uint8, a small grey copy; None if it can't be read.
    """

    path: Path
    error: str = ""
    is_missing: bool = False
    height: int = 0
    width: int = 0
    orientation: int = UPRIGHT
    num_bytes: int = 0
    thumbnail: np.ndarray | None = None


def look_at(path: Path) -> Picture:
    """Read a picture as training does, and keep little of it."""
    try:
        num_bytes = os.stat(path).st_size
    except (OSError, ValueError):
        return Picture(path, error="it does not exist", is_missing=True)
    try:
        pixels = read_image(path, "RGB")
        # Pillow refuses a PNG with much compressed text, whose pixels are read without Pillow.
        orientation = read_orientation(path)
    except (UserError, OSError, MemoryError) as error:
        return Picture(path, error=str(error), num_bytes=num_bytes)
    height, width = pixels.shape[:2]
    small = cv2.resize(pixels, THUMBNAIL, interpolation=cv2.INTER_AREA)
    thumbnail = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    return Picture(path, "", False, height, width, orientation, num_bytes, thumbnail)
