"""What a model learns from a map of segments, made of the map once it is augmented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from segtron.data.file_encoding import Opener, open_file
from segtron.data.id_map import replace_ids
from segtron.data.panoptic import open_pan_seg
from segtron.data.pixels import Pixels, Window
from segtron.data.place_map import MOST_IN_A_BYTE, as_bytes, as_numbers, instances_of, look_up
from segtron.data.sem_seg import IGNORED

SegmentsInfo = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class _SegmentPlaces:
    """A map of segments as a map of their places in `segments_info` (`segtron.data.place_map`)."""

    ids: Pixels
    segments_info: SegmentsInfo

    @property
    def shape(self) -> tuple[int, int]:
        """See `Pixels`."""
        return self.ids.shape

    def read(self, window: Window) -> np.ndarray:
        """See `Pixels`; in bytes."""
        ids = np.array([segment["id"] for segment in self.segments_info], np.int64)
        fits = len(ids) <= MOST_IN_A_BYTE
        places = np.arange(1, len(ids) + 1, dtype=np.uint8 if fits else np.int32)
        return as_bytes(replace_ids(self.ids.read(window), ids, places, default=0))


@dataclass(frozen=True)
class _SegmentClasses:
    """The classes of segments, of a map of their places."""

    places: Pixels
    segments_info: SegmentsInfo

    @property
    def shape(self) -> tuple[int, int]:
        """See `Pixels`."""
        return self.places.shape

    def read(self, window: Window) -> np.ndarray:
        """See `Pixels`; (h, w) uint8."""
        return sem_seg_of(as_numbers(self.places.read(window)), self.segments_info)


def open_places(record: Mapping[str, Any], opener: Opener = open_file) -> Pixels:
    """Open a standard dict's map of segments as a map of places (`segtron.data.place_map`).

    Raises:
        UserError: see `open_pan_seg`.
    """
    return _SegmentPlaces(open_pan_seg(record, opener), record["segments_info"])


def open_classes(places: Pixels, segments_info: SegmentsInfo) -> Pixels:
    """The classes of the pixels of a map of places; see `sem_seg_of`."""
    return _SegmentClasses(places, segments_info)


def sem_seg_of(places: np.ndarray, segments_info: SegmentsInfo) -> np.ndarray:
    """The class of each pixel.

    Args:
        places: (H, W) uint8 or int32.
        segments_info: of the image.

    Returns:
        (H, W) uint8: 0 to K - 1, or `IGNORED` in void.
    """
    classes = [IGNORED, *(segment["category_id"] for segment in segments_info)]
    return look_up(places, np.array(classes, np.uint8))


def panoptic_targets(places: np.ndarray, segments_info: SegmentsInfo) -> dict[str, Any]:
    """All that a model can learn from a map of places.

    Args:
        places: (H, W) uint8 or int32.
        segments_info: of the image.

    Returns:
        `pan_seg`, the places, and `sem_seg`, the classes, (H, W) int64; and `instances` with
        `gt_boxes`, tight, `gt_classes` (0 to T - 1) and `gt_masks`: of the things that are left,
        without crowds.
    """
    classes = [-1] + [
        segment["thing_category_id"] if segment["isthing"] and not segment["iscrowd"] else -1
        for segment in segments_info
    ]
    return {
        "pan_seg": torch.from_numpy(places.astype(np.int64)),
        "sem_seg": torch.from_numpy(sem_seg_of(places, segments_info).astype(np.int64)),
        "instances": instances_of(places, np.array(classes, np.int64))[0],
    }
