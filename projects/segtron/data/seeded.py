"""Random numbers that depend on what they are drawn for, not on what was drawn before."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """What numbers are drawn for. A resumed training relies on the values, so they never change."""

    ORDER = 0
    ROUNDING = 1
    SUBSET = 2
    AUGMENTATION = 3
    REPLACEMENT = 4


def derive(seed: int, purpose: Purpose, *key: int) -> np.random.SeedSequence:
    """The source of all numbers for one purpose, independent of those for every other.

    Args:
        seed: the training's, 0 or more.
        purpose: what the numbers are for.
        *key: which one of its kind, such as the number of an epoch; each 0 or more.
    """
    return np.random.SeedSequence(seed, spawn_key=(purpose, *key))


def generator_of(source: np.random.SeedSequence) -> np.random.RandomState:
    """A generator of the source's numbers."""
    # RandomState, since NumPy keeps its numbers the same in all versions, and those of the newer
    # Generator not; a training may be resumed with another one.
    return np.random.RandomState(np.random.MT19937(source))


def seed_generators(source: np.random.SeedSequence) -> None:
    """Seed the global generators of NumPy and `random`, and PyTorch's for the CPU."""
    words = source.generate_state(12)
    np.random.seed(words[:4])
    random.seed(words[4:8].tobytes())
    # Not torch.manual_seed, which seeds all GPUs, too.
    torch.default_generator.manual_seed(int.from_bytes(words[8:10].tobytes(), "little"))


@contextlib.contextmanager
def seeded_generators(source: np.random.SeedSequence) -> Iterator[None]:
    """Seed the global generators for a while, then put them back to where they were.

    Args:
        source: see `seed_generators`.

    Example:
        >>> with seeded_generators(derive(cfg.SEED, Purpose.AUGMENTATION, position)):
        ...     mapped = mapper(record)
    """
    of_numpy = np.random.get_state(legacy=False)
    of_python = random.getstate()
    of_torch = torch.default_generator.get_state()
    try:
        seed_generators(source)
        yield
    finally:
        np.random.set_state(of_numpy)
        random.setstate(of_python)
        torch.default_generator.set_state(of_torch)
