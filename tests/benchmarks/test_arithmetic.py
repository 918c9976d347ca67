from __future__ import annotations

import pytest
import torch
from torch import nn

from segtron.benchmarks import arithmetic
from segtron.benchmarks.arithmetic import (
    MultiplyAddRates,
    count_multiply_adds,
    multiply_add_rate,
)


def test_multiply_adds_of_a_convolution():
    layer = nn.Conv2d(3, 8, kernel_size=3, stride=2, padding=1)
    # 8 x 16 places of 8 channels, each of 3 x 3 x 3 products.
    assert count_multiply_adds(lambda: layer(torch.zeros(2, 3, 16, 32))) == 2 * 8 * 16 * 8 * 27


def test_multiply_adds_of_a_backward_pass():
    first, last = nn.Linear(5, 7), nn.Linear(7, 11)
    x = torch.zeros(3, 5)
    # Gradients of weights cost as much as the layer, and so do those of inputs; `x` has none.
    forward, of_weights, of_inputs = (3 * (5 * 7 + 7 * 11),) * 2 + (3 * 7 * 11,)
    assert count_multiply_adds(lambda: last(first(x)).sum().backward()) == (
        forward + of_weights + of_inputs
    )


def test_rates_and_floors(monkeypatch):
    measured = iter([2e9, 4e9, 1e9, 5e9])
    monkeypatch.setattr(arithmetic, "multiply_add_rate", lambda *_: next(measured))
    rates = MultiplyAddRates([torch.float32, torch.bfloat16])
    floor = rates.floor("work", 8e9, 6.0, torch.bfloat16)
    assert (floor.bound, floor.seconds, floor.times) == ("multiply-adds, bfloat16", 2.0, 3.0)
    rates.measure()
    floor = rates.floor("work", 8e9, 6.0, torch.float32)
    assert (floor.bound, floor.seconds) == ("multiply-adds, float32", 4.0)
    assert rates.floor("work", 10e9, 6.0, torch.bfloat16).seconds == 2.0


@pytest.mark.parametrize("fastest", ["product", "convolution"])
def test_the_faster_kind_of_work_counts(fastest, monkeypatch):
    monkeypatch.setattr(arithmetic, "_EXTENTS", {"cpu": arithmetic._Extent(4, 2, 8)})
    # 4 x 4 x 4 and 8 x 8 x 2 x 2 x 9 multiply-adds.
    seconds = iter([1e-3, 1.0] if fastest == "product" else [1.0, 1e-3])
    monkeypatch.setattr(arithmetic, "_fastest", lambda *_: next(seconds))
    expected = 64_000 if fastest == "product" else 2_304_000
    assert multiply_add_rate(torch.float32) == pytest.approx(expected)
