"""Layers that add and rectify what they compute before it goes to memory, on CPUs, by oneDNN."""

from __future__ import annotations

import torch
from detectron2.layers import Conv2d
from detectron2.modeling.backbone.resnet import BottleneckBlock
from detectron2.modeling.roi_heads import FastRCNNConvFCHead
from torch import nn
from torch.nn import functional as F

# What torch.compile makes of such layers on CPUs; not among PyTorch's public functions.
_OPERATORS = ("_convolution_pointwise", "_linear_pointwise")
_PRECISIONS = (torch.float32, torch.bfloat16)
_RELU, _NOTHING = "relu", "none"


def fuse_layers(model: nn.Module) -> None:
    """Let layers of Detectron2 rectify their output, and add to it, as they write it.

    In place. Values are the same but for rounding: in 16 bits sums are rounded once, not twice.
    Layers with weights of other precisions stay as they are, and where PyTorch has not the
    functions, all do.

    Args:
        model: on a CPU, its norms folded; it can't be trained any more.
    """
    if not torch.backends.mkldnn.is_available() or not all(
        hasattr(torch.ops.mkldnn, operator) for operator in _OPERATORS
    ):
        return
    for parent in list(model.modules()):
        if isinstance(parent, FastRCNNConvFCHead):
            _fuse_fully_connected(parent)
        for name, child in list(parent.named_children()):
            if type(child) is BottleneckBlock and _are_fusable(child):
                setattr(parent, name, _FusedBottleneck(child))
            elif _is_fusable(child) and not isinstance(parent, BottleneckBlock):
                setattr(parent, name, FusedConv2d(child, rectify=child.activation is not None))


def _is_fusable(layer: nn.Module) -> bool:
    return (
        type(layer) is Conv2d
        and layer.norm is None
        and (layer.activation in (None, F.relu, F.relu_) or isinstance(layer.activation, nn.ReLU))
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
        and layer.weight.dtype in _PRECISIONS
    )


def _are_fusable(block: BottleneckBlock) -> bool:
    convolutions = [block.conv1, block.conv2, block.conv3, block.shortcut]
    return all(_is_fusable(layer) for layer in convolutions if layer is not None)


def _fuse_fully_connected(head: FastRCNNConvFCHead) -> None:
    """Each `fc` is followed by a ReLU of its own."""
    for name, layer in list(head.named_children()):
        if type(layer) is nn.Linear and layer.weight.dtype in _PRECISIONS:
            setattr(head, name, _RectifiedLinear(layer))
            setattr(head, name.replace("fc", "fc_relu"), nn.Identity())


class FusedConv2d(nn.Module):
    """A convolution, what is added to it, and ReLU, in one pass through memory."""

    def __init__(self, convolution: nn.Conv2d, *, rectify: bool) -> None:
        """Take over the weights of a convolution, whatever comes after it there."""
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias
        self._geometry = (
            list(convolution.padding),
            list(convolution.stride),
            list(convolution.dilation),
            convolution.groups,
        )
        self._then = _RELU if rectify else _NOTHING

    def forward(self, x: torch.Tensor, summand: torch.Tensor | None = None) -> torch.Tensor:
        """
        Args:
            x: (N, C, H, W) of any precision.
            summand: of the output's shape and the weights' precision.
        """
        x = x.to(self.weight.dtype)
        if summand is None:
            return torch.ops.mkldnn._convolution_pointwise(
                x, self.weight, self.bias, *self._geometry, self._then, [], ""
            )
        return torch.ops.mkldnn._convolution_pointwise.binary(
            x, summand, self.weight, self.bias, *self._geometry, "add", 1.0, self._then, [], ""
        )


class _FusedBottleneck(nn.Module):
    """Detectron2's `BottleneckBlock` without norms."""

    def __init__(self, block: BottleneckBlock) -> None:
        super().__init__()
        self.conv1 = FusedConv2d(block.conv1, rectify=True)
        self.conv2 = FusedConv2d(block.conv2, rectify=True)
        self.conv3 = FusedConv2d(block.conv3, rectify=True)
        self.shortcut = block.shortcut and FusedConv2d(block.shortcut, rectify=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, C', H', W')."""
        shortcut = x if self.shortcut is None else self.shortcut(x)
        return self.conv3(self.conv2(self.conv1(x)), shortcut)


class _RectifiedLinear(nn.Module):
    """A fully connected layer and its ReLU."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C) to (N, C')."""
        x = x.to(self.weight.dtype)
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, _RELU, [], "")
