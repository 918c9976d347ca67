from __future__ import annotations

import pytest
import torch

from segtron.benchmarks import mask_targets


def test_regions_cover_their_objects():
    masks, boxes, objects = mask_targets._draw_regions((128, 256), 0, "cpu")
    assert len(masks) == 20
    assert masks.nonempty().all()
    targets = masks[objects].crop_and_resize(boxes, 28)
    assert targets.flatten(1).any(dim=1).all()
    assert 0.2 < targets.float().mean() < 0.95


def test_unequal_masks_are_no_benchmark(monkeypatch):
    class Forgetful(mask_targets.RegionMasks):
        def crop_and_resize(self, boxes, mask_size):
            return torch.zeros(len(boxes), mask_size, mask_size, dtype=torch.bool)

        def __getitem__(self, item):
            chosen = super().__getitem__(item)
            return Forgetful(chosen._objects, chosen._numbers)

    monkeypatch.setattr(mask_targets, "RegionMasks", Forgetful)
    with pytest.raises(RuntimeError, match="disagree on masks"):
        mask_targets.compare_mask_targets((128, 256), 0, num_pairs=1, device="cpu")
