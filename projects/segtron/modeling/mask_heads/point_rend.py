"""PointRend: the mask head of Detectron2's own project, with what it lacks for everyday use."""

from __future__ import annotations

import torch
from detectron2.config import CfgNode
from detectron2.modeling import ROI_MASK_HEAD_REGISTRY
from detectron2.projects.point_rend import ImplicitPointRendMaskHead, PointRendMaskHead
from detectron2.structures import Instances

from segtron.config import completes_config
from segtron.errors import UserError


@ROI_MASK_HEAD_REGISTRY.register()
class PointRendHead(PointRendMaskHead):
    """Detectron2's `PointRendMaskHead` (Kirillov, Wu, He & Girshick, "PointRend", 2020).

    The same layers under the same names, so weights can be exchanged with it. It also trains on a
    batch without any foreground region, where Detectron2's ends in an error: the losses are 0 then,
    and still reach every parameter.
    """

    def _sample_train_points(
        self, coarse_mask: torch.Tensor, instances: list[Instances]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if len(coarse_mask) > 0:
            return super()._sample_train_points(coarse_mask, instances)
        num_points = self.mask_point_train_num_points
        return coarse_mask.new_zeros(0, num_points, 2), coarse_mask.new_zeros(0, num_points)


HEADS = tuple(
    head.__name__ for head in (PointRendHead, PointRendMaskHead, ImplicitPointRendMaskHead)
)


@completes_config
def match_point_head(cfg: CfgNode, given: frozenset[str]) -> None:
    """Give the point head the number of classes of the ROI heads, and the masks it can read.

    Raises:
        UserError: what the user gave contradicts that.
    """
    if not cfg.MODEL.MASK_ON or cfg.MODEL.ROI_MASK_HEAD.NAME not in HEADS:
        return
    classes = cfg.MODEL.ROI_HEADS.NUM_CLASSES
    if "MODEL.POINT_HEAD.NUM_CLASSES" not in given:
        cfg.MODEL.POINT_HEAD.NUM_CLASSES = classes
    elif classes != cfg.MODEL.POINT_HEAD.NUM_CLASSES:
        raise UserError(
            f"MODEL.POINT_HEAD.NUM_CLASSES is {cfg.MODEL.POINT_HEAD.NUM_CLASSES}, but "
            f"MODEL.ROI_HEADS.NUM_CLASSES is {classes}; leave the former out"
        )
    if "INPUT.MASK_FORMAT" not in given:
        cfg.INPUT.MASK_FORMAT = "bitmask"
    elif cfg.INPUT.MASK_FORMAT != "bitmask":
        raise UserError(
            f"INPUT.MASK_FORMAT is {cfg.INPUT.MASK_FORMAT!r}, but {cfg.MODEL.ROI_MASK_HEAD.NAME} "
            "reads bitmaps only; leave it out"
        )
