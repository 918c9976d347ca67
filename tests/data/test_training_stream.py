"""The order of a training's images, and its batches."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from detectron2.data.common import AspectRatioGroupedDataset

from segtron.data.training_stream import ProcessBatches, Sample, TrainingStream

ONCE = np.ones(7)
REPEATED = np.array([1.0, 1.5, 2.0, 1.25, 1.0, 3.75, 1.0])
# Images 1, 4 and 5.
SUBSET = np.array([0.0, 1, 0, 0, 1, 1, 0])
FACTORS = {"once": ONCE, "repeated": REPEATED, "subset": SUBSET}
# Image 4 has its group for itself.
GROUPS = np.array([0, 0, 2, 0, 1, 2, 0])


def samples_of(stream: TrainingStream, count: int) -> list[Sample]:
    """The first samples of a stream of batches of one image."""
    return [sample for batch in itertools.islice(stream.batches(), count) for sample in batch]


def indices_of(stream: TrainingStream, count: int) -> list[int]:
    return [sample.index for sample in samples_of(stream, count)]


def test_one_image_comes_over_and_over() -> None:
    batches = TrainingStream(np.ones(1), batch_size=3, seed=0).batches()
    assert next(batches) == [(0, 0), (1, 0), (2, 0)]
    assert next(batches) == [(3, 0), (4, 0), (5, 0)]


def test_the_order_stays_the_same_for_ever() -> None:
    # A training that goes on with another version must not see other images.
    batches = itertools.islice(TrainingStream(np.ones(5), batch_size=2, seed=0).batches(), 5)
    assert [[sample.index for sample in batch] for batch in batches] == [
        [3, 1],
        [4, 0],
        [2, 3],
        [2, 0],
        [1, 4],
    ]


def test_each_image_comes_once_an_epoch_in_ever_another_order() -> None:
    samples = samples_of(TrainingStream(ONCE, 1, seed=5), 700)
    assert [sample.position for sample in samples] == list(range(700))
    epochs = [tuple(s.index for s in samples[i : i + 7]) for i in range(0, 700, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    # Of 5040 orders 100 are drawn: about one pair is alike.
    assert len(set(epochs)) > 95
    # Each image is the first of an epoch about as often.
    firsts = Counter(epoch[0] for epoch in epochs)
    assert min(firsts.values()) > 4


def test_batches_go_over_the_end_of_an_epoch() -> None:
    batches = TrainingStream(ONCE, 3, seed=5).batches()
    together = [sample for batch in itertools.islice(batches, 14) for sample in batch]
    assert together == samples_of(TrainingStream(ONCE, 1, seed=5), 42)


def test_seeds_give_orders_of_their_own() -> None:
    orders = {tuple(indices_of(TrainingStream(np.ones(20), 1, seed), 20)) for seed in range(50)}
    assert len(orders) == 50


@pytest.mark.parametrize("seed", range(5))
def test_factors_are_kept_in_every_epoch_and_exactly_in_the_long_run(seed: int) -> None:
    stream = TrainingStream(REPEATED, 1, seed)
    # After four epochs no rounding is left: 4 x (1 + 1.5 + 2 + 1.25 + 1 + 3.75 + 1) = 46.
    order = indices_of(stream, 92)
    for half in (order[:46], order[46:]):
        assert [half.count(i) for i in range(7)] == [4, 6, 8, 5, 4, 15, 4]
    # A first epoch has between 1 + 1 + 2 + 1 + 1 + 3 + 1 = 10 images and 13, so 10 of them are
    # enough to have seen all that must be there but for those that may come twice.
    epoch_sizes = [int(stream._times_before(e).sum()) for e in range(5)]
    assert epoch_sizes[4] == 46
    for start, end in itertools.pairwise(epoch_sizes):
        assert 10 <= end - start <= 13
        counts = np.bincount(order[start:end], minlength=7)
        assert (counts >= np.floor(REPEATED)).all()
        assert (counts <= np.ceil(REPEATED)).all()


def test_images_are_rounded_up_in_different_epochs() -> None:
    stream = TrainingStream(np.full(200, 1.5), 1, seed=0)
    first = np.bincount(indices_of(stream, int(stream._times_before(1).sum())), minlength=200)
    assert set(first.tolist()) == {1, 2}
    assert 70 < (first == 2).sum() < 130


def test_images_of_factor_zero_never_come() -> None:
    order = indices_of(TrainingStream(SUBSET, 1, seed=1), 30)
    assert all(sorted(order[i : i + 3]) == [1, 4, 5] for i in range(0, 30, 3))


def test_wide_and_high_images_are_grouped_as_by_detectron2() -> None:
    is_wide = np.array([1, 1, 0, 1, 0, 0, 1])
    ungrouped = samples_of(TrainingStream(REPEATED, 1, seed=9), 500)
    shapes = [(2, 1) if is_wide[sample.index] else (1, 1) for sample in ungrouped]
    dicts = [
        {"sample": sample, "width": width, "height": height}
        for sample, (width, height) in zip(ungrouped, shapes, strict=True)
    ]
    expected = [[d["sample"] for d in batch] for batch in AspectRatioGroupedDataset(dicts, 4)]
    stream = TrainingStream(REPEATED, 4, seed=9, groups=1 - is_wide)
    assert len(expected) > 120
    assert list(itertools.islice(stream.batches(), len(expected))) == expected


@pytest.mark.parametrize("batch_size", [1, 4, 16])
@pytest.mark.parametrize("groups", [None, GROUPS], ids=["together", "grouped"])
@pytest.mark.parametrize("factors", FACTORS)
def test_starting_later_is_skipping(
    factors: str, groups: np.ndarray | None, batch_size: int
) -> None:
    stream = TrainingStream(FACTORS[factors], batch_size, seed=3, groups=groups)
    whole = list(itertools.islice(stream.batches(), 60))
    for first in range(50):
        assert list(itertools.islice(stream.batches(first), 10)) == whole[first : first + 10]


def test_a_late_batch_needs_no_earlier_ones() -> None:
    # 10**12 images in: whoever counted through them would not live to see it.
    stream = TrainingStream(REPEATED, 4, seed=3, groups=GROUPS)
    first = 10**12 // 4
    there = list(itertools.islice(stream.batches(first), 20))
    assert list(itertools.islice(stream.batches(first + 7), 13)) == there[7:]
    assert there[0][0].position > 0.99 * 10**12
    assert all(len({GROUPS[sample.index] for sample in batch}) == 1 for batch in there)


def test_processes_share_what_one_process_gets() -> None:
    stream = TrainingStream(ONCE, 6, seed=3, groups=GROUPS)
    whole = list(itertools.islice(ProcessBatches(stream, 0, 6, first_batch=5), 20))
    assert whole == list(itertools.islice(stream.batches(5), 20))
    shares = [itertools.islice(ProcessBatches(stream, rank, 2, 5), 20) for rank in range(3)]
    for batch, parts in zip(whole, zip(*shares, strict=True), strict=True):
        assert [sample for part in parts for sample in part] == batch


def test_replacements_are_all_others_first_those_of_the_group() -> None:
    factors = np.array([1.0, 1, 1, 0, 2, 1, 1])
    stream = TrainingStream(factors, 2, seed=3, groups=GROUPS)
    orders = [list(stream.replacements(Sample(position, 0))) for position in range(40)]
    for order in orders:
        assert sorted(order[:2]) == [1, 6]  # of the group, without 3, which is left out
        assert sorted(order[2:]) == [2, 4, 5]
    assert len({tuple(order) for order in orders}) > 5
    again = TrainingStream(factors, 2, seed=3, groups=GROUPS)
    assert list(again.replacements(Sample(17, 0))) == orders[17]
