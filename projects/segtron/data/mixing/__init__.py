"""Augmentations that make one training image of several: copy-paste and mosaic."""

from segtron.data.mixing.mixed_samples import MixedSamples
from segtron.data.mixing.mixer import Mixer, build_mixer

__all__ = ["MixedSamples", "Mixer", "build_mixer"]
