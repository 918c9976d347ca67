from __future__ import annotations

import pytest
import torch

from segtron.benchmarks.limits import Sizes, check_device
from segtron.errors import UserError


def test_sizes():
    sizes = Sizes(step=32, least=64)
    for size in ((64, 64), (96, 1024)):
        sizes.check(size)
    for size in ((32, 64), (64, 32), (65, 64), (64, 72)):
        with pytest.raises(
            UserError, match="height and width have to be multiples of 32 from 64 up"
        ):
            sizes.check(size)
    assert str(Sizes(step=1, least=8)) == "whole numbers from 8 up"


def test_a_gpu_that_is_not_there(monkeypatch):
    check_device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="the device is cuda, but PyTorch finds no GPU"):
        check_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    check_device("cuda")
