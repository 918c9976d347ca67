"""Average precision by COCO's rules: the precision that follows from which detection finds what.

Equal bit for bit to pycocotools' `COCOeval` (docs/coco_scorer.md)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pycocotools.mask as mask_util

from segtron.evaluation.coco_matching import (
    DetectionColumns,
    GroundTruthColumns,
    Overlaps,
    best_of_each_class,
    candidates_of,
    find_pairs,
    match_candidates,
)
from segtron.evaluation.coco_protocol import IOU_THRESHOLDS, LARGEST, RECALLS, SIZES

# All, small, medium, large.
AREAS = np.array([(0, LARGEST), *SIZES.values()], dtype=np.float64)


class PrecisionAtRecalls(NamedTuple):
    """At T = 10 IoU thresholds, R = 101 recalls, K classes, A = 4 areas (all, small, medium,
    large); -1 where there is no ground truth."""

    precision: np.ndarray  # (T, R, K, A) float64, the best at this recall or a higher one
    recall: np.ndarray  # (T, K, A) float64, of all detections together
    scores: np.ndarray  # (T, R, K, A) float64, where this recall is reached; 0 where it is not


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
    order = best_of_each_class(detections, num_classes, max_detections)
    classes, scores = detections.classes[order], detections.scores[order]
    gt_group, group = (
        columns.images * num_classes + columns.classes for columns in (ground_truth, detections)
    )
    candidates = candidates_of(
        find_pairs(
            ground_truth,
            detections,
            order,
            groups=(gt_group, group),
            overlaps=overlaps,
            least_iou=IOU_THRESHOLDS[0],
        )
    )
    # Ground truth that need not be found and whose finders don't count, and the rest by class.
    is_ignored = ground_truth.is_crowd | _is_outside(ground_truth.areas)
    num_wanted = np.array(
        [np.bincount(ground_truth.classes[~row], minlength=num_classes) for row in is_ignored]
    )
    match = match_candidates(
        candidates,
        group[order][candidates.detections],
        is_ignored,
        ground_truth.is_crowd,
        IOU_THRESHOLDS,
    )
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


def _is_outside(areas: np.ndarray) -> np.ndarray:
    """(A, N) bool, whether each of (N,) areas is beyond the limits of each range."""
    return (areas < AREAS[:, :1]) | (areas > AREAS[:, 1:])


def _precision_at_hits(num_counted: np.ndarray) -> np.ndarray:
    """(H,) float64, the best precision at each hit or a later one.

    Args:
        num_counted: (H,) int, how many detections count, down to each hit.
    """
    hits = np.arange(1, num_counted.size + 1, dtype=np.float64)
    # The tiny term is the official scorer's.
    return np.maximum.accumulate((hits / (num_counted + np.spacing(1)))[::-1])[::-1]
