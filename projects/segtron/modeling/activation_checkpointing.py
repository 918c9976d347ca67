"""Backbones that compute their activations again for the backward pass instead of keeping them:
about a third more time for a part of the memory (Chen et al. 2016)."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
# Below this a block has too little to save.
_LEAST_CHILDREN = 2


def checkpoint_activations(backbone: nn.Module) -> int:
    """Let the blocks of a backbone forget what they can compute again.

    A block is a member of an `nn.Sequential`, list or dict of modules that consists of several
    layers: a residual block, an inverted bottleneck, a level of a U-Net. Names of parameters stay
    as they are.

    Args:
        backbone: changed in place.

    Returns:
        The number of blocks.
    """
    blocks = list(_blocks(backbone))
    for block in blocks:
        block.forward = functools.partial(_forward, block, block.forward)
    return len(blocks)


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(module, _CONTAINERS) and _is_block(child):
            yield child
        else:
            yield from _blocks(child)


def _is_block(module: nn.Module) -> bool:
    is_container = isinstance(module, _CONTAINERS) and any(map(_is_block, module.children()))
    return not is_container and len(list(module.children())) >= _LEAST_CHILDREN


def _forward(block: nn.Module, forward: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
    if not block.training:
        return forward(*inputs, **options)
    if torch.compiler.is_compiling():
        # What is compiled computes again without counting a batch twice, and takes no contexts.
        return checkpoint(forward, *inputs, use_reentrant=False, **options)
    return checkpoint(
        forward,
        *inputs,
        use_reentrant=False,
        context_fn=lambda: (contextlib.nullcontext(), _counting_no_batch(block)),
        **options,
    )


@contextlib.contextmanager
def _counting_no_batch(block: nn.Module) -> Iterator[None]:
    """Batch norms count a batch when it is first computed, and not when it is computed again."""
    norms = [
        (module, module.momentum, module.num_batches_tracked.clone())
        for module in block.modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats
    ]
    for norm, *_ in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, count in norms:
            norm.momentum = momentum
            # Computing again ends as soon as all is there: the last ones may have counted nothing.
            norm.num_batches_tracked.copy_(count)
