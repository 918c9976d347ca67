from __future__ import annotations

import pytest
import torch

from segtron.modeling.test_time_augmentation.box_merging import FoundBoxes, merge_boxes


def found(*entries):
    """Of (x0, y0, x1, y1, score, class)."""
    rows = torch.tensor(entries, dtype=torch.float32).reshape(-1, 6)
    return FoundBoxes(rows[:, :4], rows[:, 4], rows[:, 5].long())


def test_boxes_vote_by_their_scores():
    first = found((0, 0, 10, 10, 0.9, 1), (50, 50, 60, 60, 0.8, 0))
    second = found((0, 0, 10, 13, 0.3, 1), (0, 0, 10, 10, 0.6, 2))
    merged = merge_boxes([first, second], iou_threshold=0.5, most=10)
    # The votes of one object: 0.9 and 0.3, so (0.9 * 10 + 0.3 * 13) / 1.2 = 10.75.
    expected = [[0, 0, 10, 10.75], [50, 50, 60, 60], [0, 0, 10, 10]]
    torch.testing.assert_close(merged.boxes, torch.tensor(expected), rtol=0, atol=1e-5)
    torch.testing.assert_close(merged.scores, torch.tensor([0.6, 0.4, 0.3]))
    assert merged.classes.tolist() == [1, 0, 2]


def test_a_view_has_one_vote():
    """That of its most certain box."""
    first = found((0, 0, 10, 10, 0.5, 0), (0, 0, 10, 11, 0.4, 0))
    merged = merge_boxes([first, found()], iou_threshold=0.99, most=10)
    assert merged.boxes[0].tolist() == [0, 0, 10, 10]
    torch.testing.assert_close(merged.scores, torch.tensor([0.25, 0.25]))


@pytest.mark.parametrize("views", [1, 3])
def test_nothing_is_found(views):
    merged = merge_boxes([found()] * views, iou_threshold=0.5, most=10)
    assert [tuple(part.shape) for part in merged] == [(0, 4), (0,), (0,)]


def test_the_most_certain_stay():
    boxes = found(*((20 * i, 0, 20 * i + 10, 10, i / 10, 0) for i in range(6)))
    merged = merge_boxes([boxes], iou_threshold=0.5, most=2)
    torch.testing.assert_close(merged.scores, torch.tensor([0.5, 0.4]))


def test_boxes_without_an_area_take_no_place():
    some = found((1, 1, 9, 9, 0.5, 1), (4, 4, 4, 8, 0.9, 1), (2, 2, 2, 2, 0.8, 0))
    merged = merge_boxes([some, some], iou_threshold=0.5, most=1)
    assert merged.boxes.tolist() == [[1, 1, 9, 9]] and merged.scores.tolist() == [0.5]
    nothing = found((4, 4, 4, 8, 0.9, 1))
    assert len(merge_boxes([nothing, nothing], iou_threshold=0.5, most=1).boxes) == 0
