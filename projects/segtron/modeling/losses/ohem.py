"""Cross-entropy of the hard pixels only: online hard example mining."""

from __future__ import annotations

import math

import torch

from segtron.modeling.losses.cross_entropy import pixel_cross_entropy
from segtron.modeling.losses.labelled_pixels import check_shapes, pixel_weights, weighted_mean


def sem_seg_ohem_cross_entropy(
    logits: torch.Tensor,
    targets: torch.Tensor,
    *,
    ignore_value: int,
    class_weights: torch.Tensor | None = None,
    threshold: float = 0.7,
    min_kept: float = 0.1,
) -> torch.Tensor:
    """Cross-entropy, averaged over those labelled pixels of the batch that are hard.

    With p = softmax(logits) over the classes, and y the label of pixel i:

        sum_i w[y_i] * -log p[i, y_i]  /  sum_i w[y_i],  over the hard pixels i

    Hard are the pixels with p[i, y_i] < `threshold`. If they are fewer than `min_kept` of the
    labelled pixels, then the hardest ones up to that share are kept, and those that tie with the
    last of them. Which ones are hard does not depend on the class weights.

    Shrivastava, Gupta & Girshick ("OHEM", 2016) keep a fixed number of the hardest regions of an
    image; Wu, Shen & van den Hengel ("Bridging category-level and instance-level semantic image
    segmentation", 2016) brought the threshold and the least number of pixels. Here that number is
    a share, so that it fits every size of crop and batch.

    Args:
        logits: (N, K, H, W) of any floating dtype.
        targets: (N, H, W) int64, classes from 0 to K-1 or `ignore_value`.
        ignore_value: label of the pixels that have no part in the loss.
        class_weights: (K,), the w above, 0 or more; all 1 if not given. Only their ratios matter.
        threshold: from 0 (keep the hardest `min_kept` only) to 1.
        min_kept: from 0 (keep what is below the threshold only) to 1 (keep all: cross-entropy).

    Returns:
        A float32 scalar (float64 for float64 logits), 0 or more. A class without a hard pixel has
        no part in it. If no pixel is hard or labelled, or N = 0, it is 0, and connected to
        `logits`.
    """
    check_shapes(logits, targets, class_weights)
    losses = pixel_cross_entropy(logits, targets, ignore_value=ignore_value)
    weights = pixel_weights(
        targets, losses.dtype, ignore_value=ignore_value, class_weights=class_weights
    )
    hard = _hard_pixels(losses.detach(), targets != ignore_value, threshold, min_kept)
    return weighted_mean(losses, weights * hard)


def _hard_pixels(
    losses: torch.Tensor, labelled: torch.Tensor, threshold: float, min_kept: float
) -> torch.Tensor:
    """Mark the hard ones of the labelled pixels; marks elsewhere mean nothing.

    Args:
        losses: (N, H, W), cross-entropy of each pixel.
        labelled: (N, H, W) bool.
        threshold, min_kept: see `sem_seg_ohem_cross_entropy`.

    Returns:
        (N, H, W) bool.
    """
    hard = losses > (-math.log(threshold) if threshold > 0 else math.inf)
    # Rounded first: 0.07 * 100 is a little more than 7 in floating point.
    least = math.ceil(round(min_kept * int(labelled.sum()), 6))
    if least > 0:
        hardest = losses[labelled].topk(least, sorted=False).values
        hard |= losses >= hardest.min()
    return hard
