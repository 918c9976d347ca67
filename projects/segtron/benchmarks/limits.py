"""What a benchmark can be asked for."""

from __future__ import annotations

from typing import NamedTuple

import torch

from segtron.errors import UserError


class Sizes(NamedTuple):
    """Which heights and widths images can have.

    Attributes:
        step: both are multiples of it.
        least: the smallest of either, in pixels.
    """

    step: int
    least: int

    def __str__(self) -> str:
        multiples = "whole numbers" if self.step == 1 else f"multiples of {self.step}"
        return f"{multiples} from {self.least} up"

    def check(self, size: tuple[int, int]) -> None:
        """Refuse another size.

        Args:
            size: height and width in pixels.

        Raises:
            UserError: it is another one.
        """
        if any(side % self.step or side < self.least for side in size):
            height, width = size
            raise UserError(
                f"images of {height} x {width} can't be used here; height and width have to be "
                f"{self}"
            )


MODEL_SIZES = Sizes(step=32, least=64)  # as feature pyramids want them
MAPPED_SIZES = Sizes(step=2, least=32)  # a frame is made of four
SCORED_SIZES = Sizes(step=1, least=32)


def check_device(device: str) -> None:
    """Refuse a GPU that isn't there.

    Args:
        device: "cpu" or "cuda".

    Raises:
        UserError: PyTorch finds no GPU.
    """
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"the device is {device}, but PyTorch finds no GPU here; take cpu")
