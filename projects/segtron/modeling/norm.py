"""Normalization layers by the names that configs give them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

NORMS = ("", "BN", "SyncBN", "FrozenBN", "GN", "LN")
# GroupNorm's number of groups (Wu & He 2018).
GROUPS = 32

# One of `NORMS`, or a function from the number of channels to a layer.
Norm = str | Callable[[int], nn.Module]


def resolve_norm(norm: Norm) -> Norm:
    """Make "GN" fit any number of channels; Detectron2's `get_norm` wants multiples of 32.

    Returns:
        What `get_norm` takes: for "GN" a function that gives a layer of 32 groups or, where 32
        doesn't divide the channels, of the greatest common divisor of the two; else `norm`.
    """
    return _group_norm if norm == "GN" else norm


class _GroupNorm(nn.GroupNorm):
    """PyTorch's refuses groups of a single value, also at inference; they become 0 here.

    That is what a 1x1 feature of a small image is, where there are as many groups as channels.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


def _group_norm(channels: int) -> nn.GroupNorm:
    return _GroupNorm(math.gcd(GROUPS, channels), channels)
