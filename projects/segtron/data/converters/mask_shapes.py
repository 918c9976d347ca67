"""Id maps as COCO's run-length encodings, pixel for pixel."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import cv2
import numpy as np

from segtron.data.id_map import encode_segments, measure_segments
from segtron.data.masks import with_text

# No image has so many, but noise does.
MOST_OBJECTS = 20_000


def id_segmentations(
    ids: np.ndarray, background: Collection[int] = (0,)
) -> list[tuple[int, dict[str, Any]]]:
    """The objects of an id map as COCO segmentations, all in one pass.

    Args:
        ids: (H, W) integers, at each pixel the id of its object. Parts that don't touch but have
            one id are one object.
        background: ids of no object.

    Returns:
        (id, `{"size": [H, W], "counts": str}`) of each object, by ascending id.
    """
    segments = encode_segments(ids, lambda found: ~np.isin(found, list(background)))
    return [(segment.id, with_text(segment.rle)) for segment in segments]


def count_ids(ids: np.ndarray) -> int:
    """How many different ids an id map (H, W) has."""
    return len(measure_segments(ids).ids)


def connected_regions(
    labels: np.ndarray, apart_from: Collection[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Cut the classes of a label map into connected regions.

    Pixels that touch at a corner are connected (8-connectivity).

    Args:
        labels: (H, W) uint8 or uint16, at each pixel its class.
        apart_from: classes that are left alone.

    Returns:
        (H, W) int32, the regions' numbers, 0 where there is none; and (R + 1,) int64, the class of
        each number (that of 0 means nothing). They are numbered by class.
    """
    regions = np.zeros(labels.shape, np.int32)
    classes = [np.zeros(1, np.int64)]
    number = 0
    measures = measure_segments(labels)
    for label, (left, top, right, bottom) in zip(
        measures.ids.tolist(), measures.boxes.tolist(), strict=True
    ):
        if label in apart_from:
            continue
        mask = labels[top:bottom, left:right] == label
        num_labels, found = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
        np.copyto(regions[top:bottom, left:right], found + number, where=mask)
        number += num_labels - 1
        classes.append(np.full(num_labels - 1, label, np.int64))
    return regions, np.concatenate(classes)
