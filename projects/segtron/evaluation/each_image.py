"""Scoring the saved images of a set on several cores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

from segtron.machine import num_usable_cores

Image = TypeVar("Image")
Result = TypeVar("Result")


def for_each_image(
    work: Callable[[Image], Result], images: Sequence[Image], *, workers: int | None = None
) -> Iterator[Result]:
    """Do something with each image, several at once, and show how far it is.

    Threads, not processes: reading a file, decoding a PNG and numpy's work on large arrays leave
    Python to the others, and a new process would need seconds to import PyTorch.

    Args:
        work: takes an image; what it gives back should be small, for all of it may have to wait.
        images: any description of each image.
        workers: how many at once; default: one for each core that the process may use.

    Yields:
        What `work` gives, in the order of `images`. Its first exception ends all.

    Example:
        >>> for matched in for_each_image(match, files):
        ...     metric.merge(matched)
    """
    with ThreadPoolExecutor(workers or num_usable_cores()) as pool:
        yield from tqdm(pool.map(work, images), total=len(images), unit=" images", desc="scoring")
