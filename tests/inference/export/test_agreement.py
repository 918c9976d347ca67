from __future__ import annotations

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from segtron.inference.export import run_exported
from segtron.inference.export.agreement import Agreement, equal_segments, match

BOXES = [[0.0, 0, 10, 10], [20, 0, 40, 20], [20, 0, 40, 20]]


def masks(boxes):
    pasted = np.zeros((len(boxes), 30, 50), bool)
    for mask, (x0, y0, x1, y1) in zip(pasted, np.array(boxes, int), strict=True):
        mask[y0:y1, x0:x1] = True
    return pasted


def expected(boxes=BOXES, scores=(0.9, 0.8, 0.7), classes=(0, 1, 2)):
    return Instances(
        (30, 50),
        pred_boxes=Boxes(torch.tensor(boxes).reshape(-1, 4)),
        scores=torch.tensor(scores),
        pred_classes=torch.tensor(classes, dtype=torch.int64),
        pred_masks=torch.from_numpy(masks(boxes)),
    )


def found(boxes=BOXES, scores=(0.9, 0.8, 0.7), classes=(0, 1, 2)):
    return run_exported.Instances(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(classes, np.int64),
        masks(boxes),
    )


def agreement(instances, others):
    result = Agreement.empty()
    result.update({"instances": instances}, {"instances": others})
    return result


def test_the_same_agrees():
    result = agreement(expected(), found())
    assert (result.instances, result.matched) == (3, 3)
    assert (result.score, result.box, result.mask_iou) == (0, 0, 1)
    assert result.problems == []


def test_order_does_not_count_and_classes_do():
    swapped = found(BOXES[::-1], (0.7, 0.8, 0.9), (2, 1, 0))
    assert match(expected(), swapped) == [(0, 2), (1, 1), (2, 0)]
    assert match(expected(), found(classes=(0, 2, 1))) == [(0, 0), (1, 2), (2, 1)]
    assert match(expected(), found(classes=(0, 1, 1))) == [(0, 0), (1, 1)]


def test_a_missing_instance_and_one_too_many():
    result = agreement(expected(), found(BOXES[:2], (0.9, 0.8), (0, 1)))
    assert (result.instances, result.matched) == (3, 2)
    assert result.problems == []
    moved = [BOXES[0], BOXES[1], [0.0, 20, 10, 30]]
    result = agreement(expected(), found(moved))
    assert (result.instances, result.matched) == (4, 2)
    assert result.problems == ["only 2 of 4 instances are the same, not 3"]


@pytest.mark.parametrize(
    ("both", "one_side", "agrees"),
    [(59, 1, True), (58, 2, False), (1, 1, True), (198, 2, True), (197, 3, False), (0, 1, False)],
)
def test_one_of_few_instances_or_one_percent_of_many_may_be_on_one_side_only(
    both, one_side, agrees
):
    result = Agreement.empty()
    result.instances, result.matched = both + one_side, both
    assert (result.problems == []) == agrees


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_not_finite_do_not_agree(value):
    result = agreement(expected(), found(scores=(0.9, value, 0.7)))
    assert result.problems == ["scores differ by up to inf, not 0.001"]
    # Not even with each other.
    result = agreement(expected(scores=(0.9, value, 0.7)), found(scores=(0.9, value, 0.7)))
    assert result.problems == ["scores differ by up to inf, not 0.001"]


def test_a_box_that_is_not_finite_matches_none_and_leaves_the_others_alone():
    boxes = [[np.nan] * 4, *BOXES[1:]]
    same = (0, 0, 0)
    instances = found(classes=same)._replace(boxes=np.array(boxes, np.float32))
    assert match(expected(classes=same), instances) == [(1, 1), (2, 2)]


def test_pixels_whose_scores_are_not_finite_are_not_of_the_same_class():
    scores = torch.zeros(2, 10, 100)
    scores[0] = 1
    other = scores.numpy().copy()
    other[0, 0, :5] = np.nan  # the largest, for argmax
    result = Agreement.empty()
    result.update({"sem_seg": scores}, {"sem_seg": other})
    assert result.sem_seg == [0.995]


def test_differences_are_the_largest():
    other = [[0.0, 0, 10, 10], [20, 0, 40, 19], [20, 0, 40, 20]]
    result = agreement(expected(), found(other, (0.9, 0.75, 0.71)))
    assert result.score == pytest.approx(0.05)
    assert result.box == 1
    assert result.mask_iou == pytest.approx(0.95)
    words = ("scores differ by up to 0.05", "boxes differ by up to 1 pixels", "IoU down to 0.950")
    for sentence, part in zip(result.problems, words, strict=True):
        assert part in sentence


def test_no_instance_is_said_to_be_no_comparison():
    result = agreement(expected([], (), ()), found([], (), ()))
    assert result.problems == []
    assert "nothing was compared" in str(result)
    assert match(expected(), found([], (), ())) == []


def test_each_image_counts_by_itself():
    result = Agreement.empty()
    scores = torch.zeros(2, 10, 100)
    scores[0] = 1
    other = scores.numpy().copy()
    for different in (0, 2):
        other[1, 0, :different] = 2
        result.update({"sem_seg": scores}, {"sem_seg": other})
    assert result.sem_seg == [1.0, 0.998]
    assert result.problems == ["only 99.800% of an image's pixels have the same class, not 99.9%"]
    assert "at least 99.800% of pixels of the same class" in str(result)


def test_segments_are_the_same_whatever_their_numbers():
    ids = np.array([[0, 1, 1, 2, 2, 3]])
    segments = [{"category_id": category} for category in (7, 7, 4)]
    other = np.array([[0, 3, 3, 1, 1, 2]])
    same = [{"category_id": category} for category in (7, 4, 7)]
    assert equal_segments((ids, segments), (other, same)) == 1
    # One pixel goes from a segment to its neighbour of the same class.
    other[0, 2] = 1
    assert equal_segments((ids, segments), (other, same)) == pytest.approx(5 / 6)
    # Void against a segment, and another class.
    assert equal_segments((ids, segments), (np.zeros_like(ids), [])) == pytest.approx(1 / 6)
    renamed = [{"category_id": category} for category in (7, 5, 7)]
    assert equal_segments((ids, segments), (np.array([[0, 3, 3, 1, 1, 2]]), renamed)) == 5 / 6
