"""Cutting before everything else: of what a crop leaves out nothing is decoded or transformed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import detectron2.data.transforms as T
import numpy as np
from detectron2.projects.point_rend import ColorAugSSDTransform
from PIL import Image

from segtron.data.pixels import Window, whole


class Step(Protocol):
    """What is done to a picture, such as a `detectron2.data.transforms.Transform`."""

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        """A picture of shades, (H, W, C) uint8."""

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        """A picture of numbers, (H, W) or (H, W, C) uint8, which are not mixed."""


# These transforms leave each pixel where it is.
_IN_PLACE = (T.NoOpTransform, ColorAugSSDTransform)
# Not subclasses, which may do anything.
_MOVABLE = (*_IN_PLACE, T.HFlipTransform, T.VFlipTransform)


def flatten(transform: T.Transform) -> Iterator[T.Transform]:
    """The transforms that a transform consists of."""
    if isinstance(transform, T.TransformList):
        for part in transform.transforms:
            yield from flatten(part)
    else:
        yield transform


def is_movable(transform: T.Transform) -> bool:
    """Whether a later crop can be cut before a transform."""
    if type(transform) is T.ResizeTransform:
        return transform.interp == Image.BILINEAR
    if type(transform) is T.CropTransform:
        return transform.x0 >= 0 and transform.y0 >= 0  # else NumPy would count from the end
    return type(transform) in _MOVABLE


def shape_after(transform: T.Transform, shape: tuple[int, int]) -> tuple[int, int]:
    """Height and width that a movable transform makes of others."""
    if type(transform) is T.ResizeTransform:
        return transform.new_h, transform.new_w
    if type(transform) is T.CropTransform:
        return _window_of(transform, shape).shape
    return shape


def crop_first(
    transforms: Sequence[T.Transform], shape: tuple[int, int]
) -> tuple[Window, list[Step]]:
    """Cut first what crops cut later.

    Args:
        transforms: movable ones, in their order.
        shape: of the picture that they are for, height and width.

    Returns:
        A window of the picture, and what is to be done to that, which has the same result as the
        transforms have of all of it: of numbers to the last pixel. Shades can differ by rounding
        where they are resized or their hue is changed, since Pillow takes windows in single
        precision, and OpenCV rounds the last pixels of a row in its own way.
    """
    shapes = [shape]
    for transform in transforms:
        shapes.append(shape_after(transform, shapes[-1]))
    window, steps = whole(shapes[-1]), []
    for transform, before in zip(reversed(transforms), reversed(shapes[:-1]), strict=True):
        height, width = before
        left, top, right, bottom = window
        if type(transform) is T.CropTransform:
            cut = _window_of(transform, before)
            window = Window(cut.left + left, cut.top + top, cut.left + right, cut.top + bottom)
        elif type(transform) is T.HFlipTransform:
            steps.append(T.HFlipTransform(right - left))
            window = Window(width - right, top, width - left, bottom)
        elif type(transform) is T.VFlipTransform:
            steps.append(T.VFlipTransform(bottom - top))
            window = Window(left, height - bottom, right, height - top)
        elif type(transform) in _IN_PLACE:
            steps.append(transform)
        elif shape_after(transform, before) != before:  # a resize
            if window == whole((transform.new_h, transform.new_w)):
                steps.append(transform)
                window = whole(before)
            else:
                step = _ResizedWindow(before, (transform.new_h, transform.new_w), window)
                steps.append(step)
                window = step.source
    return window, steps[::-1]


def _window_of(crop: T.CropTransform, shape: tuple[int, int]) -> Window:
    """What a crop leaves of a picture; it may reach beyond."""
    height, width = shape
    return Window(crop.x0, crop.y0, min(crop.x0 + crop.w, width), min(crop.y0 + crop.h, height))


class _ResizedWindow:
    """A window of what Detectron2's `ResizeTransform` gives, made of a window of its picture.

    Attributes:
        source: the window that it is made of.
    """

    def __init__(self, shape: tuple[int, int], new_shape: tuple[int, int], window: Window) -> None:
        """
        Args:
            shape: of the picture, height and width.
            new_shape: of the resized picture.
            window: in the resized picture.
        """
        self._size = (window.right - window.left, window.bottom - window.top)
        self._rows = _nearest(shape[0], new_shape[0])[window.top : window.bottom]
        self._columns = _nearest(shape[1], new_shape[1])[window.left : window.right]
        left, right, self._x0, self._x1 = _span(window.left, window.right, shape[1], new_shape[1])
        top, bottom, self._y0, self._y1 = _span(window.top, window.bottom, shape[0], new_shape[0])
        self.source = Window(left, top, right, bottom)

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        """See `Step`."""
        box = (self._x0, self._y0, self._x1, self._y1)
        one_channel = img.shape[2] == 1
        image = Image.fromarray(img[:, :, 0] if one_channel else img)
        resized = np.asarray(image.resize(self._size, Image.BILINEAR, box))
        return resized[:, :, None] if one_channel else resized

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        """See `Step`."""
        rows = segmentation[self._rows - self.source.top]
        return rows[:, self._columns - self.source.left]


def _span(start: int, stop: int, length: int, new_length: int) -> tuple[int, int, float, float]:
    """Which of `length` pixels are needed for pixels `start` to `stop` - 1 of `new_length`.

    Returns:
        The first of them, the last and one; and start and stop among them.
    """
    scale = length / new_length
    reach = max(scale, 1.0)  # of Pillow's bilinear filter, to both sides
    first = max(int(start * scale - reach) - 1, 0)
    last = min(int(stop * scale + reach) + 2, length)
    return first, last, start * scale - first, min(stop * scale, length) - first


def _nearest(length: int, new_length: int) -> np.ndarray:
    """(new_length,) int32: the pixels, of `length` in a row, that Pillow takes by "nearest"."""
    numbers = Image.fromarray(np.arange(length, dtype=np.int32)[None])
    return np.asarray(numbers.resize((new_length, 1), Image.NEAREST))[0]
