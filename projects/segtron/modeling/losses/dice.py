"""The soft Dice loss of masks."""

from __future__ import annotations

import torch


def soft_dice_loss(
    logits: torch.Tensor, targets: torch.Tensor, smooth: float = 1.0
) -> torch.Tensor:
    """One minus the soft Dice coefficient, averaged over masks.

    For one mask with probabilities p = sigmoid(logits) and ground truth g, with sums over its
    pixels:

        1 - (2 * sum(p * g) + smooth) / (sum(p ** 2) + sum(g ** 2) + smooth)

    (Milletari, Navab & Ahmadi, "V-Net", 2016, with a smooth term.) Each mask counts alike, however
    small it is. It is 0 for a perfect mask; an empty ground truth is met by an empty prediction.

    Args:
        logits: (N, ...) of any floating dtype.
        targets: (N, ...) of the same shape, bool or from 0 to 1.
        smooth: in pixels; above 0. Keeps the quotient defined and smooth where both masks are
            empty.

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
    return (1.0 - (2.0 * overlap + smooth) / (total + smooth)).mean()
