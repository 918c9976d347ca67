"""What a head says of the class that an instance has."""

from __future__ import annotations

import torch


def of_class(x: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Of predictions for all classes, take each instance's own.

    Args:
        x: (N, K, ...); K of 1 means one for all classes.
        classes: (N,) int64.

    Returns:
        (N, ...).
    """
    if x.shape[1] == 1:
        return x[:, 0]
    return x[torch.arange(classes.shape[0], device=x.device), classes]
