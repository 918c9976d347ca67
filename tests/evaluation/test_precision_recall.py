from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from pycocotools.cocoeval import COCOeval

from segtron.evaluation.coco_ground_truth import CocoGroundTruth
from segtron.evaluation.coco_protocol import RECALLS
from segtron.evaluation.instance_matching import match_instances
from segtron.evaluation.precision_recall import (
    PrecisionRecallScores,
    precision_recall_points,
    score_precision_recall,
)
from segtron.evaluation.score_files import read_scores, write_scores

from .coco_results import compare
from .record_error_types import CATEGORIES, fixed_case
from .reference import coco_index
from .test_instance_matching import found, truth


def score(ground_truth, results, task="segm"):
    return score_precision_recall(match_instances(compare(ground_truth, results, task), 100))


@pytest.mark.parametrize("task", ["bbox", "segm"])
@pytest.mark.parametrize("digits", [1, 17])
@pytest.mark.parametrize("seed", range(6))
def test_curves_are_cocoevals(seed, digits, task):
    images, annotations, results = fixed_case(seed)
    # Classes 9 and 12 are one, so that there is one without ground truth.
    for number, entry in enumerate([*annotations, *results]):
        if entry["category_id"] == 9:
            entry["category_id"] = 12
        if "score" in entry:
            entry |= {"score": round(entry["score"], digits), "id": number + 1}
    results[0]["category_id"] = 9
    names = list(CATEGORIES.values())
    ours = score(CocoGroundTruth(images, annotations, list(CATEGORIES), names), results, task)
    scorer = COCOeval(
        coco_index(images, [dict(entry) for entry in annotations]),
        coco_index(images, [dict(entry) for entry in results]),
        task,
    )
    scorer.params.catIds = list(CATEGORIES)
    with contextlib.redirect_stdout(io.StringIO()):
        scorer.evaluate()
        scorer.accumulate()
    for k, name in enumerate(names):
        precision = scorer.eval["precision"][0, :, k, 0, -1]
        if name == "bird":
            assert (precision == -1).all() and name not in ours.curves
            continue
        np.testing.assert_allclose(ours.curves[name].precision, 100 * precision, atol=1e-9)
        np.testing.assert_array_equal(
            ours.curves[name].score, scorer.eval["scores"][0, :, k, 0, -1]
        )
    assert max(curve.precision.max() for curve in ours.curves.values()) > 20


def test_points_by_hand():
    points = precision_recall_points(
        np.array([0.9, 0.8, 0.8, 0.8, 0.3]), np.array([True, False, True, False, True]), 4
    )
    assert points.score.tolist() == [0.9, 0.8, 0.3]
    assert points.precision.tolist() == [1, 0.5, 0.6]
    assert points.recall.tolist() == [0.25, 0.5, 0.75]


def test_best_threshold_by_hand():
    ground_truth = truth(
        (0, 3, 0, 20, 0, 20, 0),
        (0, 3, 30, 50, 0, 20, 0),
        (0, 3, 60, 80, 0, 20, 0),
        (0, 3, 60, 96, 60, 120, 1),
        (1, 7, 0, 20, 0, 20, 0),
        num_images=2,
    )
    results = found(
        (0, 3, 0, 20, 0, 20, 0.9),
        (0, 3, 70, 80, 70, 80, 0.85),  # in the crowd: as if it weren't there
        (0, 3, 0, 20, 40, 60, 0.8),  # wrong
        (0, 3, 30, 50, 0, 20, 0.7),
        (0, 3, 0, 20, 1, 21, 0.6),  # the first once more
        (0, 3, 0, 20, 80, 99, 0.5),
        (1, 7, 0, 20, 0, 20, 0.2),
    )
    for task in ("bbox", "segm"):
        scores = score(ground_truth, results, task)
        cat = {"F1": 200 / 3, "precision": 200 / 3, "recall": 200 / 3, "score": 0.7}
        assert scores.per_class["cat"] == pytest.approx(cat)
        dog = {"F1": 100, "precision": 100, "recall": 100, "score": 0.2}
        assert scores.per_class["dog"] == pytest.approx(dog)
        # Pooled: 2 of 3 at 0.7, F1 2 * 2 / (3 + 4) = 0.571; at 0.2 3 of 6, 2 * 3 / (6 + 4) = 0.6.
        pooled = {"F1": 60, "precision": 50, "recall": 75, "score": 0.2}
        assert scores.overall == pytest.approx(pooled)
        assert scores.num_ground_truth == {"cat": 3, "dog": 1}
        assert scores.num_predicted == {"cat": 5, "dog": 1}
        curve = scores.curves["cat"]
        np.testing.assert_allclose(curve.precision[:34], 100)
        np.testing.assert_allclose(curve.precision[34:67], 200 / 3)
        assert not curve.precision[67:].any() and not curve.score[67:].any()
        assert curve.score[[33, 34, 66]].tolist() == [0.9, 0.7, 0.7]
        np.testing.assert_allclose(scores.pooled_curve.precision[[25, 26, 51]], [100, 200 / 3, 50])


