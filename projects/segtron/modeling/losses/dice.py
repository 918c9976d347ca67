"""The soft Dice losses: of masks, and of the classes of semantic segmentation."""

from __future__ import annotations

import torch

from segtron.modeling.losses.labelled_pixels import (
    check_shapes,
    full_precision,
    one_hot,
    weighted_mean,
)

# In pixels. Keeps the quotient of a mask defined, and smooth, where both sides are empty.
_SMOOTH = 1.0


def soft_dice_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """One minus the soft Dice coefficient, averaged over masks.

    For one mask with probabilities p = sigmoid(logits) and ground truth g, with sums over its
    pixels:

        1 - (2 * sum(p * g) + 1) / (sum(p ** 2) + sum(g ** 2) + 1)

    (Milletari, Navab & Ahmadi, "V-Net", 2016, with a smooth term of 1 pixel.) Each mask counts
    alike, however small it is. It is 0 for a perfect mask; an empty ground truth is met by an empty
    prediction.

    Args:
        logits: (N, ...) of any floating dtype.
        targets: (N, ...) of the same shape, bool or from 0 to 1.

    Returns:
        A float32 scalar from 0 to 1. With N = 0 it is 0, and connected to `logits`.
    """
    if logits.shape != targets.shape:
        raise ValueError(
            f"logits of shape {tuple(logits.shape)} do not match targets of shape "
            f"{tuple(targets.shape)}"
        )
    if len(logits) == 0:
        return logits.sum().float() * 0.0
    # Sums of squares soon leave the precision, or the range, of half floats.
    p = logits.float().sigmoid().flatten(1)
    g = targets.to(p.dtype).flatten(1)
    overlap = (p * g).sum(dim=1)
    total = p.square().sum(dim=1) + g.square().sum(dim=1)
    return (1.0 - (2.0 * overlap + _SMOOTH) / (total + _SMOOTH)).mean()


def sem_seg_dice_loss(
    logits: torch.Tensor, targets: torch.Tensor, *, ignore_value: int
) -> torch.Tensor:
    """One minus the soft Dice coefficient, averaged over the classes in the batch's labels.

    With p = softmax(logits) over the classes and g the one-hot labels, with sums over all labelled
    pixels of the batch, for class c:

        1 - 2 * sum(p[c] * g[c]) / (sum(p[c] ** 2) + sum(g[c] ** 2))

    (Milletari, Navab & Ahmadi, "V-Net", 2016, who have one foreground class and sum over one
    volume.) Each class counts alike, however few pixels it has.

    Args:
        logits: (N, K, H, W) of any floating dtype.
        targets: (N, H, W) int64, classes from 0 to K-1 or `ignore_value`.
        ignore_value: label of the pixels that have no part in the loss.

    Returns:
        A float32 scalar (float64 for float64 logits) from 0 to 1. A class without a pixel is left
        out of the mean; that keeps every denominator at 1 or more, so there is no smooth term. If
        no pixel is labelled, or N = 0, it is 0, and connected to `logits`.
    """
    check_shapes(logits, targets)
    marks = one_hot(targets, logits.shape[1], ignore_value=ignore_value)
    probabilities = full_precision(logits).softmax(dim=1)
    probabilities = probabilities * (targets != ignore_value).unsqueeze(1)
    pixels = (0, 2, 3)
    overlap = (probabilities * marks).sum(dim=pixels)
    size = marks.sum(dim=pixels)
    # Classes without a pixel get a denominator that is not 0, too, and no weight in the mean.
    total = (probabilities.square().sum(dim=pixels) + size).clamp_min(1.0)
    return weighted_mean(1.0 - 2.0 * overlap / total, (size > 0).to(overlap.dtype))
