"""Pictures of one size: what is missing is filled up, what is too much cut off."""

from __future__ import annotations

from collections.abc import Sequence

import detectron2.data.transforms as T
import numpy as np

from segtron.data.augmentations.filling import FillingTransform


class Pad(FillingTransform):
    """Add pixels around a picture."""

    def __init__(self, left: int, top: int, right: int, bottom: int, fill: Sequence[int]) -> None:
        """
        Args:
            left, top, right, bottom: how many pixels to add there.
            fill: the shade of each channel in them, 0 to 255.
        """
        self._margins = (top, bottom, left, right)
        self._fill = tuple(fill)

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        """See `detectron2.data.transforms.Transform`."""
        return self._pad(img, self._fill)

    def move_labels(self, labels: np.ndarray) -> np.ndarray:
        """See `FillingTransform`."""
        return self._pad(labels, 0)

    def _pad(self, array: np.ndarray, fill: tuple[int, ...] | int) -> np.ndarray:
        top, bottom, left, right = self._margins
        height, width = array.shape[:2]
        padded = np.empty(
            (top + height + bottom, left + width + right, *array.shape[2:]), array.dtype
        )
        padded[:top] = padded[top + height :] = fill
        padded[top : top + height, :left] = padded[top : top + height, left + width :] = fill
        padded[top : top + height, left : left + width] = array
        return padded


class PadToSize(T.Augmentation):
    """Add pixels at the right and the bottom of a picture that is smaller than a size."""

    def __init__(self, size: Sequence[int], fill: Sequence[int]) -> None:
        """
        Args:
            size: height and width in pixels.
            fill: see `Pad`.
        """
        super().__init__()
        self._init({"size": tuple(size), "fill": tuple(fill)})

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """See `detectron2.data.transforms.Augmentation`; it looks at the size alone."""
        bottom, right = (max(w - h, 0) for w, h in zip(self.size, image.shape[:2], strict=True))
        return Pad(0, 0, right, bottom, self.fill) if bottom or right else T.NoOpTransform()


class PlaceAtRandom(T.Augmentation):
    """Bring a picture to a size: a random part of it if it is larger; if it is smaller it lies in a
    random place. Height and width go each by itself."""

    def __init__(self, size: Sequence[int], fill: Sequence[int]) -> None:
        """
        Args:
            size: height and width in pixels.
            fill: see `Pad`.
        """
        super().__init__()
        self._init({"size": tuple(size), "fill": tuple(fill)})

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """See `detectron2.data.transforms.Augmentation`; it looks at the size alone."""
        (top, below, y, height), (left, right, x, width) = (
            _place(old, new) for old, new in zip(image.shape[:2], self.size, strict=True)
        )
        parts: list[T.Transform] = [T.CropTransform(x, y, width, height)]
        if top or below or left or right:
            parts.append(Pad(left, top, right, below, self.fill))
        return T.TransformList(parts)


def _place(old: int, new: int) -> tuple[int, int, int, int]:
    """Pixels to add before and after, and the first and the number of those to leave."""
    offset = np.random.randint(abs(new - old) + 1)
    if new > old:
        return offset, new - old - offset, 0, old
    return 0, 0, offset, new
