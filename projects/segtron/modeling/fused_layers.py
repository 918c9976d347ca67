"""Layers for inference on CPUs, by oneDNN: they add and rectify what they compute before it goes to
memory, and their weights lie as oneDNN reads them."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
from detectron2.layers import Conv2d
from detectron2.modeling.backbone import FPN
from detectron2.modeling.backbone.resnet import BottleneckBlock
from detectron2.modeling.roi_heads import FastRCNNConvFCHead, StandardROIHeads
from torch import nn
from torch.nn import functional as F

# What torch.compile makes of such layers on CPUs; not among PyTorch's public functions.
_OPERATORS = ("_convolution_pointwise", "_linear_pointwise", "_reorder_convolution_weight")
_PRECISIONS = (torch.float32, torch.bfloat16)
_RELU, _NOTHING = "relu", "none"


def fuse_layers(model: nn.Module) -> None:
    """Let layers of Detectron2 rectify their output, and add to it, as they write it.

    In place. Values are the same but for rounding: in 16 bits sums are rounded once, not twice.
    Layers with weights of other precisions stay as they are, as do those of bfloat16 on CPUs
    without AVX-512; and where PyTorch has not the functions, all do.

    Afterwards only the state dict of a fused model fits: the names stay, so that others are loaded
    without an error, but the columns of box heads' `fc1` are in another order.

    Args:
        model: on a CPU, its norms folded; it can't be trained any more.
    """
    if not torch.backends.mkldnn.is_available() or not all(
        hasattr(torch.ops.mkldnn, operator) for operator in _OPERATORS
    ):
        return
    for parent in list(model.modules()):
        if isinstance(parent, StandardROIHeads):
            _flatten_channels_last(parent)
        if isinstance(parent, FastRCNNConvFCHead):
            _fuse_fully_connected(parent)
        for name, child in list(parent.named_children()):
            if type(child) is BottleneckBlock and _are_fusable(child):
                setattr(parent, name, _FusedBottleneck(child))
            elif _is_fusable(child) and not isinstance(parent, BottleneckBlock):
                setattr(parent, name, FusedConv2d(child, rectify=child.activation is not None))
                if isinstance(parent, FPN):
                    _replace_in_lists(parent, child, getattr(parent, name))


@functools.cache
def _computes_in(precision: torch.dtype) -> bool:
    """Whether the functions work in a precision on this CPU. For bfloat16 they need AVX-512 or the
    like; plain layers don't."""
    ones, vector = torch.ones(1, 1, 1, 1, dtype=precision), torch.ones(1, 1, dtype=precision)
    geometry = [0, 0], [1, 1], [1, 1], 1
    try:
        weight = torch.ops.mkldnn._reorder_convolution_weight(ones, *geometry, [1, 1, 1, 1])
        torch.ops.mkldnn._convolution_pointwise(ones, weight, None, *geometry, _RELU, [], "")
        torch.ops.mkldnn._linear_pointwise(vector, vector, None, _RELU, [], "")
    except RuntimeError:
        return False
    return True


def _has_precision(weight: torch.Tensor) -> bool:
    return weight.dtype in _PRECISIONS and _computes_in(weight.dtype)


def _replace_in_lists(fpn: FPN, before: nn.Module, after: nn.Module) -> None:
    """An FPN calls its layers by lists of its own, not by their names."""
    for layers in (fpn.lateral_convs, fpn.output_convs):
        layers[:] = [after if layer is before else layer for layer in layers]


def _is_fusable(layer: nn.Module) -> bool:
    return (
        type(layer) is Conv2d
        and layer.norm is None
        and (layer.activation in (None, F.relu, F.relu_) or isinstance(layer.activation, nn.ReLU))
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
        and _has_precision(layer.weight)
    )


def _are_fusable(block: BottleneckBlock) -> bool:
    convolutions = [block.conv1, block.conv2, block.conv3, block.shortcut]
    return all(_is_fusable(layer) for layer in convolutions if layer is not None)


def _flatten_channels_last(roi_heads: StandardROIHeads) -> None:
    """Let box heads take regions' features as they lie in memory, so that they need not be written
    once more with channels first."""
    heads = roi_heads.box_head
    height, width = roi_heads.box_pooler.output_size
    for head in heads if isinstance(heads, nn.ModuleList) else [heads]:
        if type(head) is FastRCNNConvFCHead and head.fcs:
            weight = head.fc1.weight.data.unflatten(1, (-1, height, width))
            head.fc1.weight.data = weight.permute(0, 2, 3, 1).flatten(1)
            head.flatten = _FlattenChannelsLast()


def _fuse_fully_connected(head: FastRCNNConvFCHead) -> None:
    """Each `fc` is followed by a ReLU of its own."""
    for name, layer in list(head.named_children()):
        if type(layer) is nn.Linear and _has_precision(layer.weight):
            setattr(head, name, _RectifiedLinear(layer))
            setattr(head, name.replace("fc", "fc_relu"), nn.Identity())


class _Ordered(NamedTuple):
    """A weight as oneDNN reads it."""

    made_for: tuple[Any, ...]  # the state of the weight and the shape of the features
    weight: torch.Tensor


class FusedConv2d(nn.Module):
    """A convolution, what is added to it, and ReLU, in one pass through memory.

    oneDNN reads weights in an order of its own, which depends on the size of the features. The
    weights are kept so, too, for the size that came last and until others are loaded.
    Values that are changed through `.data` are not seen, since PyTorch doesn't count these changes.
    """

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
        self._ordered: _Ordered | None = None

    def forward(self, x: torch.Tensor, summand: torch.Tensor | None = None) -> torch.Tensor:
        """
        Args:
            x: (N, C, H, W) of any precision.
            summand: of the output's shape and the weights' precision.
        """
        x = x.to(self.weight.dtype)
        weight = self._weight_for(x.shape)
        if summand is None:
            return torch.ops.mkldnn._convolution_pointwise(
                x, weight, self.bias, *self._geometry, self._then, [], ""
            )
        return torch.ops.mkldnn._convolution_pointwise.binary(
            x, summand, weight, self.bias, *self._geometry, "add", 1.0, self._then, [], ""
        )

    def _weight_for(self, shape: torch.Size) -> torch.Tensor:
        """The weight in the order for features of a shape (N, C, H, W)."""
        # Weights that were loaded are others in the same place, or lie elsewhere. Tensors of
        # inference mode don't count their changes.
        version = None if self.weight.is_inference() else self.weight._version
        needed_for = shape, self.weight.data_ptr(), version
        ordered = self._ordered  # several threads may predict
        if ordered is None or ordered.made_for != needed_for:
            weight = torch.ops.mkldnn._reorder_convolution_weight(
                self.weight, *self._geometry, list(shape)
            )
            self._ordered = ordered = _Ordered(needed_for, weight)
        return ordered.weight

    def __getstate__(self) -> dict[str, Any]:
        """Without the ordered weight, which PyTorch can't copy."""
        return {**super().__getstate__(), "_ordered": None}


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


class _FlattenChannelsLast(nn.Module):
    """(N, C, H, W) to (N, H * W * C)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


class _RectifiedLinear(nn.Module):
    """A fully connected layer and its ReLU."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C) to (N, C')."""
        x = x.to(self.weight.dtype)
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, _RELU, [], "")
