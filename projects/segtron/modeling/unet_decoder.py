"""The decoder of the U-Net, which meets a backbone's features on its way up to the image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from detectron2.layers import ShapeSpec, cat, get_norm
from torch import nn

from segtron.errors import UserError
from segtron.modeling.conv_block import CONVS, DoubleConv, he_init
from segtron.modeling.norm import Norm, resolve_norm
from segtron.modeling.options import check_channels, check_choice

UPSAMPLINGS = ("transposed", "bilinear")


class UNetDecoder(nn.Module):
    """The right half of the U-Net (Ronneberger, Fischer & Brox 2015), for heads to build on.

    It starts from the coarsest features and goes up by factors of 2 to `common_stride`. Each step
    upsamples, concatenates the features of its stride, if there are any, and has two 3x3
    convolutions with ReLU. Features of one stride are concatenated. Where there is normalization,
    features are normalized as they come in.

    A head inherits from it, so that the decoder's weights stand beside the head's own.

    Attributes:
        KEYS: the group of the config whose IN_FEATURES and COMMON_STRIDE say where a decoder starts
            and ends.
        OPTION_KEYS: the group whose CHANNELS, CONV and UPSAMPLING say what it is made of.
        out_channels: channels of what `decode` gives.
    """

    KEYS: str
    OPTION_KEYS: str

    def __init__(
        self,
        input_shape: Mapping[str, ShapeSpec],
        *,
        common_stride: int,
        channels: Sequence[int],
        norm: Norm,
        conv: str,
        upsampling: str,
        **kwargs: Any,
    ) -> None:
        """
        Args:
            input_shape: name -> channels and stride of the features to use.
            common_stride: where the decoder ends.
            channels: channels of each step, coarse to fine.
            norm: of convolutions and features, as in `segtron.modeling.norm`.
            conv: 3x3 convolutions: "plain" or depthwise-"separable".
            upsampling: "transposed" or "bilinear", see `UpStep`.
            **kwargs: for the head's other base, if it has one.

        Raises:
            UserError: strides aren't `common_stride` times powers of two, or none is above it;
                there are more or fewer `channels` than steps; `conv` or `upsampling` is unknown.
        """
        super().__init__(**kwargs)
        check_choice(f"{self.OPTION_KEYS}.CONV", conv, CONVS)
        check_choice(f"{self.OPTION_KEYS}.UPSAMPLING", upsampling, UPSAMPLINGS)
        channels = check_channels(f"{self.OPTION_KEYS}.CHANNELS", channels)
        strides = self.step_strides(input_shape, common_stride)
        if len(channels) != len(strides):
            raise UserError(
                f"{self.OPTION_KEYS}.CHANNELS has {len(channels)} entries, but from stride "
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
        self.out_channels = channels[-1]

    @classmethod
    def step_strides(cls, input_shape: Mapping[str, ShapeSpec], common_stride: int) -> list[int]:
        """The strides to which the decoder steps up, coarse to fine.

        Raises:
            UserError: the features' strides and `common_stride` don't go together.
        """
        for name, shape in input_shape.items():
            ratio = shape.stride / common_stride
            if ratio < 1 or not math.log2(ratio).is_integer():
                raise UserError(
                    f"{cls.KEYS}.IN_FEATURES: {name} has stride {shape.stride}, and "
                    f"{cls.KEYS}.COMMON_STRIDE is {common_stride}; {cls.__name__} wants strides "
                    "that are COMMON_STRIDE times 1, 2, 4, 8, ..."
                )
        coarsest = max(shape.stride for shape in input_shape.values())
        if coarsest == common_stride:
            raise UserError(
                f"{cls.KEYS}.COMMON_STRIDE is {common_stride}, the stride of the coarsest of "
                f"{cls.KEYS}.IN_FEATURES; {cls.__name__} needs room for one up-step, so give it a "
                "coarser feature or a finer COMMON_STRIDE"
            )
        return [
            coarsest >> step for step in range(1, int(math.log2(coarsest // common_stride)) + 1)
        ]

    def decode(self, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """
        Args:
            features: name -> (N, C, ceil(H / stride), ceil(W / stride)) for images of H x W.

        Returns:
            (N, out_channels, H', W') at `common_stride`, which covers at least the images.
        """
        x, *skips = (
            norm(cat([features[name] for name in names], dim=1)) if names else None
            for norm, names in zip(self.norms, self.feature_groups, strict=True)
        )
        for step, skip in zip(self.steps, skips, strict=True):
            x = step(x, skip)
        return x


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
            height, width = skip.shape[-2:]
            x = torch.cat([x[..., :height, :width], skip], dim=1)
        return self.convs(x)
