from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import pickle

import numpy as np
import pycocotools.mask as mask_util
import pytest
from pycocotools.cocoeval import COCOeval

from segtron.evaluation.boundary import boundary
from segtron.evaluation.boundary_ap import (
    boundary_overlaps,
    compute_boundary_ap,
    limit_by_boundaries,
)
from segtron.evaluation.coco import CocoInstanceMetric
from segtron.evaluation.coco_average_precision import precision_at_recalls
from segtron.evaluation.coco_ground_truth import CocoGroundTruth

from .coco_results import compare
from .record_boundary_ap import CATEGORY_IDS, MAX_DETECTIONS, RATIOS, RECORD, fixed_case
from .reference import coco_index
from .scenes import HEIGHT, WIDTH, box, ellipse, shifted

NAMES = ["cat", "dog", "bird"]
METRICS = ["AP", "AP50", "AP75", "APs", "APm", "APl"]


def rle_of(mask):
    rle = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": rle["size"], "counts": rle["counts"].decode("ascii")}


def annotation(number, image_id, category_id, mask, iscrowd=0):
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "iscrowd": iscrowd,
        "area": float(mask.sum()),
        "bbox": [0.0, 0.0, 1.0, 1.0],
        "segmentation": rle_of(mask),
    }


def result(image_id, category_id, mask, score):
    return {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [0.0, 0.0, 1.0, 1.0],
        "score": score,
        "segmentation": rle_of(mask),
    }


def metric_of(results, image_ids):
    metric = CocoInstanceMetric()
    for image_id in image_ids:
        own = [entry for entry in results if entry["image_id"] == image_id]
        metric.update(image_id, own, has_masks=True)
    return metric


def ground_truth_of(annotations, image_ids, height=HEIGHT, width=WIDTH):
    images = [{"id": image_id, "height": height, "width": width} for image_id in image_ids]
    return CocoGroundTruth(images, annotations, CATEGORY_IDS, NAMES)


def indices(ground_truth, results):
    """pycocotools' views of both sides."""
    detections = [
        entry | {"id": number, "area": int(mask_util.area(entry["segmentation"]))}
        for number, entry in enumerate(results, start=1)
    ]
    annotations = [dict(entry) for entry in ground_truth.annotations]
    return coco_index(ground_truth.images, annotations), coco_index(ground_truth.images, detections)


def boundary_ap(metric, ground_truth, **settings):
    return compute_boundary_ap(metric.compare(ground_truth, "segm"), **settings)


def boundary_precision(ground_truth, results, max_detections, ratio):
    comparison = compare(ground_truth, results, "segm")
    columns = comparison.annotated, comparison.detected
    num_classes = len(ground_truth.category_ids)
    overlaps = boundary_overlaps(ratio)
    return precision_at_recalls(*columns, num_classes, max_detections, overlaps).precision


@pytest.mark.parametrize("ratio", RATIOS)
def test_equals_the_recorded_reference(ratio):
    images, annotations, results = fixed_case()
    ground_truth = CocoGroundTruth(images, annotations, CATEGORY_IDS, NAMES)
    precision = boundary_precision(ground_truth, results, MAX_DETECTIONS, ratio)
    assert precision.shape == (10, 101, 3, 4)
    expected = np.array(json.loads(RECORD.read_text())["precision"][str(ratio)])
    np.testing.assert_allclose(precision.mean(axis=1), expected, rtol=0, atol=1e-12)

    scores = boundary_ap(
        metric_of(results, [image["id"] for image in images]), ground_truth, dilation_ratio=ratio
    )
    assert list(scores.overall) == METRICS
    for k, name in enumerate(NAMES):
        class_ap = expected[:, k, 0].mean() * 100 if expected[0, k, 0] > -1 else np.nan
        assert scores.per_class[name]["AP"] == pytest.approx(class_ap, abs=1e-9, nan_ok=True)
    defined = [number for number in scores.per_class.values() if not np.isnan(number["AP"])]
    mean = np.mean([number["AP"] for number in defined])
    assert scores.overall["AP"] == pytest.approx(mean, abs=1e-9)
    assert scores.num_ground_truth == {"cat": 6, "dog": 4, "bird": 0}
    assert scores.num_predicted == {"cat": 10, "dog": 5, "bird": 1}


