"""Where a training's randomness comes from: a number of its own for each iteration.

No generator's state outlives an iteration, so that whatever else draws random numbers (evaluations,
pictures) changes nothing, and a training that was killed goes on as if it hadn't been.
"""

from __future__ import annotations

import os
import random
import secrets

import numpy as np
import torch
from detectron2.utils import comm


def choose_seed(seed: int) -> int:
    """The seed of a job, the same in all of its processes.

    Args:
        seed: the config's SEED; below 0 one is drawn.
    """
    # Every process has to take part, whatever the config of each says.
    drawn = comm.all_gather(secrets.randbelow(2**31))[0]
    return drawn if seed < 0 else seed


def use_deterministic_algorithms() -> None:
    """Let PyTorch compute the same from the same, also on GPUs; where an operation has no such
    algorithm, it warns. Call it before the first use of a GPU."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False


def seed_iteration(seed: int, iteration: int, rank: int = 0) -> None:
    """Seed torch (on all devices), numpy and `random` for one iteration of one process.

    Args:
        seed: of the job, 0 or more.
        iteration: from 0.
        rank: the process; each draws other numbers.
    """
    numbers = np.random.SeedSequence((seed, iteration, rank)).generate_state(3)
    torch.manual_seed(int(numbers[0]))
    np.random.seed(numbers[1])
    random.seed(int(numbers[2]))
