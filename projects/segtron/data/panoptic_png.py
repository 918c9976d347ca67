"""Segment ids in colour PNGs, the pictures of COCO's panoptic format.

A pixel's id is red + 256 * green + 65536 * blue; 0 means no segment
(https://cocodataset.org/#format-data, "Panoptic segmentation").
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from segtron.data.image_io import read_color_codes
from segtron.files import replacing

# Ids are below this.
MAX_IDS = 2**24


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
    # OpenCV takes blue first.
    picture = np.stack([ids >> 16, ids >> 8 & 255, ids & 255], axis=2).astype(np.uint8)
    _, content = cv2.imencode(".png", picture)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
