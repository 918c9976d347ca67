"""Metrics: each streams, merges across processes and computes (update, merge, compute)."""

from segtron.data.category_ids import Category
from segtron.evaluation.boundary_sem_seg import SemSegBoundaryMetric
from segtron.evaluation.build import build_evaluators
from segtron.evaluation.cityscapes_instance import (
    CityscapesInstanceEvaluator,
    CityscapesInstanceMetric,
)
from segtron.evaluation.cityscapes_instance_files import score_cityscapes_instances
from segtron.evaluation.cityscapes_sem_seg import (
    CityscapesSemSegEvaluator,
    CityscapesSemSegMetric,
)
from segtron.evaluation.cityscapes_semantic_files import score_cityscapes_semantics
from segtron.evaluation.coco import CocoInstanceMetric
from segtron.evaluation.coco_evaluator import CocoInstanceEvaluator
from segtron.evaluation.coco_files import score_coco_results
from segtron.evaluation.confusion import joint_histogram
from segtron.evaluation.label_files import LabelFiles, label_file, label_values, write_labels
from segtron.evaluation.panoptic import PanopticEvaluator, PanopticEvaluators
from segtron.evaluation.panoptic_files import score_panoptic_files
from segtron.evaluation.panoptic_quality import PanopticQualityMetric, explain_match, match_segments
from segtron.evaluation.scores import (
    CityscapesSemSegScores,
    InstanceScores,
    PanopticScores,
    SemSegBoundaryScores,
    SemSegScores,
)
from segtron.evaluation.sem_seg import SemSegEvaluator, SemSegMetric

__all__ = [
    "Category",
    "CityscapesInstanceEvaluator",
    "CityscapesInstanceMetric",
    "CityscapesSemSegEvaluator",
    "CityscapesSemSegMetric",
    "CityscapesSemSegScores",
    "CocoInstanceEvaluator",
    "CocoInstanceMetric",
    "InstanceScores",
    "LabelFiles",
    "PanopticEvaluator",
    "PanopticEvaluators",
    "PanopticQualityMetric",
    "PanopticScores",
    "SemSegBoundaryMetric",
    "SemSegBoundaryScores",
    "SemSegEvaluator",
    "SemSegMetric",
    "SemSegScores",
    "build_evaluators",
    "explain_match",
    "joint_histogram",
    "label_file",
    "label_values",
    "match_segments",
    "score_cityscapes_instances",
    "score_cityscapes_semantics",
    "score_coco_results",
    "score_panoptic_files",
    "write_labels",
]
