"""Class-balanced sampling: images of rare classes come more often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from segtron.data.each_item import for_each, num_readers
from segtron.data.sem_seg import IGNORED, read_sem_seg
from segtron.errors import UnreadableFileError

# Instances and pixels may number their classes differently.
_Class = tuple[str, int]
_INSTANCE, _PIXEL = "instance", "pixel"


def class_balanced_factors(
    records: Sequence[Mapping[str, Any]], max_repeat: float, *, skip_unreadable: bool
) -> np.ndarray:
    """How often an epoch shows each image, for all classes to come up about equally often.

    Were a class drawn first, each with the same chance, and then one of the n_c images that have
    it (class-aware sampling, Shen, Lin & Huang 2016, section 3.2), an image with the classes C_i
    would come up in proportion to

        w_i = sum of 1 / n_c over c in C_i

    and so it does here, r_i = min(w_i / w_min, max_repeat), w_min being the smallest of all. An
    image without a class is shown once.

    The classes of an image are those of its instances, without crowds; in panoptic labels those of
    its things and stuff; where there are semantic labels alone those of its pixels, for which all
    label files are read once.

    Args:
        records: N standard dicts.
        max_repeat: the largest factor, 1 or more.
        skip_unreadable: an image whose label file can't be read has no class.

    Returns:
        (N,) float64, 1 or more.

    Raises:
        UserError: a label file can't be read, or has a value that is no class.
    """
    classes = _find_classes(records, skip_unreadable)
    counts = Counter(c for present in classes for c in present)
    weights = np.array([sum(1 / counts[c] for c in sorted(present)) for present in classes])
    if not weights.any():
        return np.ones(len(records))
    return (weights / weights[weights > 0].min()).clip(1, max_repeat)


def _find_classes(records: Sequence[Mapping[str, Any]], skip_unreadable: bool) -> list[set[_Class]]:
    """The classes of each image."""

    def read(record: Mapping[str, Any]) -> set[_Class]:
        try:
            return _of_pixels(record)
        except UnreadableFileError:
            if not skip_unreadable:
                raise
            return set()

    ways = [_way_of(record, read) for record in records]
    if read not in ways:
        return [way(record) for way, record in zip(ways, records, strict=True)]
    found = for_each(
        lambda i: ways[i](records[i]),
        range(len(records)),
        workers=num_readers(),
        desc="classes of images",
        delay=2,
    )
    return list(found)


def _way_of(
    record: Mapping[str, Any], read: Callable[[Mapping[str, Any]], set[_Class]]
) -> Callable[[Mapping[str, Any]], set[_Class]]:
    if "annotations" in record:
        return _of_annotations
    if "segments_info" in record:
        return _of_segments
    return read if "sem_seg_file_name" in record else lambda _: set()


def _of_annotations(record: Mapping[str, Any]) -> set[_Class]:
    instances = record["annotations"]
    return {(_INSTANCE, i["category_id"]) for i in instances if not i.get("iscrowd", 0)}


def _of_segments(record: Mapping[str, Any]) -> set[_Class]:
    return {
        (_INSTANCE, s["thing_category_id"]) if s["isthing"] else (_PIXEL, s["category_id"])
        for s in record["segments_info"]
        if not s["iscrowd"]
    }


def _of_pixels(record: Mapping[str, Any]) -> set[_Class]:
    present = np.flatnonzero(np.bincount(read_sem_seg(record).ravel(), minlength=IGNORED + 1))
    return {(_PIXEL, c) for c in present.tolist() if c != IGNORED}
