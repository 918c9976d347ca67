from __future__ import annotations

import pickle

import numpy as np
import pytest

from segtron.evaluation.boundary import boundary
from segtron.evaluation.boundary_sem_seg import SemSegBoundaryMetric

from .scenes import random_labelled_scene

NAMES = ["road", "car", "person", "sky"]


def by_class(pairs, num_classes, ratio):
    """Common and all pixels of each class's boundaries, one mask at a time."""
    common, union, present = np.zeros((3, num_classes), dtype=int)
    for prediction, ground_truth in pairs:
        for k in range(num_classes):
            first = boundary((prediction == k) & (ground_truth != 255), ratio)
            second = boundary(ground_truth == k, ratio)
            common[k] += (first & second).sum()
            union[k] += (first | second).sum()
            present[k] += second.sum()
    with np.errstate(invalid="ignore"):
        return np.where(present > 0, 100 * common / np.maximum(union, 1), np.nan)


def scenes(num_images):
    """Predictions and ground truth with labels 0 to 33, the upper ones ignored."""
    pairs = []
    for number in range(num_images):
        ids, prediction = random_labelled_scene(np.random.default_rng(number))
        ground_truth = np.where(ids < 1000, ids, ids // 1000).astype(np.uint8)
        ground_truth[ground_truth > 30] = 255
        ground_truth[:5] = 255
        pairs.append((prediction, ground_truth))
    return pairs


@pytest.mark.parametrize("ratio", [0.005, 0.02, 0.06])
def test_equals_the_masks_of_each_class(ratio):
    pairs = scenes(4)
    names = [f"label {k}" for k in range(34)]
    metric = SemSegBoundaryMetric(names, ratio)
    for number, pair in enumerate(pairs):
        metric.update(number, *pair)
    scores = metric.compute()
    expected = by_class(pairs, 34, ratio)
    found = [scores.per_class[name]["BIoU"] for name in names]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    assert scores.overall["mBIoU"] == pytest.approx(np.nanmean(expected), abs=1e-9)
    assert np.isnan(expected).any() and (expected > 0).any()
    assert scores.num_images == len(metric) == 4


def test_hand_computed():
    """30x40 pixels have a diagonal of 50, so the boundary has 1 pixel."""
    ground_truth = np.full((30, 40), 3, dtype=np.uint8)
    ground_truth[5:15, 5:15] = 1
    prediction = np.full((30, 40), 3, dtype=np.uint8)
    prediction[5:15, 7:17] = 1
    prediction[20, 20] = 2
    metric = SemSegBoundaryMetric(NAMES)
    metric.update("a", prediction, ground_truth)
    scores = metric.compute()
    car = 100 * 16 / 56
    # Sky: the frame's 136 pixels, and around the box 4 * 10 + 4 next to it; the shifted box has in
    # common with these 2 * 10 of the sides above and below it and none else. Around the wrong pixel
    # another 8 are predicted.
    sky = 100 * (136 + 20) / (136 + 44 + 44 + 8 - 20)
    expected = {"mBIoU": (car + sky) / 2, "BIoU-road": np.nan, "BIoU-car": car}
    expected |= {"BIoU-person": np.nan, "BIoU-sky": sky}
    assert scores.as_results() == pytest.approx(expected, nan_ok=True)
    assert scores.num_ground_truth == {"road": 0, "car": 36, "person": 0, "sky": 180}
    assert scores.num_predicted == {"road": 0, "car": 36, "person": 1, "sky": 188}
    assert "boundary within 2% of the diagonal: 1 images" in str(scores)
    assert "| person  |              - |              0 |           1 |" in str(scores)


def test_nothing_is_lost_at_the_edge_of_ignored_pixels():
    prediction = np.zeros((30, 40), dtype=np.int64)
    prediction[:, 20:] = 1
    ground_truth = prediction.copy()
    ground_truth[10:, 5:30] = 255
    metric = SemSegBoundaryMetric(NAMES)
    metric.update("a", prediction, ground_truth)
    scores = metric.compute()
    assert scores.overall["mBIoU"] == scores.per_class["car"]["BIoU"] == 100


@pytest.mark.parametrize("ignored", [255, 256])
def test_pixels_without_a_predicted_class_are_missed(ignored):
    """30x40 pixels: boundaries of 1 pixel."""
    ground_truth = np.zeros((30, 40), dtype=np.uint16)
    ground_truth[10:20, 10:20] = 1
    prediction = ground_truth.copy()
    prediction[10:20, 15:20] = ignored
    metric = SemSegBoundaryMetric(NAMES, ignore_label=ignored)
    metric.update("a", prediction, ground_truth)
    scores = metric.compute()
    # Of the car's 36 pixels those of 5 columns are predicted, whose own boundary has 2 * 5 + 2 * 8;
    # the column in which it ends is not of the car's.
    assert scores.per_class["car"]["BIoU"] == pytest.approx(100 * 18 / 44)
    # The road ends where it should.
    assert scores.per_class["road"]["BIoU"] == 100
    metric = SemSegBoundaryMetric(NAMES, ignore_label=ignored)
    metric.update("a", np.full_like(ground_truth, ignored), ground_truth)
    assert metric.compute().overall["mBIoU"] == 0
    assert not any(metric.compute().num_predicted.values())


def test_nothing_labelled_is_undefined():
    metric = SemSegBoundaryMetric(NAMES)
    assert np.isnan(metric.compute().overall["mBIoU"])
    metric.update("a", np.zeros((8, 8), np.uint8), np.full((8, 8), 255, np.uint8))
    assert np.isnan(metric.compute().overall["mBIoU"])
    assert not any(metric.compute().num_predicted.values())


def test_shards_and_padding_change_no_bit():
    pairs = scenes(4)
    names = [f"label {k}" for k in range(34)]
    whole, first, second = (SemSegBoundaryMetric(names) for _ in range(3))
    for number, pair in enumerate(pairs):
        whole.update(number, *pair)
    whole.update(0, *pairs[1])  # a repeated image is left as it is
    for metric, numbers in ((first, (3, 0)), (second, (2, 1, 0))):
        for number in numbers:
            metric.update(number, *pairs[number])
    first.merge(pickle.loads(pickle.dumps(second)))
    np.testing.assert_equal(vars(first.compute()), vars(whole.compute()))


@pytest.mark.parametrize(
    ("prediction", "ground_truth", "message"),
    [
        (np.full((8, 8), 4), np.zeros((8, 8), int), "frame: the prediction has the class 4, but"),
        (np.full((8, 8), 99), np.full((8, 8), 255), "frame: the prediction has the class 99, but"),
        (np.full((8, 8), -1), np.zeros((8, 8), int), "frame: the prediction has the class -1"),
        (np.zeros((8, 8), int), np.full((8, 8), 9), r"the ground truth has the class 9.*ignored"),
        (np.zeros((8, 8), int), np.zeros((8, 9), int), r"shape \(8, 8\) .* \(8, 9\)"),
    ],
)
def test_bad_maps_are_named(prediction, ground_truth, message):
    metric = SemSegBoundaryMetric(NAMES)
    with pytest.raises(ValueError, match=message):
        metric.update("frame", prediction, ground_truth)
    assert len(metric) == 0
