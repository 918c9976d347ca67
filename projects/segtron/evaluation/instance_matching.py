"""Which predicted instances found which of the ground truth, by COCO's rules, and how near the
others came: what error types, precision and recall are computed from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pycocotools.mask as mask_util

from segtron.evaluation.coco import CocoComparison
from segtron.evaluation.coco_matching import (
    Pairs,
    best_of_each_class,
    candidates_of,
    find_pairs,
    match_candidates,
)

# From this IoU on a detection has found an instance of its class.
MATCH_IOU = 0.5


@dataclass(frozen=True)
class InstanceMatches:
    """All detections and instances of a set.

    Detections stand in the order of the images' ids, and those of an image by falling score.
    Instances are numbered from 0; crowds are not among them.

    Attributes:
        score: (D,) float64.
        category: (D,) int64, number of the predicted class.
        area: (D,) float64, in pixels.
        match: (D,) int64, the instance that was found, -1 for none.
        in_crowd: (D,) bool, found none but lies in a crowd of its class, so that it doesn't count.
        same_class_iou: (D,) float64, with the nearest instance of its class, found or not; 0 where
            there is none.
        same_class_nearest: (D,) int64, that instance; of no meaning where the IoU is 0.
        other_class_iou: (D,) float64, likewise among the instances of other classes.
        other_class_nearest: (D,) int64.
        truth_category: (G,) int64, number of the class of an instance.
        truth_area: (G,) float64, in pixels.
        task: "bbox" or "segm", whose IoU this is.
        num_images: images of the set.
        class_names: K names.
    """

    score: np.ndarray
    category: np.ndarray
    area: np.ndarray
    match: np.ndarray
    in_crowd: np.ndarray
    same_class_iou: np.ndarray
    same_class_nearest: np.ndarray
    other_class_iou: np.ndarray
    other_class_nearest: np.ndarray
    truth_category: np.ndarray
    truth_area: np.ndarray
    task: str
    num_images: int
    class_names: list[str]

    def num_ground_truth(self) -> np.ndarray:
        """(K,) int64, instances of each class."""
        return np.bincount(self.truth_category, minlength=len(self.class_names))

    def num_predicted(self) -> np.ndarray:
        """(K,) int64, detections of each class that count."""
        return np.bincount(self.category[~self.in_crowd], minlength=len(self.class_names))

    def by_score(self) -> np.ndarray:
        """(D,) int64, detections by falling score; equal ones as they stand, as COCO has them."""
        return np.argsort(-self.score, kind="stable")


def match_instances(comparison: CocoComparison, max_detections: int) -> InstanceMatches:
    """Match detections to the instances of a set.

    As in COCO's protocol each detection, the most confident one first, finds the instance of its
    class that it has the highest IoU with, among those not found yet, if that IoU is at least
    `MATCH_IOU`. One that finds none and lies in a crowd of its class doesn't count.

    Args:
        comparison: of boxes or masks.
        max_detections: how many detections of a class in an image count, the best first.
    """
    annotated, detected = comparison.annotated, comparison.detected
    num_classes = len(comparison.ground_truth.class_names)
    kept = np.sort(best_of_each_class(detected, num_classes, max_detections))
    # By image and falling score, equal ones as they stand.
    order = kept[np.lexsort((-detected.scores[kept], detected.images[kept]))]
    images, classes = detected.images[order], detected.classes[order]
    # Of all classes, for a detection may also be near an instance of another one.
    pairs = find_pairs(
        annotated,
        detected,
        order,
        groups=(annotated.images, detected.images),
        overlaps=mask_util.iou,
        least_iou=0,
    )
    is_same_class = classes[pairs.detections] == annotated.classes[pairs.ground_truth]
    is_crowd_pair = annotated.is_crowd[pairs.ground_truth]

    candidates = candidates_of(_select(pairs, is_same_class & (pairs.ious >= MATCH_IOU)))
    found = np.full(order.size, -1)
    found[candidates.detections] = match_candidates(
        candidates,
        (images * num_classes + classes)[candidates.detections],
        annotated.is_crowd[None],
        annotated.is_crowd,
        np.array([MATCH_IOU]),
    )[0, 0]
    # Instances by image; crowds have no number.
    by_image = np.argsort(annotated.images, kind="stable")
    instances = by_image[~annotated.is_crowd[by_image]]
    number_of = np.full(annotated.images.size, -1)
    number_of[instances] = np.arange(instances.size)
    match = np.full(order.size, -1)
    match[found >= 0] = number_of[found[found >= 0]]
    same, other = (
        _nearest(_select(pairs, chosen & ~is_crowd_pair), order.size, number_of)
        for chosen in (is_same_class, ~is_same_class)
    )
    return InstanceMatches(
        score=detected.scores[order],
        category=classes,
        area=detected.areas[order],
        match=match,
        in_crowd=(found >= 0) & (match < 0),
        same_class_iou=same[0],
        same_class_nearest=same[1],
        other_class_iou=other[0],
        other_class_nearest=other[1],
        truth_category=annotated.classes[instances],
        truth_area=annotated.areas[instances],
        task=comparison.task,
        num_images=len(comparison.ground_truth.images),
        class_names=comparison.ground_truth.class_names,
    )


def _select(pairs: Pairs, chosen: np.ndarray) -> Pairs:
    return Pairs(*(column[chosen] for column in pairs))


def _nearest(
    pairs: Pairs, num_detections: int, number_of: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The highest IoU of each detection, 0 where it is in no pair, and the number of the instance,
    of equal ones the first."""
    iou, nearest = np.zeros(num_detections), np.zeros(num_detections, dtype=np.int64)
    numbers = number_of[pairs.ground_truth]
    # The last one that is written stays.
    ascending = np.lexsort((-numbers, pairs.ious))
    detections = pairs.detections[ascending]
    iou[detections], nearest[detections] = pairs.ious[ascending], numbers[ascending]
    return iou, nearest
