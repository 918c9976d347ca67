from __future__ import annotations

import numpy as np
import torch

from segtron.benchmarks.peak_memory import Peak, _work_and_measure, peak_of


def test_only_what_the_work_needs():
    small = peak_of(np.ones, 1, np.uint8).host_bytes
    held = np.ones(500_000_000, np.uint8)  # by this process, which is no part of the work
    large = peak_of(np.ones, 200_000_000, np.uint8).host_bytes
    assert len(held) == 500_000_000
    assert 190e6 < large - small < 260e6


def test_memory_of_a_gpu(monkeypatch):
    assert _work_and_measure(int, ()).gpu_bytes is None
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 1234)
    peak = _work_and_measure(int, ())
    assert peak == Peak(peak.host_bytes, 1234) and peak.host_bytes > 1e6
