"""Pixel-wise cross-entropy."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from segtron.modeling.losses.labelled_pixels import (
    check_shapes,
    full_precision,
    pixel_weights,
    weighted_mean,
)


def sem_seg_cross_entropy(
    logits: torch.Tensor,
    targets: torch.Tensor,
    *,
    ignore_value: int,
    class_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Cross-entropy of the softmax, averaged over all labelled pixels of the batch.

    With p = softmax(logits) over the classes, and y the label of pixel i:

        sum_i w[y_i] * -log p[i, y_i]  /  sum_i w[y_i]

    which is `torch.nn.functional.cross_entropy`, but 0 instead of not a number where no pixel is
    labelled. Long, Shelhamer & Darrell ("FCN", 2015) train with the sum over the pixels of one
    image instead of the mean, and no class weights.

    Args:
        logits: (N, K, H, W) of any floating dtype.
        targets: (N, H, W) int64, classes from 0 to K-1 or `ignore_value`.
        ignore_value: label of the pixels that have no part in the loss.
        class_weights: (K,), the w above, 0 or more; all 1 if not given. Only their ratios matter.

    Returns:
        A float32 scalar (float64 for float64 logits), 0 or more. A class without a pixel has no
        part in it. If no pixel is labelled, or N = 0, it is 0, and connected to `logits`.
    """
    check_shapes(logits, targets, class_weights)
    losses = pixel_cross_entropy(logits, targets, ignore_value=ignore_value)
    weights = pixel_weights(
        targets, losses.dtype, ignore_value=ignore_value, class_weights=class_weights
    )
    return weighted_mean(losses, weights)


def pixel_cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, *, ignore_value: int
) -> torch.Tensor:
    """-log of the probability of each pixel's class.

    Args:
        logits: (N, K, H, W) of any floating dtype.
        targets: (N, H, W) int64, classes from 0 to K-1 or `ignore_value`.
        ignore_value: label of the pixels that do not count.

    Returns:
        (N, H, W), float32 or float64, 0 or more; 0, with no gradient, at ignored pixels.
    """
    return F.cross_entropy(
        full_precision(logits), targets, ignore_index=ignore_value, reduction="none"
    )
