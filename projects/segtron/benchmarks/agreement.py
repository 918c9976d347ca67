"""Whether two models found the same, so that nobody times two different things."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from detectron2.structures import Instances, pairwise_iou

# By which share of itself a loss may differ, for each side draws regions by chance: Segtron the
# same ones in each step, the others new ones. Seen were 0.08 in images of 256x512, and 0.06 between
# steps of Detectron2 itself.
_LOSSES = 0.2


class Likeness(NamedTuple):
    """How much alike two results have to be.

    Attributes:
        iou: from which the boxes of two objects of one class make them the same.
        found: the share of Detectron2's objects that have to be found.
        number: by which share of itself their number may differ.
        masks: the mean IoU that the masks of the same objects have to have.
        scores: by how much their scores may differ, on average.
        pixels: the share of the pixels that have to be of the same class.
        segments: the same of pixels that get their class from panoptic segments.
    """

    iou: float
    found: float
    number: float
    masks: float
    scores: float
    pixels: float
    segments: float


# What was seen is of images of 64x128 (three seeds) and 512x1024. The same arithmetic in another
# order: all objects, masks of 1.00 (one pixel in a hundred thousand differs), scores to 0.0000.
SAME = Likeness(
    iou=0.95, found=0.95, number=0.05, masks=0.98, scores=0.001, pixels=0.999, segments=0.999
)
# Rounding to 16 bits. Made-up weights have nothing to be sure of: scores lie close together, and
# masks look like noise, of which two that have nothing to do with each other share a third. Seen
# were 0.69 to 0.83 of the objects, masks of 0.68 to 0.71, scores to 0.009 to 0.026; 0.96 to 0.99 of
# the pixels, and of those of segments 0.66 to 0.83 in small images, 0.96 in large ones.
ROUNDED = Likeness(
    iou=0.9, found=0.6, number=0.2, masks=0.55, scores=0.05, pixels=0.93, segments=0.6
)
# torchvision samples regions half a pixel beside, and has other anchors by as much. Seen were 0.61
# to 0.86 of the objects, masks of 0.30 to 0.42, scores to 0.02 in large images, 0.13 in small ones.
# So masks say only that they lie in the same place.
SHIFTED = Likeness(iou=0.5, found=0.5, number=0.25, masks=0.2, scores=0.2, pixels=0.7, segments=0.6)


def check_instances(
    ours: Sequence[Instances], theirs: Sequence[Instances], likeness: Likeness
) -> None:
    """Make sure that both found about the same objects in each image, with about the same masks and
    scores.

    Args:
        ours: with `pred_boxes`, `pred_classes`, `scores` and `pred_masks` of bool, (N, H, W), on
            the CPU.
        theirs: likewise.
        likeness: how much alike they have to be.

    Raises:
        RuntimeError: they didn't, or nothing was found at all.
    """
    for our_image, their_image in zip(ours, theirs, strict=True):
        number, their_number = len(our_image), len(their_image)
        pairs = match_objects(our_image, their_image, likeness.iou)
        if (
            not len(pairs)
            or len(pairs) < likeness.found * their_number
            or abs(number - their_number) > likeness.number * their_number
        ):
            raise RuntimeError(
                f"the two models disagree: {number} objects here and {their_number} there, of "
                f"which {len(pairs)} have one here with an IoU above {likeness.iou}; so their "
                "times can't be compared"
            )
        _check_masks_and_scores(our_image[pairs[:, 0]], their_image[pairs[:, 1]], likeness)


def _check_masks_and_scores(ours: Instances, theirs: Instances, likeness: Likeness) -> None:
    """Of the same objects, in the same order."""
    iou = float(mask_ious(ours.pred_masks, theirs.pred_masks).mean())
    if not iou >= likeness.masks:
        raise RuntimeError(
            f"the two models disagree: masks of the same objects have an IoU of {iou:.2f} on "
            "average, so their times can't be compared"
        )
    difference = float((ours.scores - theirs.scores).abs().mean())
    if not difference <= likeness.scores:
        raise RuntimeError(
            f"the two models disagree: scores of the same objects differ by {difference:.4f} on "
            "average, so their times can't be compared"
        )


def match_objects(ours: Instances, theirs: Instances, iou: float) -> torch.Tensor:
    """Which of our instances are the same objects as theirs.

    Returns:
        (M, 2) int64: for each of their instances that has one of ours of the same class with an IoU
        of boxes above `iou`, the number of the best of these and its own.
    """
    if not len(ours) or not len(theirs):
        return torch.zeros(0, 2, dtype=torch.int64)
    ious = pairwise_iou(theirs.pred_boxes, ours.pred_boxes)
    ious[theirs.pred_classes[:, None] != ours.pred_classes[None, :]] = 0
    best, number = ious.max(dim=1)
    (found,) = (best > iou).nonzero(as_tuple=True)
    return torch.stack([number[found], found], dim=1)


def mask_ious(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """The IoU of each mask with its counterpart.

    Args:
        ours: (N, H, W) bool.
        theirs: likewise.

    Returns:
        (N,) float32; 1 where both are empty.
    """
    both, either = (found.flatten(1).sum(dim=1) for found in (ours & theirs, ours | theirs))
    return torch.where(either > 0, both / either, 1.0)


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
    _check_share(ours, theirs, likeness.pixels)


def check_segments(
    ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor], likeness: Likeness
) -> None:
    """`check_labels` of maps that were made of panoptic segments: with one of these, all of its
    pixels change."""
    _check_share(ours, theirs, likeness.segments)


def _check_share(
    ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor], least: float
) -> None:
    if all(len(labels.unique()) == 1 for labels in theirs):
        raise RuntimeError("the model gives all pixels one class, so there is nothing to compare")
    equal = sum(int((a.cpu() == b.cpu()).sum()) for a, b in zip(ours, theirs, strict=True))
    share = equal / sum(labels.numel() for labels in theirs)
    if share < least:
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
