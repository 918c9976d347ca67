"""3x3 convolutions with normalization and ReLU, plain or depthwise separable."""

from __future__ import annotations

import math

from detectron2.layers import Conv2d, DepthwiseSeparableConv2d, get_norm
from torch import nn
from torch.nn import functional as F

from segtron.modeling.norm import Norm, resolve_norm

CONVS = ("plain", "separable")


def conv_block(
    in_channels: int, out_channels: int, *, norm: Norm, conv: str = "plain"
) -> nn.Module:
    """A 3x3 convolution that keeps height and width, then normalization, then ReLU.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        norm: as in `segtron.modeling.norm`. Convolutions have a bias only without one.
        conv: "plain", or "separable": a 3x3 convolution of each channel by itself and a 1x1
            convolution (Howard et al., "MobileNets", 2017), each with normalization and ReLU, as
            there.

    Returns:
        A layer from (N, in_channels, H, W) to (N, out_channels, H, W).
    """
    norm = resolve_norm(norm)
    if conv == "separable":
        block = DepthwiseSeparableConv2d(
            in_channels,
            out_channels,
            norm1=norm,
            activation1=F.relu_,
            norm2=norm,
            activation2=F.relu_,
        )
    elif conv == "plain":
        block = Conv2d(
            in_channels,
            out_channels,
            kernel_size=3,
            padding=1,
            bias=not norm,
            norm=get_norm(norm, out_channels),
            activation=F.relu_,
        )
    else:
        raise ValueError(f"conv is {conv!r}; it must be one of {', '.join(CONVS)}")
    for module in block.modules():
        if isinstance(module, nn.Conv2d):
            he_init(module, fan_in=module.weight[0].numel())
    return block


class DoubleConv(nn.Sequential):
    """Two of `conv_block`, what the U-Net consists of on each of its levels."""

    def __init__(
        self, in_channels: int, out_channels: int, *, norm: Norm, conv: str = "plain"
    ) -> None:
        """
        Args:
            in_channels: channels of the input.
            out_channels: channels between the two and of the output.
            norm: as in `conv_block`.
            conv: as in `conv_block`.
        """
        super().__init__(
            conv_block(in_channels, out_channels, norm=norm, conv=conv),
            conv_block(out_channels, out_channels, norm=norm, conv=conv),
        )


def he_init(layer: nn.Conv2d | nn.ConvTranspose2d, *, fan_in: int) -> None:
    """Weights from a normal distribution of variance 2 / fan_in (He et al. 2015), zero biases.

    Activations keep their scale through any number of layers then, also without normalization and
    whatever the number of channels does. Detectron2's `c2_msra_fill` divides by the outgoing
    connections instead, and by those of a layer without groups where it has groups.

    Args:
        layer: a convolution, transposed or not.
        fan_in: the number of inputs that each output is computed from.
    """
    nn.init.normal_(layer.weight, std=math.sqrt(2.0 / fan_in))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
