from __future__ import annotations

import json

import numpy as np
import pytest

from segtron.evaluation.coco import CocoInstanceMetric
from segtron.evaluation.coco_ground_truth import CocoGroundTruth
from segtron.evaluation.error_types import ERROR_TYPES, ErrorScores, find_errors, score_error_types
from segtron.evaluation.instance_matching import match_instances
from segtron.evaluation.score_files import read_scores, write_scores

from .coco_results import compare
from .record_error_types import CATEGORIES, RECORD, SEEDS, fixed_case
from .test_instance_matching import found, truth

RECORDED = json.loads(RECORD.read_text())


def ground_truth_of(images, annotations):
    return CocoGroundTruth(images, annotations, list(CATEGORIES), list(CATEGORIES.values()))


def score(ground_truth, results, task="segm"):
    return score_error_types(match_instances(compare(ground_truth, results, task), 100))


@pytest.mark.parametrize("task", ["bbox", "segm"])
@pytest.mark.parametrize("seed", SEEDS)
def test_equals_the_authors_code(seed, task):
    images, annotations, results = fixed_case(seed)
    scores = score(ground_truth_of(images, annotations), results, task)
    expected = RECORDED["cases"][seed][task]
    assert scores.num_errors == expected.pop("num_errors")
    assert scores.overall == pytest.approx(expected, abs=1e-9)


def test_every_type_occurs_in_what_was_recorded():
    cases = [case[task] for case in RECORDED["cases"] for task in case]
    for name in (*ERROR_TYPES, "false_positives", "false_negatives"):
        assert sum(case[name] > 0.1 for case in cases) >= 10, name


@pytest.mark.parametrize("task", ["bbox", "segm"])
def test_ap50_is_cocos(task):
    images, annotations, results = fixed_case(50)
    for result in results:
        result["score"] = round(result["score"], 1)
    # Every class has ground truth in the scene; here one is only predicted.
    annotations = [entry for entry in annotations if entry["category_id"] != 9]
    ground_truth = ground_truth_of(images, annotations)
    metric = CocoInstanceMetric()
    for image in images:
        own = [result for result in results if result["image_id"] == image["id"]]
        metric.update(image["id"], own, has_masks=True)
    expected = metric.compute(ground_truth, task)
    scores = score(ground_truth, metric.results(), task)
    assert scores.overall["AP50"] == pytest.approx(expected.overall["AP50"], abs=1e-9)
    for name, row in scores.per_class.items():
        assert row["AP50"] == pytest.approx(expected.per_class[name]["AP50"], abs=1e-9, nan_ok=True)
    assert 0 < scores.overall["AP50"] < 99
    assert all(np.isnan(value) for value in scores.per_class["bird"].values())


def test_types_by_hand():
    ground_truth = truth(
        (0, 3, 0, 20, 0, 20, 0),  # 0: found
        (0, 3, 30, 50, 0, 20, 0),  # 1: taken for a dog
        (0, 3, 60, 80, 0, 20, 0),  # 2: found in part
        (0, 7, 0, 20, 60, 80, 0),  # 3: missed; near it only a part of a cat
        (0, 7, 30, 50, 60, 80, 1),  # a crowd
        (0, 7, 60, 80, 60, 80, 0),  # 4: a dog of which a cat and a part were predicted
    )
    results = found(
        (0, 3, 0, 20, 0, 20, 0.99),
        (0, 3, 0, 20, 1, 21, 0.98),  # duplicate
        (0, 7, 30, 50, 0, 20, 0.97),  # classification
        (0, 7, 30, 50, 1, 21, 0.96),  # classification, but the one before is put right
        (0, 3, 60, 80, 10, 30, 0.95),  # localization, IoU 1/3
        (0, 3, 0, 20, 70, 90, 0.94),  # both, IoU 1/3
        (0, 3, 82, 92, 100, 110, 0.93),  # background
        (0, 7, 30, 50, 60, 80, 0.92),  # in the crowd
        (0, 7, 60, 80, 70, 90, 0.91),  # localization
        (0, 3, 60, 80, 60, 80, 0.90),  # classification, but its instance goes to the one before
    )
    matches = match_instances(compare(ground_truth, results, "segm"), 100)
    errors = find_errors(matches)
    assert [ERROR_TYPES[kind] if kind >= 0 else "" for kind in errors.kind] == [
        "",
        "duplicate",
        "classification",
        "classification",
        "localization",
        "both",
        "background",
        "background",
        "localization",
        "classification",
    ]
    assert errors.target.tolist() == [-1, -1, 1, -1, 2, -1, -1, -1, 4, -1]
    assert errors.missed.tolist() == [False, False, False, True, False]
    scores = score_error_types(matches)
    assert scores.num_errors == {
        "classification": 3,
        "localization": 2,
        "both": 1,
        "duplicate": 1,
        "background": 1,
        "missed": 1,
    }
    # Of 3 cats one is found, at once: precision 1 at the recalls 0, 0.01, ..., 0.33. No dog is.
    cat = 100 * 34 / 101
    assert scores.per_class["cat"]["AP50"] == pytest.approx(cat)
    assert scores.per_class["dog"]["AP50"] == 0
    assert scores.overall["AP50"] == pytest.approx(cat / 2)
    # The second cat is then found third, after the duplicate: 2/3 at 33 more recalls.
    gain = 100 * 33 / 101 * 2 / 3
    assert scores.per_class["cat"]["classification"] == pytest.approx(gain)
    # Of the dogs' detections only the one of a poor place is left, which is still wrong.
    assert scores.per_class["dog"]["classification"] == 0
    assert scores.overall["classification"] == pytest.approx(gain / 2)
    # The third cat is second but for the duplicate; of two dogs one is found, third.
    assert scores.per_class["cat"]["localization"] == pytest.approx(gain)
    dog = 100 * 51 / 101 / 3
    assert scores.per_class["dog"]["localization"] == pytest.approx(dog)
    assert scores.overall["localization"] == pytest.approx((gain + dog) / 2)
    for name in ("both", "duplicate", "background", "missed", "false_positives"):
        assert scores.overall[name] == 0
    # Without what isn't found, the one cat makes 100, and of the dogs nothing is left but mistakes.
    assert scores.overall["false_negatives"] == pytest.approx((100 - cat) / 2)


