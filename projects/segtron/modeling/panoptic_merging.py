"""From instances and a semantic segmentation of one image to segments that share no pixel."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from detectron2.structures import Instances

# Rows of an image that stuff is counted in at a time.
_ROWS = 256
# So many segments can be told apart by 16 bits.
_FEW = 2**16 - 1


def merge_panoptic(
    instances: Instances,
    sem_seg: torch.Tensor,
    *,
    overlap_threshold: float,
    stuff_area_limit: int,
    confidence_threshold: float,
    thing_classes: Sequence[int] = (0,),
) -> tuple[torch.Tensor, list[dict[str, Any]]]:
    """Merge instances and stuff by the rules of Panoptic FPN (Kirillov et al. 2019).

    Instances come first, by descending score: each gets the pixels of its mask that are still free.
    One of which more than a share is taken already is left out. Then the free pixels of each stuff
    class become one segment, if there are enough of them. All else is void.

    The result equals that of Detectron2's `combine_semantic_and_instance_outputs`, except that it
    has no segment without a pixel. Detectron2 makes some where `overlap_threshold` is 1 or
    `stuff_area_limit` is 0.

    It runs on the CPU, in the window of each mask only; of masks on a GPU only the windows are
    fetched.

    Args:
        instances: with `scores`, `pred_classes` and `pred_masks`, (N, H, W), in any order; or masks
            with a shape and a method `crops` (`segtron.inference.window_masks.WindowMasks`).
        sem_seg: (H, W) of integers, the semantic class of each pixel, 0 or more.
        overlap_threshold: the largest share of a mask that may be taken by instances before it.
        stuff_area_limit: the least number of pixels of a stuff segment.
        confidence_threshold: the lowest score of an instance.
        thing_classes: the semantic classes that are things, of which no stuff is made.

    Returns:
        (H, W) int32 on the device of `sem_seg` (uint16 of masks with `crops`, where there are few
        enough): segment ids from 1 without gaps, 0 in void. And for
        each segment `id`, `isthing` and `category_id`: for things the instance's class, besides
        `score` and `instance_id`, its place in `instances`; for stuff the semantic class, besides
        `area` in pixels.

    Raises:
        ValueError: the instances have no masks, or masks of another size than `sem_seg`.
    """
    if not instances.has("pred_masks"):
        raise ValueError("instances have no pred_masks; only a model with masks can be merged")
    masks = instances.pred_masks
    if masks.shape[1:] != sem_seg.shape:
        raise ValueError(
            f"pred_masks are {tuple(masks.shape[1:])}, but sem_seg is {tuple(sem_seg.shape)}"
        )
    scores = instances.scores.tolist()
    # The same call as in Detectron2, so that equal scores come in the same order.
    order = torch.argsort(-instances.scores).tolist()
    unsure = (place for place, i in enumerate(order) if scores[i] < confidence_threshold)
    order = order[: next(unsure, len(order))]
    classes = instances.pred_classes.tolist()
    # Half the memory where it counts, in images too large for a tensor of masks.
    is_compact = not isinstance(masks, torch.Tensor) and len(order) + int(sem_seg.max()) < _FEW
    ids = np.zeros(sem_seg.shape, np.uint16 if is_compact else np.int32)
    segments: list[dict[str, Any]] = []
    for i, (window, mask) in zip(order, _crop(masks, order), strict=True):
        area = np.count_nonzero(mask)
        left = mask & (ids[window] == 0)
        num_left = np.count_nonzero(left)
        if num_left == 0 or (area - num_left) / area > overlap_threshold:
            continue
        segment = {"id": len(segments) + 1, "isthing": True, "score": scores[i]}
        segments.append(segment | {"category_id": classes[i], "instance_id": i})
        np.copyto(ids[window], len(segments), where=left)
    _add_stuff(ids, sem_seg.cpu().numpy(), segments, stuff_area_limit, thing_classes)
    return torch.from_numpy(ids).to(sem_seg.device), segments


def _add_stuff(
    ids: np.ndarray,
    sem_seg: np.ndarray,
    segments: list[dict[str, Any]],
    area_limit: int,
    thing_classes: Sequence[int],
) -> None:
    """Write the segments of stuff into `ids` where it is 0, and append them to `segments`."""
    num_classes = int(sem_seg.max(initial=0)) + 1
    # Some rows at a time, since numbers of 64 bits are made of the labels.
    bands = [slice(top, top + _ROWS) for top in range(0, len(ids), _ROWS)]
    areas = sum(
        (np.bincount(sem_seg[rows][ids[rows] == 0], minlength=num_classes) for rows in bands),
        start=np.zeros(num_classes, np.int64),
    )
    wanted = areas >= max(area_limit, 1)
    wanted[[label for label in thing_classes if label < len(wanted)]] = False
    id_of_class = np.zeros(len(areas), np.int32)
    for label in np.flatnonzero(wanted).tolist():
        segment = {"id": len(segments) + 1, "isthing": False, "category_id": label}
        segments.append(segment | {"area": int(areas[label])})
        id_of_class[label] = len(segments)
    for rows in bands:
        free = ids[rows] == 0
        ids[rows][free] = id_of_class[sem_seg[rows][free]]


class _Crop(NamedTuple):
    """A mask without the empty frame around it."""

    window: tuple[slice, slice]
    pixels: np.ndarray  # bool, what the mask has in its window


def _crop(masks: Any, order: Sequence[int]) -> Iterator[_Crop]:
    """The masks (N, H, W) in the given order; the window of a mask without a pixel is empty.

    The window is that of the mask's own pixels, not the instance's box: nothing says that a mask
    keeps inside its box.
    """
    if not isinstance(masks, torch.Tensor):
        yield from itertools.starmap(_Crop, masks.crops(order))
        return
    if masks.device.type != "cpu":
        yield from _crop_on_device(masks[order])
        return
    for i in order:
        mask = masks[i].bool().numpy()
        rows = _extent(mask.any(axis=1))
        window = rows, _extent(mask[rows].any(axis=0))
        yield _Crop(window, mask[window])


def _crop_on_device(masks: torch.Tensor) -> Iterator[_Crop]:
    """See `_crop`. The device is waited for three times, however many masks there are."""
    if not len(masks):
        return
    masks = masks.bool()
    occupied = zip(masks.any(dim=2).cpu().numpy(), masks.any(dim=1).cpu().numpy(), strict=True)
    windows = [(_extent(rows), _extent(columns)) for rows, columns in occupied]
    crops = [mask[window] for mask, window in zip(masks, windows, strict=True)]
    pixels = torch.cat([crop.flatten() for crop in crops]).cpu().numpy()
    ends = np.cumsum([crop.numel() for crop in crops])
    for window, crop, part in zip(windows, crops, np.split(pixels, ends[:-1]), strict=True):
        yield _Crop(window, part.reshape(crop.shape))


def _extent(occupied: np.ndarray) -> slice:
    """From the first to the last True of (L,) bool; empty where there is none."""
    places = np.flatnonzero(occupied)
    return slice(int(places[0]), int(places[-1]) + 1) if places.size else slice(0, 0)
