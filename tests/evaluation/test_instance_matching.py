from __future__ import annotations

import numpy as np
import pycocotools.mask as mask_util
import pytest

from segtron.evaluation.coco_ground_truth import CocoGroundTruth
from segtron.evaluation.instance_matching import match_instances

from .coco_results import compare
from .scenes import HEIGHT, WIDTH, box

CATEGORIES = {3: "cat", 7: "dog"}


def truth(*annotations, num_images=1):
    """Annotations as (image, category, top, bottom, left, right, crowd)."""
    entries = [
        {"id": number, "image_id": image, "category_id": category, "iscrowd": crowd} | shape(*sides)
        for number, (image, category, *sides, crowd) in enumerate(annotations, start=1)
    ]
    # Not in the order of their ids.
    images = [{"id": n, "height": HEIGHT, "width": WIDTH} for n in reversed(range(num_images))]
    return CocoGroundTruth(images, entries, list(CATEGORIES), list(CATEGORIES.values()))


def found(*detections):
    """Results as (image, category, top, bottom, left, right, score)."""
    return [
        {"image_id": image, "category_id": category, "score": score} | shape(*sides)
        for image, category, *sides, score in detections
    ]


def shape(top, bottom, left, right):
    mask = box(top, bottom, left, right)
    rle = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {
        "bbox": [float(left), float(top), float(right - left), float(bottom - top)],
        "area": float(mask.sum()),
        "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
    }


@pytest.mark.parametrize("task", ["bbox", "segm"])
def test_the_most_confident_one_finds_the_nearest_instance(task):
    ground_truth = truth(
        (0, 3, 0, 20, 0, 20, 0), (0, 3, 0, 20, 10, 30, 0), (0, 7, 50, 60, 0, 20, 0)
    )
    results = found(
        (0, 3, 0, 20, 5, 25, 0.5),  # 15/25 with both cats, of which the second is taken
        (0, 3, 0, 20, 9, 29, 0.9),  # 19/21 with the second cat
        (0, 7, 0, 20, 2, 22, 0.7),  # a dog at the first cat's place
        (0, 3, 0, 20, 5, 25, 0.4),
    )
    matches = match_instances(compare(ground_truth, results, task), 100)
    assert matches.score.tolist() == [0.9, 0.7, 0.5, 0.4]
    assert matches.category.tolist() == [0, 1, 0, 0]
    assert matches.match.tolist() == [1, -1, 0, -1]
    assert not matches.in_crowd.any()
    np.testing.assert_allclose(matches.same_class_iou, [19 / 21, 0, 15 / 25, 15 / 25])
    np.testing.assert_allclose(matches.other_class_iou, [0, 18 / 22, 0, 0])
    assert matches.same_class_nearest[0] == 1 and matches.other_class_nearest[1] == 0
    assert matches.area.tolist() == [400] * 4
    assert matches.truth_category.tolist() == [0, 0, 1]
    assert matches.truth_area.tolist() == [400, 400, 200]
    assert matches.num_ground_truth().tolist() == [2, 1]
    assert matches.num_predicted().tolist() == [3, 1]


@pytest.mark.parametrize("task", ["bbox", "segm"])
def test_of_equal_ious_the_last_is_taken(task):
    ground_truth = truth((0, 3, 0, 20, 0, 20, 0), (0, 3, 0, 20, 10, 30, 0))
    matches = match_instances(compare(ground_truth, found((0, 3, 0, 20, 5, 25, 0.5)), task), 100)
    assert matches.match.tolist() == [1]


