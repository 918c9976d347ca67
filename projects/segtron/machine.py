"""The machine that a process runs on, in words and numbers that don't name it."""

from __future__ import annotations

import importlib
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch


def describe_hardware() -> dict[str, Any]:
    """What a machine consists of.

    Returns:
        `cpu` (its model), `cores`, `usable_cores` (that this process is bound to; None where the
        system can't say), `threads` (of torch), `memory_gb` (None if unknown), `gpus` (a list of
        `name` and `memory_gb`) and `system`.
    """
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": len(allowed_cores()) or None,
        "threads": torch.get_num_threads(),
        "memory_gb": _memory_gb(),
        "gpus": [_describe_gpu(number) for number in range(torch.cuda.device_count())],
        "system": f"{platform.system()} {platform.machine()}",
    }


def library_versions(names: Sequence[str]) -> dict[str, str]:
    """The versions of Python and of libraries, by the names by which they are imported."""
    return {
        "python": platform.python_version(),
        **{name: importlib.import_module(name).__version__ for name in names},
    }


def allowed_cores() -> set[int]:
    """The cores that this process may use; none where the system can't say."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def num_usable_cores() -> int:
    """How many cores this process may use: those it is bound to, else all."""
    return len(allowed_cores()) or os.cpu_count() or 1


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


def _describe_gpu(number: int) -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(number)
    return {"name": properties.name, "memory_gb": round(properties.total_memory / 2**30, 1)}
