from __future__ import annotations

import pytest

from segtron.benchmarks.comparison import Comparison, time_comparisons
from segtron.benchmarks.timing import Run


def way(seconds: float, score: float):
    return lambda: Run(seconds, {"task/AP": score})


def test_rows_come_in_order(capsys):
    rows = time_comparisons(
        [
            Comparison("reading", "a book", way(2, 30.0), way(10, 30.4), 0.5),
            Comparison("reading", "nothing", way(2, 30.0), lambda: Run(1, {}), None),
        ],
        num_pairs=2,
    )
    assert [(row.work, row.against, row.timing.ratio) for row in rows] == [
        ("reading", "a book", 5),
        ("reading", "nothing", 0.5),
    ]
    assert capsys.readouterr().out == ""


def test_scores_are_compared():
    comparison = Comparison("reading", "a book", way(2, 30.0), way(10, 30.6), 0.5)
    with pytest.raises(RuntimeError, match="disagree: task/AP"):
        time_comparisons([comparison], num_pairs=1)
    # Without a tolerance there are no scores to be compared.
    time_comparisons([comparison._replace(tolerance=None)], num_pairs=1)
