"""Focal loss."""

from __future__ import annotations

import torch

from segtron.modeling.losses.cross_entropy import pixel_cross_entropy
from segtron.modeling.losses.labelled_pixels import check_shapes, pixel_weights, weighted_mean


def sem_seg_focal_loss(
    logits: torch.Tensor,
    targets: torch.Tensor,
    *,
    ignore_value: int,
    class_weights: torch.Tensor | None = None,
    gamma: float = 2.0,
) -> torch.Tensor:
    """Cross-entropy in which pixels count less the better they are predicted.

    With p = softmax(logits) over the classes, and y the label of pixel i:

        sum_i w[y_i] * (1 - p[i, y_i]) ** gamma * -log p[i, y_i]  /  sum_i w[y_i]

    Lin et al. ("Focal loss for dense object detection", 2017) take a sigmoid for each class and
    divide the sum over all anchors by the number of those on objects. Here it is a softmax, since
    each pixel has exactly one class, and a mean over the labelled pixels of the batch; the class
    weights stand for the paper's alpha. With gamma = 0 it is `sem_seg_cross_entropy`.

    Args:
        logits: (N, K, H, W) of any floating dtype.
        targets: (N, H, W) int64, classes from 0 to K-1 or `ignore_value`.
        ignore_value: label of the pixels that have no part in the loss.
        class_weights: (K,), the w above, 0 or more; all 1 if not given. Only their ratios matter.
        gamma: 0 or more.

    Returns:
        A float32 scalar (float64 for float64 logits), 0 or more, at most the cross-entropy. A class
        without a pixel has no part in it. If no pixel is labelled, or N = 0, it is 0, and connected
        to `logits`.
    """
    check_shapes(logits, targets, class_weights)
    losses = pixel_cross_entropy(logits, targets, ignore_value=ignore_value)
    weights = pixel_weights(
        targets, losses.dtype, ignore_value=ignore_value, class_weights=class_weights
    )
    # 1 - p without cancellation. At p = 1 a power below 1 has no finite slope, so stay above 0.
    doubts = (-torch.expm1(-losses)).clamp_min(torch.finfo(losses.dtype).tiny)
    return weighted_mean(doubts.pow(gamma) * losses, weights)
