from __future__ import annotations

import itertools

import pytest
from detectron2.evaluation import DatasetEvaluator, inference_on_dataset

from segtron.engine import scoring
from segtron.engine.scoring import TimedEvaluator


class Counter(DatasetEvaluator):
    def reset(self):
        self.seen = []

    def process(self, inputs, outputs):
        self.seen += zip(inputs, outputs, strict=True)

    def evaluate(self):
        return {"count": {"seen": len(self.seen)}}


def test_each_second_is_counted_once(monkeypatch):
    """A clock that goes on by a second with each look at it."""
    ticks = itertools.count()
    monkeypatch.setattr(scoring.time, "perf_counter", lambda: float(next(ticks)))
    counter = Counter()
    timed = TimedEvaluator(counter)
    timed.reset()
    start = timed._since
    for batch in ([1], [2, 3]):
        timed.callbacks["before_inference"]()
        timed.process(batch, batch)
    assert timed.evaluate() == {"count": {"seen": 3}}
    timed.stop()
    # loading: before each batch and at the end
    assert timed.seconds == {"loading": 3.0, "inference": 2.0, "scoring": 4.0}
    assert sum(timed.seconds.values()) == timed._since - start
    assert str(timed) == (
        "3 images in 9.0 s: loading 3.0, inference 2.0, scoring 4.0 s; "
        "inference took 667 ms an image"
    )


def test_detectron2_calls_it():
    timed = TimedEvaluator(Counter())
    batches = [[1], [2], [3, 4]]
    results = inference_on_dataset(lambda batch: batch, batches, timed, callbacks=timed.callbacks)
    assert results == {"count": {"seen": 4}}
    assert timed.num_images == 4
    assert all(seconds > 0 for seconds in timed.seconds.values())


def test_what_the_evaluator_returns_elsewhere():
    class Silent(Counter):
        def evaluate(self):
            return None

    assert TimedEvaluator(Silent()).evaluate() is None


def test_errors_pass():
    class Failing(Counter):
        def process(self, inputs, outputs):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        TimedEvaluator(Failing()).process([1], [1])
