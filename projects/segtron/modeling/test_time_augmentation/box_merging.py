"""From boxes that were found in several views of an image to those of the image."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torchvision.ops import batched_nms, box_iou

# Boxes of one class that overlap so much (IoU) are of one object.
SAME_OBJECT = 0.6


class FoundBoxes(NamedTuple):
    """Boxes in pixels of the output."""

    boxes: torch.Tensor  # (N, 4) float, (x0, y0, x1, y1)
    scores: torch.Tensor  # (N,) float
    classes: torch.Tensor  # (N,) int64


def merge_boxes(views: list[FoundBoxes], *, iou_threshold: float, most: int) -> FoundBoxes:
    """Let the views vote.

    Of all boxes those stay that non-maximum suppression leaves. In each view the box that is most
    certain of those of the same object (`SAME_OBJECT`) has a vote: the merged box is the mean of
    these by their scores (box voting: Gidaris & Komodakis 2015), and its score is the mean over all
    views, 0 where a view has no such box (as in weighted boxes fusion: Solovyev et al. 2021). The
    score of the most certain view alone would be high for what one view takes for an object by
    mistake.

    Args:
        views: what was found in each, at least one.
        iou_threshold: of non-maximum suppression, within a class.
        most: the most boxes to keep.

    Returns:
        By descending score; boxes without an area are left out.
    """
    views = [_with_area(view) for view in views]
    boxes, scores, classes = (torch.cat(column) for column in zip(*views, strict=True))
    if not len(boxes):
        return FoundBoxes(boxes, scores, classes)
    numbers = torch.cat(
        [boxes.new_full((len(view.boxes),), i, dtype=torch.int64) for i, view in enumerate(views)]
    )
    kept = batched_nms(boxes.float(), scores, classes, iou_threshold)
    votes = box_iou(boxes[kept], boxes) >= SAME_OBJECT
    votes &= classes[kept][:, None] == classes
    weights = votes * scores
    # (kept, views): where the most certain box of each view is, and its score.
    of_view = numbers == torch.arange(len(views), device=boxes.device)[:, None]
    best, places = (weights[:, None] * of_view).max(dim=2)
    merged = (best[..., None] * boxes[places]).sum(dim=1) / best.sum(dim=1, keepdim=True)
    mean = best.mean(dim=1)
    order = mean.argsort(descending=True, stable=True)[:most]
    return FoundBoxes(merged[order], mean[order], classes[kept][order])


def _with_area(view: FoundBoxes) -> FoundBoxes:
    """Other boxes overlap with nothing, not even with themselves, so that none would vote."""
    has_area = (view.boxes[:, 2:] > view.boxes[:, :2]).all(dim=1)
    return FoundBoxes(*(column[has_area] for column in view))
