from __future__ import annotations

import pytest
import torch
from detectron2.structures import Boxes, Instances

from segtron.benchmarks.agreement import (
    ROUNDED,
    SAME,
    Likeness,
    check_instances,
    check_labels,
    check_losses,
    count_found,
)


def found(*boxes: tuple[float, float, float, float, int]) -> Instances:
    rows = torch.tensor(boxes).reshape(-1, 5)
    return Instances((100, 100), pred_boxes=Boxes(rows[:, :4]), pred_classes=rows[:, 4].long())


def test_objects_are_counted_by_box_and_class():
    theirs = found((0, 0, 10, 10, 1), (20, 20, 30, 30, 1), (40, 40, 60, 60, 2), (70, 70, 80, 80, 3))
    ours = found(
        (0, 0, 10, 9.5, 1),  # IoU 0.95
        (20, 20, 30, 26, 1),  # IoU 0.6
        (40, 40, 60, 60, 5),  # another class
    )
    assert count_found(ours, theirs, 0.9) == 1
    assert count_found(ours, theirs, 0.5) == 2
    assert count_found(found(), theirs, 0.5) == count_found(ours, found(), 0.5) == 0


def test_unlike_detections_are_refused():
    theirs = found(*((10 * i, 0, 10 * i + 9, 9, i) for i in range(8)))
    check_instances([theirs], [theirs], SAME)
    with pytest.raises(RuntimeError, match="4 objects here and 8 there, of which 4"):
        check_instances([theirs[:4]], [theirs], ROUNDED)
    # All are found, but among too many others.
    twice = Instances.cat([theirs, theirs])
    with pytest.raises(RuntimeError, match="16 objects here and 8 there, of which 8"):
        check_instances([twice], [theirs], ROUNDED)
    # An image without an object shows nothing.
    with pytest.raises(RuntimeError, match="0 objects"):
        check_instances([theirs, found()], [theirs, found()], ROUNDED)


def test_unlike_labels_are_refused():
    theirs = torch.arange(100).reshape(10, 10) % 4
    ours = theirs.clone()
    ours[0] = 9
    likeness = Likeness(0.9, 0.9, 0.1, pixels=0.9)
    check_labels([ours], [theirs], likeness)
    ours[1, 0] = 9
    with pytest.raises(RuntimeError, match=r"89\.0% of the pixels"):
        check_labels([ours], [theirs], likeness)
    # The mean over images.
    check_labels([ours, theirs], [theirs, theirs], likeness)


def test_one_class_for_all_pixels_shows_nothing():
    labels = torch.zeros(4, 4, dtype=torch.int64)
    with pytest.raises(RuntimeError, match="nothing to compare"):
        check_labels([labels], [labels], SAME)


def test_unlike_losses_are_refused():
    check_losses({"loss_mask": 0.8, "loss_cls": 3.0}, {"loss_mask": 0.7})
    with pytest.raises(RuntimeError, match=r"loss_mask is 0\.4000 here and 0\.7000"):
        check_losses({"loss_mask": 0.4}, {"loss_mask": 0.7})
    with pytest.raises(RuntimeError, match="loss_mask is nan"):
        check_losses({"loss_mask": float("nan")}, {"loss_mask": 0.7})
