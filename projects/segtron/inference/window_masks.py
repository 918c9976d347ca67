"""Masks of a large image, each kept as the window that it lies in and compressed bits."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from zlib_ng import zlib_ng

from segtron.data.masks import encode_mask
from segtron.data.pixels import Window


class WindowMasks:
    """N masks of one image, in place of the tensor (N, H, W) that would not fit into memory.

    It can be a field of Detectron2's `Instances`, which index it and ask for its length. A mask
    without a pixel has an empty window.

    Example:
        >>> for window, pixels in masks:
        ...     window.of(image)[pixels] = color
    """

    def __init__(
        self, image_size: tuple[int, int], masks: Iterable[tuple[Window, np.ndarray]] = ()
    ) -> None:
        """
        Args:
            image_size: height and width.
            masks: for each a window of the image and what it has there, (h, w) bool. What is empty
                around a mask's pixels is cut off.
        """
        self.image_size = image_size
        # Of half a million masks, objects of their own would take several times as much memory.
        self._corners = array("i")  # the four numbers of each window
        self._bits = bytearray()  # compressed, one mask after the other
        self._ends = array("q")  # of each mask's in `_bits`
        for window, pixels in masks:
            self.append(window, pixels)

    def extend(self, masks: Iterable[torch.Tensor], *, left: int = 0, top: int = 0) -> None:
        """Add masks of a part of the image.

        Args:
            masks: each (h, w) of bool or what can be made of it, on any device.
            left: where the part begins.
            top: likewise.
        """
        for mask in masks:
            height, width = mask.shape
            window = Window(left, top, left + width, top + height)
            self.append(window, mask.bool().cpu().numpy())

    def add(self, others: WindowMasks) -> None:
        """Add masks of the same image."""
        self._ends.extend(len(self._bits) + end for end in others._ends)
        self._corners += others._corners
        self._bits += others._bits

    def append(self, window: Window, pixels: np.ndarray) -> None:
        """Add a mask; see the arguments of the class.

        Raises:
            ValueError: the pixels don't fill the window, or it is not in the image.
        """
        height, width = self.image_size
        inside = 0 <= window.left <= window.right <= width
        if not (inside and 0 <= window.top <= window.bottom <= height):
            raise ValueError(f"{window} is not in an image of {height} x {width}")
        if pixels.shape != window.shape:
            raise ValueError(f"a mask of {pixels.shape} doesn't fill {window}")
        pixels = np.asarray(pixels, bool)
        x, y, w, h = cv2.boundingRect(pixels.view(np.uint8)) if pixels.size else (0, 0, 0, 0)
        left, top = window.left + x, window.top + y
        self._corners.extend((left, top, left + w, top + h))
        bits = np.packbits(pixels[y : y + h, x : x + w])
        self._bits += zlib_ng.compress(bits.tobytes(), 1)
        self._ends.append(len(self._bits))

    def __len__(self) -> int:
        return len(self._ends)

    @property
    def shape(self) -> tuple[int, int, int]:
        """That of the tensor that it stands for."""
        return len(self), *self.image_size

    @property
    def windows(self) -> Sequence[Window]:
        """Around the pixels of each mask, tight; a new list."""
        return [self.window(place) for place in range(len(self))]

    def window(self, place: int) -> Window:
        """Around the pixels of one mask, tight."""
        return Window(*self._corners[4 * place : 4 * place + 4])

    def __getitem__(self, item: int | slice | Sequence[int] | np.ndarray | torch.Tensor) -> Any:
        """Some of the masks, as `Instances` asks for them.

        Args:
            item: the place of one, a slice, or places or a choice, (N,) bool.
        """
        if not isinstance(item, slice):
            item = np.asarray(item)
            item = item if item.size else item.astype(np.int64)
        places = np.arange(len(self))[item]
        chosen = WindowMasks(self.image_size)
        for place in np.atleast_1d(places).tolist():
            chosen._corners.extend(self.window(place))
            chosen._bits += self._compressed(place)
            chosen._ends.append(len(chosen._bits))
        return chosen

    def pixels(self, place: int) -> np.ndarray:
        """What a mask has in its window, (h, w) bool."""
        height, width = self.window(place).shape
        packed = np.frombuffer(zlib_ng.decompress(self._compressed(place)), np.uint8)
        bits = np.unpackbits(packed, count=height * width)
        return bits.view(bool).reshape(height, width)

    def _compressed(self, place: int) -> bytearray:
        start = self._ends[place - 1] if place else 0
        return self._bits[start : self._ends[place]]

    def crops(self, order: Iterable[int]) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
        """Masks in a given order: rows and columns of the window, and the pixels in it."""
        for place in order:
            left, top, right, bottom = self.window(place)
            yield (slice(top, bottom), slice(left, right)), self.pixels(place)

    def __iter__(self) -> Iterator[tuple[Window, np.ndarray]]:
        for place in range(len(self)):
            yield self.window(place), self.pixels(place)

    def areas(self) -> np.ndarray:
        """Pixels of each mask, (N,) int64."""
        return np.array([np.count_nonzero(pixels) for _, pixels in self], np.int64)

    def boxes(self) -> np.ndarray:
        """Tight boxes, (N, 4) float32: (x0, y0, x1, y1), x1 and y1 exclusive."""
        return np.array(self._corners, np.float32).reshape(-1, 4)

    def encode(self) -> list[dict[str, Any]]:
        """COCO's compressed run lengths of each mask in the whole image.

        Returns:
            For each {"size": [height, width], "counts": str}; see `encode_mask`.
        """
        return [
            encode_mask(pixels, window.left, window.top, self.image_size) for window, pixels in self
        ]

    def dense(self) -> torch.Tensor:
        """The tensor that it stands for, (N, H, W) bool. Only for small images."""
        masks = np.zeros(self.shape, bool)
        for mask, (window, pixels) in zip(masks, self, strict=True):
            window.of(mask)[:] = pixels
        return torch.from_numpy(masks)

    def to(self, *args: Any, **kwargs: Any) -> WindowMasks:
        """Itself, for it lies on the CPU whatever the device of other fields."""
        return self
