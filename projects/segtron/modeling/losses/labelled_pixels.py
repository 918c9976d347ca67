"""What the losses of semantic segmentation share: labelled pixels, their weights, their mean."""

from __future__ import annotations

import torch


def check_shapes(
    logits: torch.Tensor, targets: torch.Tensor, class_weights: torch.Tensor | None = None
) -> None:
    """Make sure that logits, targets and class weights belong together.

    Args:
        logits: should be (N, K, H, W).
        targets: should be (N, H, W).
        class_weights: should be (K,), if given.

    Raises:
        ValueError: names the shapes that do not match.
    """
    if logits.dim() != 4 or targets.shape != (len(logits), *logits.shape[2:]):
        raise ValueError(
            f"logits of shape {tuple(logits.shape)} do not match targets of shape "
            f"{tuple(targets.shape)}; they must be (N, K, H, W) and (N, H, W)"
        )
    if class_weights is not None and class_weights.shape != logits.shape[1:2]:
        raise ValueError(
            f"class weights of shape {tuple(class_weights.shape)} do not match logits of shape "
            f"{tuple(logits.shape)}; there must be one for each of {logits.shape[1]} classes"
        )


def full_precision(logits: torch.Tensor) -> torch.Tensor:
    """Half floats as float32, anything else as it is.

    Sums over a million pixels leave the precision, and often the range, of half floats.
    """
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def pixel_weights(
    targets: torch.Tensor,
    dtype: torch.dtype,
    *,
    ignore_value: int,
    class_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """The weight of each pixel: that of its class, or 1; 0 where it is ignored.

    Args:
        targets: (N, H, W) int64, classes or `ignore_value`.
        dtype: of the result.
        ignore_value: label of the pixels that do not count.
        class_weights: (K,), if given.

    Returns:
        (N, H, W).
    """
    labelled = targets != ignore_value
    if class_weights is None:
        return labelled.to(dtype)
    classes = targets.where(labelled, 0)
    return class_weights.to(dtype)[classes] * labelled


def one_hot(targets: torch.Tensor, num_classes: int, *, ignore_value: int) -> torch.Tensor:
    """Mark the class of each pixel; nothing is marked at ignored pixels.

    Args:
        targets: (N, H, W) int64, classes or `ignore_value`.
        num_classes: K.
        ignore_value: label of the pixels that do not count.

    Returns:
        (N, K, H, W) bool.
    """
    labelled = (targets != ignore_value).unsqueeze(1)
    classes = targets.unsqueeze(1).where(labelled, 0)
    marks = labelled.new_zeros(len(targets), num_classes, *targets.shape[1:])
    return marks.scatter_(1, classes, labelled)


def weighted_mean(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """sum(weights * values) / sum(weights); 0, and connected to `values`, where all weights are 0.

    Args:
        values: of any shape, finite.
        weights: of the same shape, 0 or more.

    Returns:
        A scalar.
    """
    total = weights.sum()
    # Where the weights' sum is 0 so is the other, and 1 keeps quotient and gradient 0. A tiny
    # number would not: one over it leaves the range of floats as soon as a loss is multiplied.
    return (values * weights).sum() / total.where(total > 0, 1)
