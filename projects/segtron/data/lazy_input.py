"""The input of augmentations, of which nothing is decoded before it is known which part is left.

Most augmentations look at no more than the size of an image to find what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import detectron2.data.transforms as T
import numpy as np
from detectron2.data.transforms.augmentation import _TransformToAug

from segtron.data.augmentations.color_jitter import ColorJitter
from segtron.data.augmentations.fixed_size import PadToSize, PlaceAtRandom
from segtron.data.augmentations.rotation import RandomRotation
from segtron.data.augmentations.scale_jitter import ScaleJitter
from segtron.data.crop_first import Step, crop_first, flatten, is_movable, shape_after
from segtron.data.pixels import ArrayPixels, Pixels

# Augmentations that look at nothing of an image but its size; not subclasses, which may do more.
_LOOK_AT_SIZE = (
    ColorJitter,
    PadToSize,
    PlaceAtRandom,
    RandomRotation,
    ScaleJitter,
    T.RandomCrop,
    T.RandomCrop_CategoryAreaConstraint,
    T.RandomFlip,
    T.Resize,
    T.ResizeShortestEdge,
    _TransformToAug,
)


class LazyPicture:
    """A picture with transforms that have been asked for and not been done yet."""

    def __init__(self, pixels: Pixels, apply: Callable[[Step, np.ndarray], np.ndarray]) -> None:
        """
        Args:
            pixels: the picture, of bytes, or an array of anything.
            apply: does a step to an array.
        """
        self._pixels = pixels
        self._apply = apply
        self._pending: list[T.Transform] = []
        self._shape = pixels.shape

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, transformed."""
        return self._shape

    def transform(self, transform: T.Transform) -> None:
        """Ask for a transform."""
        for part in flatten(transform):
            if is_movable(part) and self._has_bytes():
                self._pending.append(part)
                self._shape = shape_after(part, self._shape)
            else:
                self._set(self._apply(part, self.read()))

    def read(self) -> np.ndarray:
        """The picture, transformed.

        Raises:
            UserError: see `Pixels`.
        """
        window, steps = crop_first(self._pending, self._pixels.shape)
        array = self._pixels.read(window)
        for step in steps:
            array = self._apply(step, array)
        self._set(array)
        return array

    def _set(self, array: np.ndarray) -> None:
        self._pixels, self._pending, self._shape = ArrayPixels(array), [], array.shape[:2]

    def _has_bytes(self) -> bool:
        """Detectron2 resizes other numbers by other rules."""
        return not isinstance(self._pixels, ArrayPixels) or self._pixels.array.dtype == np.uint8


def apply_image(step: Step, image: np.ndarray) -> np.ndarray:
    """Do a step to a picture of shades."""
    return step.apply_image(image)


def apply_segmentation(step: Step, segmentation: np.ndarray) -> np.ndarray:
    """Do a step to a picture of numbers."""
    return step.apply_segmentation(segmentation)


class LazyInput:
    """What augmentations look at and transform, as `detectron2.data.transforms.AugInput`."""

    def __init__(self, image: Pixels, sem_seg: Pixels | None) -> None:
        """
        Args:
            image: (H, W, C).
            sem_seg: (H, W) uint8 classes, if there are any.
        """
        self._image = LazyPicture(image, apply_image)
        self._sem_seg = None if sem_seg is None else LazyPicture(sem_seg, apply_segmentation)
        self._size_is_enough = False

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self._image.shape

    @property
    def image(self) -> np.ndarray:
        """(H, W, C), transformed; for augmentations that only look at its size, black."""
        if self._size_is_enough:
            return np.broadcast_to(np.uint8(0), (*self.shape, 3))
        return self._image.read()

    @property
    def sem_seg(self) -> np.ndarray | None:
        """(H, W), transformed."""
        return None if self._sem_seg is None else self._sem_seg.read()

    def transform(self, transform: T.Transform) -> None:
        """Ask for a transform of all."""
        self._image.transform(transform)
        if self._sem_seg is not None:
            self._sem_seg.transform(transform)

    def augment(self, augmentations: Sequence[T.Augmentation]) -> T.TransformList:
        """Let augmentations look and transform, one after the other.

        Returns:
            What they did.
        """
        transforms = []
        for augmentation in augmentations:
            self._size_is_enough = type(augmentation) in _LOOK_AT_SIZE
            transforms.append(augmentation(self))
        self._size_is_enough = False
        return T.TransformList(transforms)
