"""Masks and id maps as COCO's run-length encodings, pixel for pixel."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as mask_util

from segtron.data.converters.shapes import compressed
from segtron.data.id_map import encode_segments, measure_segments

# No image has so many, but noise does.
MOST_OBJECTS = 20_000


def mask_segmentation(
    mask: np.ndarray, left: int = 0, top: int = 0, size: tuple[int, int] | None = None
) -> dict[str, Any]:
    """The pixels of a mask as a COCO segmentation.

    The cost is that of the mask, however large the image is.

    Args:
        mask: (h, w) bool.
        left, top: where it lies in the image.
        size: of the image, height and width, into which it fits there; default: that of the mask.

    Returns:
        `{"size": [H, W], "counts": str}`, compressed.
    """
    height, width = mask.shape if size is None else size
    # Column by column, as COCO counts pixels; a row here is a whole column of the image.
    columns = np.zeros((mask.shape[1], height), bool)
    columns[:, top : top + mask.shape[0]] = mask.T
    pixels = columns.ravel()
    changes = np.flatnonzero(np.diff(pixels, prepend=False, append=False)) + left * height
    counts = np.diff(changes, prepend=0, append=height * width)
    if counts[-1] == 0:  # pycocotools leaves an empty last gap out, too
        counts = counts[:-1]
    rle = {"size": [height, width], "counts": counts.tolist()}
    return compressed(mask_util.frPyObjects(rle, height, width))


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
    return [(segment.id, compressed(segment.rle)) for segment in segments]


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
