from __future__ import annotations

import csv
from collections import Counter

import numpy as np
import pytest

from segtron.evaluation.confusion import joint_histogram, save_confusion_matrix

from .scenes import random_labelled_scene


def counted(ground_truth: np.ndarray, prediction: np.ndarray) -> dict[tuple[int, int], int]:
    pairs = zip(ground_truth.ravel().tolist(), prediction.ravel().tolist(), strict=True)
    return Counter(pairs)


def as_dict(histogram) -> dict[tuple[int, int], int]:
    columns = [column.tolist() for column in histogram]
    return {(g, p): n for g, p, n in zip(*columns, strict=True)}


def noise(dtype, low, high, shape=(40, 56)):
    return np.random.default_rng(1).integers(low, high, shape, dtype=dtype)


SCENE, GUESS = random_labelled_scene(np.random.default_rng(0))


@pytest.mark.parametrize(
    ("ground_truth", "prediction"),
    [
        (SCENE, GUESS),
        (SCENE.T, GUESS.T),  # not contiguous
        (SCENE[::2, ::-3], GUESS[::2, ::-3]),
        (SCENE.astype(np.int64), GUESS.astype(">i4")),
        (noise(np.uint8, 0, 256), noise(np.uint8, 0, 3)),
        (noise(np.uint16, 0, 2**16), noise(np.uint16, 0, 2**16)[::-1]),
        (noise(np.int64, -5, 5), noise(np.int16, -300, 300)),
        (noise(np.uint32, 2**24 - 9, 2**24), noise(np.int64, 2**40, 2**40 + 3)),
        (np.full((7, 9), 3, np.uint8), np.full((7, 9), 4, np.uint8)),
        (np.array([[5]]), np.array([[6]])),
        (np.zeros((0, 4), np.uint8), np.zeros((0, 4), np.uint8)),
    ],
)
def test_counts_every_pair(ground_truth, prediction):
    histogram = joint_histogram(ground_truth, prediction)
    found = as_dict(histogram)
    assert found == counted(ground_truth, prediction)
    assert list(found) == sorted(found)
    assert histogram.ground_truth.dtype == ground_truth.dtype
    assert histogram.prediction.dtype == prediction.dtype


def test_runs_go_on_over_the_ends_of_rows_without_being_mixed_up():
    ground_truth = np.array([[1, 1], [1, 2], [2, 2]], np.uint8)
    prediction = np.array([[0, 3], [3, 3], [3, 0]], np.uint8)
    expected = {(1, 0): 1, (1, 3): 2, (2, 0): 1, (2, 3): 2}
    assert as_dict(joint_histogram(ground_truth, prediction)) == expected


@pytest.mark.parametrize(
    ("ground_truth", "prediction", "message"),
    [
        (np.zeros((4, 5), int), np.zeros((5, 4), int), "prediction is 4x5 and the ground .* 5x4"),
        (np.zeros((4, 5), int), np.zeros((1, 4, 5), int), r"prediction has the shape \(1, 4, 5\)"),
        (np.zeros((4, 5)), np.zeros((4, 5), int), "ground truth .* type float64"),
        (np.zeros((4, 5), int), np.zeros((4, 5), bool), "prediction .* type bool"),
    ],
)
def test_maps_that_cannot_be_compared(ground_truth, prediction, message):
    with pytest.raises(ValueError, match=message):
        joint_histogram(ground_truth, prediction)


def test_csv(tmp_path):
    path = tmp_path / "new" / "confusion_matrix.csv"
    names = ["road, route", 'a "quoted" Straße']
    save_confusion_matrix(path, np.array([[2**40, 1], [0, 7]]), names)
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header[1:] == names
    assert rows == [[names[0], str(2**40), "1"], [names[1], "0", "7"]]
