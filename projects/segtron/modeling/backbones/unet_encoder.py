"""The contracting path of the U-Net as a backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import nn
from torch.nn import functional as F

from segtron.errors import UserError
from segtron.modeling.conv_block import CONVS, DoubleConv
from segtron.modeling.norm import NORMS, Norm
from segtron.modeling.options import check_channels, check_choice, check_dropout


@BACKBONE_REGISTRY.register()
class UNetEncoder(Backbone):
    """The left half of the U-Net (Ronneberger, Fischer & Brox 2015), to be trained from scratch.

    Each level has two 3x3 convolutions with ReLU; 2x2 max pooling lies between the levels.
    `forward` maps images of shape (N, C, H, W) to the output of each level: enc1 has stride 1, enc2
    stride 2, and so on, with shape (N, channels, ceil(H / stride), ceil(W / stride)). Under
    `UNetHead` with all of them, MODEL.SEM_SEG_HEAD.COMMON_STRIDE 1 and no normalization, it is the
    paper's network.

    As in the paper: five levels of 64 to 1024 channels by default, weights by He et al. 2015, and
    dropout at the end of the path. Other than in the paper:

    - convolutions are padded, so that features cover the image: the paper's leave out its border,
      which has to be added before by mirroring;
    - the last row and column of an odd size are pooled, too, so that any size will do, from 1x1 up
      (`size_divisibility` is 0);
    - normalization between convolution and ReLU, and depthwise separable convolutions, on demand;
    - dropout zeroes whole channels: neighbours in a feature tell what a zeroed cell was.

    MODEL.BACKBONE.FREEZE_AT has no part in it.
    """

    @configurable
    def __init__(
        self,
        *,
        in_channels: int = 3,
        channels: Sequence[int] = (64, 128, 256, 512, 1024),
        norm: Norm = "BN",
        conv: str = "plain",
        dropout: float = 0.0,
    ) -> None:
        """
        Args:
            in_channels: number of channels of the images.
            channels: channels of each level, fine to coarse.
            norm: as in `segtron.modeling.norm`.
            conv: "plain" or depthwise-"separable".
            dropout: chance that a channel of the coarsest level is zeroed in training.

        Raises:
            UserError: `channels` is empty or holds what is no number of channels, or `conv` is
                neither of the two.
        """
        super().__init__()
        channels = check_channels("MODEL.UNET_ENCODER.CHANNELS", channels)
        if not channels:
            raise UserError("MODEL.UNET_ENCODER.CHANNELS is empty; give one level or more")
        check_choice("MODEL.UNET_ENCODER.CONV", conv, CONVS)
        self.levels = nn.ModuleDict()
        for index, width in enumerate(channels):
            self.levels[f"enc{index + 1}"] = DoubleConv(in_channels, width, norm=norm, conv=conv)
            in_channels = width
        self.dropout = nn.Dropout2d(dropout)
        self._out_features = list(self.levels)
        self._out_feature_channels = dict(zip(self.levels, channels, strict=True))
        self._out_feature_strides = {name: 2**index for index, name in enumerate(self.levels)}

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        options = cfg.MODEL.UNET_ENCODER
        return {
            "in_channels": input_shape.channels,
            "channels": options.CHANNELS,
            "norm": check_choice("MODEL.UNET_ENCODER.NORM", options.NORM, NORMS),
            "conv": options.CONV,
            "dropout": check_dropout("MODEL.UNET_ENCODER.DROPOUT", options.DROPOUT),
        }

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        features: dict[str, torch.Tensor] = {}
        for name, level in self.levels.items():
            x = level(F.max_pool2d(x, kernel_size=2, ceil_mode=True) if features else x)
            features[name] = x
        features[name] = self.dropout(x)
        return features
