"""The machine that a benchmark runs on: what it is, and keeping to one of its cores."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import torch

from segtron.machine import allowed_cores, describe_hardware, library_versions

_LIBRARIES = ("numpy", "torch", "cv2", "PIL", "detectron2")


@contextmanager
def one_core() -> Iterator[None]:
    """Let this process, and those that it starts, use a single core; afterwards all as before.

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
        yield
    finally:
        if cores:
            os.sched_setaffinity(0, cores)
        torch.set_num_threads(torch_threads)
        cv2.setNumThreads(cv2_threads)


def describe_machine() -> dict[str, Any]:
    """What a reader has to know of the machine to judge its numbers; nothing that names it.

    Returns:
        What `describe_hardware` gives, and `clock` (what seconds are), `load_average` (over the
        last minute, with all that runs beside; None if unknown) and `versions`.
    """
    return {
        "clock": "seconds of the processor, user and system",
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        **describe_hardware(),
        "versions": {
            **library_versions(_LIBRARIES),
            "pycocotools": importlib.metadata.version("pycocotools"),
        },
    }


def num_usable_cores() -> int:
    """How many cores this process may use."""
    return len(allowed_cores()) or os.cpu_count() or 1
