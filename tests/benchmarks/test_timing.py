from __future__ import annotations

import gc

import pytest

from segtron.benchmarks.timing import (
    Run,
    Stopwatch,
    garbage_collected_between,
    median_seconds,
    time_pairs,
)


class Ways:
    """Two ways with the times that they are said to take; keeps the order of their runs."""

    def __init__(self, ours: list[float], theirs: list[float]) -> None:
        self.runs: list[str] = []
        self.seconds = {"ours": iter(ours), "theirs": iter(theirs)}

    def way(self, name: str):
        def run() -> Run:
            assert not gc.isenabled()
            self.runs.append(name)
            return Run(next(self.seconds[name]), name)

        return run


def agree(*_) -> None:
    pass


def test_stopwatch_adds_up_its_blocks():
    times = iter([10.0, 11.5, 20.0, 20.25, 30.0, 31.0])
    watch = Stopwatch(lambda: next(times))
    for _ in range(2):
        with watch:
            pass
    assert watch.seconds == 1.75
    with pytest.raises(ZeroDivisionError), watch:
        _ = 1 / 0
    assert watch.seconds == 2.75


def test_stopwatch_takes_no_notice_of_waiting():
    import time

    watch = Stopwatch()
    with watch:
        time.sleep(0.2)
    assert watch.seconds < 0.1


def test_pairs_alternate_and_the_first_of_each_does_not_count():
    ways = Ways([99, 1.0, 2.0, 4.0], [99, 10.0, 30.0, 20.0])
    timing = time_pairs(ways.way("ours"), ways.way("theirs"), 3, agree)
    assert ways.runs == [
        "ours", "theirs",
        "ours", "theirs",
        "theirs", "ours",
        "ours", "theirs",
    ]  # fmt: skip
    # 10, 15 and 5: pair by pair, where the ratio of the medians of the times would be 10 as well.
    assert (timing.ratio, timing.low, timing.high) == (10, 5, 15)
    assert (timing.ours_s, timing.theirs_s) == (2, 20)


def test_ratio_is_of_pairs_and_not_of_medians():
    """The machine is slower during the second and the third pair."""
    ways = Ways([0, 1.0, 5.0, 6.0], [0, 2.0, 10.0, 18.0])
    timing = time_pairs(ways.way("ours"), ways.way("theirs"), 3, agree)
    assert timing.ratio == 2
    assert (timing.low, timing.high) == (2, 3)


def test_an_even_number_of_pairs():
    ways = Ways([0, 1.0, 1.0], [0, 2.0, 4.0])
    assert time_pairs(ways.way("ours"), ways.way("theirs"), 2, agree).ratio == 3


def test_results_are_compared_before_anything_is_timed():
    def refuse(ours, theirs) -> None:
        assert (ours, theirs) == ("ours", "theirs")
        raise ValueError("they differ")

    ways = Ways([1.0] * 3, [1.0] * 3)
    with pytest.raises(ValueError, match="they differ"):
        time_pairs(ways.way("ours"), ways.way("theirs"), 2, refuse)
    assert ways.runs == ["ours", "theirs"]
    assert gc.isenabled()


def test_results_of_each_pair_are_compared():
    seen = []
    ways = Ways([1.0] * 4, [1.0] * 4)
    time_pairs(ways.way("ours"), ways.way("theirs"), 3, lambda *pair: seen.append(pair))
    assert seen == [("ours", "theirs")] * 4


def test_garbage_is_collected_between_runs_only():
    class Cycle:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            collected.append(None)

    collected: list[None] = []
    at_start = []

    def run() -> Run:
        at_start.append(len(collected))
        for _ in range(2000):  # more than the threshold of the youngest generation
            Cycle()
        assert len(collected) == at_start[-1]
        return Run(1.0, None)

    median_seconds(run, 2)
    assert at_start == [0, 2000, 4000]
    assert gc.isenabled()


def test_around_many_measurements_it_stays_so():
    ways = Ways([1.0] * 4, [1.0] * 2)
    with garbage_collected_between():
        time_pairs(ways.way("ours"), ways.way("theirs"), 1, agree)
        assert not gc.isenabled()
        median_seconds(ways.way("ours"), 1)
        assert gc.get_freeze_count() > 0
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_median_seconds():
    ways = Ways([99, 3.0, 1.0, 2.0], [])
    assert median_seconds(ways.way("ours"), 3) == 2
