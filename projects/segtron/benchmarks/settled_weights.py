"""Random weights that a model can be timed with.

What detection costs depends on how many proposals and objects there are. With the weights that
layers start from, frozen batch norms let features grow without bound and all scores are alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from detectron2.layers import FrozenBatchNorm2d
from torch import nn

# What a residual branch adds, next to what goes past it. With as much as that, rounding to bfloat16
# would grow from block to block until nothing is left of the features, as it does in no trained
# model.
RESIDUAL_SCALE = 0.1
_LAST_OF_BRANCH = "conv3.norm"  # in Detectron2's bottleneck blocks
# The last layers by the ends of their names -> the standard deviation that their outputs get, and
# how much more the last channel gets, which is the background of a box classifier.
LAST_LAYERS: Mapping[str, tuple[float, float]] = {
    "objectness_logits": (2.0, 0.0),
    "anchor_deltas": (0.2, 0.0),
    "box_predictor.cls_score": (2.5, 6.0),
    "box_predictor.bbox_pred": (0.5, 0.0),
    "mask_head.predictor": (2.0, 0.0),
    "sem_seg_head.predictor": (2.0, 0.0),
}


@torch.no_grad()
def settle_weights(model: nn.Module, run: Callable[[], Any]) -> None:
    """Let a model of random weights give outputs that differ from place to place.

    In place, in the order in which layers run. Batch norms get the statistics of what they are
    given, and those that end a residual branch the weight `RESIDUAL_SCALE`. Each of `LAST_LAYERS`
    is scaled and shifted, so that each channel of its output has the mean 0 and all together have
    one standard deviation. A box head sees the mean of a region's features, so that what it finds
    doesn't depend on where exactly these are sampled.

    Args:
        model: in evaluation mode, with no compiled parts.
        run: runs it on a typical input.
    """
    settled: set[nn.Module] = set()
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, FrozenBatchNorm2d | nn.BatchNorm2d):
            handles.append(module.register_forward_pre_hook(_take_statistics))
            if name.endswith(_LAST_OF_BRANCH):
                module.weight.fill_(RESIDUAL_SCALE)
        if name.endswith("box_head"):
            handles.append(module.register_forward_pre_hook(_see_the_mean))
        for ending, (deviation, background) in LAST_LAYERS.items():
            if name.endswith(ending):
                settler = _Settler(settled, deviation, background)
                handles.append(module.register_forward_hook(settler))
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()


def _take_statistics(norm: nn.Module, inputs: tuple[torch.Tensor]) -> None:
    var, mean = torch.var_mean(inputs[0], dim=(0, 2, 3))
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(var)


def _see_the_mean(box_head: nn.Module, inputs: tuple[torch.Tensor]) -> None:
    cells = inputs[0].flatten(2)  # (N, C, cells)
    weight = box_head.fc1.weight.unflatten(1, cells.shape[1:])
    weight.copy_(weight.mean(dim=2, keepdim=True).expand_as(weight))


class _Settler:
    """Scales and shifts a layer by its first output; one that runs on several levels of a feature
    pyramid stays as the first level wants it."""

    def __init__(self, settled: set[nn.Module], deviation: float, background: float) -> None:
        self._settled = settled
        self._deviation = deviation
        self._background = background

    def __call__(
        self, layer: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor
    ) -> torch.Tensor | None:
        if layer in self._settled:
            return None
        self._settled.add(layer)
        channels = output.transpose(0, 1).flatten(1)
        mean = channels.mean(dim=1)
        scale = self._deviation / (channels - mean[:, None]).std()
        layer.weight.mul_(scale)
        layer.bias.sub_(mean).mul_(scale)
        layer.bias[-1] += self._background
        return layer(*inputs)
