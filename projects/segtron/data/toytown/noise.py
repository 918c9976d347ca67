"""Smooth random fields for clouds, asphalt and foliage."""

from __future__ import annotations

import cv2
import numpy as np


def fractal(
    rng: np.random.Generator, height: int, width: int, cells: tuple[int, int], octaves: int = 4
) -> np.ndarray:
    """A cloudy field float32 (height, width), mean about 0.5, range about 0 to 1.

    Args:
        cells: rows and columns of the coarsest grid; each octave doubles them at half the weight.
    """
    field = np.zeros((height, width), dtype=np.float32)
    total = 0.0
    for octave in range(octaves):
        grid = rng.random((cells[0] << octave, cells[1] << octave), dtype=np.float32)
        weight = 0.5**octave
        field += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        total += weight
    return field / total


def tile(rng: np.random.Generator, size: int = 256) -> np.ndarray:
    """A texture float32 (size, size) of mean 0 and deviation 1 that repeats without a seam."""
    field = np.zeros((size, size), dtype=np.float32)
    for step, weight in ((1, 0.8), (4, 0.5), (16, 0.6), (64, 0.7)):
        grid = rng.standard_normal((size // step, size // step)).astype(np.float32)
        wrapped = np.pad(grid, 2, mode="wrap")
        large = cv2.resize(wrapped, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        field += weight * large[2 * step : 2 * step + size, 2 * step : 2 * step + size]
    return (field - field.mean()) / field.std()
