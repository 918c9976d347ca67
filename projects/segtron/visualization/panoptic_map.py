"""Panoptic segmentations in any of Detectron2's forms as one map of numbers, ready to be drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from detectron2.data.catalog import Metadata

from segtron.data.id_map import measure_segments, replace_ids
from segtron.data.panoptic import VOID
from segtron.evaluation.model_output import decode_segments


@dataclass(frozen=True)
class PanopticMap:
    """The segments of one image.

    Attributes:
        numbers: (H, W) uint16, or uint32 where there are more than that can tell apart: i + 1 is
            `segments[i]`, `VOID` none of them. Read only: where a segmentation has these numbers
            already, it is the segmentation itself, which may take gigabytes.
        segments: as in `segments_info`, only those that have pixels.
        areas: (S + 1,) int64, pixels of each number.
    """

    numbers: np.ndarray
    segments: Sequence[Mapping[str, Any]]
    areas: np.ndarray

    def without(self, dropped: np.ndarray) -> np.ndarray:
        """The numbers, with `VOID` in the place of some.

        Args:
            dropped: (S,) bool.
        """
        kept = np.arange(len(self.segments) + 1, dtype=self.numbers.dtype)
        kept[1:][dropped] = VOID
        return kept[self.numbers]


def panoptic_map(
    panoptic_seg: Any, segments_info: Sequence[Mapping[str, Any]] | None, metadata: Metadata
) -> PanopticMap:
    """Number the segments of a panoptic segmentation.

    Args:
        panoptic_seg: (H, W) integers, array or tensor on the CPU: ids of segments. Ids that
            `segments_info` doesn't list are void.
        segments_info: a dict with `id`, `category_id` and `isthing` for each segment; or None,
            where ids are class * `label_divisor` + number, and -1 is void (Detectron2's other
            form).
        metadata: of the data set.
    """
    ids = np.asarray(panoptic_seg)
    if segments_info is None:
        ids, segments_info = decode_segments(ids, metadata)
    measures = measure_segments(ids)
    areas = dict(zip(measures.ids.tolist(), measures.areas.tolist(), strict=True))
    segments = [segment for segment in segments_info if segment["id"] in areas]
    kind = np.uint16 if len(segments) < 2**16 else np.uint32
    segment_ids = np.array([segment["id"] for segment in segments], np.int64)
    numbers = np.arange(1, len(segments) + 1, dtype=kind)
    found = measures.ids[measures.ids != VOID]
    if ids.dtype != kind or not np.array_equal(segment_ids, numbers) or len(found) > len(numbers):
        ids = replace_ids(ids, segment_ids, numbers, VOID)
    listed = [areas[segment["id"]] for segment in segments]
    return PanopticMap(ids, segments, np.array([ids.size - sum(listed), *listed], np.int64))


def panoptic_name(segment: Mapping[str, Any], metadata: Metadata) -> str:
    """The name of a segment's class in the metadata, or the class's number."""
    index = segment["category_id"]
    names = metadata.get(_kind(segment, metadata, "classes")) or []
    return names[index] if index < len(names) else str(index)


def panoptic_colors(segment: Mapping[str, Any], metadata: Metadata) -> Any:
    """The data set's colours among which `category_id` has its place, if it has any."""
    return metadata.get(_kind(segment, metadata, "colors"))


def _kind(segment: Mapping[str, Any], metadata: Metadata, what: str) -> str:
    """Where the metadata has names or colours of a segment's class.

    Where things and stuff share one numbering (`segtron.data.classes`) that has names of its own;
    else each kind goes by its own, Detectron2's rule.
    """
    if metadata.get("panoptic_classes") is not None:
        return f"panoptic_{what}"
    return f"thing_{what}" if segment["isthing"] else f"stuff_{what}"
