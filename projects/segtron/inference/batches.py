"""Images on their way from sources to the model: read ahead, and put together by size."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from segtron.inference.journal import Position
from segtron.inference.sources.base import Loaded, Source, Unreadable

# Among how many batches' images those of like size are looked for.
_BATCHES_IN_WINDOW = 4

_T = TypeVar("_T")


class Item(NamedTuple):
    """An image, or why there is none.

    Attributes:
        content: what the source gave.
        end: the position behind it; its `number` is the image's own, counted from 1.
    """

    content: Loaded | Unreadable
    end: Position


def read_sources(sources: Sequence[Source], position: Position) -> Generator[Item, None, None]:
    """Read all images from a position on."""
    number = position.number
    for index, source in enumerate(sources[position.source :], start=position.source):
        passed = position.items if index == position.source else 0
        for items, content in enumerate(source.read(passed), start=passed + 1):
            number += 1
            yield Item(content, Position(index, items, number))


def window_size(batch_size: int) -> int:
    """How many images are put together to batches by size; a run goes on from window to window."""
    return 1 if batch_size == 1 else _BATCHES_IN_WINDOW * batch_size


def windows(items: Iterable[Item], batch_size: int) -> Iterator[list[Item]]:
    """Cut a stream of images into windows. Where a run goes on, it finds the same ones."""
    yield from _chunks(items, window_size(batch_size))


def batches(window: Sequence[Item], batch_size: int) -> Iterator[list[tuple[Loaded, int]]]:
    """Put those images of a window together that can be read, and have like sizes: what a batch's
    images are padded to is the largest of them.

    Returns:
        Batches of images with their numbers. Images of equal size keep their order.
    """
    readable = [
        (item.content, item.end.number) for item in window if isinstance(item.content, Loaded)
    ]
    readable.sort(key=lambda pair: pair[0].image.shape[:2])
    yield from _chunks(readable, batch_size)


def _chunks(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    items = iter(items)
    while chunk := list(itertools.islice(items, size)):
        yield chunk


def ahead(items: Iterable[_T], most: int) -> Generator[_T, None, None]:
    """Go through something in a thread of its own, before it is asked for.

    Args:
        items: whose next one takes time. It is gone through in the thread alone.
        most: how many wait to be taken, at most.

    Yields:
        The items in order. What is raised in the thread is raised here.
    """
    waiting: queue.Queue[tuple[bool, _T | BaseException | None]] = queue.Queue(most)
    stopped = threading.Event()

    def put(is_item: bool, value: _T | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                waiting.put((is_item, value), timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put(True, item)
                if stopped.is_set():
                    return
            put(False, None)
        except BaseException as error:  # of whatever kind, it is raised where it can be seen
            put(False, error)

    thread = threading.Thread(target=work, name="reading ahead", daemon=True)
    thread.start()
    try:
        while True:
            is_item, value = waiting.get()
            if is_item:
                yield value
            elif value is None:
                return
            else:
                raise value
    finally:
        stopped.set()
        thread.join()
