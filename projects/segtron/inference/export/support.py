"""Which models can be exported, and for which sizes of images."""

from __future__ import annotations

from enum import StrEnum

from detectron2.config import CfgNode
from detectron2.modeling import GeneralizedRCNN, SemanticSegmentor, StandardROIHeads
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.meta_arch.semantic_seg import SemSegFPNHead
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.roi_heads import (
    FastRCNNConvFCHead,
    FastRCNNOutputLayers,
    MaskRCNNConvUpsampleHead,
)
from detectron2.projects.point_rend import PointRendMaskHead
from detectron2.projects.point_rend.point_head import StandardPointHead
from torch import nn

from segtron.errors import UserError
from segtron.modeling.mask_heads import InstanceMaskHead, PointRendHead
from segtron.modeling.meta_arch import BottomUpPanoptic, UnifiedPanopticFPN
from segtron.modeling.semantic_heads.head import SemSegHead


class Task(StrEnum):
    """What a model predicts, and panoptic models by which way."""

    INSTANCE = "instance"
    SEMANTIC = "semantic"
    PANOPTIC = "panoptic"
    BOTTOM_UP = "bottom-up"

    @property
    def has_detector(self) -> bool:
        """Whether it finds boxes first."""
        return self in (Task.INSTANCE, Task.PANOPTIC)


# Exactly these: what a subclass does otherwise would be lost.
_TASKS = {
    GeneralizedRCNN: Task.INSTANCE,
    SemanticSegmentor: Task.SEMANTIC,
    UnifiedPanopticFPN: Task.PANOPTIC,
    BottomUpPanoptic: Task.BOTTOM_UP,
}
# Parts of a detector whose inference `Detector` repeats: the key that chooses one, the part's name
# in the model, and its types.
_PARTS = (
    ("PROPOSAL_GENERATOR.NAME", "proposal_generator", (RPN,)),
    ("ANCHOR_GENERATOR.NAME", "proposal_generator.anchor_generator", (DefaultAnchorGenerator,)),
    ("ROI_HEADS.NAME", "roi_heads", (StandardROIHeads,)),
    ("ROI_BOX_HEAD.NAME", "roi_heads.box_head", (FastRCNNConvFCHead,)),
    (
        "ROI_MASK_HEAD.NAME",
        "roi_heads.mask_head",
        (InstanceMaskHead, MaskRCNNConvUpsampleHead, PointRendHead, PointRendMaskHead),
    ),
)


def task_of(cfg: CfgNode, model: nn.Module) -> Task:
    """What a model predicts, if it can be exported.

    Args:
        cfg: the model's config.
        model: as `build_model` makes it of `cfg`.

    Raises:
        UserError: it can't be exported; names the key that stands in the way.
    """
    task = _TASKS.get(type(model))
    if task is None:
        raise UserError(
            f"MODEL.META_ARCHITECTURE is {cfg.MODEL.META_ARCHITECTURE}, which can't be exported; "
            f"{', '.join(kind.__name__ for kind in _TASKS)} can"
        )
    for key in ("SLIDING_WINDOW", "AUG"):
        if cfg.TEST[key].ENABLED:
            raise UserError(
                f"TEST.{key}.ENABLED is True, but an exported model predicts each image once; "
                f"export it with TEST.{key}.ENABLED False"
            )
    if model.backbone.padding_constraints.get("square_size", 0) > 0:
        raise UserError(
            f"MODEL.BACKBONE.NAME is {cfg.MODEL.BACKBONE.NAME}, which pads images to squares, "
            "and can't be exported; choose another backbone"
        )
    if task.has_detector:
        _check_detector(cfg, model)
    if task is not Task.INSTANCE and not isinstance(model.sem_seg_head, SemSegHead | SemSegFPNHead):
        raise _not_supported("SEM_SEG_HEAD.NAME", type(model.sem_seg_head))
    return task


def _check_detector(cfg: CfgNode, model: nn.Module) -> None:
    if not cfg.MODEL.MASK_ON:
        raise UserError(
            "MODEL.MASK_ON is False, but only models with masks are exported; train one with masks"
        )
    if cfg.MODEL.KEYPOINT_ON:
        raise UserError(
            "MODEL.KEYPOINT_ON is True, but keypoints are not exported; set it to False"
        )
    for key, name, types in _PARTS:
        part = model.get_submodule(name)
        if type(part) not in types:
            raise _not_supported(key, type(part), types)
    heads = model.roi_heads
    predictor = heads.box_predictor
    if type(predictor) is not FastRCNNOutputLayers:
        raise _not_supported("ROI_BOX_HEAD.NAME", type(predictor), (FastRCNNOutputLayers,))
    for transform in (predictor.box2box_transform, model.proposal_generator.box2box_transform):
        if type(transform) is not Box2BoxTransform:
            raise _not_supported("ROI_HEADS.NAME", type(transform), (Box2BoxTransform,))
    _check_pooler(cfg, "BOX", heads.box_pooler)
    if isinstance(heads.mask_head, PointRendMaskHead):
        _check_point_head(heads.mask_head)
    else:
        _check_pooler(cfg, "MASK", heads.mask_pooler)


def _check_pooler(cfg: CfgNode, part: str, pooler: nn.Module | None) -> None:
    kind = cfg.MODEL[f"ROI_{part}_HEAD"].POOLER_TYPE
    if pooler is None or kind not in ("ROIAlign", "ROIAlignV2"):
        raise UserError(
            f"MODEL.ROI_{part}_HEAD.POOLER_TYPE is {kind!r}, which can't be exported; ROIAlign "
            "and ROIAlignV2 can"
        )


def _check_point_head(head: PointRendMaskHead) -> None:
    if not head.mask_point_on:
        raise UserError(
            "MODEL.ROI_MASK_HEAD.POINT_HEAD_ON is False, with which PointRend predicts nothing; "
            "set it to True"
        )
    if type(head.point_head) is not StandardPointHead:
        raise _not_supported("POINT_HEAD.NAME", type(head.point_head), (StandardPointHead,))


def _not_supported(key: str, kind: type, known: tuple[type, ...] = ()) -> UserError:
    others = f"; {', '.join(each.__name__ for each in known)} can" if known else ""
    return UserError(f"MODEL.{key} gives a {kind.__name__}, which can't be exported{others}")


def input_stride(model: nn.Module) -> int:
    """What the height and width of an exported model's input must be multiples of."""
    return model.backbone.size_divisibility or 1


def smallest_side(model: nn.Module) -> int:
    """The least height and width of the input of a model that is exported for any size.

    Smaller images are padded. Under an FPN that is what the model does itself; without one a
    feature of a single cell would be taken for one that never changes.
    """
    strides = [shape.stride for shape in model.backbone.output_shape().values()]
    return model.backbone.size_divisibility or 2 * max(strides)
