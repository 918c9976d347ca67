"""The semantic FPN head: Detectron2's, with the losses that all semantic heads have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from detectron2.modeling.meta_arch.semantic_seg import SemSegFPNHead
from torch import nn

from segtron.errors import UserError
from segtron.modeling.losses.sem_seg import SemSegLoss
from segtron.modeling.norm import NORMS, resolve_norm
from segtron.modeling.options import check_choice
from segtron.modeling.semantic_heads.head import losses_on_image, select_features


@SEM_SEG_HEADS_REGISTRY.register()
class SemanticFPNHead(SemSegFPNHead):
    """The semantic branch of Panoptic FPN (Kirillov, Girshick, He & Dollár 2019).

    The layers and their names are those of Detectron2's `SemSegFPNHead`, so weights can be
    exchanged with it. The loss is that of the config, where Detectron2 has cross-entropy only.
    """

    @configurable
    def __init__(
        self, input_shape: Mapping[str, ShapeSpec], *, loss: nn.Module, **kwargs: Any
    ) -> None:
        """
        Args:
            input_shape: name -> channels and stride of the features to use.
            loss: maps logits (N, K, H, W) and targets (N, H, W) to a dict of weighted losses.
            **kwargs: as for `SemSegFPNHead`.
        """
        super().__init__(input_shape, **kwargs)
        self.loss = loss

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        options = cfg.MODEL.SEM_SEG_HEAD
        features = select_features(
            "MODEL.SEM_SEG_HEAD.IN_FEATURES", options.IN_FEATURES, input_shape
        )
        finest = min(shape.stride for shape in features.values())
        if finest < options.COMMON_STRIDE:
            raise UserError(
                f"MODEL.SEM_SEG_HEAD.COMMON_STRIDE is {options.COMMON_STRIDE}, but the finest of "
                f"IN_FEATURES has stride {finest}, from which SemanticFPNHead can't step down; "
                f"lower it to {finest}"
            )
        ratios = [shape.stride / options.COMMON_STRIDE for shape in features.values()]
        if not all(math.log2(ratio).is_integer() for ratio in ratios):
            raise UserError(
                f"MODEL.SEM_SEG_HEAD.COMMON_STRIDE is {options.COMMON_STRIDE}; SemanticFPNHead "
                "wants IN_FEATURES with strides that are it times 1, 2, 4, 8, ..."
            )
        norm = check_choice("MODEL.SEM_SEG_HEAD.NORM", options.NORM, NORMS)
        return super().from_config(cfg, input_shape) | {
            "loss": SemSegLoss(cfg),
            "norm": resolve_norm(norm),
        }

    def losses(self, predictions: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """
        Args:
            predictions: (N, K, H / stride, W / stride), logits.
            targets: (N, H, W), int64.

        Returns:
            Those of `loss`.
        """
        return losses_on_image(self.loss, predictions, self.common_stride, targets)
