"""Whether two models found the same, so that nobody times two different things."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from detectron2.structures import Boxes, Instances, pairwise_iou


class Likeness(NamedTuple):
    """How much alike two results have to be.

    Attributes:
        iou: from which two boxes of one class are the same object.
        found: the share of Detectron2's objects that have to be found.
        number: by which share of itself their number may differ.
        pixels: the share of the pixels that have to be of the same class.
    """

    iou: float
    found: float
    number: float
    pixels: float


# The same arithmetic in another order.
SAME = Likeness(iou=0.9, found=0.95, number=0.05, pixels=0.99)
# Rounding to 16 bits. Of weights that are made up, many scores lie close together.
ROUNDED = Likeness(iou=0.9, found=0.6, number=0.25, pixels=0.6)
# torchvision samples regions half a pixel beside, and has other anchors by as much.
SHIFTED = Likeness(iou=0.5, found=0.5, number=0.3, pixels=0.7)
# By which share of itself a loss may differ.
_LOSSES = 0.3


def check_instances(
    ours: Sequence[Instances], theirs: Sequence[Instances], likeness: Likeness
) -> None:
    """Make sure that both found about the same objects in each image.

    Args:
        ours: with `pred_boxes` and `pred_classes`.
        theirs: likewise.
        likeness: how much alike they have to be.

    Raises:
        RuntimeError: they didn't, or nothing was found at all.
    """
    for our_image, their_image in zip(ours, theirs, strict=True):
        number, their_number = len(our_image), len(their_image)
        found = count_found(our_image, their_image, likeness.iou)
        if (
            not their_number
            or found < likeness.found * their_number
            or abs(number - their_number) > likeness.number * their_number
        ):
            raise RuntimeError(
                f"the two models disagree: {number} objects here and {their_number} there, of "
                f"which {found} have one here with an IoU above {likeness.iou}; so their times "
                "can't be compared"
            )


def count_found(ours: Instances, theirs: Instances, iou: float) -> int:
    """How many of their instances have one of ours of the same class with an IoU above `iou`."""
    if not len(ours) or not len(theirs):
        return 0
    boxes = (Boxes(image.pred_boxes.tensor.cpu()) for image in (theirs, ours))
    ious = pairwise_iou(*boxes)
    ious[theirs.pred_classes.cpu()[:, None] != ours.pred_classes.cpu()[None, :]] = 0
    return int((ious.max(dim=1).values > iou).sum())


def check_labels(
    ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor], likeness: Likeness
) -> None:
    """Make sure that most pixels of all images have the same class.

    Args:
        ours: (H, W) of integers each.
        theirs: likewise.
        likeness: how much alike they have to be.

    Raises:
        RuntimeError: they don't, or all pixels are of one class.
    """
    if all(len(labels.unique()) == 1 for labels in theirs):
        raise RuntimeError("the model gives all pixels one class, so there is nothing to compare")
    equal = sum(int((a.cpu() == b.cpu()).sum()) for a, b in zip(ours, theirs, strict=True))
    share = equal / sum(labels.numel() for labels in theirs)
    if share < likeness.pixels:
        raise RuntimeError(
            f"the two models disagree: {share:.1%} of the pixels have the same class, so their "
            "times can't be compared"
        )


def check_losses(ours: Mapping[str, float], theirs: Mapping[str, float]) -> None:
    """Make sure that two training steps found about the same losses. They draw regions by chance,
    each in its own way.

    Args:
        ours: by Detectron2's names.
        theirs: likewise, perhaps not all of them.

    Raises:
        RuntimeError: they didn't.
    """
    for name, their_loss in theirs.items():
        if not abs(ours[name] - their_loss) <= _LOSSES * abs(their_loss):
            raise RuntimeError(
                f"the two models disagree: {name} is {ours[name]:.4f} here and {their_loss:.4f} "
                "there, so their times can't be compared"
            )
