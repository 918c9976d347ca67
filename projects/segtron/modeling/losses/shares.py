"""What part each piece of a batch has in a loss that is a mean over the whole of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from segtron.modeling.losses.sem_seg import SemSegLoss


def loss_shares(model: nn.Module, parts: Sequence[list[dict[str, Any]]]) -> list[dict[str, float]]:
    """The shares by which losses of a batch's parts have to be added up to be the batch's loss.

    The losses of semantic segmentation are means over labelled pixels, of which parts of a batch
    have more or fewer. All other losses, and the terms that are no such means (OHEM, Dice,
    Lovász), have equal shares: right for means over images, and for the losses of Mask R-CNN where
    each part has as many proposals and as many of them on objects.

    Args:
        model: whose loss it is.
        parts: N lists of inputs, each with `sem_seg` (H, W) where there are labels.

    Returns:
        For each part, name of a loss -> its share; they add up to 1. What isn't named has 1 / N.
    """
    losses = [module for module in model.modules() if isinstance(module, SemSegLoss)]
    if len(parts) == 1 or not losses:
        return [{} for _ in parts]
    sizes = [
        losses[0].sizes([image["sem_seg"] for image in part if "sem_seg" in image])
        for part in parts
    ]
    totals = {name: sum(size[name] for size in sizes) for name in sizes[0]}
    return [
        {name: size[name] / total for name, total in totals.items() if total > 0} for size in sizes
    ]
