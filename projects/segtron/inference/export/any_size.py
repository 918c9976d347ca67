"""Semantic models in a form in which one graph serves images of all sizes.

What cuts or pads by a rule of its own ("if this is longer than that") is recorded by torch.export
as what it did to the example, or refused. Here the same is said without a question.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import Conv2dSame
from torch import nn
from torch.export import ExportedProgram
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from segtron.modeling.backbones import TimmBackbone


class CropByIndex(TorchFunctionMode):
    """Within it `x[..., :height, :width]` picks rows and columns by number.

    A slice is dropped from the graph where it changes nothing for the example, and it asks whether
    it ends before its tensor does.
    """

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is torch.Tensor.__getitem__:
            x, key = args
            ends = _ends(key)
            if any(isinstance(end, torch.SymInt) for end in ends):
                for axis, end in zip((-2, -1), ends, strict=True):
                    x = x.index_select(axis, torch.arange(end))
                return x
        return func(*args, **(kwargs or {}))


def _ends(key: Any) -> tuple[Any, ...]:
    """The two ends of `[..., :height, :width]`; nothing for other keys."""
    if not (isinstance(key, tuple) and len(key) == 3 and key[0] is Ellipsis):
        return ()
    slices = key[1:]
    if not all(isinstance(part, slice) and part.start is part.step is None for part in slices):
        return ()
    return tuple(part.stop for part in slices)


class AnySizeTimmBackbone(nn.Module):
    """`TimmBackbone` with lengths that no exporter gets wrong.

    There lengths are rounded up by `-(-height // stride)`; ONNX divides negative numbers otherwise
    than Python does.
    """

    def __init__(self, backbone: TimmBackbone) -> None:
        super().__init__()
        self.network = backbone.network
        self._strides = {name: shape.stride for name, shape in backbone.output_shape().items()}
        self._gives_nhwc = backbone.gives_nhwc

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """See `TimmBackbone`."""
        height, width = x.shape[-2:]
        coarsest = max(self._strides.values())
        rows, columns = (_cells(length, coarsest) * coarsest for length in (height, width))
        x = F.pad(x, (0, columns - width, 0, rows - height))
        features = {}
        for (name, stride), feature in zip(self._strides.items(), self.network(x), strict=True):
            feature = feature.permute(0, 3, 1, 2) if self._gives_nhwc else feature
            features[name] = feature[..., : _cells(height, stride), : _cells(width, stride)]
        return features


def _cells(length: int, stride: int) -> int:
    return (length + stride - 1) // stride


def fix_padding(module: nn.Module) -> None:
    """Give timm's convolutions with TensorFlow's padding one that doesn't depend on the size.

    In place. TensorFlow pads by what makes the output ceil(size / stride) long. Where the stride
    divides the size, as it does in `TimmBackbone`, which pads images to its coarsest stride, that
    is kernel - stride, the odd one at the end.
    """
    for name, child in module.named_children():
        if type(child) is not Conv2dSame:
            fix_padding(child)
            continue
        padding: list[int] = []
        for axis in (1, 0):  # the last one comes first
            reach = (child.kernel_size[axis] - 1) * child.dilation[axis] + 1
            total = max(reach - child.stride[axis], 0)
            padding += [total // 2, total - total // 2]
        plain = nn.Conv2d(
            child.in_channels,
            child.out_channels,
            child.kernel_size,
            stride=child.stride,
            dilation=child.dilation,
            groups=child.groups,
            bias=child.bias is not None,
        )
        plain.weight, plain.bias = child.weight, child.bias
        setattr(module, name, nn.Sequential(nn.ZeroPad2d(padding), plain))


def drop_assertions(program: ExportedProgram) -> None:
    """Remove what a program asserts of its input's size.

    In place. Some of it is true of the example only, such as that one side doesn't divide another.
    """
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        if node.target is torch.ops.aten._assert_scalar.default:
            graph.erase_node(node)
    graph.eliminate_dead_code()
    program.graph_module.recompile()
