from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from segtron.inference.batches import ahead, batches, read_sources, windows
from segtron.inference.journal import Position
from segtron.inference.sources import ImageFile, Loaded, Source, Unreadable


class FakeSource(Source):
    """Images of given sizes; None can't be read."""

    name = "fake"

    def __init__(self, *sizes):
        self.sizes = sizes

    @property
    def length(self):
        return len(self.sizes)

    def identity(self):
        return self.sizes

    def read(self, passed=0):
        for i, size in list(enumerate(self.sizes))[passed:]:
            file = ImageFile(Path(f"{i}.png"), f"{i}.png")
            yield Loaded(file, np.zeros((*size, 3), np.uint8)) if size else Unreadable(f"no {i}")


def test_reading_can_begin_anywhere():
    sources = [FakeSource((1, 1), None), FakeSource(), FakeSource((2, 2), (3, 3))]
    items = list(read_sources(sources, Position()))
    assert [item.end for item in items] == [
        Position(0, 1, 1),
        Position(0, 2, 2),
        Position(2, 1, 3),
        Position(2, 2, 4),
    ]
    for done in range(4):
        rest = list(read_sources(sources, items[done].end))
        assert [item.end for item in rest] == [item.end for item in items[done + 1 :]]


def test_images_of_like_size_are_put_together():
    sizes = [(4, 6), (6, 4), None, (4, 6), (6, 4), (4, 6), (4, 6), (6, 4), (9, 9)]
    (first, second) = windows(read_sources([FakeSource(*sizes)], Position()), 2)
    assert (len(first), len(second)) == (8, 1)
    assert [[number for _, number in batch] for batch in batches(first, 2)] == [
        [1, 4],
        [6, 7],
        [2, 5],
        [8],
    ]
    assert [[number for _, number in batch] for batch in batches(second, 2)] == [[9]]


def test_one_at_a_time_keeps_the_order():
    sizes = [(9, 9), (1, 1), (5, 5)]
    found = [
        number
        for window in windows(read_sources([FakeSource(*sizes)], Position()), 1)
        for batch in batches(window, 1)
        for _, number in batch
    ]
    assert found == [1, 2, 3]


def test_reading_ahead_is_ahead_but_not_far():
    taken = []

    def items():
        for i in range(100):
            taken.append(i)
            yield i

    stream = ahead(items(), 3)
    assert next(stream) == 0
    deadline = time.monotonic() + 5
    while len(taken) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(taken) == 5  # one taken, three waiting, one in hand
    assert list(stream) == list(range(1, 100))


def test_reading_ahead_ends_with_its_reader():
    before = threading.active_count()
    stream = ahead(iter(range(1000)), 2)
    next(stream)
    stream.close()
    assert threading.active_count() == before


def test_what_goes_wrong_ahead_is_raised_here():
    def items():
        yield 1
        raise ZeroDivisionError("there")

    stream = ahead(items(), 5)
    assert next(stream) == 1
    with pytest.raises(ZeroDivisionError, match="there"):
        next(stream)
