"""Random brightness, contrast, saturation and hue."""

from __future__ import annotations

from collections.abc import Sequence

import detectron2.data.transforms as T
import numpy as np
import torch
from torchvision.transforms.v2 import functional


class AdjustColors(T.Transform):
    """Change the colours of a picture; labels stay as they are."""

    def __init__(self, adjustments: Sequence[tuple[str, float]], is_rgb: bool) -> None:
        """
        Args:
            adjustments: "brightness", "contrast", "saturation" or "hue", each with its factor (hue:
                the shift in turns), in their order; see torchvision's `adjust_brightness` etc.
            is_rgb: the order of channels, else BGR.
        """
        self._adjustments = tuple(adjustments)
        self._order = [0, 1, 2] if is_rgb else [2, 1, 0]

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        """See `detectron2.data.transforms.Transform`.

        Args:
            img: (H, W, 3) uint8.
        """
        pixels = torch.from_numpy(np.ascontiguousarray(img.transpose(2, 0, 1)[self._order]))
        for name, factor in self._adjustments:
            pixels = getattr(functional, f"adjust_{name}")(pixels, factor)
        return pixels.numpy()[self._order].transpose(1, 2, 0)

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        """See `detectron2.data.transforms.Transform`."""
        return segmentation

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        """See `detectron2.data.transforms.Transform`."""
        return coords


class ColorJitter(T.Augmentation):
    """torchvision's `ColorJitter`, with random numbers of NumPy's global generator.

    Factors of brightness, contrast and saturation are drawn evenly from 1 - s to 1 + s, the shift
    of the hue from -s to s turns, s being the strength; and so is the order of the four.
    """

    def __init__(
        self, brightness: float, contrast: float, saturation: float, hue: float, image_format: str
    ) -> None:
        """
        Args:
            brightness, contrast, saturation: strengths from 0 to 1.
            hue: strength from 0 to 0.5.
            image_format: "RGB" or "BGR".
        """
        super().__init__()
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """See `detectron2.data.transforms.Augmentation`; it doesn't look at the image."""
        ranges = [
            ("brightness", 1, self.brightness),
            ("contrast", 1, self.contrast),
            ("saturation", 1, self.saturation),
            ("hue", 0, self.hue),
        ]
        adjustments = [
            (name, np.random.uniform(middle - strength, middle + strength))
            for name, middle, strength in ranges
            if strength > 0
        ]
        order = np.random.permutation(len(adjustments))
        return AdjustColors([adjustments[i] for i in order], self.image_format == "RGB")
