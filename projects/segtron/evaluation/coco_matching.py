"""Which detection takes which ground truth, by COCO's rules.

Equal to pycocotools' `COCOeval`, ties included (docs/coco_scorer.md). The way there is another:
only pairs that overlap enough are kept, and one step of the matching serves all images, classes,
IoU thresholds and areas at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

# Boxes, (N, 4) float64 XYWH; or N masks as compressed run lengths.
Shapes = np.ndarray | list[dict[str, Any]]
# (D shapes, G shapes, (G,) uint8 crowd flags) -> (D, G) IoU, with a crowd the share of the
# detection that lies in it.
Overlaps = Callable[[Shapes, Shapes, np.ndarray], np.ndarray]


class GroundTruthColumns(NamedTuple):
    """G annotations, those of one image and class in the data set's order."""

    images: np.ndarray  # (G,) int64, the image's place in the order of ids
    classes: np.ndarray  # (G,) int64, from 0
    shapes: Shapes
    areas: np.ndarray  # (G,) float64
    is_crowd: np.ndarray  # (G,) bool


class DetectionColumns(NamedTuple):
    """D detections, those of one image, class and score in the order that breaks the tie."""

    images: np.ndarray  # (D,) int64, the image's place in the order of ids
    classes: np.ndarray  # (D,) int64, from 0
    shapes: Shapes
    areas: np.ndarray  # (D,) float64
    scores: np.ndarray  # (D,) float64, finite


class Pairs(NamedTuple):
    """E detections and ground truth that overlap."""

    detections: np.ndarray  # (E,) int64, places in the order that was asked for
    ground_truth: np.ndarray  # (E,) int64
    ious: np.ndarray  # (E,) float64


class Candidates(NamedTuple):
    """E pairs that may match, and the C detections that have any. A detection's pairs lie together,
    the larger IoU last, of equal ones the later ground truth last."""

    detections: np.ndarray  # (C,) int64, ascending
    starts: np.ndarray  # (C,) int64, where a detection's pairs start
    counts: np.ndarray  # (C,) int64, how many they are
    ground_truth: np.ndarray  # (E,) int64
    ious: np.ndarray  # (E,) float64


def best_of_each_class(
    detections: DetectionColumns, num_classes: int, max_detections: int
) -> np.ndarray:
    """The detections that count, by image and class, the best first.

    Args:
        detections: D detections.
        num_classes: K.
        max_detections: how many detections of a class in an image count, the best first.

    Returns:
        (N,) int64, places in D.
    """
    group = detections.images * num_classes + detections.classes
    order = np.lexsort((-detections.scores, group))
    return order[_ranks_within(group[order]) < max_detections]


def _ranks_within(groups: np.ndarray) -> np.ndarray:
    """How many of each value come before it.

    Args:
        groups: (N,) int, not negative.
    """
    order = np.argsort(groups, kind="stable")
    ascending = groups[order]
    first = np.flatnonzero(np.diff(ascending, prepend=-1))
    ranks = np.empty(groups.size, dtype=np.int64)
    ranks[order] = np.arange(groups.size) - np.repeat(first, np.diff(first, append=groups.size))
    return ranks


def find_pairs(
    ground_truth: GroundTruthColumns,
    detections: DetectionColumns,
    order: np.ndarray,
    *,
    groups: tuple[np.ndarray, np.ndarray],
    overlaps: Overlaps,
    least_iou: float,
) -> Pairs:
    """The pairs within groups that overlap enough.

    Args:
        ground_truth: G annotations.
        detections: D detections.
        order: (N,) int, those of them that count, by ascending group. In the result, a detection is
            its place in this order.
        groups: (G,) and (D,) int, such as the image of each; pairs are of one group.
        overlaps: what IoU is; asked once for each group that has both.
        least_iou: what an IoU has to reach; where this is 0, it has to be above.
    """
    gt_group, group = groups[0], groups[1][order]
    gt_order = np.argsort(gt_group, kind="stable")
    present, starts = np.unique(group, return_index=True)
    ends = np.append(starts[1:], group.size)
    gt_starts = np.searchsorted(gt_group[gt_order], present, side="left")
    gt_ends = np.searchsorted(gt_group[gt_order], present, side="right")
    rows, columns, ious = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
    for place in np.flatnonzero(gt_starts < gt_ends):
        start, end = starts[place], ends[place]
        annotated = gt_order[gt_starts[place] : gt_ends[place]]
        iou = overlaps(
            _take(detections.shapes, order[start:end]),
            _take(ground_truth.shapes, annotated),
            ground_truth.is_crowd[annotated].astype(np.uint8),
        )
        row, column = np.nonzero(iou >= least_iou if least_iou else iou)
        rows.append(row + start)
        columns.append(annotated[column])
        ious.append(iou[row, column])
    return Pairs(*(np.concatenate(parts) for parts in (rows, columns, ious)))


def _take(shapes: Shapes, places: np.ndarray) -> Shapes:
    if isinstance(shapes, np.ndarray):
        return shapes[places]
    return [shapes[place] for place in places.tolist()]


def candidates_of(pairs: Pairs) -> Candidates:
    """Pairs by detection, in the order in which ground truth is preferred."""
    detection, gt, iou = pairs
    ascending = np.lexsort((gt, iou, detection))
    with_any, starts, counts = np.unique(
        detection[ascending], return_index=True, return_counts=True
    )
    return Candidates(with_any, starts, counts, gt[ascending], iou[ascending])


def match_candidates(
    candidates: Candidates,
    group: np.ndarray,
    is_ignored: np.ndarray,
    is_crowd: np.ndarray,
    iou_thresholds: np.ndarray,
) -> np.ndarray:
    """Let the detections of each image and class choose, the best first.

    A detection takes the ground truth that it overlaps most, of those that are free; one that is
    ignored only where no other is left. A crowd stays free.

    Args:
        candidates: of C detections.
        group: (C,) int, their image and class; those of one group by falling score.
        is_ignored: (A, G) bool, in each range of areas.
        is_crowd: (G,) bool.
        iou_thresholds: (T,) float64, the least IoU of a match.

    Returns:
        (A, T, C) int32, the ground truth; -1 for none.
    """
    shape = (len(is_ignored), len(iou_thresholds))
    match = np.full((*shape, group.size), -1, dtype=np.int32)
    is_taken = np.zeros((*shape, is_crowd.size), dtype=bool)
    turn = _ranks_within(group)
    # Turn by turn: the first of every image and class, then the second, ...
    for choosers in np.split(np.argsort(turn, kind="stable"), np.cumsum(np.bincount(turn))[:-1]):
        best = np.full((*shape, choosers.size), -1, dtype=np.int32)
        best_ignored = best.copy()
        counts = candidates.counts[choosers]
        for n in range(counts.max(initial=0)):
            (has,) = np.nonzero(counts > n)
            pair = candidates.starts[choosers[has]] + n
            gt = candidates.ground_truth[pair]
            is_free = candidates.ious[pair] >= iou_thresholds[:, None]
            is_free = is_free & (~is_taken[:, :, gt] | is_crowd[gt])
            ignored = is_ignored[:, None, gt]
            # Pairs come in ascending order: the last that is free is the best.
            best[:, :, has] = np.where(is_free & ~ignored, gt, best[:, :, has])
            best_ignored[:, :, has] = np.where(is_free & ignored, gt, best_ignored[:, :, has])
        best = np.where(best < 0, best_ignored, best)
        match[:, :, choosers] = best
        area, threshold, chooser = np.nonzero(best >= 0)
        is_taken[area, threshold, best[area, threshold, chooser]] = True
    return match
