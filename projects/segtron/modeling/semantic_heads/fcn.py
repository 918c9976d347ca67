"""The FCN head: scores on several strides, added up from coarse to fine."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import nn

from segtron.errors import UserError
from segtron.modeling.conv_block import conv_block
from segtron.modeling.norm import Norm
from segtron.modeling.options import check_choice
from segtron.modeling.semantic_heads.auxiliary import AuxiliaryHead
from segtron.modeling.semantic_heads.head import SemSegHead
from segtron.modeling.semantic_heads.upsampling import UPSAMPLINGS, build_upsampling, crop


@SEM_SEG_HEADS_REGISTRY.register()
class FCNHead(SemSegHead):
    """Fully convolutional network (Long, Shelhamer & Darrell 2015) on any backbone.

    The coarsest feature goes through `num_conv` 3x3 convolutions and a 1x1 score layer. Its scores
    are upsampled to the grid of the next finer feature and the scores of that are added, and so on;
    the sum on the finest grid is upsampled to the image. So features of stride 32 make an FCN-32s,
    16 and 32 an FCN-16s, and 8, 16 and 32 an FCN-8s. Any strides will do of which each divides the
    next; features of one stride are added without upsampling.

    As in the paper: score layers on each stride, fused by addition; those of finer features start
    at zero, so that an FCN-8s starts out as the FCN-32s with its upsampling in three steps;
    upsampling by transposed convolutions that start bilinear, or stay so. Other than in the paper:

    - `num_conv` 3x3 convolutions take the place of the 7x7 and 1x1 ones made from VGG's classifier,
      with normalization, where the config wants it;
    - the score layer of the coarsest feature starts from small random weights, not from zero, so
      that all layers below learn from the first step on;
    - upsampling works on each class by itself, without weights between classes, which start at zero
      in the paper;
    - "learned" also learns the last upsampling, which the paper keeps bilinear while it learns
      those between strides; "fixed" keeps all bilinear;
    - features cover the image with all of their cells, so nothing is padded by 100 pixels, and
      scores are cropped on the right and at the bottom only;
    - all strides are trained at once, not one after the other.
    """

    @configurable
    def __init__(
        self,
        input_shape: Mapping[str, ShapeSpec],
        *,
        num_classes: int,
        loss: nn.Module,
        num_conv: int = 1,
        conv_dim: int = 128,
        norm: Norm = "",
        dropout: float = 0.0,
        upsampling: str = "learned",
        ignore_value: int = 255,
        auxiliary_head: AuxiliaryHead | None = None,
    ) -> None:
        """
        Args:
            input_shape: name -> channels and stride of the features to use. Of several that are the
                coarsest, the last one has the convolutions.
            num_classes: number of classes K.
            loss: as in `SemSegHead`.
            num_conv: number of 3x3 convolutions on the coarsest feature; may be 0.
            conv_dim: their channels.
            norm: their normalization, as in `segtron.modeling.norm`.
            dropout: chance that a channel is zeroed before the score layers, in training.
            upsampling: one of `UPSAMPLINGS`.
            ignore_value: as in `SemSegHead`.
            auxiliary_head: as in `SemSegHead`.

        Raises:
            UserError: a stride doesn't divide the next coarser one, or there is no such
                `upsampling`.
        """
        super().__init__(
            num_classes=num_classes,
            stride=1,
            loss=loss,
            ignore_value=ignore_value,
            auxiliary_head=auxiliary_head,
        )
        check_choice("MODEL.SEM_SEG_HEAD.FCN.UPSAMPLING", upsampling, UPSAMPLINGS)
        fine_to_coarse = sorted(input_shape, key=lambda name: input_shape[name].stride)
        self.in_features = fine_to_coarse[::-1]
        strides = [input_shape[name].stride for name in self.in_features]
        _check_strides(strides)

        self.convs = nn.Sequential()
        channels = input_shape[self.in_features[0]].channels
        for _ in range(num_conv):
            self.convs.append(conv_block(channels, conv_dim, norm=norm))
            channels = conv_dim
        self.dropout = nn.Dropout2d(dropout)

        # Both by the name of the feature on whose grid the scores come in.
        self.scores = nn.ModuleDict()
        self.upsamplings = nn.ModuleDict()
        for name, stride, next_stride in zip(
            self.in_features, strides, strides[1:] + [self.stride], strict=True
        ):
            coarsest = name == self.in_features[0]
            width = channels if coarsest else input_shape[name].channels
            score = nn.Conv2d(width, num_classes, kernel_size=1)
            nn.init.normal_(score.weight, std=0.01 if coarsest else 0.0)
            nn.init.zeros_(score.bias)
            self.scores[name] = score
            self.upsamplings[name] = build_upsampling(
                upsampling, num_classes, stride // next_stride
            )

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        options = cfg.MODEL.SEM_SEG_HEAD
        return super().from_config(cfg, input_shape) | {
            "num_conv": options.FCN.NUM_CONV,
            "conv_dim": options.CONVS_DIM,
            "upsampling": options.FCN.UPSAMPLING,
        }

    def layers(self, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
        coarsest, *finer = self.in_features
        x = self.scores[coarsest](self.dropout(self.convs(features[coarsest])))
        x = self.upsamplings[coarsest](x)
        for name in finer:
            skip = self.scores[name](self.dropout(features[name]))
            x = self.upsamplings[name](crop(x, skip.shape[-2:]) + skip)
        return x


def _check_strides(strides: list[int]) -> None:
    """`strides` are sorted, coarse to fine."""
    for coarse, fine in itertools.pairwise(strides):
        if coarse % fine:
            raise UserError(
                f"MODEL.SEM_SEG_HEAD.IN_FEATURES have the strides {', '.join(map(str, strides))}; "
                f"FCNHead wants strides of which each divides the next coarser one, but {fine} "
                f"doesn't divide {coarse}"
            )
