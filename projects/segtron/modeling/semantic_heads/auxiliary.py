"""A small second head on an earlier feature, which helps the backbone to learn."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from detectron2.layers import ShapeSpec
from torch import nn

from segtron.modeling.conv_block import conv_block
from segtron.modeling.norm import Norm


class AuxiliaryHead(nn.Module):
    """A 3x3 convolution, dropout and a score layer, after Zhao et al., "PSPNet", 2017.

    Attributes:
        stride: stride of its feature, and so of its logits.
        loss_weight: weight of its loss.
    """

    def __init__(
        self,
        input_shape: ShapeSpec,
        *,
        in_feature: str,
        num_classes: int,
        conv_dim: int = 256,
        norm: Norm = "",
        dropout: float = 0.0,
        loss_weight: float = 0.4,
    ) -> None:
        """
        Args:
            input_shape: channels and stride of the feature.
            in_feature: its name.
            num_classes: number of classes K.
            conv_dim: channels of the convolution.
            norm: as in `segtron.modeling.norm`.
            dropout: chance that a channel is zeroed before the score layer, in training.
            loss_weight: weight of its loss.
        """
        super().__init__()
        self.in_feature = in_feature
        self.stride = input_shape.stride
        self.loss_weight = loss_weight
        self.conv = conv_block(input_shape.channels, conv_dim, norm=norm)
        self.dropout = nn.Dropout2d(dropout)
        self.predictor = nn.Conv2d(conv_dim, num_classes, kernel_size=1)
        nn.init.normal_(self.predictor.weight, std=0.01)
        nn.init.zeros_(self.predictor.bias)

    def forward(self, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """
        Args:
            features: name -> (N, C, H, W), with `in_feature` among them.

        Returns:
            (N, K, H, W), the logits at the stride of the feature.
        """
        return self.predictor(self.dropout(self.conv(features[self.in_feature])))
