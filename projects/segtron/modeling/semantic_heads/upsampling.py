"""From a coarse grid of cells to a finer one that covers the same pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

UPSAMPLINGS = ("learned", "fixed", "interpolate")


def bilinear_kernel(stride: int) -> torch.Tensor:
    """The kernel with which a transposed convolution of this stride interpolates bilinearly.

    Long, Shelhamer & Darrell 2015 initialize upsampling layers with it: the product of two hats of
    width `2 * stride`, centred on the kernel (their code calls it Caffe's BilinearFiller).

    Args:
        stride: number of fine cells to a coarse one, 1 or more.

    Returns:
        (k, k) float32 with k = 2 * stride for an even stride and 2 * stride - 1 for an odd one,
        which keep coarse cells centred on their fine ones. The kernel sums to stride ** 2.
    """
    size = 2 * stride - stride % 2
    distance = torch.arange(size) - (size - 1) / 2
    hat = 1.0 - distance.abs() / stride
    return hat[:, None] * hat


class BilinearUpsampling(nn.Module):
    """A transposed convolution of each channel by itself that starts as bilinear interpolation.

    Away from the border it starts equal to `F.interpolate(mode="bilinear", align_corners=False)`.
    Within half a coarse cell of the border, where that repeats the outermost cells, it fades to
    zero, by one factor for all channels: the order of the classes is the same.
    """

    def __init__(self, channels: int, stride: int, *, learned: bool) -> None:
        """
        Args:
            channels: number of channels.
            stride: number of fine cells to a coarse one, 1 or more.
            learned: train the kernels. If not, they are no part of the state dict: whatever is
                loaded, they stay bilinear.
        """
        super().__init__()
        self.stride = stride
        kernel = bilinear_kernel(stride).repeat(channels, 1, 1, 1)
        if learned:
            self.weight = nn.Parameter(kernel)
        else:
            self.register_buffer("weight", kernel, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: (N, channels, H, W).

        Returns:
            (N, channels, H * stride, W * stride).
        """
        return F.conv_transpose2d(
            x, self.weight, stride=self.stride, padding=self.stride // 2, groups=len(self.weight)
        )

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, stride={self.stride}"


def build_upsampling(kind: str, channels: int, stride: int) -> nn.Module:
    """
    Args:
        kind: "learned" or "fixed" `BilinearUpsampling`, or "interpolate".
        channels: number of channels.
        stride: number of fine cells to a coarse one.

    Returns:
        A layer from (N, channels, H, W) to (N, channels, H * stride, W * stride).
    """
    if kind not in UPSAMPLINGS:
        raise ValueError(f"kind is {kind!r}; it must be one of {', '.join(UPSAMPLINGS)}")
    if stride == 1:
        return nn.Identity()
    if kind == "interpolate":
        return nn.Upsample(scale_factor=stride, mode="bilinear", align_corners=False)
    return BilinearUpsampling(channels, stride, learned=kind == "learned")


def interpolate(x: torch.Tensor, stride: int) -> torch.Tensor:
    """(N, C, H, W) -> (N, C, H * stride, W * stride) by bilinear interpolation."""
    if stride == 1:
        return x
    return F.interpolate(x, scale_factor=stride, mode="bilinear", align_corners=False)


def crop(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Cut (N, C, H, W) on the right and at the bottom to `size`, (height, width)."""
    height, width = size
    return x[..., :height, :width]
