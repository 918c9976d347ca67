"""Augmentations of one image: which there are, and in which order they run.

What mixes several images (copy-paste, mosaic) is in `segtron.data.mixing`.
"""

from segtron.data.augmentations.build import build_augmentations, needs_bitmaps
from segtron.data.augmentations.filling import FillingTransform
from segtron.data.augmentations.registry import AUGMENTATIONS

__all__ = ["AUGMENTATIONS", "FillingTransform", "build_augmentations", "needs_bitmaps"]
