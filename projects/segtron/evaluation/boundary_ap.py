"""Boundary AP (Cheng et al. 2021): COCO's mask AP, where a pair of masks is worth the lesser of its
mask IoU and its Boundary IoU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pycocotools.mask as mask_util

from segtron.evaluation.boundary import DILATION_RATIO, RLE, boundary_rles
from segtron.evaluation.coco import MAX_DETECTIONS, CocoComparison
from segtron.evaluation.coco_matching import Overlaps
from segtron.evaluation.coco_protocol import IOU_THRESHOLDS
from segtron.evaluation.scores import InstanceScores


def compute_boundary_ap(
    comparison: CocoComparison,
    dilation_ratio: float = DILATION_RATIO,
    max_detections: int = MAX_DETECTIONS,
) -> InstanceScores:
    """Boundary AP from what mask AP is computed from, too.

    Args:
        comparison: of masks.
        dilation_ratio: see `segtron.evaluation.boundary.boundary_width`.
        max_detections: how many detections of a class in an image count, the best first.
    """
    return comparison.score(
        max_detections,
        overlaps=boundary_overlaps(dilation_ratio),
        protocol=f"COCO protocol, boundary within {100 * dilation_ratio:g}% of the diagonal",
    )


def boundary_overlaps(dilation_ratio: float = DILATION_RATIO) -> Overlaps:
    """What two masks are worth: the lesser of their mask IoU and their Boundary IoU."""

    def overlaps(
        detections: Sequence[RLE], ground_truth: Sequence[RLE], is_crowd: np.ndarray
    ) -> np.ndarray:
        return limit_by_boundaries(
            mask_util.iou(detections, ground_truth, is_crowd),
            detections,
            ground_truth,
            is_crowd,
            least_iou=IOU_THRESHOLDS[0],
            dilation_ratio=dilation_ratio,
        )

    return overlaps


def limit_by_boundaries(
    ious: np.ndarray,
    detections: Sequence[RLE],
    ground_truth: Sequence[RLE],
    is_crowd: Sequence[int],
    *,
    least_iou: float,
    dilation_ratio: float = DILATION_RATIO,
) -> np.ndarray:
    """The lesser of mask IoU and Boundary IoU of each pair that can still match.

    Only the boundaries of masks that are in such a pair are looked at. A crowd has no contour that
    a detection should follow: with it, only the masks count, as in the reference implementation.

    Args:
        ious: (D, G) of the masks; with a crowd, the share of the detection.
        detections: D masks.
        ground_truth: G masks.
        is_crowd: G flags.
        least_iou: pairs below this match in no case, and keep their mask IoU or one below this.
        dilation_ratio: see `segtron.evaluation.boundary.boundary_width`.

    Returns:
        (D, G) float64.
    """
    limited = ious.copy()
    can_match = (ious >= least_iou) & ~np.asarray(is_crowd, dtype=bool)
    rows, columns = np.flatnonzero(can_match.any(axis=1)), np.flatnonzero(can_match.any(axis=0))
    if rows.size:
        boundaries = mask_util.iou(
            boundary_rles([detections[row] for row in rows], dilation_ratio),
            boundary_rles([ground_truth[column] for column in columns], dilation_ratio),
            [0] * columns.size,
        )
        block = np.ix_(rows, columns)
        limited[block] = np.minimum(ious[block], boundaries)
    return limited
