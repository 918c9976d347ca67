"""Metrics: each streams, merges across processes and computes (update, merge, compute).

Here are the names for scoring files (docs/evaluation.md) and for metrics of one's own
(docs/extending.md); each metric is in its module.
"""

from segtron.evaluation.boundary_sem_seg import SemSegBoundaryMetric
from segtron.evaluation.build import EVALUATORS
from segtron.evaluation.cityscapes_instance_files import score_cityscapes_instances
from segtron.evaluation.cityscapes_semantic_files import score_cityscapes_semantics
from segtron.evaluation.coco_files import score_coco_results
from segtron.evaluation.gather import merge_over_processes
from segtron.evaluation.image_metric import ImageMetric
from segtron.evaluation.model_output import predicted_sem_seg, stuff_class_values
from segtron.evaluation.panoptic_files import score_panoptic_files

__all__ = [
    "EVALUATORS",
    "ImageMetric",
    "SemSegBoundaryMetric",
    "merge_over_processes",
    "predicted_sem_seg",
    "score_cityscapes_instances",
    "score_cityscapes_semantics",
    "score_coco_results",
    "score_panoptic_files",
    "stuff_class_values",
]
