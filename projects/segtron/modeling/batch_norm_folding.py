"""Batch norm that is fixed, taken into the convolution before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import torch
from detectron2.layers import Conv2d, FrozenBatchNorm2d
from timm.layers import Conv2dSame, FrozenBatchNormAct2d
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.ops import FrozenBatchNorm2d as TorchvisionFrozenBatchNorm2d

from segtron.modeling.backbones.timm import TimmBackbone

# timm freezes by its own layer where there is an activation in it, else by torchvision's.
_BATCH_NORMS = (
    _BatchNorm,
    FrozenBatchNorm2d,
    FrozenBatchNormAct2d,
    TorchvisionFrozenBatchNorm2d,
)
# Other kinds may make something else of their weights first, such as standardize them.
_CONVOLUTIONS = (nn.Conv2d, Conv2dSame)


@torch.no_grad()
def fold_batch_norm(model: nn.Module) -> None:
    """Multiply the weights of convolutions by what the batch norm after them multiplies by.

    In place. In evaluation mode batch norm is a factor and a summand for each channel; so the
    convolution alone gives the same, up to rounding, and the features go through memory once less.
    Done for Detectron2's `Conv2d`, which holds its norm, and in timm's networks.

    Args:
        model: in evaluation mode; it can't be trained any more.
    """
    for module in list(model.modules()):
        if isinstance(module, Conv2d) and _is_fixed(module.norm):
            _fold(module, module.norm)
            module.norm = None
        elif isinstance(module, TimmBackbone):
            for convolution, name in _pairs(module.network):
                norm = module.network.get_submodule(name)
                _fold(convolution, norm)
                module.network.set_submodule(name, _without_norm(norm))


def _is_fixed(norm: nn.Module | None) -> bool:
    """Whether a layer normalizes by statistics that don't depend on its input."""
    if isinstance(norm, _BatchNorm):
        return not norm.training and norm.running_var is not None
    return isinstance(norm, _BATCH_NORMS)


def _fold(convolution: nn.Conv2d, norm: nn.Module) -> None:
    scale = (norm.running_var + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight
    bias = -norm.running_mean * scale
    if norm.bias is not None:
        bias = bias + norm.bias
    if convolution.bias is not None:
        bias = bias + convolution.bias * scale
    weight = convolution.weight * scale[:, None, None, None]
    convolution.weight = nn.Parameter(weight, requires_grad=False)
    convolution.bias = nn.Parameter(bias, requires_grad=False)


def _without_norm(norm: nn.Module) -> nn.Module:
    """What timm's norms with an activation do besides."""
    rest = [getattr(norm, name) for name in ("drop", "act") if hasattr(norm, name)]
    return nn.Sequential(*rest)


def _pairs(network: nn.Module) -> Iterator[tuple[nn.Conv2d, str]]:
    """The convolutions whose output goes to a fixed batch norm and nowhere else, and its name."""
    modules = dict(network.named_modules())
    try:
        graph = _Tracer().trace(network)
    except Exception:  # whatever a network's own code raises where it looks at values: no pairs
        return
    num_calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    for node in graph.nodes:
        if node.op != "call_module" or not _is_fixed(modules[node.target]):
            continue
        before = node.args[0]
        if (
            isinstance(before, fx.Node)
            and before.op == "call_module"
            and type(modules[before.target]) in _CONVOLUTIONS
            and len(before.users) == 1
            and num_calls[before.target] == num_calls[node.target] == 1
        ):
            yield modules[before.target], node.target


class _Tracer(fx.Tracer):
    """Looks into all modules but convolutions and batch norms."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, (nn.Conv2d, *_BATCH_NORMS)) or super().is_leaf_module(
            module, name
        )
