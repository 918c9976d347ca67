"""Measuring two ways to the same result against each other."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple

from segtron.memory import garbage_kept


class Run(NamedTuple):
    """What one run gave.

    Attributes:
        seconds: that it took, of which the way measures by itself what counts.
        result: for a comparison with the other way's.
    """

    seconds: float
    result: Any


class Stopwatch:
    """Adds up the time that is spent in its `with` blocks.

    It is the time that the processor works for this process, in all its threads. On a core of its
    own that is the time that passes; and what other programs do in the meantime doesn't count.

    Attributes:
        seconds: so far.

    Example:
        >>> watch = Stopwatch()
        >>> for image in images:
        ...     output = model(image)  # doesn't count
        ...     with watch:
        ...         evaluator.process(image, output)
        >>> print(watch.seconds)
    """

    def __init__(self, clock: Callable[[], float] = time.process_time) -> None:
        """
        Args:
            clock: gives the time in seconds.
        """
        self.seconds = 0.0
        self._clock = clock

    def __enter__(self) -> Stopwatch:
        self._start = self._clock()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.seconds += self._clock() - self._start


@dataclass(frozen=True)
class Timing:
    """How two ways compare over pairs of runs.

    Attributes:
        ratio: theirs / ours, the median of all pairs. Above 1 ours is the faster one.
        low: the smallest ratio of a pair.
        high: the largest.
        ours_s: seconds of ours, the median.
        theirs_s: seconds of theirs, the median.
    """

    ratio: float
    low: float
    high: float
    ours_s: float
    theirs_s: float


def time_pairs(
    ours: Callable[[], Run],
    theirs: Callable[[], Run],
    num_pairs: int,
    check: Callable[[Any, Any], None],
) -> Timing:
    """Run two ways in turn, so that whatever else the machine does meets both.

    Before the pairs each runs once, which doesn't count: then files are cached and modules are
    loaded. In each second pair theirs comes first. Garbage is collected before a run, not in it.

    Args:
        ours: one way.
        theirs: the other.
        num_pairs: runs of each that count, at least 1.
        check: gets both results of a pair, and raises if they differ. It is called for the first
            time before anything is timed.
    """
    seconds = []
    with garbage_collected_between():
        check(_run(ours).result, _run(theirs).result)
        for number in range(num_pairs):
            order = (ours, theirs) if number % 2 == 0 else (theirs, ours)
            runs = [_run(way) for way in order]
            ours_run, theirs_run = runs if number % 2 == 0 else reversed(runs)
            check(ours_run.result, theirs_run.result)
            seconds.append((ours_run.seconds, theirs_run.seconds))
    ratios = [theirs_s / ours_s for ours_s, theirs_s in seconds]
    return Timing(
        ratio=statistics.median(ratios),
        low=min(ratios),
        high=max(ratios),
        ours_s=statistics.median(ours_s for ours_s, _ in seconds),
        theirs_s=statistics.median(theirs_s for _, theirs_s in seconds),
    )


def median_seconds(way: Callable[[], Run], num_runs: int) -> float:
    """The median time of a way that has nothing beside it, after one run that doesn't count."""
    with garbage_collected_between():
        _run(way)
        return statistics.median(_run(way).seconds for _ in range(num_runs))


def _run(way: Callable[[], Run]) -> Run:
    gc.collect()
    return way()


@contextmanager
def garbage_collected_between() -> Iterator[None]:
    """Collect garbage when it is said, not by itself; and only what came up in the meantime, for
    going through all modules takes longer than many a run.

    Each measurement does so; around many of them it goes through all modules only once.
    """
    if not gc.isenabled():
        yield
        return
    gc.collect()
    with garbage_kept():
        gc.freeze()
        try:
            yield
        finally:
            gc.unfreeze()
