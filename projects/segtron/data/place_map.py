"""Maps of numbered things, in a form that every transform takes; and targets made of them.

One map carries all instances or segments of an image, so one map is all that augmentations have to
move, however many there are. In it a thing goes by its place in a list, counted from 1; 0 is none.
With up to 255 of them a map is (H, W) uint8; else (H, W, 3) uint8, the place's three bytes, lowest
first: Detectron2 resizes wider integers by other rules than bytes.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from detectron2.structures import BitMasks, Boxes, Instances

from segtron.data.id_map import measure_segments

MOST_IN_A_BYTE = 255


def as_bytes(places: np.ndarray) -> np.ndarray:
    """Places in bytes.

    Args:
        places: (H, W): uint8, or wider where there are more than 255.
    """
    if places.dtype == np.uint8:
        return places
    return np.stack([places & 255, places >> 8 & 255, places >> 16], axis=2).astype(np.uint8)


def as_numbers(places: np.ndarray) -> np.ndarray:
    """Places that were in bytes, transformed or not, as one number a pixel.

    Returns:
        (H, W) uint8 or int32.
    """
    if places.ndim == 2:
        return places
    low, middle, high = np.moveaxis(places.astype(np.int32), 2, 0)
    return low | middle << 8 | high << 16


def look_up(places: np.ndarray, values: np.ndarray) -> np.ndarray:
    """What belongs to the place of each pixel.

    Args:
        places: (H, W) uint8 or int32.
        values: (P + 1,) uint8, of no place first.

    Returns:
        (H, W) uint8.
    """
    if places.dtype != np.uint8:
        return values.take(places)
    table = np.zeros(256, np.uint8)
    table[: values.size] = values
    return cv2.LUT(places, table)


def instances_of(places: np.ndarray, classes: np.ndarray) -> tuple[Instances, np.ndarray]:
    """The instances that have a pixel in a map.

    Args:
        places: (H, W) uint8 or int32.
        classes: (P + 1,) int64, by place; below 0 of those that are no instances.

    Returns:
        With `gt_boxes`, tight, `gt_classes` and `gt_masks`, by place; and (N,) their places.
    """
    measures = measure_segments(places)
    is_instance = classes[measures.ids] >= 0
    numbers, boxes = measures.ids[is_instance], measures.boxes[is_instance]
    masks = np.zeros((len(numbers), *places.shape), bool)
    for mask, number, (x0, y0, x1, y1) in zip(masks, numbers, boxes.tolist(), strict=True):
        np.equal(places[y0:y1, x0:x1], number, out=mask[y0:y1, x0:x1])
    instances = Instances(places.shape)
    instances.gt_boxes = Boxes(torch.from_numpy(boxes.astype(np.float32)))
    instances.gt_classes = torch.from_numpy(classes[numbers])
    instances.gt_masks = BitMasks(torch.from_numpy(masks))
    return instances, numbers
