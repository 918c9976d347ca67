"""Timing by the clock on the wall, which is what a user waits for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from segtron.benchmarks.timing import Run, Stopwatch


def on_the_wall(
    work: Callable[[], Any],
    device: str = "cpu",
    *,
    result_of: Callable[[Any], Any] = lambda outcome: outcome,
) -> Callable[[], Run]:
    """A way to a result that is timed by the clock on the wall.

    Args:
        work: what is timed.
        device: "cpu", or the GPU that is waited for.
        result_of: makes of what the work gives the result for the comparison, untimed.
    """

    def run() -> Run:
        watch = Stopwatch(time.perf_counter)
        synchronize(device)
        with watch:
            outcome = work()
            synchronize(device)
        return Run(watch.seconds, result_of(outcome))

    return run


def synchronize(device: str) -> None:
    """Wait for what a GPU has been given to do; a CPU is done when its call returns."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