@pytest.mark.parametrize(
    ("left", "right", "kind"),
    [
        (9, 19, "background"),  # 10 of 190 pixels
        (8, 20, "localization"),  # 20 of 200, exactly the limit
        (0, 20, "localization"),  # 100 of 200, exactly the other one
        (0, 19, "duplicate"),
    ],
)
def test_limits(left, right, kind):
    ground_truth = truth((0, 3, 0, 10, 0, 10, 0))
    results = found((0, 3, 0, 10, 0, 10, 0.9), (0, 3, 0, 10, left, right, 0.5))
    scores = score(ground_truth, results)
    assert scores.num_errors == dict.fromkeys(ERROR_TYPES, 0) | {kind: 1}
    # The instance is found already, so nothing is gained.
    assert scores.overall == pytest.approx(dict.fromkeys(scores.overall, 0) | {"AP50": 100})


def test_a_class_of_which_nothing_is_left_to_find():
    cats = (0, 3, 0, 20, 0, 20, 0), (0, 3, 30, 50, 0, 20, 0)
    dog = (0, 7, 60, 80, 60, 80, 0)
    half = found((0, 3, 0, 20, 0, 20, 0.9))
    # Nothing is predicted as dog: without the missed one there is no such class.
    scores = score(truth(*cats, dog), half)
    cat = 100 * 51 / 101
    assert scores.overall["AP50"] == pytest.approx(cat / 2)
    assert scores.overall["missed"] == pytest.approx(100 - cat / 2)
    assert scores.per_class["dog"]["missed"] == 100
    # Something is: its precision is 0 however many dogs there are.
    scores = score(truth(*cats, dog), half + found((0, 7, 0, 9, 90, 99, 0.9)))
    assert scores.overall["missed"] == pytest.approx(50 - cat / 2)
    assert scores.per_class["dog"]["missed"] == 0


def test_nothing_is_predicted():
    scores = score(truth((0, 3, 0, 20, 0, 20, 0), (0, 7, 0, 20, 60, 80, 0)), [])
    expected = dict.fromkeys(scores.overall, 0) | {"missed": 100, "false_negatives": 100}
    assert scores.overall == expected
    assert scores.num_errors == dict.fromkeys(ERROR_TYPES, 0) | {"missed": 2}


@pytest.mark.parametrize("annotations", [[], [(0, 3, 0, 20, 0, 20, 1)]])
def test_no_ground_truth_is_undefined(annotations):
    scores = score(truth(*annotations), found((0, 3, 50, 60, 0, 20, 0.9)))
    assert all(np.isnan(value) for value in scores.overall.values())
    assert scores.num_errors == dict.fromkeys(ERROR_TYPES, 0) | {"background": 1}
    assert "| all " in str(scores) and "nan" not in str(scores)


def test_all_right():
    scores = score(truth((0, 3, 0, 20, 0, 20, 0)), found((0, 3, 0, 20, 0, 20, 0.9)))
    assert scores.overall == pytest.approx(dict.fromkeys(scores.overall, 0) | {"AP50": 100})


def test_json_and_table(tmp_path):
    images, annotations, results = fixed_case(0)
    annotations = [entry for entry in annotations if entry["category_id"] != 9]
    scores = score(ground_truth_of(images, annotations), results)
    write_scores(tmp_path / "errors.json", scores)
    again = read_scores(tmp_path / "errors.json", ErrorScores)
    np.testing.assert_equal(again.as_dict(), scores.as_dict())
    assert str(again) == str(scores)
    lines = str(scores).splitlines()
    assert lines[0].startswith("Error types, segm: 6 images")
    assert lines[1].startswith(f"errors: {scores.num_errors['classification']} classification, ")
    assert "false positives" in lines[2]
    assert len(lines) == 2 + 2 + 1 + len(CATEGORIES)
    assert json.loads((tmp_path / "errors.json").read_text())["per_class"]["bird"]["AP50"] is None
