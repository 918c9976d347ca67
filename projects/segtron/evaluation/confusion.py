"""How two label maps of one image agree: their joint histogram, the base of the semantic scores."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segtron.files import replacing

# Values are put into a table below this, and sorted above it.
_MAX_TABLE = 2**20


class JointHistogram(NamedTuple):
    """The pixels of each pair of values that occurs, ascending by ground truth, then prediction."""

    ground_truth: np.ndarray  # (N,) of the ground truth's dtype
    prediction: np.ndarray  # (N,) of the prediction's dtype
    pixels: np.ndarray  # (N,) int32, at least 1


def joint_histogram(ground_truth: np.ndarray, prediction: np.ndarray) -> JointHistogram:
    """Count the pixels of each pair of values.

    The maps are cut into runs in which neither changes, and only these are counted: segments are
    much longer than a pixel, so that little more than one comparison a pixel remains.

    Args:
        ground_truth: (H, W) integers: classes, label ids, or ids of segments of any size.
        prediction: (H, W) integers.

    Raises:
        ValueError: a map isn't of integers, isn't two-dimensional, or the two differ in size.
    """
    for name, values in (("ground truth", ground_truth), ("prediction", prediction)):
        if values.ndim != 2 or values.dtype.kind not in "iu":
            raise ValueError(
                f"the {name} has the shape {values.shape} and the type {values.dtype} where a map "
                "(height, width) of integers is expected"
            )
    if prediction.shape != ground_truth.shape:
        raise ValueError(
            f"the prediction is {_size(prediction)} and the ground truth {_size(ground_truth)}"
        )
    rows, columns = ground_truth.ravel(), prediction.ravel()
    changes = np.ones(rows.size, dtype=bool)
    changes[1:] = (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])
    starts = np.flatnonzero(changes)
    lengths = np.diff(starts, append=rows.size)

    row_values, row = _distinct(rows[starts])
    column_values, column = _distinct(columns[starts])
    pairs, pair = _distinct(row * len(column_values) + column)
    # Counted in float64, which is exact up to 2**53.
    pixels = np.bincount(pair, weights=lengths, minlength=len(pairs))
    row, column = np.divmod(pairs, max(len(column_values), 1))
    return JointHistogram(row_values[row], column_values[column], pixels.astype(np.int32))


def stack_histograms(
    histograms: Iterable[JointHistogram],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All images' histograms in one, with int64 in all columns.

    Returns:
        Ground truth, prediction, pixels and the image's number, each (N,).
    """
    histograms = list(histograms)
    nothing = JointHistogram(*(np.zeros(0, dtype=np.int64) for _ in JointHistogram._fields))
    columns = [
        np.concatenate(parts).astype(np.int64) for parts in zip(nothing, *histograms, strict=True)
    ]
    lengths = [len(histogram.pixels) for histogram in histograms]
    return (*columns, np.repeat(np.arange(len(lengths)), lengths))


def count_matrix(
    rows: np.ndarray, columns: np.ndarray, pixels: np.ndarray, num_classes: int
) -> np.ndarray:
    """A confusion matrix of the pixels of pairs of classes.

    Args:
        rows: (N,) integers, 0 to `num_classes` - 1; pairs may repeat.
        columns: (N,) likewise.
        pixels: (N,) integers.
        num_classes: K.

    Returns:
        (K, K) int64.
    """
    counts = np.bincount(rows * num_classes + columns, weights=pixels, minlength=num_classes**2)
    return counts.astype(np.int64).reshape(num_classes, num_classes)


def check_classes(
    where: str, classes: np.ndarray, num_classes: int, *, ignored: int | None = None
) -> None:
    """Make sure that values are classes.

    Args:
        where: what to call the map that they are of.
        classes: (N,) integers.
        num_classes: K.
        ignored: the value of pixels that don't count, which is said beside the classes.

    Raises:
        ValueError: names the first that is none.
    """
    strange = classes[(classes < 0) | (classes >= num_classes)]
    if strange.size:
        raise ValueError(
            f"the {where} has the class {strange[0]}, but there are {num_classes} classes, "
            "numbered from 0" + ("" if ignored is None else f" ({ignored}: ignored)")
        )


def save_confusion_matrix(
    path: Path, confusion_matrix: np.ndarray, class_names: Sequence[str]
) -> None:
    """Write a confusion matrix as CSV: a row for each class of the ground truth, with its name, and
    in it the pixels that were predicted as the class that heads the column.

    Args:
        path: the file.
        confusion_matrix: (K, K) integers, pixels by ground truth and prediction.
        class_names: K names.

    Raises:
        UserError: the file can't be written.
    """
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["ground truth \\ predicted", *class_names])
        writer.writerows(
            [name, *row] for name, row in zip(class_names, confusion_matrix.tolist(), strict=True)
        )


def _distinct(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values, ascending and in their own dtype, and each value's place among them."""
    if values.min(initial=0) < 0 or values.max(initial=0) >= _MAX_TABLE:
        return np.unique(values, return_inverse=True)
    present = np.zeros(int(values.max(initial=0)) + 1, dtype=bool)
    present[values] = True
    place = np.cumsum(present) - 1
    return np.flatnonzero(present).astype(values.dtype), place[values]


def _size(array: np.ndarray) -> str:
    return "x".join(str(length) for length in reversed(array.shape))
