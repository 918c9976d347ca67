"""Large-scale jitter."""

from __future__ import annotations

from collections.abc import Sequence

import detectron2.data.transforms as T
import numpy as np


class ScaleJitter(T.ResizeScale):
    """Resize a picture so that it just fits into a size that was scaled at random, with its aspect.

    With a range of 0.1 to 2 this is the large-scale jitter of Ghiasi et al., "Simple Copy-Paste is
    a Strong Data Augmentation Method for Instance Segmentation" (2021), section 3. What makes the
    size itself of it comes after: a crop (Detectron2's `RandomCrop`, since its `FixedSizeCrop` only
    cuts along the diagonal) and `PadToSize`.
    """

    def __init__(self, scales: Sequence[float], size: Sequence[int]) -> None:
        """
        Args:
            scales: the smallest and the largest factor.
            size: height and width in pixels.
        """
        super().__init__(*scales, *size)
        self._init({"scales": tuple(scales), "size": tuple(size)})

    def get_transform(self, image: np.ndarray) -> T.ResizeTransform:
        """See `detectron2.data.transforms.Augmentation`; it looks at the size alone."""
        resize = super().get_transform(image)
        # Of a long, narrow picture a whole side could be rounded away.
        resize.new_h, resize.new_w = max(resize.new_h, 1), max(resize.new_w, 1)
        return resize
