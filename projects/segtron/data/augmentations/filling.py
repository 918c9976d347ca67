"""Transforms after which a picture has pixels that were none before."""

from __future__ import annotations

import copy
from abc import abstractmethod

import detectron2.data.transforms as T
import numpy as np

from segtron.data.sem_seg import IGNORED


class FillingTransform(T.Transform):
    """A transform that leaves pixels which nothing comes to, such as the corners of a rotation.

    In labels they belong to nothing. That is another number in classes of pixels than in maps of
    instances or segments (`segtron.data.place_map`); subclasses need not know. Masks that such a
    transform moves are bitmaps, since it moves no coordinates; boxes are made of them.

    Attributes:
        void: the number that stands for nothing in the labels that `apply_segmentation` gets.
    """

    void: int = IGNORED

    @abstractmethod
    def move_labels(self, labels: np.ndarray) -> np.ndarray:
        """Move a picture of numbers, without mixing any.

        Args:
            labels: (H, W) or (H, W, C) uint8.

        Returns:
            (H', W') or (H', W', C) uint8, 0 in pixels that nothing comes to.
        """

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        """See `detectron2.data.transforms.Transform`; `void` in pixels that nothing comes to.

        Args:
            segmentation: (H, W) or (H, W, C) uint8.
        """
        if self.void == 0:
            return self.move_labels(segmentation)
        # So that `void` becomes 0, and 0 becomes `void` again.
        void = np.uint8(self.void)
        return self.move_labels(segmentation - void) + void

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        """Not supported."""
        raise NotImplementedError(f"{type(self).__name__} moves bitmaps, no coordinates")


def is_filling(transforms: T.TransformList) -> bool:
    """Whether one of the transforms is a `FillingTransform`."""
    return any(isinstance(transform, FillingTransform) for transform in transforms.transforms)


def filled_with(void: int, transforms: T.TransformList) -> T.TransformList:
    """The same transforms for labels in which another number stands for nothing.

    Detectron2's `PadTransform` is among those that are changed.
    """
    changed = []
    for transform in transforms.transforms:
        if isinstance(transform, FillingTransform):
            transform = copy.copy(transform)
            transform.void = void
        elif isinstance(transform, T.PadTransform):
            transform = copy.copy(transform)
            transform.seg_pad_value = void
        changed.append(transform)
    return T.TransformList(changed)
