"""Which evaluators a dataset gets."""

from __future__ import annotations

from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluators

from segtron.errors import UserError
from segtron.evaluation.cityscapes_instance import CityscapesInstanceEvaluator
from segtron.evaluation.cityscapes_sem_seg import CityscapesSemSegEvaluator
from segtron.evaluation.coco_evaluator import CocoInstanceEvaluator
from segtron.evaluation.model_output import require_output
from segtron.evaluation.panoptic import PanopticEvaluator, PanopticEvaluators
from segtron.evaluation.sem_seg import SemSegEvaluator

# `evaluator_type` in a dataset's metadata -> evaluators, each made by its `from_config`.
EVALUATORS = {
    "coco": (CocoInstanceEvaluator,),
    "cityscapes_instance": (CocoInstanceEvaluator, CityscapesInstanceEvaluator),
    "sem_seg": (SemSegEvaluator,),
    "cityscapes_sem_seg": (CityscapesSemSegEvaluator,),
    "coco_panoptic_seg": (CocoInstanceEvaluator, SemSegEvaluator, PanopticEvaluator),
    "cityscapes_panoptic_seg": (
        CocoInstanceEvaluator,
        CityscapesInstanceEvaluator,
        CityscapesSemSegEvaluator,
        PanopticEvaluator,
    ),
}
# MODEL.META_ARCHITECTURE -> the outputs of such models. Those of others are seen when they come.
OUTPUTS = {
    "GeneralizedRCNN": {"instances"},
    "RetinaNet": {"instances"},
    "ProposalNetwork": {"proposals"},
    "SemanticSegmentor": {"sem_seg"},
    "PanopticFPN": {"instances", "sem_seg", "panoptic_seg"},
    "UnifiedPanopticFPN": {"instances", "sem_seg", "panoptic_seg"},
    "BottomUpPanoptic": {"instances", "sem_seg", "panoptic_seg"},
}


def build_evaluators(
    cfg: CfgNode, dataset_name: str, output_dir: str | Path | None = None
) -> DatasetEvaluators:
    """The evaluators that score a registered dataset.

    Args:
        cfg: the config of the model to be scored.
        dataset_name: a registered name; its metadata's `evaluator_type` says how it is scored.
        output_dir: folder for what the evaluators save; None to save nothing.

    Raises:
        UserError: the dataset's evaluator type is unknown, or it has none; or models of this
            architecture predict nothing that it scores.
    """
    evaluator_type = MetadataCatalog.get(dataset_name).get("evaluator_type")
    if evaluator_type not in EVALUATORS:
        raise UserError(
            f"{dataset_name} has the evaluator type {evaluator_type!r}, and Segtron knows only "
            f"{', '.join(EVALUATORS)}; set it in the metadata of this set"
        )
    evaluators = EVALUATORS[evaluator_type]
    given = OUTPUTS.get(cfg.MODEL.META_ARCHITECTURE)
    if given is not None:
        # Of a panoptic set also what a Mask R-CNN or a semantic model gives can be scored.
        possible = [evaluator for evaluator in evaluators if evaluator.needs in given]
        if not possible:
            require_output(evaluators[-1].needs, given, dataset_name)
        evaluators = possible
    *others, last = (
        evaluator.from_config(cfg, dataset_name, output_dir) for evaluator in evaluators
    )
    if isinstance(last, PanopticEvaluator):
        return PanopticEvaluators(last, others)
    return DatasetEvaluators([*others, last])
