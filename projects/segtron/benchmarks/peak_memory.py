"""What a piece of work holds in memory at its peak."""

from __future__ import annotations

import multiprocessing
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch

_STATUS = Path("/proc/self/status")


class Peak(NamedTuple):
    """The most memory that a process held.

    Attributes:
        host_bytes: resident.
        gpu_bytes: of tensors on the GPU; None where the process used none.
    """

    host_bytes: int
    gpu_bytes: int | None


def peak_of(work: Callable[..., Any], *arguments: Any) -> Peak:
    """Peak memory of a process that does a piece of work and nothing else.

    Libraries count, and so does what is read and built for the work.

    Args:
        work: importable by its name.
        *arguments: picklable.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_work_and_measure, work, arguments).result()


def _work_and_measure(work: Callable[..., Any], arguments: tuple[Any, ...]) -> Peak:
    work(*arguments)
    gpu_bytes = torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else None
    return Peak(_peak_bytes(), gpu_bytes)


def _peak_bytes() -> int:
    """Of this process so far."""
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        # macOS counts bytes, other systems kilobytes.
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    # Not ru_maxrss: on Linux that begins with what the process held that this one comes from.
    [peak] = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(peak) * 1024
