"""Binary cross-entropy of each class against all others."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from segtron.modeling.losses.labelled_pixels import (
    check_shapes,
    full_precision,
    one_hot,
    pixel_weights,
    weighted_mean,
)


def sem_seg_bce(
    logits: torch.Tensor,
    targets: torch.Tensor,
    *,
    ignore_value: int,
    class_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Sigmoid cross-entropy of K one-vs-rest problems, averaged over labelled pixels and classes.

    With s = sigmoid(logits), g the one-hot labels and P labelled pixels in the batch:

        sum_i sum_c w[c] * -(g[i, c] * log s[i, c] + (1 - g[i, c]) * log(1 - s[i, c]))
            /  (P * sum_c w[c])

    Unlike in the losses on the softmax, w[c] weighs the problem of class c at every pixel, whatever
    the pixel's label is.

    Args:
        logits: (N, K, H, W) of any floating dtype.
        targets: (N, H, W) int64, classes from 0 to K-1 or `ignore_value`.
        ignore_value: label of the pixels that have no part in the loss.
        class_weights: (K,), the w above, 0 or more; all 1 if not given. Only their ratios matter.

    Returns:
        A float32 scalar (float64 for float64 logits), 0 or more. A class without a pixel is learned
        from the others' pixels, as what they are not. If no pixel is labelled, or N = 0, it is 0,
        and connected to `logits`.
    """
    check_shapes(logits, targets, class_weights)
    logits = full_precision(logits)
    if class_weights is None:
        class_weights = logits.new_ones(logits.shape[1])
    shares = class_weights.to(logits.dtype)
    shares = shares / shares.sum().clamp_min(torch.finfo(shares.dtype).tiny)
    losses = F.binary_cross_entropy_with_logits(
        logits,
        one_hot(targets, logits.shape[1], ignore_value=ignore_value).to(logits.dtype),
        weight=shares[:, None, None],
        reduction="none",
    )
    return weighted_mean(
        losses.sum(dim=1), pixel_weights(targets, losses.dtype, ignore_value=ignore_value)
    )
