"""What data-loading processes hold in memory for themselves."""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from detectron2.data import build_detection_test_loader

from segtron.data.watched_loader import MappedRecords, WatchedLoader

Record = dict[str, Any]
NUM_WORKERS = 2
_BATCHES = 40  # after which processes have touched what they touch


def private_bytes_of_ours(records: Sequence[Record], mapper: Callable[..., Any]) -> int | None:
    """Memory that each process of Segtron's loader shares with no other, see `private_bytes`."""
    return private_bytes(WatchedLoader(MappedRecords(records, mapper, NUM_WORKERS)))


def private_bytes_of_theirs(records: Sequence[Record], mapper: Callable[..., Any]) -> int | None:
    """Memory that each process of Detectron2's loader shares with no other, see `private_bytes`."""
    return private_bytes(
        build_detection_test_loader(list(records), mapper=mapper, num_workers=NUM_WORKERS)
    )


def private_bytes(loader: Iterable[Any]) -> int | None:
    """Memory that each of a loader's processes shares with no other.

    Args:
        loader: that starts processes when it is iterated over.

    Returns:
        The mean over its processes after some batches; None where the system can't say.
    """
    others = set(multiprocessing.active_children())
    batches = iter(loader)
    for _ in range(_BATCHES):
        next(batches)
    processes = set(multiprocessing.active_children()) - others
    sizes = [_private_bytes_of(process.pid) for process in processes]
    del batches
    return None if None in sizes or not sizes else int(mean(sizes))


def _private_bytes_of(process: int) -> int | None:
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return None
    return 1024 * sum(int(kb) for kb in re.findall(r"^Private_\w+:\s+(\d+)", text, re.MULTILINE))
