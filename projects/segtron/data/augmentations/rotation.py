"""Rotation by any angle."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import detectron2.data.transforms as T
import numpy as np

from segtron.data.augmentations.filling import FillingTransform


class Rotate(FillingTransform):
    """Turn a picture about its centre; its size stays, so that corners are cut off."""

    def __init__(self, shape: tuple[int, int], angle: float, fill: Sequence[int]) -> None:
        """
        Args:
            shape: of the picture, height and width.
            angle: in degrees, against the clock.
            fill: the shade of each channel where nothing comes to, 0 to 255.
        """
        self._matrix = T.RotationTransform(*shape, angle, expand=False).rm_image
        self._size = shape[::-1]
        self._fill = tuple(fill)

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        """See `detectron2.data.transforms.Transform`."""
        return self._turn(img, cv2.INTER_LINEAR, self._fill)

    def move_labels(self, labels: np.ndarray) -> np.ndarray:
        """See `FillingTransform`."""
        return self._turn(labels, cv2.INTER_NEAREST, (0, 0, 0))

    def _turn(self, array: np.ndarray, flags: int, fill: tuple[int, ...]) -> np.ndarray:
        turned = cv2.warpAffine(
            np.ascontiguousarray(array), self._matrix, self._size, flags=flags, borderValue=fill
        )
        return turned.reshape(array.shape)  # OpenCV drops a channel that is alone


class RandomRotation(T.Augmentation):
    """Turn a picture by a random angle, or not."""

    def __init__(self, prob: float, angles: Sequence[float], fill: Sequence[int]) -> None:
        """
        Args:
            prob: the chance that it is turned.
            angles: the smallest and the largest angle in degrees, against the clock.
            fill: see `Rotate`.
        """
        super().__init__()
        self._init({"prob": prob, "angles": tuple(angles), "fill": tuple(fill)})

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """See `detectron2.data.transforms.Augmentation`; it looks at the size alone."""
        if np.random.random_sample() >= self.prob:
            return T.NoOpTransform()
        return Rotate(image.shape[:2], np.random.uniform(*self.angles), self.fill)
