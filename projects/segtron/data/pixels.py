"""Pictures of which a part can be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np


class Window(NamedTuple):
    """A rectangle of pixels: rows `top` to `bottom` - 1, columns `left` to `right` - 1."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

    def of(self, array: np.ndarray) -> np.ndarray:
        """What an array of (H, W, ...) has in the window; a view."""
        return array[self.top : self.bottom, self.left : self.right]


class Pixels(Protocol):
    """A picture, decoded or not.

    Attributes:
        shape: height and width.
    """

    shape: tuple[int, int]

    def read(self, window: Window) -> np.ndarray:
        """The pixels of a window, which lies in the picture.

        Returns:
            (h, w) or (h, w, C); it may be a view that can't be written to.

        Raises:
            UserError: they can't be decoded: names the file.
        """


@dataclass(frozen=True)
class ArrayPixels:
    """A picture that is an array: in memory, or in a file that is mapped to it.

    Attributes:
        array: (H, W) or (H, W, C).
    """

    array: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """See `Pixels`."""
        return self.array.shape[:2]

    def read(self, window: Window) -> np.ndarray:
        """See `Pixels`."""
        return window.of(self.array)


def whole(shape: tuple[int, int]) -> Window:
    """The window of all pixels."""
    return Window(0, 0, shape[1], shape[0])


def read_all(pixels: Pixels) -> np.ndarray:
    """All pixels of a picture."""
    return pixels.read(whole(pixels.shape))
