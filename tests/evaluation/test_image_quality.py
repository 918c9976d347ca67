from __future__ import annotations

import numpy as np
import pytest

from segtron.data.masks import encode_mask
from segtron.evaluation.image_quality import match_instances


def box(x0, y0, x1, y1):
    mask = np.zeros((20, 40), bool)
    mask[y0:y1, x0:x1] = True
    return encode_mask(mask)


A, B, C = box(0, 0, 10, 10), box(10, 0, 20, 10), box(20, 0, 30, 10)


def test_perfect_is_one():
    match = match_instances([A, B], [0, 1], [False, False], [B, A], [1, 0])
    assert match.pairs == ((0, 1, 1.0), (1, 0, 1.0))
    assert match.quality == 1.0


def test_nothing_to_find_and_nothing_found_is_one():
    assert match_instances([], [], [], [], []).quality == 1.0


def test_all_missed_or_all_invented_is_zero():
    missed = match_instances([A], [0], [False], [], [])
    assert (missed.missed, missed.quality) == ((0,), 0.0)
    invented = match_instances([], [], [], [A], [0])
    assert (invented.invented, invented.quality) == ((0,), 0.0)


def test_quality_by_hand():
    # A found with IoU 80 / 100, B missed, C invented: 0.8 / (1 + 1/2 + 1/2).
    match = match_instances([A, B], [0, 0], [False, False], [box(0, 0, 8, 10), C], [0, 0])
    assert match.pairs == ((0, 0, pytest.approx(0.8)),)
    assert (match.missed, match.invented) == ((1,), (1,))
    assert match.quality == pytest.approx(0.4)


def test_an_iou_of_exactly_one_half_is_no_match():
    match = match_instances([A], [0], [False], [box(0, 0, 5, 10)], [0])
    assert (match.pairs, match.missed, match.invented) == ((), (0,), (0,))


def test_the_better_of_two_predictions_gets_the_instance():
    worse, better = box(0, 0, 7, 10), box(0, 0, 9, 10)
    match = match_instances([A], [0], [False], [worse, better], [0, 0])
    assert match.pairs == ((0, 1, pytest.approx(0.9)),)
    assert match.invented == (0,)


def test_the_wrong_class_is_missed_and_invented_and_confused():
    match = match_instances([A, B], [0, 1], [False, False], [A, B], [2, 1])
    assert match.confused == ((0, 0),)
    assert (match.missed, match.invented) == ((0,), (0,))
    assert match.quality == pytest.approx(1 / 2)


def test_the_right_class_comes_before_the_better_mask():
    match = match_instances([A], [0], [False], [A, box(0, 0, 8, 10)], [1, 0])
    assert match.pairs == ((0, 1, pytest.approx(0.8)),)
    assert (match.invented, match.confused) == ((0,), ())


def test_crowds_need_not_be_found_and_excuse_their_class_only():
    crowds = [box(0, 0, 8, 10), box(8, 0, 20, 10)]
    predicted = [box(4, 0, 12, 10), box(4, 0, 12, 10), box(15, 0, 25, 10), box(15, 0, 26, 10)]
    match = match_instances(crowds, [0, 0], [True, True], predicted, [0, 1, 0, 0])
    # The first lies in both crowds together; the last two by 5/10 and 5/11, which is not enough.
    assert match.ignored == (0,)
    assert match.invented == (1, 2, 3)
    assert (match.missed, match.confused) == ((), ())
    assert match_instances(crowds, [0, 0], [True, True], predicted[:1], [0]).quality == 1.0


def test_an_empty_mask_matches_nothing():
    empty = encode_mask(np.zeros((20, 40), bool))
    match = match_instances([A, box(0, 10, 20, 20)], [0, 0], [False, True], [empty], [0])
    assert (match.missed, match.invented, match.ignored) == ((0,), (0,), ())
