"""Work on many files or images, on several cores, with a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from tqdm import tqdm

from segtron.machine import num_usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")

# More threads that mostly read would wait for the disk and for Python.
_MOST_READERS = 8


def for_each(
    work: Callable[[Item], Result], items: Sequence[Item], *, workers: int | None = None, **bar: Any
) -> Iterator[Result]:
    """Do something with each item, several at once, and show how far it is.

    Threads, not processes: reading a file, decoding, encoding and numpy's work on large arrays
    leave Python to the others, and a new process would need seconds to import PyTorch.

    Args:
        work: takes an item; what it gives back should be small, for all of it may have to wait.
        items: what `work` takes.
        workers: how many at once; default: one for each core that the process may use.
        **bar: tqdm's settings of the bar, such as `desc` and `unit`; `delay=2` shows none for what
            takes less than two seconds.

    Yields:
        What `work` gives, in the order of `items`. Its first exception ends all.

    Example:
        >>> for matched in for_each(match, files, desc="scoring"):
        ...     metric.merge(matched)
    """
    with ThreadPoolExecutor(workers or num_usable_cores()) as pool:
        yield from tqdm(pool.map(work, items), total=len(items), **bar)


def go_through(
    work: Callable[[Item], Result], items: Sequence[Item], doing: str
) -> Iterator[Result]:
    """`for_each` as a step of something longer: its bar says what it is doing, and goes when it is
    done; steps of less than two seconds have none.

    Example:
        >>> pictures = list(go_through(look_at, paths, "reading images"))
    """
    return for_each(work, items, desc=doing, delay=2, leave=False)


def num_readers() -> int:
    """How many threads should read the files of a data set."""
    return min(_MOST_READERS, num_usable_cores())
