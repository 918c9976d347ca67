"""The machine that a benchmark runs on: what it is, and keeping to one of its cores."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import torch

_LIBRARIES = ("numpy", "torch", "cv2", "PIL", "detectron2")


@contextmanager
def one_core() -> Iterator[None]:
    """Let this process, and those that it starts, use a single core; afterwards all as before.

    Where the system can't bind a process to a core (macOS), only the threads of the libraries are
    limited.
    """
    cores = _allowed_cores()
    torch_threads, cv2_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if cores:
        os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        if cores:
            os.sched_setaffinity(0, cores)
        torch.set_num_threads(torch_threads)
        cv2.setNumThreads(cv2_threads)


def describe_machine() -> dict[str, Any]:
    """What a reader has to know of the machine to judge its numbers; nothing that names it.

    Returns:
        `clock` (what seconds are), `cpu` (its model), `cores`, `usable_cores` (that this process is
        bound to; None where the system can't say), `threads` (of torch), `load_average` (over the
        last minute, with all that runs beside; None if unknown), `memory_gb`, `system` and
        `versions`.
    """
    return {
        "clock": "seconds of the processor, user and system",
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": len(_allowed_cores()) or None,
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "memory_gb": _memory_gb(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.import_module(name).__version__ for name in _LIBRARIES},
            "pycocotools": importlib.metadata.version("pycocotools"),
        },
    }


def _allowed_cores() -> set[int]:
    """The cores that this process may use; none where the system can't say."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None
