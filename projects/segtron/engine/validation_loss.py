"""The training's losses on a validation set, computed without a trace in model or randomness."""

from __future__ import annotations

import logging
import random
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parallel import DistributedDataParallel

from segtron.engine.randomness import seed_iteration

logger = logging.getLogger(__name__)

# What proposals and points are sampled with, always the same.
_SEED = 0


def validation_results(
    model: nn.Module, loaders: Mapping[str, Iterable[list[dict[str, Any]]] | None]
) -> dict[str, float]:
    """The validation losses of all test sets, named as results of an evaluation, and logged.

    All processes have to call it.

    Args:
        model: see `validation_losses`.
        loaders: for each test set's name a loader, or None if the set has no ground truth.

    Returns:
        "validation/total_loss", "validation/loss_mask", ...; with several test sets
        "<set>/validation/total_loss", ... of each that has ground truth.

    Raises:
        FloatingPointError: see `validation_losses`.
    """
    results = {}
    for name, loader in loaders.items():
        if loader is None:
            continue
        start = time.perf_counter()
        losses = validation_losses(model, loader)
        logger.info(
            "%s: validation loss %s, in %.1f s",
            name,
            ", ".join(f"{term.removeprefix('loss_')} {loss:.4g}" for term, loss in losses.items()),
            time.perf_counter() - start,
        )
        prefix = f"{name}/" if len(loaders) > 1 else ""
        results |= {f"{prefix}validation/{term}": loss for term, loss in losses.items()}
    return results


def validation_losses(model: nn.Module, loader: Iterable[list[dict[str, Any]]]) -> dict[str, float]:
    """The losses that a model has on a validation set, as means over images.

    They are computed as in training, with two differences that make them repeatable: norms use
    their running statistics, and nothing is dropped out, as at inference. What the model samples at
    random, such as proposals, depends on the batch only, not on its place among others, so with
    batches of one image the result is the same for any number of processes.

    An image weighs the same whatever is in it. A term that an image has no part in, such as the
    loss of masks where there is no instance, counts as 0 there: so the terms add up to the total,
    as they do in training. The loss of a batch counts for each of its images.

    Nothing is changed: parameters, buffers, modes, generators of random numbers and the event
    storage are afterwards as before. All processes have to call it; those of a distributed model
    may have different numbers of batches.

    Args:
        model: returns a dict of losses in training; perhaps distributed.
        loader: batches as in training, each image of the set in one process only.

    Returns:
        The means over all processes: "total_loss"; and its terms, if there are several. Empty if
        there are no images.

    Raises:
        FloatingPointError: Detectron2's, if a first stage predicts boxes that are not finite.

    Example:
        >>> validation_losses(model, build_validation_loader(cfg, "toytown_instance_seg_val"))
        {'total_loss': 1.63, 'loss_cls': 0.41, 'loss_box_reg': 0.52, ...}
    """
    if isinstance(model, DistributedDataParallel):
        # It may wait for processes that have no more batches.
        model = model.module
    sums: dict[str, float] = defaultdict(float)
    num_images = 0
    device = next(model.parameters()).device
    with torch.no_grad(), _giving_losses(model), _kept_randomness(device), EventStorage(1):
        # Iteration 1 and not 0: models draw pictures of what they see at multiples of VIS_PERIOD.
        for batch in loader:
            seed_iteration(_SEED, 0)
            losses = model(batch)
            losses = {"total_loss": losses} if isinstance(losses, torch.Tensor) else losses
            values = torch.stack([loss.double() for loss in losses.values()]).tolist()
            for term, value in zip(losses, values, strict=True):
                sums[term] += value * len(batch)
            num_images += len(batch)
    parts = comm.all_gather((dict(sums), num_images))
    return _means([part for part, _ in parts], sum(number for _, number in parts))


def _means(sums: Iterable[Mapping[str, float]], num_images: int) -> dict[str, float]:
    """Means over images, from sums over those of each process."""
    if not num_images:
        return {}
    totals: dict[str, float] = defaultdict(float)
    for part in sums:
        for term, value in part.items():
            totals[term] += value
    means = {term: value / num_images for term, value in totals.items()}
    total = {"total_loss": sum(means.values())}
    return total | means if len(means) > 1 else total


@contextmanager
def _giving_losses(model: nn.Module) -> Iterator[None]:
    """Let a model compute losses, but its norms and dropouts behave as at inference."""
    modes = {module: module.training for module in model.modules()}
    try:
        model.train()
        if isinstance(getattr(model, "backbone", None), nn.Module):
            # No loss is computed in there, but timm's networks have their own kinds of dropout.
            model.backbone.eval()
        for module in model.modules():
            if isinstance(module, _NormBase | _DropoutNd):
                module.eval()
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def _kept_randomness(device: torch.device) -> Iterator[None]:
    """Put all generators back afterwards, those of one device among them."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
