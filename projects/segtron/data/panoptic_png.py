"""Segment ids in colour PNGs, the pictures of COCO's panoptic format.

A pixel's id is red + 256 * green + 65536 * blue; 0 means no segment
(https://cocodataset.org/#format-data, "Panoptic segmentation").
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from zlib_ng import zlib_ng

from segtron.data.image_io import MAX_PIXELS, read_color_codes
from segtron.data.png_chunks import COLOUR, SIGNATURE, PngHeader, chunk
from segtron.files import replacing

# Ids are below this.
MAX_IDS = 2**24
# Rows of a large map that are compressed at a time.
_ROWS = 256


def read_panoptic_png(path: str | Path) -> np.ndarray:
    """Read a panoptic PNG.

    Returns:
        (H, W) int32: segment ids, 0 to 2**24 - 1; 0 where there is no segment.

    Raises:
        UserError: the file is missing, unreadable, or no colour picture of 8 bits a channel.
    """
    return segment_ids(read_color_codes(path))


def segment_ids(colors: np.ndarray) -> np.ndarray:
    """The segment ids that the colours of a panoptic PNG stand for.

    Args:
        colors: (H, W, 3) uint8, RGB.

    Returns:
        (H, W) int32, 0 to 2**24 - 1.
    """
    # With a fourth channel a pixel's bytes are a number, whose highest byte then is cleared.
    ids = cv2.cvtColor(colors, cv2.COLOR_RGB2RGBA).view("<i4")[:, :, 0]
    ids &= MAX_IDS - 1
    return ids


def write_panoptic_png(path: Path, ids: np.ndarray) -> None:
    """Write a panoptic PNG.

    Args:
        path: the file; its folder is made.
        ids: (H, W) integers, 0 to 2**24 - 1.

    Raises:
        ValueError: an id is out of range.
        UserError: the file can't be written.
    """
    if ids.size and not 0 <= ids.min() <= ids.max() < MAX_IDS:
        raise ValueError(
            f"segment ids must be from 0 to {MAX_IDS - 1}, not {ids.min()} to {ids.max()}"
        )
    if ids.size > MAX_PIXELS:
        with replacing(path) as temporary, temporary.open("wb") as file:
            _write_in_bands(file, ids)
        return
    # OpenCV takes blue first.
    picture = np.stack([ids >> 16, ids >> 8 & 255, ids & 255], axis=2).astype(np.uint8)
    _, content = cv2.imencode(".png", picture)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _write_in_bands(file: BinaryIO, ids: np.ndarray) -> None:
    """Write a PNG of a large map; its colours never are in memory all together."""
    height, width = ids.shape
    file.write(SIGNATURE + PngHeader(width, height, 8, COLOUR).as_chunk())
    compressor = zlib_ng.compressobj(1)
    for top in range(0, height, _ROWS):
        band = ids[top : top + _ROWS]
        # Before each row is a byte that says which filter it has: none.
        rows = np.zeros((len(band), 1 + 3 * width), np.uint8)
        for place in range(3):
            rows[:, 1 + place :: 3] = (band >> (8 * place)) & 255
        file.write(chunk(b"IDAT", compressor.compress(rows)))
    file.write(chunk(b"IDAT", compressor.flush()) + chunk(b"IEND", b""))
