"""What a model learns from a map of segments, made of the map once it is augmented.

One map carries instances, classes and segments, so one map is all that augmentations have to move,
however many instances there are. In it a segment goes by its place in `segments_info`, counted from
1; 0 is void.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.structures import BitMasks, Boxes, Instances

from segtron.data.id_map import measure_segments, replace_ids
from segtron.data.panoptic import read_pan_seg
from segtron.data.sem_seg import IGNORED


def read_places(record: Mapping[str, Any]) -> np.ndarray:
    """Read a standard dict's map of segments in a form that every transform takes.

    Returns:
        (H, W) uint8 with up to 255 segments; else (H, W, 3) uint8, the place's three bytes, lowest
        first: Detectron2 resizes wider integers by other rules than bytes.

    Raises:
        UserError: see `read_pan_seg`.
    """
    ids = np.array([segment["id"] for segment in record["segments_info"]], np.int64)
    places = replace_ids(read_pan_seg(record), ids, np.arange(1, len(ids) + 1), default=0)
    if len(ids) <= 255:
        return places.astype(np.uint8)
    return np.stack([places & 255, places >> 8 & 255, places >> 16], axis=2).astype(np.uint8)


def as_numbers(places: np.ndarray) -> np.ndarray:
    """The places that `read_places` wrote, transformed or not, as numbers.

    Returns:
        (H, W) int64.
    """
    if places.ndim == 2:
        return places.astype(np.int64)
    low, middle, high = np.moveaxis(places.astype(np.int64), 2, 0)
    return low | middle << 8 | high << 16


def sem_seg_of(places: np.ndarray, segments_info: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """The class of each pixel.

    Args:
        places: (H, W) int64.
        segments_info: of the image.

    Returns:
        (H, W) uint8: 0 to K - 1, or `IGNORED` in void.
    """
    classes = [IGNORED, *(segment["category_id"] for segment in segments_info)]
    return np.array(classes, np.uint8)[places]


def instances_of(places: np.ndarray, segments_info: Sequence[Mapping[str, Any]]) -> Instances:
    """The things that are left in a map, without crowds.

    Args:
        places: (H, W) int64.
        segments_info: of the image.

    Returns:
        With `gt_boxes`, tight, `gt_classes` (0 to T - 1) and `gt_masks`.
    """
    measures = measure_segments(places)
    is_learnt = np.array(
        [False, *(segment["isthing"] and not segment["iscrowd"] for segment in segments_info)]
    )
    kept = is_learnt[measures.ids]
    numbers = measures.ids[kept]
    classes = [segments_info[number - 1]["thing_category_id"] for number in numbers]
    instances = Instances(places.shape)
    instances.gt_boxes = Boxes(torch.from_numpy(measures.boxes[kept].astype(np.float32)))
    instances.gt_classes = torch.tensor(classes, dtype=torch.int64)
    instances.gt_masks = BitMasks(torch.from_numpy(places == numbers[:, None, None]))
    return instances
