"""Panoptic ground truth: maps of segments, and the instances and classes that follow from them.

A standard dict with panoptic ground truth has, besides what every dict has,

- `pan_seg_file_name`, a map of segment ids: a panoptic PNG (`segtron.data.panoptic_png`), unless
  `pan_seg_encoding` says how it is read;
- `segments_info`, a dict for each segment: `id`, its value in the map; `category_id`, 0 to K - 1 in
  one numbering of things and stuff; `isthing`; `iscrowd`; where they are known `area` in pixels and
  `bbox` as [x, y, width, height]; and for a thing `thing_category_id`, 0 to T - 1, its class among
  things alone, as instance heads number them;
- `sem_seg_file_name` and `sem_seg_encoding`, which make the K classes of its pixels of it
  (`segtron.data.sem_seg`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.structures import BoxMode

from segtron.data.file_encoding import FileEncoding, Opener, open_file
from segtron.data.id_map import encode_segments, measure_segments, replace_ids
from segtron.data.image_io import COLOR_CODES, Decoder
from segtron.data.panoptic_png import segment_ids
from segtron.data.pixels import Pixels, Window, read_all, whole
from segtron.data.sem_seg import IGNORED, LabelEncoding, check_label_size
from segtron.errors import UserError

VOID = 0  # the id of pixels without a segment


class PanSegEncoding(FileEncoding):
    """How a file stands for segments."""

    @abstractmethod
    def decode(self, pixels: np.ndarray, path: str | Path) -> np.ndarray:
        """The segments of pixels; see `FileEncoding`.

        Returns:
            (H, W) int32: segment ids, `VOID` where there is no segment.
        """


@dataclass(frozen=True)
class ColorIds(PanSegEncoding):
    """Panoptic PNGs, whose colours are ids."""

    @property
    def decoder(self) -> Decoder:
        """See `FileEncoding`."""
        return COLOR_CODES

    def decode(self, pixels: np.ndarray, path: str | Path) -> np.ndarray:
        """See `PanSegEncoding`."""
        return segment_ids(pixels)


COLOR_IDS = ColorIds()


@dataclass(frozen=True)
class SegmentClasses(LabelEncoding):
    """A map of segments as a label file (`segtron.data.sem_seg.LabelEncoding`) of one image.

    Attributes:
        ids: the segments that there are.
        classes: at i the class of the segment `ids[i]`.
        encoding: how the file stands for segments.
    """

    ids: tuple[int, ...]
    classes: tuple[int, ...]
    encoding: PanSegEncoding = COLOR_IDS

    @property
    def decoder(self) -> Decoder:
        """See `FileEncoding`."""
        return self.encoding.decoder

    def decode(self, pixels: np.ndarray, path: str | Path) -> np.ndarray:
        """See `LabelEncoding`."""
        ids = self.encoding.decode(pixels, path)
        present = measure_segments(ids).ids
        _check_listed(path, present[present != VOID], self.ids)
        return replace_ids(
            ids, np.array(self.ids, np.int64), np.array(self.classes, np.uint8), IGNORED
        )


def segment_classes(
    segments_info: Iterable[Mapping[str, Any]], encoding: PanSegEncoding = COLOR_IDS
) -> SegmentClasses:
    """How the classes of an image's pixels follow from its segments."""
    segments = list(segments_info)
    return SegmentClasses(
        tuple(segment["id"] for segment in segments),
        tuple(segment["category_id"] for segment in segments),
        encoding,
    )


@dataclass(frozen=True)
class _CheckedSegments:
    """A map of segments that agrees with a standard dict."""

    ids: Pixels
    record: Mapping[str, Any]

    @property
    def shape(self) -> tuple[int, int]:
        """See `Pixels`."""
        return self.ids.shape

    def read(self, window: Window) -> np.ndarray:
        """See `Pixels`."""
        ids = self.ids.read(window)
        _check_segments(ids, self.record, is_whole=window == whole(self.shape))
        return ids


def open_pan_seg(record: Mapping[str, Any], opener: Opener = open_file) -> Pixels:
    """Open the map of segments of a standard dict.

    Args:
        record: a standard dict with panoptic ground truth.
        opener: opens files.

    Returns:
        (height, width) int32: the ids of `segments_info`, `VOID` elsewhere. What is read is checked
        against `segments_info`: all of it if it is the whole map; else that all segments are listed
        and none has more pixels than its area.

    Raises:
        UserError: the file is missing, unreadable or of another size than the image; and when it is
            read, the map disagrees with `segments_info`.
    """
    path = record["pan_seg_file_name"]
    ids = record.get("pan_seg_encoding", COLOR_IDS).open(path, opener)
    check_label_size(path, ids.shape, record)
    return _CheckedSegments(ids, record)


def read_pan_seg(record: Mapping[str, Any]) -> np.ndarray:
    """Read the map of segments of a standard dict.

    Returns:
        (height, width) int32: the ids of `segments_info`, `VOID` elsewhere.

    Raises:
        UserError: the file is missing, unreadable, of another size than the image, or disagrees
            with `segments_info` on ids or areas.
    """
    return read_all(open_pan_seg(record))


def _check_segments(ids: np.ndarray, record: Mapping[str, Any], *, is_whole: bool) -> None:
    path = record["pan_seg_file_name"]
    measures = measure_segments(ids)
    areas = dict(zip(measures.ids.tolist(), measures.areas.tolist(), strict=True))
    areas.pop(VOID, None)
    segments = {segment["id"]: segment for segment in record["segments_info"]}
    _check_listed(path, areas, segments)
    for segment_id, segment in segments.items():
        found = areas.get(segment_id, 0)
        if is_whole and not found:
            raise UserError(
                f"label file {path} has no pixel of segment {segment_id}, which its segments_info "
                "lists; write both from the same annotation"
            )
        area = segment.get("area", found)
        agrees = found == area if is_whole else found <= area
        if not agrees:
            raise UserError(
                f"label file {path}: segment {segment_id} has {found} pixels, but the area {area} "
                "in segments_info; write both from the same annotation"
            )


def _check_listed(path: str | Path, present: Iterable[int], listed: Sequence[int]) -> None:
    known = set(listed)
    for segment_id in present:
        if segment_id not in known:
            raise UserError(
                f"label file {path} has the segment {segment_id}, which its segments_info doesn't "
                "list; write both from the same annotation"
            )


def annotations_of(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The instances of a standard dict, as annotations.

    Args:
        record: with `annotations`, or with panoptic ground truth, whose things they are then.

    Returns:
        `annotations` themselves; else one for each thing: `bbox` (XYXY_ABS, tight), `area` in
        pixels, `category_id` (0 to T - 1), `iscrowd`, and `segmentation` as compressed RLE. None
        where the dict has neither.

    Raises:
        UserError: see `read_pan_seg`.
    """
    if "annotations" in record or "segments_info" not in record:
        return record.get("annotations") or []
    things = {s["id"]: s for s in record["segments_info"] if s["isthing"]}
    masks = encode_segments(read_pan_seg(record), lambda ids: np.isin(ids, list(things)))
    return [
        {
            "bbox": list(mask.box),
            "bbox_mode": BoxMode.XYXY_ABS,
            "area": mask.area,
            "category_id": things[mask.id]["thing_category_id"],
            "iscrowd": things[mask.id]["iscrowd"],
            "segmentation": mask.rle,
        }
        for mask in masks
    ]
