"""The U-Net head: its decoder, and a score layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import nn

from segtron.modeling.conv_block import he_init
from segtron.modeling.norm import Norm
from segtron.modeling.semantic_heads.auxiliary import AuxiliaryHead
from segtron.modeling.semantic_heads.head import SemSegHead
from segtron.modeling.unet_decoder import UNetDecoder


@SEM_SEG_HEADS_REGISTRY.register()
class UNetHead(UNetDecoder, SemSegHead):
    """The right half of the U-Net (Ronneberger, Fischer & Brox 2015) on any backbone.

    It starts from the coarsest features and goes up by factors of 2 to `common_stride`. Each step
    upsamples, concatenates the features of its stride, if there are any, and has two 3x3
    convolutions with ReLU. A 1x1 convolution gives the logits; where `common_stride` is above 1,
    they are interpolated to the image. Features of one stride (`stem` and `res2` of a ResNet) are
    concatenated. Over `UNetEncoder` it is the paper's network (see there).

    As in the paper: upsampling by a 2x2 transposed convolution with neither normalization nor ReLU,
    skips by concatenation, weights by He et al. 2015. Other than in the paper:

    - convolutions are padded, and a step's output is cropped to the skip instead of the skip to the
      output, on the right and at the bottom: by the one row or column that odd sizes have too much;
    - a backbone other than `UNetEncoder` ends above stride 1, and so does the decoder;
    - normalization, depthwise separable convolutions, bilinear upsampling and dropout before the
      last layer, on demand. Where there is normalization, features are normalized as they come in:
      those of a pretrained network are several times larger than what a step makes of them
      (EfficientNet-Lite0's have standard deviations from 3 to 8), and the finer ones would drown
      what comes up from the coarser ones.
    """

    KEYS = "MODEL.SEM_SEG_HEAD"
    OPTION_KEYS = "MODEL.SEM_SEG_HEAD.UNET"

    @configurable
    def __init__(
        self,
        input_shape: Mapping[str, ShapeSpec],
        *,
        num_classes: int,
        loss: nn.Module,
        common_stride: int,
        channels: Sequence[int],
        norm: Norm = "",
        conv: str = "plain",
        upsampling: str = "transposed",
        dropout: float = 0.0,
        ignore_value: int = 255,
        auxiliary_head: AuxiliaryHead | None = None,
    ) -> None:
        """
        Args:
            input_shape: name -> channels and stride of the features to use.
            num_classes: number of classes K.
            loss: as in `SemSegHead`.
            common_stride: where the decoder ends.
            channels: channels of each step, coarse to fine.
            norm: of convolutions and features, as in `segtron.modeling.norm`.
            conv: 3x3 convolutions: "plain" or depthwise-"separable".
            upsampling: "transposed" or "bilinear", see `UpStep`.
            dropout: chance that a channel is zeroed before the last layer, in training.
            ignore_value: as in `SemSegHead`.
            auxiliary_head: as in `SemSegHead`.

        Raises:
            UserError: strides aren't `common_stride` times powers of two, or none is above it;
                there are more or fewer `channels` than steps; `conv` or `upsampling` is unknown.
        """
        super().__init__(
            input_shape,
            common_stride=common_stride,
            channels=channels,
            norm=norm,
            conv=conv,
            upsampling=upsampling,
            num_classes=num_classes,
            stride=common_stride,
            loss=loss,
            ignore_value=ignore_value,
            auxiliary_head=auxiliary_head,
        )
        self.dropout = nn.Dropout2d(dropout)
        self.predictor = nn.Conv2d(self.out_channels, num_classes, kernel_size=1)
        he_init(self.predictor, fan_in=self.out_channels)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        options = cfg.MODEL.SEM_SEG_HEAD
        arguments = super().from_config(cfg, input_shape)
        channels = options.UNET.CHANNELS
        if not channels:
            steps = len(cls.step_strides(arguments["input_shape"], options.COMMON_STRIDE))
            channels = [options.CONVS_DIM * 2**index for index in reversed(range(steps))]
        return arguments | {
            "common_stride": options.COMMON_STRIDE,
            "channels": channels,
            "conv": options.UNET.CONV,
            "upsampling": options.UNET.UPSAMPLING,
        }

    def layers(self, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return self.predictor(self.dropout(self.decode(features)))