class ByDefinition(COCOeval):
    """Every pair of masks by its Boundary IoU from full frames."""

    ratio = 0.02

    def computeIoU(self, image_id, category_id):
        ious = super().computeIoU(image_id, category_id)
        truths = self._gts[image_id, category_id]
        found = self._dts[image_id, category_id]
        order = np.argsort([-entry["score"] for entry in found], kind="stable")
        for row, place in enumerate(order[: self.params.maxDets[-1]]):
            for column, truth in enumerate(truths):
                if not truth["iscrowd"]:
                    first, second = (
                        boundary(mask_util.decode(entry["segmentation"]) > 0, self.ratio)
                        for entry in (found[place], truth)
                    )
                    union = (first | second).sum()
                    limit = (first & second).sum() / union if union else 0
                    ious[row, column] = min(ious[row, column], limit)
        return ious


def random_data(seed, num_images=3, digits=None):
    rng = np.random.default_rng(seed)
    annotations, results = [], []
    for image_id in range(1, num_images + 1):
        for _ in range(7 if image_id != 2 else 0):
            mask, category = ellipse(rng, 3, 45), int(rng.choice(CATEGORY_IDS))
            crowd = int(rng.random() < 0.2)
            number = len(annotations) + 1
            annotations.append(annotation(number, image_id, category, mask, crowd))
            for _ in range(rng.integers(1, 3)):
                guess = category if rng.random() < 0.9 else int(rng.choice(CATEGORY_IDS))
                results.append(result(image_id, guess, shifted(rng, mask, 2), rng.random()))
        results.append(result(image_id, 2, np.zeros((HEIGHT, WIDTH), dtype=bool), 0.7))
        results.append(result(image_id, 5, ellipse(rng), rng.random()))
    if digits is not None:
        results = [entry | {"score": round(entry["score"], digits)} for entry in results]
    return ground_truth_of(annotations, range(1, num_images + 1)), results


@pytest.mark.parametrize(
    ("seed", "digits", "max_detections", "ratio"),
    [(0, None, 100, 0.02), (1, 1, 100, 0.005), (2, 0, 3, 0.05), (3, 1, 1, 0.02)],
)
def test_equals_all_pairs_by_definition(seed, digits, max_detections, ratio):
    ground_truth, results = random_data(seed, digits=digits)
    scorer = ByDefinition(*indices(ground_truth, results), "segm")
    scorer.ratio = ratio
    scorer.params.catIds, scorer.params.maxDets = CATEGORY_IDS, [max_detections]
    with contextlib.redirect_stdout(io.StringIO()):
        scorer.evaluate()
        scorer.accumulate()
    found = boundary_precision(ground_truth, results, max_detections, ratio)
    np.testing.assert_array_equal(found, scorer.eval["precision"][..., 0])
    assert 0 < found[found > -1].mean() < 1


def test_classes_in_the_order_given():
    ground_truth, results = random_data(0)
    in_order = boundary_precision(ground_truth, results, 100, 0.02)
    turned = dataclasses.replace(ground_truth, category_ids=[6, 2, 5])
    turned = boundary_precision(turned, results, 100, 0.02)
    np.testing.assert_array_equal(turned, in_order[:, :, [2, 0, 1]])
    assert not np.array_equal(in_order[:, :, 0], in_order[:, :, 1])


def test_hand_computed():
    """96x128 pixels have a diagonal of 160, so 2% are 3 pixels."""
    truth = box(10, 50, 10, 50)
    # IoU 36^2 / 40^2 = 0.81. Of the boundaries, 40^2 - 34^2 = 444 and 36^2 - 30^2 = 396 pixels,
    # only the ring between 36 and 34 pixels is common: 36^2 - 34^2 = 140; 140 / 700 = 0.2.
    smaller = box(12, 48, 12, 48)
    ground_truth = ground_truth_of([annotation(1, 1, 2, truth)], [1])
    metric = metric_of([result(1, 2, smaller, 0.9)], [1])
    assert metric.compute(ground_truth, "segm").overall["AP"] == pytest.approx(70)
    scores = boundary_ap(metric, ground_truth)
    assert scores.overall["AP"] == scores.overall["AP50"] == scores.overall["APm"] == 0
    assert np.isnan(scores.overall["APs"]) and np.isnan(scores.per_class["dog"]["AP"])
    # With 10 pixels: 1200 and 36^2 - 16^2 = 1040 pixels, 36^2 - 20^2 = 896 common of 1344: 2/3.
    scores = boundary_ap(metric, ground_truth, dilation_ratio=10 / 160)
    assert scores.overall["AP"] == pytest.approx(40)
    assert scores.overall["AP50"] == pytest.approx(100) and scores.overall["AP75"] == 0
    # Where boundaries are whole masks, Boundary AP is mask AP.
    scores = boundary_ap(metric, ground_truth, dilation_ratio=20 / 160)
    np.testing.assert_equal(scores.overall, metric.compute(ground_truth, "segm").overall)
    assert str(scores).startswith("COCO protocol, boundary within 12.5% of the diagonal: 1 images")


