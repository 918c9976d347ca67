"""The U-Net head: a decoder that meets the backbone's features on its way up to the image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec, cat, get_norm
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import nn

from segtron.errors import UserError
from segtron.modeling.conv_block import CONVS, DoubleConv, he_init
from segtron.modeling.norm import Norm, resolve_norm
from segtron.modeling.options import check_channels, check_choice
from segtron.modeling.semantic_heads.auxiliary import AuxiliaryHead
from segtron.modeling.semantic_heads.head import SemSegHead
from segtron.modeling.semantic_heads.upsampling import crop

UPSAMPLINGS = ("transposed", "bilinear")


@SEM_SEG_HEADS_REGISTRY.register()
class UNetHead(SemSegHead):
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
            num_classes=num_classes,
            stride=common_stride,
            loss=loss,
            ignore_value=ignore_value,
            auxiliary_head=auxiliary_head,
        )
        check_choice("MODEL.SEM_SEG_HEAD.UNET.CONV", conv, CONVS)
        check_choice("MODEL.SEM_SEG_HEAD.UNET.UPSAMPLING", upsampling, UPSAMPLINGS)
        channels = check_channels("MODEL.SEM_SEG_HEAD.UNET.CHANNELS", channels)
        strides = _step_strides(input_shape, common_stride)
        if len(channels) != len(strides):
            raise UserError(
                f"MODEL.SEM_SEG_HEAD.UNET.CHANNELS has {len(channels)} entries, but from stride "
                f"{2 * strides[0]} to stride {common_stride} there are {len(strides)} up-steps; "
                "give one for each, coarse to fine"
            )
        # Names of the features at each stride: the coarsest, then those of each step.
        self.feature_groups = [
            [name for name, shape in input_shape.items() if shape.stride == stride]
            for stride in (2 * strides[0], *strides)
        ]
        widths = [
            sum(input_shape[name].channels for name in names) for names in self.feature_groups
        ]
        norm = resolve_norm(norm)
        self.norms = nn.ModuleList(
            get_norm(norm, width) if norm and width else nn.Identity() for width in widths
        )
        self.steps = nn.ModuleList()
        for in_channels, skip_channels, out_channels in zip(
            widths[:1] + channels[:-1], widths[1:], channels, strict=True
        ):
            step = UpStep(
                in_channels,
                skip_channels,
                out_channels,
                norm=norm,
                conv=conv,
                upsampling=upsampling,
            )
            self.steps.append(step)
        self.dropout = nn.Dropout2d(dropout)
        self.predictor = nn.Conv2d(channels[-1], num_classes, kernel_size=1)
        he_init(self.predictor, fan_in=channels[-1])

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        options = cfg.MODEL.SEM_SEG_HEAD
        arguments = super().from_config(cfg, input_shape)
        channels = options.UNET.CHANNELS
        if not channels:
            steps = len(_step_strides(arguments["input_shape"], options.COMMON_STRIDE))
            channels = [options.CONVS_DIM * 2**index for index in reversed(range(steps))]
        return arguments | {
            "common_stride": options.COMMON_STRIDE,
            "channels": channels,
            "conv": options.UNET.CONV,
            "upsampling": options.UNET.UPSAMPLING,
        }

    def layers(self, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
        x, *skips = (
            norm(cat([features[name] for name in names], dim=1)) if names else None
            for norm, names in zip(self.norms, self.feature_groups, strict=True)
        )
        for step, skip in zip(self.steps, skips, strict=True):
            x = step(x, skip)
        return self.predictor(self.dropout(x))


class UpStep(nn.Module):
    """Upsample by 2, concatenate the skip, and convolve twice.

    "transposed" upsampling is a 2x2 transposed convolution of stride 2 to the step's channels.
    "bilinear" has a 1x1 convolution to the step's channels and then interpolates: the two commute,
    so this equals a 1x1 convolution after the interpolation at a quarter of its cost, and the 3x3
    convolutions that follow make one more needless.
    """

    def __init__(
        self,
        in_channels: int,
        skip_channels: int,
        out_channels: int,
        *,
        norm: Norm,
        conv: str,
        upsampling: str,
    ) -> None:
        """
        Args:
            in_channels: channels of the coarse input.
            skip_channels: channels of the skip; 0 without one.
            out_channels: channels of the step.
            norm: as in `segtron.modeling.norm`.
            conv: "plain" or depthwise-"separable".
            upsampling: "transposed" or "bilinear".
        """
        super().__init__()
        # In both ways each output is computed from one cell.
        if upsampling == "transposed":
            self.up = nn.ConvTranspose2d(in_channels, out_channels, kernel_size=2, stride=2)
            he_init(self.up, fan_in=in_channels)
        else:
            pointwise = nn.Conv2d(in_channels, out_channels, kernel_size=1)
            he_init(pointwise, fan_in=in_channels)
            self.up = nn.Sequential(
                pointwise, nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
            )
        self.convs = DoubleConv(out_channels + skip_channels, out_channels, norm=norm, conv=conv)

    def forward(self, x: torch.Tensor, skip: torch.Tensor | None) -> torch.Tensor:
        """
        Args:
            x: (N, in_channels, H, W).
            skip: features of shape (N, skip_channels, H', W') with H' of 2H or 2H - 1, W' likewise.

        Returns:
            (N, out_channels, H', W'), or (N, out_channels, 2H, 2W) without a skip.
        """
        x = self.up(x)
        if skip is not None:
            x = torch.cat([crop(x, skip.shape[-2:]), skip], dim=1)
        return self.convs(x)


def _step_strides(input_shape: Mapping[str, ShapeSpec], common_stride: int) -> list[int]:
    """The strides to which the decoder steps up, coarse to fine.

    Raises:
        UserError: the features' strides and `common_stride` don't go together.
    """
    for name, shape in input_shape.items():
        ratio = shape.stride / common_stride
        if ratio < 1 or not math.log2(ratio).is_integer():
            raise UserError(
                f"MODEL.SEM_SEG_HEAD.IN_FEATURES: {name} has stride {shape.stride}, and "
                f"MODEL.SEM_SEG_HEAD.COMMON_STRIDE is {common_stride}; UNetHead wants strides that "
                "are COMMON_STRIDE times 1, 2, 4, 8, ..."
            )
    coarsest = max(shape.stride for shape in input_shape.values())
    if coarsest == common_stride:
        raise UserError(
            f"MODEL.SEM_SEG_HEAD.COMMON_STRIDE is {common_stride}, the stride of the coarsest of "
            "MODEL.SEM_SEG_HEAD.IN_FEATURES; UNetHead needs room for one up-step, so give it a "
            "coarser feature or a finer COMMON_STRIDE"
        )
    return [coarsest >> step for step in range(1, int(math.log2(coarsest // common_stride)) + 1)]
