from __future__ import annotations

import numpy as np

from segtron.benchmarks.peak_memory import peak_bytes_of


def test_only_what_the_work_needs():
    small = peak_bytes_of(np.ones, 1, np.uint8)
    held = np.ones(500_000_000, np.uint8)  # by this process, which is no part of the work
    large = peak_bytes_of(np.ones, 200_000_000, np.uint8)
    assert len(held) == 500_000_000
    assert 190e6 < large - small < 260e6
