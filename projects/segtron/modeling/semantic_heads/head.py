"""What all semantic heads share: the way from logits to the image, losses, the config."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from torch import nn

from segtron.errors import UserError
from segtron.modeling.losses import SemSegLoss
from segtron.modeling.norm import NORMS
from segtron.modeling.options import check_choice, check_dropout
from segtron.modeling.semantic_heads.auxiliary import AuxiliaryHead
from segtron.modeling.semantic_heads.upsampling import crop, interpolate


class SemSegHead(nn.Module, ABC):
    """Base of semantic heads, with the interface of Detectron2's `SemSegFPNHead`.

    A subclass gives `layers`, from features to logits at `stride`; they are brought to the image by
    bilinear interpolation. Features cover an image with ceil(size / stride) cells from its top left
    corner, so the logits can reach beyond the right and the bottom border: they are cut there, and
    never resized, which would shift them against the image. In training this happens here; at
    inference Detectron2's models do it, who know the size of each image.

    Attributes:
        num_classes: number of classes K.
        ignore_value: the value of pixels in the targets that have no class.
        stride: pixels of the image that a cell of the logits covers, in both directions.
        auxiliary_head: a second head, in training only, or None.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        stride: int,
        loss: nn.Module,
        ignore_value: int = 255,
        auxiliary_head: AuxiliaryHead | None = None,
    ) -> None:
        """
        Args:
            num_classes: number of classes.
            stride: stride of the logits that `layers` gives.
            loss: maps logits (N, K, H, W) and targets (N, H, W) to a dict of weighted losses.
            ignore_value: what Detectron2's models pad targets with.
            auxiliary_head: a second head on one of the features. The sum of its losses, times its
                weight, is `loss_sem_seg_aux`.
        """
        super().__init__()
        self.num_classes = num_classes
        self.stride = stride
        self.loss = loss
        self.ignore_value = ignore_value
        self.auxiliary_head = auxiliary_head

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        options = cfg.MODEL.SEM_SEG_HEAD
        norm = check_choice("MODEL.SEM_SEG_HEAD.NORM", options.NORM, NORMS)
        dropout = check_dropout("MODEL.SEM_SEG_HEAD.DROPOUT", options.DROPOUT)
        arguments = {
            "input_shape": select_features(
                "MODEL.SEM_SEG_HEAD.IN_FEATURES", options.IN_FEATURES, input_shape
            ),
            "num_classes": options.NUM_CLASSES,
            "norm": norm,
            "dropout": dropout,
            "loss": SemSegLoss(cfg),
            "ignore_value": options.IGNORE_VALUE,
        }
        if options.AUX.ENABLED:
            name = options.AUX.IN_FEATURE
            shape = select_features("MODEL.SEM_SEG_HEAD.AUX.IN_FEATURE", [name], input_shape)[name]
            arguments["auxiliary_head"] = AuxiliaryHead(
                shape,
                in_feature=name,
                num_classes=options.NUM_CLASSES,
                conv_dim=options.AUX.CONVS_DIM,
                norm=norm,
                dropout=dropout,
                loss_weight=options.AUX.LOSS_WEIGHT,
            )
        return arguments

    @abstractmethod
    def layers(self, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """
        Args:
            features: name -> (N, C, ceil(H / stride), ceil(W / stride)) for images of H x W.

        Returns:
            (N, K, H', W'), the logits, with H' * `stride` at least H and W' * `stride` at least W.
        """

    def forward(
        self, features: Mapping[str, torch.Tensor], targets: torch.Tensor | None = None
    ) -> tuple[torch.Tensor | None, dict[str, torch.Tensor]]:
        """
        Args:
            features: as in `layers`.
            targets: (N, H, W), int64, in training.

        Returns:
            In training None and the losses. Else (N, K, H', W'), the logits of the images and,
            where H' > H or W' > W, of some pixels beyond their right and bottom border; no losses.
        """
        logits = self.layers(features)
        if self.training:
            return None, self.losses(logits, features, targets)
        # In 16 bits too many pixels between two cells would have two classes with the same score.
        precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return interpolate(precise, self.stride), {}

    def losses(
        self,
        logits: torch.Tensor,
        features: Mapping[str, torch.Tensor],
        targets: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """
        Args:
            logits: (N, K, H', W'), what `layers` gives.
            features: as in `layers`.
            targets: (N, H, W), int64.

        Returns:
            Those of `loss`, and `loss_sem_seg_aux` where there is an auxiliary head.
        """
        losses = losses_on_image(self.loss, logits, self.stride, targets)
        if self.auxiliary_head is not None:
            auxiliary = self.auxiliary_head
            terms = losses_on_image(self.loss, auxiliary(features), auxiliary.stride, targets)
            losses["loss_sem_seg_aux"] = sum(terms.values()) * auxiliary.loss_weight
        return losses


def losses_on_image(
    loss: nn.Module, logits: torch.Tensor, stride: int, targets: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Losses of logits that are coarser than their targets.

    Args:
        loss: maps logits (N, K, H, W) and targets to a dict of losses.
        logits: (N, K, H', W').
        stride: pixels of the image that a cell of the logits covers, in both directions.
        targets: (N, H, W), int64, with H' * `stride` at least H and W' * `stride` at least W.
    """
    # Sums over a million pixels leave the precision of half floats.
    logits = interpolate(logits.float(), stride)
    return loss(crop(logits, targets.shape[-2:]), targets)


def select_features(
    key: str, names: Sequence[str], available: Mapping[str, ShapeSpec]
) -> dict[str, ShapeSpec]:
    """The shapes of the features that the config key `key` names."""
    if len(set(names)) < len(names):
        raise UserError(f"{key} is {list(names)}; name each feature once")
    missing = [name for name in names if name not in available]
    if missing or not names:
        given = ", ".join(f"{name} (stride {shape.stride})" for name, shape in available.items())
        raise UserError(
            f"{key} asks for {', '.join(missing) or 'no feature'}, but the backbone gives {given}; "
            "choose among these, or extend the backbone's OUT_FEATURES"
        )
    return {name: available[name] for name in names}
