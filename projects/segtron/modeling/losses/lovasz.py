"""The Lovász-softmax loss."""

from __future__ import annotations

import torch

from segtron.modeling.losses.labelled_pixels import check_shapes, full_precision

# An integer type as wide as each float: floats of 0 or more have the order of their bits.
_BITS = {torch.float32: torch.int32, torch.float64: torch.int64}


def sem_seg_lovasz_softmax(
    logits: torch.Tensor, targets: torch.Tensor, *, ignore_value: int
) -> torch.Tensor:
    """A convex surrogate of one minus the IoU, averaged over the classes in the batch's labels.

    With p = softmax(logits) and g the one-hot labels, the errors of class c are
    e[i] = |p[i, c] - g[i, c]|. Sorted so that they fall, e[1] >= e[2] >= ..., the loss of the class
    is

        sum_i e[i] * (J[i] - J[i - 1])

    where J[i] is the Jaccard loss, one minus the IoU, of a prediction that is wrong exactly in the
    first i pixels, and J[0] = 0: the Lovász extension of the Jaccard loss (Berman, Triki &
    Blaschko, "The Lovász-softmax loss", 2018). Where all errors are 0 or 1 it is the Jaccard loss
    itself. All labelled pixels of the batch are taken as one image. Where errors tie, the loss has
    a kink; its gradient is one of the subgradients there.

    Args:
        logits: (N, K, H, W) of any floating dtype.
        targets: (N, H, W) int64, classes from 0 to K-1 or `ignore_value`.
        ignore_value: label of the pixels that have no part in the loss.

    Returns:
        A float32 scalar (float64 for float64 logits) from 0 to 1. A class without a pixel is left
        out of the mean. If no pixel is labelled, or N = 0, it is 0, and connected to `logits`.
    """
    check_shapes(logits, targets)
    # Only here ignored pixels are cut out, which costs a copy: sorting them would cost more.
    pixels = (targets != ignore_value).flatten().nonzero().squeeze(1)
    labels = targets.flatten()[pixels]
    columns = full_precision(logits.transpose(0, 1).flatten(1).index_select(1, pixels))
    probabilities = columns.softmax(dim=0)
    marks = torch.zeros_like(probabilities).scatter_(0, labels[None], 1.0)
    differences = probabilities - marks
    present = labels.bincount(minlength=len(columns)).nonzero().squeeze(1).tolist()
    # Between two kinks the loss is linear in the differences; autograd needs its slopes only, and
    # can forget the sorting, class by class.
    slopes = torch.zeros_like(marks)
    for index in present:
        slopes[index] = _lovasz_slopes(differences[index].detach(), labels == index)
    return (differences * slopes).sum() / max(len(present), 1)


def _lovasz_slopes(differences: torch.Tensor, in_class: torch.Tensor) -> torch.Tensor:
    """The derivative of a class's loss by its differences.

    J[i] - J[i - 1] in closed form, which rounds less than subtracting does. With I and U the
    intersection and the union when the first i pixels are wrong: a pixel of the class leaves U as
    it was and takes 1 from I, so J grows by 1 / U; another one adds 1 to U, so J grows by
    I / (U - 1) - I / U = I / (U * (U - 1)).

    Args:
        differences: (P,), probability minus label.
        in_class: (P,) bool, the label; at least one is True.

    Returns:
        (P,), 0 or less in the class, 0 or more outside.
    """
    # As integers, since PyTorch sorts these on the CPU with a radix sort: about ten times faster.
    errors = differences.abs().view(_BITS[differences.dtype])
    order = (-errors).argsort()
    in_class = in_class.gather(0, order)
    seen = in_class.cumsum(0)
    size = seen[-1]
    places = torch.arange(1, len(seen) + 1, device=seen.device)
    intersection = (size - seen).to(differences.dtype)
    union = (size + places - seen).to(differences.dtype)
    growth = torch.where(in_class, -1.0 / union, intersection / (union * (union - 1.0)))
    return torch.empty_like(growth).scatter_(0, order, growth)