def test_in_a_crowd_only_the_mask_counts():
    annotations = [
        annotation(1, 1, 2, box(10, 50, 10, 50)),
        annotation(2, 1, 2, box(0, 96, 60, 128), iscrowd=1),
    ]
    results = [
        result(1, 2, box(10, 50, 10, 50), 0.8),
        result(1, 2, box(30, 60, 80, 110), 0.9),  # in the middle of the crowd, off its contour
    ]
    ground_truth = ground_truth_of(annotations, [1])
    assert boundary_ap(metric_of(results, [1]), ground_truth).overall["AP"] == (pytest.approx(100))


def test_only_pairs_that_can_match_are_limited():
    truths = [box(10, 50, 10, 50), box(10, 50, 10, 50), box(60, 90, 60, 100)]
    ring = box(10, 50, 10, 50) & ~box(16, 44, 16, 44)
    found = [box(12, 48, 12, 48), box(10, 50, 10, 30), ring, box(60, 90, 60, 70)]
    ious = np.array([[0.81, 1, 0], [0.5, 1, 0], [0.51, 1, 0], [0, 0, 0.25]])
    limited = limit_by_boundaries(
        ious, [rle_of(m) for m in found], [rle_of(m) for m in truths], [0, 1, 0], least_iou=0.5
    )
    # The half has 444 and 324 pixels of boundary, 222 of them common. The ring, 6 pixels wide, is
    # all boundary: its IoU of 816 / 1600 is less than its Boundary IoU of 444 / 816.
    expected = [[0.2, 1, 0], [222 / 546, 1, 0], [0.51, 1, 0], [0, 0, 0.25]]
    np.testing.assert_allclose(limited, expected, rtol=1e-15)
    assert ious[0, 0] == 0.81
    nothing = np.zeros((0, 3))
    assert limit_by_boundaries(nothing, [], truths, [0] * 3, least_iou=0.5).shape == (0, 3)


def test_nothing_predicted_and_nothing_to_find():
    ground_truth, results = random_data(0)
    nothing_found = boundary_ap(CocoInstanceMetric(), ground_truth)
    assert nothing_found.overall["AP"] == 0
    nothing_to_find = boundary_ap(metric_of(results, [1]), ground_truth_of([], [1]))
    assert np.isnan(nothing_to_find.overall["AP"])
    crowd = [entry | {"iscrowd": 1} for entry in ground_truth.annotations]
    only_crowds = boundary_ap(metric_of(results, [1]), ground_truth_of(crowd, [1, 2, 3]))
    assert np.isnan(only_crowds.overall["AP"])


def test_strangers_are_named():
    ground_truth, results = random_data(0)
    with pytest.raises(ValueError, match="image 9 is not"):
        boundary_ap(metric_of(results, [1, 9]), ground_truth)


def test_sharding_changes_no_bit_and_computing_no_state():
    ground_truth, results = random_data(4, num_images=5, digits=1)
    whole = metric_of(results, [1, 2, 3, 4, 5])
    segm = whole.compute(ground_truth, "segm")
    expected = boundary_ap(whole, ground_truth)
    merged = metric_of(results, [5, 2, 1])
    merged.merge(pickle.loads(pickle.dumps(metric_of(results, [4, 1, 3]))))
    np.testing.assert_equal(vars(boundary_ap(merged, ground_truth)), vars(expected))
    np.testing.assert_equal(vars(boundary_ap(whole, ground_truth)), vars(expected))
    np.testing.assert_equal(vars(whole.compute(ground_truth, "segm")), vars(segm))
    assert expected.overall["AP"] < segm.overall["AP"]
