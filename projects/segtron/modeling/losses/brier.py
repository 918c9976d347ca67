"""The Brier score."""

from __future__ import annotations

import torch

from segtron.modeling.losses.labelled_pixels import (
    check_shapes,
    full_precision,
    one_hot,
    pixel_weights,
    weighted_mean,
)


def sem_seg_brier_score(
    logits: torch.Tensor,
    targets: torch.Tensor,
    *,
    ignore_value: int,
    class_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Squared distance between softmax and one-hot label, averaged over all labelled pixels.

    Segmentation taken as a regression. With p = softmax(logits), g the one-hot labels and y the
    label of pixel i:

        sum_i w[y_i] * sum_c (p[i, c] - g[i, c]) ** 2  /  sum_i w[y_i]

    (Brier, "Verification of forecasts expressed in terms of probability", 1950, with weights.)
    Its slope fades where the softmax is sure, of the wrong class too; that of cross-entropy
    doesn't.

    Args:
        logits: (N, K, H, W) of any floating dtype.
        targets: (N, H, W) int64, classes from 0 to K-1 or `ignore_value`.
        ignore_value: label of the pixels that have no part in the loss.
        class_weights: (K,), the w above, 0 or more; all 1 if not given. Only their ratios matter.

    Returns:
        A float32 scalar (float64 for float64 logits) from 0 to 2. A class without a pixel counts
        only through the probability that other classes' pixels give it. If no pixel is labelled, or
        N = 0, it is 0, and connected to `logits`.
    """
    check_shapes(logits, targets, class_weights)
    probabilities = full_precision(logits).softmax(dim=1)
    labels = one_hot(targets, logits.shape[1], ignore_value=ignore_value)
    distances = (probabilities - labels.to(probabilities.dtype)).square().sum(dim=1)
    weights = pixel_weights(
        targets, distances.dtype, ignore_value=ignore_value, class_weights=class_weights
    )
    return weighted_mean(distances, weights)
