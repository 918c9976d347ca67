"""Whether two models gave the same."""

from __future__ import annotations

import torch


def assert_equal_instances(result, expected) -> None:
    """But for rounding."""
    assert result.image_size == expected.image_size
    assert set(result.get_fields()) == set(expected.get_fields())
    assert len(result) == len(expected) > 0
    assert torch.equal(result.pred_classes, expected.pred_classes)
    for name in ("scores", "box_scores"):
        if expected.has(name):
            torch.testing.assert_close(result.get(name), expected.get(name), rtol=0, atol=1e-4)
    torch.testing.assert_close(
        result.pred_boxes.tensor, expected.pred_boxes.tensor, rtol=0, atol=1e-2
    )
    if not expected.has("pred_masks"):
        return
    assert result.pred_masks.dtype == torch.bool
    assert result.pred_masks.shape == (len(result), *result.image_size)
    assert 1e-3 < expected.pred_masks.float().mean() < 0.5
    assert (result.pred_masks != expected.pred_masks).float().mean() < 1e-4


def assert_equal(results: list[dict], expected: list[dict]) -> None:
    """But for rounding."""
    for ours, theirs in zip(results, expected, strict=True):
        assert list(ours) == list(theirs)
        if "sem_seg" in theirs:
            assert ours["sem_seg"].dtype == torch.float32 and theirs["sem_seg"].std() > 1
            torch.testing.assert_close(ours["sem_seg"], theirs["sem_seg"], rtol=0, atol=1e-3)
        if "instances" in theirs:
            assert_equal_instances(ours["instances"], theirs["instances"])
        if "panoptic_seg" in theirs:
            (ids, segments), (true_ids, true_segments) = (x["panoptic_seg"] for x in (ours, theirs))
            assert ids.dtype == true_ids.dtype and (ids != true_ids).float().mean() < 1e-3
            classes, true_classes = (
                [segment["category_id"] for segment in found] for found in (segments, true_segments)
            )
            assert classes == true_classes and len(classes) > 3
