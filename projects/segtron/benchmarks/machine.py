"""The machine that a benchmark runs on: what it is, what else it does, one of its cores."""

from __future__ import annotations

import importlib.metadata
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import torch

from segtron.machine import allowed_cores, describe_hardware, library_versions

_LIBRARIES = ("numpy", "torch", "torchvision", "cv2", "PIL", "detectron2")


@contextmanager
def one_core() -> Iterator[None]:
    """Let this process, and those that it starts, use a single core; afterwards all as before.

    That loaders have more processes than that, of which PyTorch warns, is meant.

    Where the system can't bind a process to a core (macOS), only the threads of the libraries are
    limited.
    """
    cores = allowed_cores()
    torch_threads, cv2_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if cores:
        os.sched_setaffinity(0, {max(cores)})
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
            yield
    finally:
        if cores:
            os.sched_setaffinity(0, cores)
        torch.set_num_threads(torch_threads)
        cv2.setNumThreads(cv2_threads)


# What the seconds of a report are.
PROCESSOR_SECONDS = (
    "on one core, in seconds of the processor, user and system, where a row doesn't say otherwise"
)
PASSED_SECONDS = "on all cores, in seconds that pass"


def describe_machine(clock: str = PROCESSOR_SECONDS) -> dict[str, Any]:
    """What a reader has to know of the machine to judge its numbers; nothing that names it.

    Args:
        clock: what seconds are.

    Returns:
        What `describe_hardware` gives, and `clock`, `load_average` (over the
        last minute, with all that runs beside; None if unknown) and `versions`.
    """
    return {
        "clock": clock,
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        **describe_hardware(),
        "versions": {
            **library_versions(_LIBRARIES),
            "pycocotools": importlib.metadata.version("pycocotools"),
        },
    }


def _busy_seconds() -> float | None:
    """Seconds that all processors have worked so far; None where the system doesn't say."""
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0]
        user, nice, system, _idle, _waiting, interrupts, soft = map(int, first.split()[1:8])
        return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError):
        return None


class OtherPrograms:
    """How many cores other programs keep busy during its `with` block. What is timed by the clock
    on the wall depends on them.

    Attributes:
        cores: on average; None where the system can't say.
    """

    def __init__(
        self,
        all_seconds: Callable[[], float | None] = _busy_seconds,
        own_seconds: Callable[[], float] = time.process_time,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """
        Args:
            all_seconds: of the processors, by all programs.
            own_seconds: by this one.
            clock: on the wall.
        """
        self.cores: float | None = None
        self._clocks = all_seconds, own_seconds, clock

    def __enter__(self) -> OtherPrograms:
        self._start = [clock() for clock in self._clocks]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        everything, own, passed = (clock() for clock in self._clocks)
        if everything is not None:
            others = everything - self._start[0] - (own - self._start[1])
            # The system rounds its seconds, so that nothing can come out below nothing.
            self.cores = round(max(others / (passed - self._start[2]), 0.0), 2)
