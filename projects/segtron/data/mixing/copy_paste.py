"""Copy-paste: objects of one image on another one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from detectron2.structures import BitMasks, Boxes, Instances

from segtron.data.id_map import measure_segments
from segtron.data.mixing.segments import join_segments
from segtron.data.panoptic_targets import panoptic_targets
from segtron.data.sem_seg import IGNORED

Mapped = dict[str, Any]


def copy_paste(target: Mapped, source: Mapped, *, object_prob: float, min_visible: float) -> Mapped:
    """Paste objects of one mapped image on another one (Ghiasi et al. 2021, section 3).

    Objects are instances, of panoptic labels the things; crowds are none. Of images with semantic
    labels alone they are the classes, as in ClassMix (Olsson et al. 2021). Each is pasted where it
    is, with a hard border: blending it changed nothing in the paper. It hides what is below,
    of crowds and stuff, too. An instance of which too little is left to see is none any more; its
    pixels become void in panoptic labels, and in the classes that go with them.

    Args:
        target: see `SegmentationMapper.map`, masks as bitmaps, boxes tight.
        source: the same, as large, with the same kinds of labels.
        object_prob: the chance of each object to be pasted.
        min_visible: the share of its pixels that an instance needs to have left.

    Returns:
        The target's dict with image and labels of both.
    """
    mixed = dict(target)
    if "pan_seg" in target:
        pasted = _paste_segments(mixed, source, object_prob, min_visible)
    elif "instances" in target:
        pasted = _paste_instances(mixed, source, object_prob, min_visible)
    else:
        classes = source["sem_seg"].numpy()
        present = np.unique(classes)
        pasted = np.isin(classes, _choose(present[present != IGNORED], object_prob))
    if "pan_seg" not in target and "sem_seg" in target:
        mixed["sem_seg"] = torch.from_numpy(_overlay(target["sem_seg"], source["sem_seg"], pasted))
    mixed["image"] = torch.from_numpy(_overlay(target["image"], source["image"], pasted))
    return mixed


def _choose(objects: np.ndarray, object_prob: float) -> np.ndarray:
    return objects[np.random.random_sample(len(objects)) < object_prob]


def _overlay(target: torch.Tensor, source: torch.Tensor, pasted: np.ndarray) -> np.ndarray:
    """(..., H, W): the source where something is pasted, the target elsewhere."""
    mixed = target.numpy().copy()
    np.copyto(mixed, source.numpy(), where=pasted)
    return mixed


def _paste_segments(
    mixed: Mapped, source: Mapped, object_prob: float, min_visible: float
) -> np.ndarray:
    """Replace all targets of `mixed`; (H, W) bool, where something is pasted."""
    below = mixed["pan_seg"].numpy().astype(np.int32)
    segments, above = join_segments(mixed["segments_info"], source)
    first = len(mixed["segments_info"])
    present = np.unique(above)
    is_object = np.array([_is_object(segments[place - 1]) for place in present[present > 0]], bool)
    pasted = np.isin(above, _choose(present[present > 0][is_object], object_prob))
    before = measure_segments(below)
    places = np.where(pasted, above, below)
    left = np.bincount(places[~pasted], minlength=first + 1)
    hidden = [
        place
        for place, area in zip(before.ids.tolist(), before.areas.tolist(), strict=True)
        if place and _is_object(segments[place - 1]) and left[place] < min_visible * area
    ]
    places[np.isin(places, hidden)] = 0
    mixed["segments_info"] = segments
    mixed |= panoptic_targets(places, segments)
    return pasted


def _is_object(segment: dict[str, Any]) -> bool:
    return bool(segment["isthing"]) and not segment["iscrowd"]


def _paste_instances(
    mixed: Mapped, source: Mapped, object_prob: float, min_visible: float
) -> np.ndarray:
    """Replace the instances of `mixed`; (H, W) bool, where something is pasted."""
    chosen = source["instances"][
        torch.from_numpy(_choose(np.arange(len(source["instances"])), object_prob))
    ]
    shape = tuple(mixed["image"].shape[1:])
    pasted = _masks(chosen, shape).any(axis=0)
    seen = _hide(mixed["instances"], pasted, min_visible)
    mixed["instances"] = Instances.cat([seen, _with_masks(chosen, _masks(chosen, shape))])
    return pasted


def _hide(instances: Instances, pasted: np.ndarray, min_visible: float) -> Instances:
    """What is left of instances of which something hides a part."""
    masks = _masks(instances, pasted.shape).copy()
    boxes = instances.gt_boxes.tensor.numpy().copy()
    kept = np.ones(len(masks), bool)
    for number, (mask, box) in enumerate(zip(masks, boxes, strict=True)):
        x0, y0, x1, y1 = box.astype(int).tolist()
        part, above = mask[y0:y1, x0:x1], pasted[y0:y1, x0:x1]
        if not above.any():
            continue
        area = np.count_nonzero(part)
        part &= ~above
        left = np.count_nonzero(part)
        kept[number] = left > 0 and left >= min_visible * area
        if kept[number]:
            rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
            boxes[number] = [
                x0 + columns[0],
                y0 + rows[0],
                x0 + columns[-1] + 1,
                y0 + rows[-1] + 1,
            ]
    seen = _with_masks(instances, masks)
    seen.gt_boxes = Boxes(torch.from_numpy(boxes))
    return seen[torch.from_numpy(np.flatnonzero(kept))]


def _masks(instances: Instances, shape: tuple[int, ...]) -> np.ndarray:
    """(N, H, W) bool; images without instances come without masks, too."""
    if not len(instances):
        return np.zeros((0, *shape), bool)
    return instances.gt_masks.tensor.numpy()


def _with_masks(instances: Instances, masks: np.ndarray) -> Instances:
    """The same boxes and classes with other masks, and nothing else."""
    return Instances(
        instances.image_size,
        gt_boxes=instances.gt_boxes,
        gt_classes=instances.gt_classes,
        gt_masks=BitMasks(torch.from_numpy(masks)),
    )
