"""The numbers that COCO's protocol fixes."""

from __future__ import annotations

import numpy as np

# To the official digits: 0.5, 0.55, ..., 0.95, and 0, 0.01, ..., 1.
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
# Areas [pixels], from and to; one that is a limit belongs to both sides.
LARGEST = 1e5**2
SIZES = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, LARGEST)}
