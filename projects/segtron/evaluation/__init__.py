"""Metrics: each streams, merges across processes and computes (update, merge, compute)."""

from segtron.evaluation.build import build_evaluators
from segtron.evaluation.cityscapes_instance import (
    CityscapesInstanceEvaluator,
    CityscapesInstanceMetric,
)
from segtron.evaluation.coco import CocoInstanceEvaluator, CocoInstanceMetric
from segtron.evaluation.scores import InstanceScores

__all__ = [
    "CityscapesInstanceEvaluator",
    "CityscapesInstanceMetric",
    "CocoInstanceEvaluator",
    "CocoInstanceMetric",
    "InstanceScores",
    "build_evaluators",
]
