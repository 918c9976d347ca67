"""What it costs to merge instances and a semantic segmentation into segments."""

from __future__ import annotations

from typing import Any

import torch
from detectron2.modeling.meta_arch.panoptic_fpn import combine_semantic_and_instance_outputs
from detectron2.structures import Boxes, Instances

from segtron.benchmarks.report import Row
from segtron.benchmarks.scenes import draw_scene
from segtron.benchmarks.timing import time_pairs
from segtron.benchmarks.wall_clock import on_the_wall
from segtron.data.cityscapes import SEM_SEG_ID_TO_CONTIGUOUS, THING_LABELS
from segtron.modeling.panoptic_merging import merge_panoptic

NUM_INSTANCES = 100
# Detectron2's defaults, but for the score, so that all instances take part.
_OVERLAP, _STUFF_AREA, _CONFIDENCE = 0.5, 4096, 0.0
_REPEATS = 5  # in a run, for once is over too soon to be timed
_THINGS = 0  # the one class that Detectron2 takes for all things

Merged = tuple[torch.Tensor, list[dict[str, Any]]]


def compare_merging(size: tuple[int, int], seed: int, num_pairs: int, device: str) -> Row:
    """Time `merge_panoptic` against Detectron2's `combine_semantic_and_instance_outputs`, on a
    made-up street. The segments have to be equal to the last pixel.

    Args:
        size: height and width in pixels.
        seed: of the street.
        num_pairs: runs of each that count.
        device: on which the outputs lie.

    Raises:
        RuntimeError: the segments differ.
    """
    instances, sem_seg = _draw_outputs(size, seed, device)

    def ours() -> Merged:
        return [
            merge_panoptic(
                instances,
                sem_seg,
                overlap_threshold=_OVERLAP,
                stuff_area_limit=_STUFF_AREA,
                confidence_threshold=_CONFIDENCE,
                thing_classes=[_THINGS],
            )
            for _ in range(_REPEATS)
        ][-1]

    def theirs() -> Merged:
        return [
            combine_semantic_and_instance_outputs(
                instances, sem_seg, _OVERLAP, _STUFF_AREA, _CONFIDENCE
            )
            for _ in range(_REPEATS)
        ][-1]

    height, width = size
    timing = time_pairs(
        on_the_wall(ours, device), on_the_wall(theirs, device), num_pairs, _check_equal
    )
    return Row(
        f"panoptic merging, {NUM_INSTANCES} instances, {height}x{width}, {_REPEATS} times",
        "stock Detectron2",
        timing,
    )


def _draw_outputs(size: tuple[int, int], seed: int, device: str) -> tuple[Instances, torch.Tensor]:
    """Predicted instances, and the predicted class of each pixel."""
    scene = draw_scene(seed, 0, size, NUM_INSTANCES)
    masks = torch.zeros(NUM_INSTANCES, *size, dtype=torch.bool)
    boxes = []
    for mask, instance in zip(masks, scene.instances, strict=True):
        mask[instance.rows, instance.columns] = torch.from_numpy(instance.mask)
        boxes.append(
            [
                instance.columns.start,
                instance.rows.start,
                instance.columns.stop,
                instance.rows.stop,
            ]
        )
    instances = Instances(
        size,
        pred_boxes=Boxes(torch.tensor(boxes, dtype=torch.float32)),
        scores=torch.tensor([instance.score for instance in scene.instances]),
        pred_classes=torch.tensor([instance.label_id for instance in scene.instances]),
        pred_masks=masks,
    )
    labels = torch.from_numpy(scene.classes).long()
    things = torch.tensor([SEM_SEG_ID_TO_CONTIGUOUS[label.id] for label in THING_LABELS])
    sem_seg = torch.where(torch.isin(labels, things), _THINGS, labels + 1)
    return instances.to(device), sem_seg.to(device)


def _check_equal(ours: Merged, theirs: Merged) -> None:
    if not torch.equal(ours[0], theirs[0]) or ours[1] != theirs[1]:
        raise RuntimeError("the two ways disagree on segments, so their times can't be compared")
