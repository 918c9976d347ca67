"""Weights of semantic classes from how often they occur."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segtron.data.each_item import for_each, num_readers
from segtron.data.sem_seg import IGNORED, read_sem_seg


def count_classes(
    records: Sequence[Mapping[str, Any]], num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Count the pixels of each class, with a progress bar.

    Args:
        records: standard dicts with semantic labels.
        num_classes: K.

    Returns:
        (K,) int64, the pixels of each class; and (K,) int64, all labelled pixels of the images that
        it occurs in.

    Raises:
        UserError: a label file is missing, unreadable or has a value that is no class.
    """
    pixels, company = np.zeros((2, num_classes), np.int64)
    readers = num_readers()
    for histogram in for_each(_histogram, records, workers=readers, desc="class weights", delay=2):
        counts = histogram[:num_classes]
        pixels += counts
        company += np.where(counts > 0, counts.sum(), 0)
    return pixels, company


def _histogram(record: Mapping[str, Any]) -> np.ndarray:
    return np.bincount(read_sem_seg(record).ravel(), minlength=IGNORED + 1)


def median_frequency(pixels: np.ndarray, company: np.ndarray) -> np.ndarray:
    """Median-frequency balancing (Eigen & Fergus 2015, section 4.3).

    A class's frequency is its share of the pixels in the images where it occurs; its weight is the
    median of all frequencies over its own, so that a class of median frequency weighs 1.

    Args:
        pixels: (K,), see `count_classes`.
        company: (K,), see `count_classes`.

    Returns:
        (K,) float64; 1 for a class that never occurs.
    """
    weights = np.ones(len(pixels))
    occurs = pixels > 0
    frequency = pixels[occurs] / company[occurs]
    weights[occurs] = np.median(frequency) / frequency if occurs.any() else 1.0
    return weights


def inverse_log(pixels: np.ndarray, company: np.ndarray) -> np.ndarray:
    """ENet's weighting, 1 / ln(1.02 + p) (Paszke, Chaurasia, Kim & Culurciello 2016, section 5.1).

    p is the share of the class in all labelled pixels, so weights lie between 1.4 and 50.5, which a
    class that never occurs would have.

    Args:
        pixels: (K,), see `count_classes`.
        company: not used; the functions of `METHODS` are called alike.

    Returns:
        (K,) float64.
    """
    return 1.0 / np.log(1.02 + pixels / max(int(pixels.sum()), 1))


# Values of MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS_FROM_DATA.
METHODS = {"median_frequency": median_frequency, "inverse_log": inverse_log}
