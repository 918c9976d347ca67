"""Metrics: each streams, merges across processes and computes (update, merge, compute)."""

from segtron.evaluation.build import build_evaluators
from segtron.evaluation.cityscapes_instance import (
    CityscapesInstanceEvaluator,
    CityscapesInstanceMetric,
)
from segtron.evaluation.cityscapes_sem_seg import (
    CityscapesSemSegEvaluator,
    CityscapesSemSegMetric,
)
from segtron.evaluation.coco import CocoInstanceEvaluator, CocoInstanceMetric
from segtron.evaluation.confusion import joint_histogram
from segtron.evaluation.label_files import LabelFiles, label_file, label_values, write_labels
from segtron.evaluation.scores import CityscapesSemSegScores, InstanceScores, SemSegScores
from segtron.evaluation.sem_seg import SemSegEvaluator, SemSegMetric

__all__ = [
    "CityscapesInstanceEvaluator",
    "CityscapesInstanceMetric",
    "CityscapesSemSegEvaluator",
    "CityscapesSemSegMetric",
    "CityscapesSemSegScores",
    "CocoInstanceEvaluator",
    "CocoInstanceMetric",
    "InstanceScores",
    "LabelFiles",
    "SemSegEvaluator",
    "SemSegMetric",
    "SemSegScores",
    "build_evaluators",
    "joint_histogram",
    "label_file",
    "label_values",
    "write_labels",
]
