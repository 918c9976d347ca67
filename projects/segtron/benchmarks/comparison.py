"""Running two ways to the same scores against each other."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

from tqdm import tqdm

from segtron.benchmarks.report import Row
from segtron.benchmarks.timing import time_pairs
from segtron.benchmarks.ways import Way, check_agreement


class Comparison(NamedTuple):
    """Two ways to a score."""

    work: str  # what is done, by Segtron
    against: str  # what else does it
    ours: Way
    theirs: Way
    tolerance: float | None  # by how much scores in percent may differ; None: theirs gives none


def time_comparisons(comparisons: Sequence[Comparison], num_pairs: int) -> list[Row]:
    """Time both ways of each comparison. All scores are compared, too.

    Args:
        comparisons: what is timed, in this order.
        num_pairs: runs of each way that count.

    Raises:
        RuntimeError: two ways don't give the same scores.
    """
    rows = []
    bar = tqdm(comparisons, unit=" rows", desc="comparing")
    for work, against, ours, theirs, tolerance in bar:
        bar.set_postfix_str(work)
        check = (
            functools.partial(check_agreement, tolerance=tolerance)
            if tolerance is not None
            else lambda *_: None
        )
        rows.append(Row(work, against, time_pairs(ours, theirs, num_pairs, check)))
    return rows
