"""The segments of several images in one list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# They are about the whole segment in its file.
_OF_THE_FILE = ("area", "bbox")


def join_segments(
    segments_info: Sequence[Mapping[str, Any]], other: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Append the segments of a mapped image to a list.

    Args:
        segments_info: a list of segments.
        other: with `segments_info` and `pan_seg`, see `SegmentationMapper.map`.

    Returns:
        The list of all, in which a segment's `id` is its place, counted from 1; and (H, W) int32,
        the places in it of the other image's pixels, 0 in void.
    """
    joined = [
        {key: value for key, value in segment.items() if key not in _OF_THE_FILE} | {"id": place}
        for place, segment in enumerate([*segments_info, *other["segments_info"]], start=1)
    ]
    places = other["pan_seg"].numpy().astype(np.int32)
    places[places > 0] += len(segments_info)
    return joined, places
