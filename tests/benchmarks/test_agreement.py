from __future__ import annotations

import pytest
import torch
from detectron2.structures import Boxes, Instances

from segtron.benchmarks.agreement import (
    ROUNDED,
    SAME,
    SHIFTED,
    check_instances,
    check_labels,
    check_losses,
    check_segments,
    mask_ious,
    match_objects,
)


def found(*boxes: tuple[float, float, float, float, int]) -> Instances:
    """Masks fill the boxes."""
    rows = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 5)
    masks = torch.zeros(len(rows), 100, 100, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, rows[:, :4].round().long().tolist(), strict=True):
        mask[y0:y1, x0:x1] = True
    return Instances(
        (100, 100),
        pred_boxes=Boxes(rows[:, :4]),
        pred_classes=rows[:, 4].long(),
        scores=torch.linspace(0.9, 0.5, len(rows)),
        pred_masks=masks,
    )


def test_objects_are_matched_by_box_and_class():
    theirs = found((40, 40, 60, 60, 2), (0, 0, 10, 10, 1), (20, 20, 30, 30, 1), (70, 70, 80, 80, 3))
    ours = found(
        (0, 0, 10, 8.5, 1),  # IoU 0.85
        (0, 0, 10, 9.5, 1),  # IoU 0.95
        (20, 20, 30, 26, 1),  # IoU 0.6
        (40, 40, 60, 60, 5),  # another class
    )
    assert match_objects(ours, theirs, 0.9).tolist() == [[1, 1]]
    assert match_objects(ours, theirs, 0.5).tolist() == [[1, 1], [2, 2]]
    assert not len(match_objects(found(), theirs, 0.5))
    assert not len(match_objects(ours, found(), 0.5))


def test_unlike_detections_are_refused():
    theirs = found(*((10 * i, 0, 10 * i + 9, 9, i) for i in range(8)))
    check_instances([theirs], [theirs], SAME)
    check_instances([theirs[[5, 2, 7, 0, 1, 6, 4, 3]]], [theirs], SAME)
    with pytest.raises(RuntimeError, match="4 objects here and 8 there, of which 4"):
        check_instances([theirs[:4]], [theirs], ROUNDED)
    # All are found, but among too many others.
    twice = Instances.cat([theirs, theirs])
    with pytest.raises(RuntimeError, match="16 objects here and 8 there, of which 8"):
        check_instances([twice], [theirs], ROUNDED)
    # An image without an object shows nothing.
    with pytest.raises(RuntimeError, match="0 objects"):
        check_instances([theirs, found()], [theirs, found()], ROUNDED)


@pytest.mark.parametrize("likeness", [SAME, ROUNDED, SHIFTED])
def test_unlike_masks_are_refused(likeness):
    theirs = found(*((10 * i, 0, 10 * i + 9, 9, i) for i in range(8)))
    ours = found(*((10 * i, 0, 10 * i + 9, 9, i) for i in range(8)))
    ours.pred_masks = ours.pred_masks.roll(50, dims=1)
    with pytest.raises(RuntimeError, match=r"masks of the same objects have an IoU of 0\.00"):
        check_instances([ours], [theirs], likeness)


@pytest.mark.parametrize("likeness", [SAME, ROUNDED, SHIFTED])
def test_unlike_scores_are_refused(likeness):
    theirs = found(*((10 * i, 0, 10 * i + 9, 9, i) for i in range(8)))
    ours = found(*((10 * i, 0, 10 * i + 9, 9, i) for i in range(8)))
    ours.scores = theirs.scores - 0.3
    with pytest.raises(RuntimeError, match=r"scores of the same objects differ by 0\.3000"):
        check_instances([ours], [theirs], likeness)


def test_ious_of_masks():
    ours = torch.zeros(3, 1, 4, dtype=torch.bool)
    theirs = ours.clone()
    ours[0, 0, :3], theirs[0, 0, 1:] = True, True
    ours[1] = True
    assert mask_ious(ours, theirs).tolist() == [0.5, 0.0, 1.0]


def test_unlike_labels_are_refused():
    theirs = torch.arange(100).reshape(10, 10) % 4
    ours = theirs.clone()
    ours[0] = 9
    likeness = SAME._replace(pixels=0.9, segments=0.5)
    check_labels([ours], [theirs], likeness)
    ours[1, 0] = 9
    with pytest.raises(RuntimeError, match=r"89\.0% of the pixels"):
        check_labels([ours], [theirs], likeness)
    check_segments([ours], [theirs], likeness)
    with pytest.raises(RuntimeError, match=r"89\.0% of the pixels"):
        check_segments([ours], [theirs], likeness._replace(segments=0.9))
    # The mean over images.
    check_labels([ours, theirs], [theirs, theirs], likeness)


def test_one_class_for_all_pixels_shows_nothing():
    labels = torch.zeros(4, 4, dtype=torch.int64)
    with pytest.raises(RuntimeError, match="nothing to compare"):
        check_labels([labels], [labels], SAME)


def test_unlike_losses_are_refused():
    check_losses({"loss_mask": 0.75, "loss_cls": 3.0}, {"loss_mask": 0.7})
    with pytest.raises(RuntimeError, match=r"loss_mask is 0\.5000 here and 0\.7000"):
        check_losses({"loss_mask": 0.5}, {"loss_mask": 0.7})
    with pytest.raises(RuntimeError, match="loss_mask is nan"):
        check_losses({"loss_mask": float("nan")}, {"loss_mask": 0.7})
