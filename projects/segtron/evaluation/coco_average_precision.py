"""Average precision by COCO's rules: which detection finds what, and the precision that follows.

Equal bit for bit to pycocotools' `COCOeval`, ties included (docs/coco_scorer.md). The way there is
another: only pairs that overlap enough are kept, and one step of the matching serves all images,
classes, IoU thresholds and areas at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pycocotools.mask as mask_util

# To the official digits: 0.5, 0.55, ..., 0.95, and 0, 0.01, ..., 1.
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
# All, small, medium, large [pixels]; both limits belong to it.
AREAS = np.array([(0, 1e5**2), (0, 32**2), (32**2, 96**2), (96**2, 1e5**2)], dtype=np.float64)

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


class PrecisionAtRecalls(NamedTuple):
    """At T = 10 IoU thresholds, R = 101 recalls, K classes, A = 4 areas (all, small, medium,
    large); -1 where there is no ground truth."""

    precision: np.ndarray  # (T, R, K, A) float64, the best at this recall or a higher one
    recall: np.ndarray  # (T, K, A) float64, of all detections together
    scores: np.ndarray  # (T, R, K, A) float64, where this recall is reached; 0 where it is not


class _Candidates(NamedTuple):
    """E pairs that may match, and the C detections that have any. A detection's pairs lie together,
    the larger IoU last, of equal ones the later ground truth last."""

    detections: np.ndarray  # (C,) int64, ascending
    starts: np.ndarray  # (C,) int64, where a detection's pairs start
    counts: np.ndarray  # (C,) int64, how many they are
    ground_truth: np.ndarray  # (E,) int64
    ious: np.ndarray  # (E,) float64


def precision_at_recalls(
    ground_truth: GroundTruthColumns,
    detections: DetectionColumns,
    num_classes: int,
    max_detections: int,
    overlaps: Overlaps = mask_util.iou,
) -> PrecisionAtRecalls:
    """Score detections against ground truth.

    Args:
        ground_truth: G annotations.
        detections: D detections.
        num_classes: K.
        max_detections: how many detections of a class in an image count, the best first.
        overlaps: what IoU is; asked once for each image and class that has both.
    """
    # Detections by image and class, the best first.
    group = detections.images * num_classes + detections.classes
    order = np.lexsort((-detections.scores, group))
    order = order[_places_within(group[order]) < max_detections]
    group, classes, scores = group[order], detections.classes[order], detections.scores[order]

    candidates = _candidates(ground_truth, detections, order, num_classes, overlaps)
    # Ground truth that need not be found and whose finders don't count, and the rest by class.
    is_ignored = ground_truth.is_crowd | _is_outside(ground_truth.areas)
    num_wanted = np.array(
        [np.bincount(ground_truth.classes[~row], minlength=num_classes) for row in is_ignored]
    )
    match = _match(candidates, group[candidates.detections], is_ignored, ground_truth.is_crowd)
    is_counted = ~_is_outside(detections.areas[order])
    candidate_is_counted = np.repeat(
        is_counted[:, None, candidates.detections], len(IOU_THRESHOLDS), axis=1
    )
    area, threshold, candidate = np.nonzero(match >= 0)
    candidate_is_counted[area, threshold, candidate] = ~is_ignored[
        area, match[area, threshold, candidate]
    ]
    candidate_is_hit = candidate_is_counted & (match >= 0)

    # Each class's detections, the best first, of equal ones that of the earlier image.
    best_first = np.lexsort((-scores, classes))
    bounds = np.searchsorted(classes[best_first], np.arange(num_classes + 1))
    candidate_of = np.full(order.size, -1)
    candidate_of[candidates.detections] = np.arange(candidates.detections.size)
    is_counted[:, candidates.detections] = False  # these count at some thresholds, not at others

    shape = (len(IOU_THRESHOLDS), len(RECALLS), num_classes, len(AREAS))
    result = PrecisionAtRecalls(
        np.full(shape, -1.0), np.full((shape[0], *shape[2:]), -1.0), np.full(shape, -1.0)
    )
    for k, a in zip(*np.nonzero(num_wanted.T), strict=True):
        members = best_first[bounds[k] : bounds[k + 1]]
        (places,) = np.nonzero(candidate_of[members] >= 0)
        columns = candidate_of[members[places]]
        is_hit = candidate_is_hit[a][:, columns]
        num_counted = np.cumsum(is_counted[a, members])[places]
        num_counted = num_counted + np.cumsum(candidate_is_counted[a][:, columns], axis=1)
        # The number of hits that reaches each recall, as the divided floats say.
        needed = np.searchsorted(np.arange(num_wanted[a, k] + 1) / num_wanted[a, k], RECALLS)
        for t in range(len(IOU_THRESHOLDS)):
            hits = np.flatnonzero(is_hit[t])
            reached = needed[needed <= hits.size]
            result.precision[t, :, k, a] = result.scores[t, :, k, a] = 0
            if members.size:
                # Recall 0 is reached by the first detection, hit or not.
                precision = np.append(_precision_at_hits(num_counted[t, hits]), 0.0)
                result.precision[t, : reached.size, k, a] = precision[np.maximum(reached - 1, 0)]
                reaching = members[np.concatenate([[0], places[hits]])[reached]]
                result.scores[t, : reached.size, k, a] = scores[reaching]
            result.recall[t, k, a] = hits.size / num_wanted[a, k]
    return result


def _places_within(groups: np.ndarray) -> np.ndarray:
    """0, 1, 2, ... in each run of equal values.

    Args:
        groups: (N,) int, not negative.
    """
    first = np.flatnonzero(np.diff(groups, prepend=-1))
    return np.arange(groups.size) - np.repeat(first, np.diff(first, append=groups.size))


def _is_outside(areas: np.ndarray) -> np.ndarray:
    """(A, N) bool, whether each of (N,) areas is beyond the limits of each range."""
    return (areas < AREAS[:, :1]) | (areas > AREAS[:, 1:])


def _take(shapes: Shapes, places: np.ndarray) -> Shapes:
    if isinstance(shapes, np.ndarray):
        return shapes[places]
    return [shapes[place] for place in places.tolist()]


def _candidates(
    ground_truth: GroundTruthColumns,
    detections: DetectionColumns,
    order: np.ndarray,
    num_classes: int,
    overlaps: Overlaps,
) -> _Candidates:
    """The pairs of one image and class whose IoU reaches the lowest threshold.

    Args:
        order: (N,) int, the detections that count, by image and class. In the result, a detection
            is its place in this order.
    """
    group = (detections.images * num_classes + detections.classes)[order]
    gt_group = ground_truth.images * num_classes + ground_truth.classes
    gt_order = np.argsort(gt_group, kind="stable")
    groups, starts = np.unique(group, return_index=True)
    ends = np.append(starts[1:], group.size)
    gt_starts = np.searchsorted(gt_group[gt_order], groups, side="left")
    gt_ends = np.searchsorted(gt_group[gt_order], groups, side="right")
    rows, columns, ious = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
    for place in np.flatnonzero(gt_starts < gt_ends):
        start, end = starts[place], ends[place]
        annotated = gt_order[gt_starts[place] : gt_ends[place]]
        iou = overlaps(
            _take(detections.shapes, order[start:end]),
            _take(ground_truth.shapes, annotated),
            ground_truth.is_crowd[annotated].astype(np.uint8),
        )
        row, column = np.nonzero(iou >= IOU_THRESHOLDS[0])
        rows.append(row + start)
        columns.append(annotated[column])
        ious.append(iou[row, column])
    detection, gt, iou = (np.concatenate(parts) for parts in (rows, columns, ious))
    ascending = np.lexsort((gt, iou, detection))
    with_any, starts, counts = np.unique(
        detection[ascending], return_index=True, return_counts=True
    )
    return _Candidates(with_any, starts, counts, gt[ascending], iou[ascending])


def _match(
    candidates: _Candidates, group: np.ndarray, is_ignored: np.ndarray, is_crowd: np.ndarray
) -> np.ndarray:
    """Let the detections of each image and class choose, the best first.

    A detection takes the ground truth that it overlaps most, of those that are free; one that is
    ignored only where no other is left. A crowd stays free.

    Args:
        candidates: of C detections.
        group: (C,) int, their image and class.
        is_ignored: (A, G) bool.
        is_crowd: (G,) bool.

    Returns:
        (A, T, C) int32, the ground truth; -1 for none.
    """
    shape = (len(AREAS), len(IOU_THRESHOLDS))
    match = np.full((*shape, group.size), -1, dtype=np.int32)
    is_taken = np.zeros((*shape, is_crowd.size), dtype=bool)
    turn = _places_within(group)
    # Turn by turn: the first of every image and class, then the second, ...
    for choosers in np.split(np.argsort(turn, kind="stable"), np.cumsum(np.bincount(turn))[:-1]):
        best = np.full((*shape, choosers.size), -1, dtype=np.int32)
        best_ignored = best.copy()
        counts = candidates.counts[choosers]
        for n in range(counts.max(initial=0)):
            (has,) = np.nonzero(counts > n)
            pair = candidates.starts[choosers[has]] + n
            gt = candidates.ground_truth[pair]
            is_free = candidates.ious[pair] >= IOU_THRESHOLDS[:, None]
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


def _precision_at_hits(num_counted: np.ndarray) -> np.ndarray:
    """(H,) float64, the best precision at each hit or a later one.

    Args:
        num_counted: (H,) int, how many detections count, down to each hit.
    """
    hits = np.arange(1, num_counted.size + 1, dtype=np.float64)
    # The tiny term is the official scorer's.
    return np.maximum.accumulate((hits / (num_counted + np.spacing(1)))[::-1])[::-1]
