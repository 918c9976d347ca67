"""What part each piece of a batch has in a loss that is a mean over the whole of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from detectron2.utils import comm
from torch import nn

from segtron.modeling.losses.sem_seg import SemSegLoss


def loss_shares(model: nn.Module, parts: Sequence[list[dict[str, Any]]]) -> list[dict[str, float]]:
    """The shares by which losses of a batch's parts have to be added up to be the batch's loss.

    The losses of semantic segmentation are means over labelled pixels, of which parts of a batch
    have more or fewer. All other losses, and the terms that are no such means (OHEM, Dice,
    Lovász), have equal shares: right for means over images, and for the losses of Mask R-CNN where
    each part has as many proposals and as many of them on objects.

    Several processes, whose gradients are averaged, have parts of one batch, too. All have to call
    this.

    Args:
        model: whose loss it is.
        parts: N lists of inputs, each with `sem_seg` (H, W) where there are labels.

    Returns:
        For each part, name of a loss -> its share. What isn't named has 1 / N. The shares of a
        process's parts add up to 1 on the mean over the processes.
    """
    losses = [module for module in model.modules() if isinstance(module, SemSegLoss)]
    world_size = comm.get_world_size()
    if len(parts) * world_size == 1 or not losses:
        return [{} for _ in parts]
    sizes = [
        losses[0].sizes([image["sem_seg"] for image in part if "sem_seg" in image])
        for part in parts
    ]
    everybodys = [size for of_process in comm.all_gather(sizes) for size in of_process]
    totals = {
        # A part without labels may lack the auxiliary loss's.
        name: sum(size.get(name, 0.0) for size in everybodys)
        for name in sizes[0]
    }
    return [
        {
            name: world_size * size[name] / total
            for name, total in totals.items()
            if total > 0 and name in size
        }
        for size in sizes
    ]
