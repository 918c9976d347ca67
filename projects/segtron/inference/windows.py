"""What two windows of an image have in common."""

from __future__ import annotations

import numpy as np

from segtron.data.pixels import Window


def intersection(first: Window, second: Window) -> Window | None:
    """The pixels that are in both windows; None where there are none."""
    left, top = max(first.left, second.left), max(first.top, second.top)
    right, bottom = min(first.right, second.right), min(first.bottom, second.bottom)
    return Window(left, top, right, bottom) if left < right and top < bottom else None


def hull(first: Window, second: Window) -> Window:
    """The smallest window that holds both."""
    return Window(
        min(first.left, second.left),
        min(first.top, second.top),
        max(first.right, second.right),
        max(first.bottom, second.bottom),
    )


def part(around: Window, pixels: np.ndarray, window: Window) -> np.ndarray:
    """What an array over a window has in another one within it; a view.

    Args:
        around: the window of the array.
        pixels: (h, w) or (h, w, ...).
        window: within `around`.
    """
    left, top = window.left - around.left, window.top - around.top
    height, width = window.shape
    return pixels[top : top + height, left : left + width]


def common_area(
    first: Window, first_pixels: np.ndarray, second: Window, second_pixels: np.ndarray
) -> int:
    """Pixels that two masks share.

    Args:
        first: the window of a mask.
        first_pixels: what it has there, (h, w) bool.
        second: that of the other.
        second_pixels: likewise.
    """
    both = intersection(first, second)
    if both is None:
        return 0
    return int(
        np.count_nonzero(part(first, first_pixels, both) & part(second, second_pixels, both))
    )
