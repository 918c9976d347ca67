"""COCO results put beside ground truth, as an evaluation does it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from segtron.evaluation.coco import CocoComparison, CocoInstanceMetric, Task
from segtron.evaluation.coco_ground_truth import CocoGroundTruth


def metric_of(results: Iterable[dict[str, Any]], *, has_masks: bool = True) -> CocoInstanceMetric:
    """A metric of the images that have results."""
    by_image: dict[Any, list[dict[str, Any]]] = {}
    for result in results:
        by_image.setdefault(result["image_id"], []).append(result)
    metric = CocoInstanceMetric()
    for image_id, of_image in by_image.items():
        metric.update(image_id, of_image, has_masks=has_masks)
    return metric


def compare(
    ground_truth: CocoGroundTruth, results: Iterable[dict[str, Any]], task: Task
) -> CocoComparison:
    """All results beside their ground truth."""
    return metric_of(results).compare(ground_truth, task)
