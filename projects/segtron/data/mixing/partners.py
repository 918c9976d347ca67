"""Which images another one may be mixed with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# What labels can come as; images are mixed with those that have the same.
_LABELS = ("annotations", "sem_seg_file_name", "segments_info")


class Partners:
    """The images to mix with each image: those with the same kinds of labels, and itself."""

    def __init__(self, records: Sequence[Mapping[str, Any]], weights: np.ndarray) -> None:
        """
        Args:
            records: N standard dicts.
            weights: (N,) in proportion to the chance of each; 0 leaves one out.
        """
        codes = [sum(1 << i for i, key in enumerate(_LABELS) if key in r) for r in records]
        kinds, self._kind_of = np.unique(codes, return_inverse=True)
        self._members = [np.flatnonzero(self._kind_of == kind) for kind in range(len(kinds))]
        self._sums = [np.cumsum(weights[members]) for members in self._members]

    def draw(self, index: int) -> int:
        """Draw a partner for an image from NumPy's global generator."""
        kind = self._kind_of[index]
        sums = self._sums[kind]
        place = np.searchsorted(sums, np.random.random_sample() * sums[-1], side="right")
        # The product can be rounded up to the sum.
        return int(self._members[kind][min(place, len(sums) - 1)])
