"""Wide images and high ones, for batches that need little padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segtron.data.each_item import for_each, num_readers
from segtron.data.image_io import read_image_size
from segtron.errors import UnreadableFileError

WIDE = 0
HIGH = 1  # square images, too
_UNKNOWN = -1


def group_by_aspect_ratio(
    records: Sequence[Mapping[str, Any]], *, skip_unreadable: bool
) -> np.ndarray:
    """Tell wide images from high ones, by their dicts or, where those don't say, by their files.

    Args:
        records: N standard dicts.
        skip_unreadable: take an image that doesn't tell its size for a wide one.

    Returns:
        (N,) int64, `WIDE` or `HIGH`.

    Raises:
        UnreadableFileError: an image doesn't tell its size.
    """

    groups = np.array([_group(r.get("height"), r.get("width")) for r in records], np.int64)
    unknown = np.flatnonzero(groups == _UNKNOWN)
    if not len(unknown):
        return groups

    def read_group(index: int) -> int:
        try:
            return _group(*read_image_size(records[index]["file_name"]))
        except UnreadableFileError:
            if not skip_unreadable:
                raise
            return WIDE

    read = for_each(read_group, unknown, workers=num_readers(), desc="sizes of images", delay=2)
    groups[unknown] = list(read)
    return groups


def _group(height: int | None, width: int | None) -> int:
    if height is None or width is None:
        return _UNKNOWN
    return WIDE if width > height else HIGH