def test_of_equal_f1_the_highest_threshold():
    ground_truth = truth((0, 3, 0, 20, 0, 20, 0), (0, 3, 30, 50, 0, 20, 0))
    results = found((0, 3, 0, 20, 0, 20, 0.9), (0, 3, 60, 80, 90, 99, 0.8))
    results += found((0, 3, 60, 80, 70, 79, 0.7), (0, 3, 30, 50, 0, 20, 0.6))
    best = score(ground_truth, results).per_class["cat"]  # 1 of 1, or 2 of 4: 2/3 both times
    assert best == pytest.approx({"F1": 200 / 3, "precision": 100, "recall": 50, "score": 0.9})


@pytest.mark.parametrize("results", [[], found((0, 3, 50, 60, 0, 20, 0.9))])
def test_nothing_found(results):
    scores = score(truth((0, 3, 0, 20, 0, 20, 0)), results)
    nothing = {"F1": 0, "precision": np.nan, "recall": 0, "score": np.nan}
    assert scores.overall == pytest.approx(nothing, nan_ok=True)
    assert scores.per_class["cat"] == pytest.approx(nothing, nan_ok=True)
    assert all(np.isnan(value) for value in scores.per_class["dog"].values())
    assert list(scores.curves) == ["cat"] and not scores.curves["cat"].precision.any()
    assert scores.num_predicted == {"cat": len(results), "dog": 0}


@pytest.mark.parametrize("results", [[], found((0, 3, 50, 60, 0, 20, 0.9))])
def test_no_ground_truth_is_undefined(results):
    scores = score(truth(), results)
    assert all(np.isnan(value) for value in scores.overall.values())
    assert scores.curves == {} and scores.pooled_curve is None
    assert "nan" not in str(scores)


def test_json_and_table(tmp_path):
    images, annotations, results = fixed_case(0)
    annotations = [entry for entry in annotations if entry["category_id"] != 9]
    names = list(CATEGORIES.values())
    scores = score(CocoGroundTruth(images, annotations, list(CATEGORIES), names), results)
    write_scores(tmp_path / "pr.json", scores)
    again = read_scores(tmp_path / "pr.json", PrecisionRecallScores)
    np.testing.assert_equal(again.as_dict(), scores.as_dict())
    assert list(again.curves) == ["cat", "dog", "cow"]
    for name, curve in scores.curves.items():
        np.testing.assert_array_equal(again.curves[name].precision, curve.precision)
        assert curve.precision.shape == RECALLS.shape
    assert str(again) == str(scores)
    lines = str(scores).splitlines()
    assert lines[0].startswith("Precision and recall, segm, IoU 0.5: 6 images")
    assert lines[-2].split() == ["|", "bird", *"|-" * 4, "|", "0", "|", lines[-2].split()[-2], "|"]
