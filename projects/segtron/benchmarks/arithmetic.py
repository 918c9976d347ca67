"""How much a model has to compute, and how much a machine can."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from segtron.benchmarks.report import Floor
from segtron.benchmarks.wall_clock import synchronize

_SECONDS = 1.0  # about how long each of the two kinds of work is tried


class _Extent(NamedTuple):
    """Large enough that nothing but arithmetic counts."""

    side: int  # rows and columns of matrices
    channels: int  # of a convolution
    pixels: int  # rows and columns of its image


_EXTENTS = {"cpu": _Extent(2048, 256, 64), "cuda": _Extent(8192, 512, 256)}


def count_multiply_adds(work: Callable[[], Any]) -> int:
    """How often matrix products and convolutions multiply and add in a piece of work, backward
    passes included. All else, of which models have little, doesn't count.

    Args:
        work: in plain PyTorch; what runs compiled or in layouts of its own isn't seen.
    """
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() // 2


def name_of(precision: torch.dtype) -> str:
    """As keys name it, such as "bfloat16"."""
    return str(precision).removeprefix("torch.")


@torch.inference_mode()
def multiply_add_rate(precision: torch.dtype, device: str = "cpu") -> float:
    """How many multiply-adds a second a device does at best, in a product of two square matrices or
    in a 3x3 convolution: not every library does both equally well.

    Args:
        precision: of the numbers.
        device: "cpu", with all threads of torch, or "cuda".
    """
    side, channels, pixels = _EXTENTS[torch.device(device).type]
    generator = torch.Generator().manual_seed(0)

    def numbers(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(device, precision)

    left, right = numbers(side, side), numbers(side, side)
    image = numbers(1, channels, pixels, pixels).to(memory_format=torch.channels_last)
    kernels = numbers(channels, channels, 3, 3).to(memory_format=torch.channels_last)
    return max(
        side**3 / _fastest(lambda: left @ right, device),
        9
        * (channels * pixels) ** 2
        / _fastest(lambda: F.conv2d(image, kernels, padding=1), device),
    )


def _fastest(work: Callable[[], Any], device: str) -> float:
    """Seconds of the fastest run, so that other programs matter least."""
    fastest = float("inf")
    work()  # memory and kernels are ready now
    begin = time.perf_counter()
    while time.perf_counter() - begin < _SECONDS:
        synchronize(device)
        start = time.perf_counter()
        work()
        synchronize(device)
        fastest = min(fastest, time.perf_counter() - start)
    return fastest


class MultiplyAddRates:
    """`multiply_add_rate` of a device in several precisions."""

    def __init__(self, precisions: Iterable[torch.dtype], device: str = "cpu") -> None:
        """
        Args:
            precisions: which.
            device: "cpu" or "cuda".
        """
        self._device = device
        self._rates = dict.fromkeys(precisions, 0.0)
        self.measure()

    def measure(self) -> None:
        """Measure again. The highest rates count."""
        for precision, rate in self._rates.items():
            self._rates[precision] = max(rate, multiply_add_rate(precision, self._device))

    def floor(self, work: str, amount: float, ours_s: float, precision: torch.dtype) -> Floor:
        """The least time that a piece of work could take.

        Args:
            work: its name.
            amount: how many multiply-adds it needs.
            ours_s: seconds that it takes.
            precision: that it is computed in, one of those that are measured.
        """
        bound = f"multiply-adds, {name_of(precision)}"
        return Floor(work, bound, amount, self._rates[precision], ours_s)
