from __future__ import annotations

import pytest
import torch

from segtron.benchmarks import merging


def test_merging_is_timed_on_many_segments():
    row = merging.compare_merging((128, 256), 0, num_pairs=1, device="cpu")
    assert row.work == "panoptic merging, 100 instances, 128x256, 5 times"
    assert row.timing.ratio > 0


def test_outputs_have_much_to_merge():
    instances, sem_seg = merging._draw_outputs((128, 256), 0, "cpu")
    assert len(instances) == 100
    assert all(mask.any() for mask in instances.pred_masks)
    # Boxes hold their masks.
    for mask, box in zip(instances.pred_masks, instances.pred_boxes.tensor.int(), strict=True):
        x0, y0, x1, y1 = box.tolist()
        assert mask[y0:y1, x0:x1].sum() == mask.sum()
    assert 0 in sem_seg.unique()
    assert len(sem_seg.unique()) > 4


def test_unequal_segments_are_no_benchmark(monkeypatch):
    def forgetful(*args, **options):
        return torch.zeros(128, 256, dtype=torch.int32), []

    monkeypatch.setattr(merging, "merge_panoptic", forgetful)
    with pytest.raises(RuntimeError, match="disagree on segments"):
        merging.compare_merging((128, 256), 0, num_pairs=1, device="cpu")