@pytest.mark.parametrize("task", ["bbox", "segm"])
def test_in_a_crowd_only_those_that_find_nothing_are_left_out(task):
    ground_truth = truth((0, 3, 0, 50, 0, 100, 1), (0, 3, 0, 20, 0, 20, 0), (0, 7, 50, 60, 0, 9, 0))
    results = found(
        (0, 3, 0, 20, 0, 20, 0.9),  # finds the cat
        (0, 3, 0, 20, 40, 60, 0.8),  # lies in the crowd
        (0, 3, 40, 60, 40, 60, 0.7),  # half of it does, which is enough
        (0, 3, 41, 61, 40, 60, 0.6),  # less than half
        (0, 7, 0, 20, 60, 80, 0.5),  # of another class
    )
    matches = match_instances(compare(ground_truth, results, task), 100)
    assert matches.match.tolist() == [0, -1, -1, -1, -1]
    assert matches.in_crowd.tolist() == [False, True, True, False, False]
    # Nearness is to instances, not to crowds.
    assert matches.same_class_iou[1:].tolist() == [0, 0, 0, 0]
    assert matches.num_ground_truth().tolist() == [1, 1]
    assert matches.num_predicted().tolist() == [2, 1]


def test_images_are_in_the_order_of_their_ids_and_instances_numbered_through():
    ground_truth = truth((2, 3, 0, 20, 0, 20, 0), (0, 7, 0, 20, 0, 20, 0), num_images=4)
    results = found((2, 3, 0, 20, 0, 20, 0.9), (1, 3, 0, 9, 0, 9, 0.3), (0, 7, 0, 20, 0, 20, 0.9))
    matches = match_instances(compare(ground_truth, results, "segm"), 100)
    assert matches.num_images == 4
    assert matches.score.tolist() == [0.9, 0.3, 0.9]
    assert matches.category.tolist() == [1, 0, 0]
    assert matches.match.tolist() == [0, -1, 1]
    assert matches.truth_category.tolist() == [1, 0]
    # Equal scores stay as they stand.
    assert matches.by_score().tolist() == [0, 2, 1]


def test_only_the_best_of_each_class_in_an_image_count():
    results = found(
        *((0, 3, 0, 10, 0, 10, score) for score in (0.1, 0.9, 0.5, 0.5)),
        (0, 7, 0, 10, 0, 10, 0.05),
        (1, 3, 0, 10, 0, 10, 0.2),
    )
    results[2]["segmentation"] = shape(0, 10, 0, 11)["segmentation"]
    matches = match_instances(compare(truth(num_images=2), results, "segm"), 2)
    assert matches.score.tolist() == [0.9, 0.5, 0.05, 0.2]
    # Of equal ones the first.
    assert matches.area.tolist() == [100, 110, 100, 100]


def test_boxes_have_their_own_scores():
    results = found((0, 3, 0, 10, 0, 10, 0.1))
    results[0]["box_score"] = 0.8
    for task, score in (("bbox", 0.8), ("segm", 0.1)):
        assert match_instances(compare(truth(), results, task), 100).score.tolist() == [score]


@pytest.mark.parametrize("task", ["bbox", "segm"])
@pytest.mark.parametrize("num_images", [0, 2])
def test_nothing_at_all(task, num_images):
    matches = match_instances(compare(truth(num_images=num_images), [], task), 100)
    assert matches.num_images == num_images
    assert matches.score.shape == matches.match.shape == matches.truth_area.shape == (0,)
    assert matches.num_predicted().tolist() == matches.num_ground_truth().tolist() == [0, 0]


def test_polygons_and_empty_masks():
    ground_truth = truth((0, 3, 0, 20, 0, 20, 0))
    ground_truth.annotations[0]["segmentation"] = [[0.0, 0, 20, 0, 20, 20, 0, 20]]
    results = found((0, 3, 0, 20, 0, 20, 0.3), (0, 3, 0, 0, 0, 0, 0.9))
    matches = match_instances(compare(ground_truth, results, "segm"), 100)
    assert matches.match.tolist() == [-1, 0]
    assert matches.area.tolist() == [0, 400]


def test_results_of_elsewhere_are_named():
    with pytest.raises(ValueError, match="image 5 is not in the ground truth"):
        match_instances(compare(truth(), found((5, 3, 0, 9, 0, 9, 0.5)), "bbox"), 100)


def test_results_of_other_classes_are_left_out():
    results = found((0, 4, 0, 9, 0, 9, 0.9), (0, 3, 0, 9, 0, 9, 0.5))
    assert match_instances(compare(truth(), results, "bbox"), 100).score.tolist() == [0.5]
