from __future__ import annotations

import numpy as np
import pytest

from segtron.evaluation.coco import CocoInstanceMetric
from segtron.evaluation.instance_matching import match_instances
from segtron.evaluation.score_files import read_scores, write_scores
from segtron.evaluation.size_breakdown import SizeScores, score_sizes

from .coco_results import compare
from .test_instance_matching import found, truth


def score(ground_truth, results, task):
    metric = CocoInstanceMetric()
    metric.update(0, results, has_masks=True)
    matches = match_instances(compare(ground_truth, results, task), 100)
    return score_sizes(matches, metric.compute(ground_truth, task))


@pytest.fixture
def scene():
    ground_truth = truth(
        (0, 3, 0, 20, 0, 20, 0),
        (0, 3, 30, 62, 0, 32, 0),  # at the limit, so both small and medium
        (0, 7, 0, 60, 40, 120, 0),
        (0, 3, 60, 96, 60, 120, 1),
    )
    results = found(
        (0, 3, 0, 20, 0, 20, 0.9),
        (0, 3, 70, 90, 70, 90, 0.8),  # in the crowd
        (0, 7, 0, 60, 40, 120, 0.7),
        (0, 7, 0, 5, 0, 5, 0.9),
    )
    return ground_truth, results


@pytest.mark.parametrize("task", ["bbox", "segm"])
def test_by_hand(scene, task):
    scores = score(*scene, task)
    assert scores.num_ground_truth == {
        "cat": {"small": 2, "medium": 1, "large": 0},
        "dog": {"small": 0, "medium": 1, "large": 0},
    }
    assert scores.num_predicted == {
        "cat": {"small": 1, "medium": 0, "large": 0},
        "dog": {"small": 1, "medium": 1, "large": 0},
    }
    assert scores.total(scores.num_ground_truth) == {"small": 2, "medium": 2, "large": 0}
    half = 100 * 51 / 101
    dog = {"small": np.nan, "medium": 100, "large": np.nan}
    assert scores.per_class["cat"] == pytest.approx(
        {"small": half, "medium": 0, "large": np.nan}, nan_ok=True
    )
    assert scores.per_class["dog"] == pytest.approx(dog, nan_ok=True)
    assert scores.overall == pytest.approx(
        {"small": half, "medium": 50, "large": np.nan}, nan_ok=True
    )


def test_json_and_table(tmp_path, scene):
    scores = score(*scene, "segm")
    write_scores(tmp_path / "sizes.json", scores)
    again = read_scores(tmp_path / "sizes.json", SizeScores)
    np.testing.assert_equal(again.as_dict(), scores.as_dict())
    assert str(again) == str(scores)
    row = [cell.strip() for cell in str(scores).splitlines()[3].strip("|").split("|")]
    assert row == ["all", "50.50", "50.00", "-", "2", "2", "0", "2", "1", "0"]


def test_nothing():
    scores = score(truth(), [], "segm")
    assert all(np.isnan(value) for value in scores.overall.values())
    assert scores.total(scores.num_predicted) == {"small": 0, "medium": 0, "large": 0}
