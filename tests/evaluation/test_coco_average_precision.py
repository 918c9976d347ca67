from __future__ import annotations

import contextlib
import io

import numpy as np
import pycocotools.mask as mask_util
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from segtron.evaluation.coco_average_precision import IOU_THRESHOLDS, precision_at_recalls
from segtron.evaluation.coco_ground_truth import CocoGroundTruth

from .coco_results import compare

SIZE = 128
# The limits between small, medium and large, met and missed by a little.
AREAS = (0, 1023, 1024, 1024.5, 1025, 9215, 9216, 9217, 1e10, 1e10 + 2e6)
SIDES = (1, 2, 31, 32, 33, 95, 96, 97)


def random_mask(rng):
    """A rectangle of a critical area, a pixel, or a blob with ragged edges."""
    kind = rng.random()
    if kind < 0.5:
        height = width = rng.choice(SIDES)
        if kind < 0.2:
            width = rng.choice(SIDES)
        mask = np.zeros((SIZE, SIZE), dtype=bool)
        top, left = rng.integers(0, SIZE - height + 1), rng.integers(0, SIZE - width + 1)
        mask[top : top + height, left : left + width] = True
        return mask
    rows, columns = np.ogrid[:SIZE, :SIZE]
    center, radii = rng.uniform(0, SIZE, 2), rng.uniform(2, SIZE / 2, 2)
    distance = ((rows - center[0]) / radii[0]) ** 2 + ((columns - center[1]) / radii[1]) ** 2
    mask = distance <= 1 - 0.3 * rng.random((SIZE, SIZE))
    mask[SIZE // 2, SIZE // 2] = True
    return mask


def run_lengths(mask):
    rle = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [SIZE, SIZE], "counts": rle["counts"].decode()}


def segmentation_of(rng, mask):
    """In any of COCO's forms; a polygon is only about the same."""
    rle = run_lengths(mask)
    form = rng.random()
    if form < 0.3:
        x, y, width, height = mask_util.toBbox(rle).tolist()
        return [
            [x, y, x + width, y, x + width, y + 0.7 * height, x, y + height],
            [x + 1.5, y + 0.3, x + 0.5 * width, y + height + 2.7, x - 3.2, y + height],
        ]
    if form < 0.5:
        edges = np.flatnonzero(np.diff(mask.ravel(order="F"), prepend=False, append=False))
        return {"size": [SIZE, SIZE], "counts": np.diff(edges, prepend=0, append=SIZE**2).tolist()}
    return rle


def box_of(rng, mask):
    """The mask's box, rounded to nothing, or to nothing wide."""
    box = mask_util.toBbox(run_lengths(mask)) + rng.choice([0, 0.4]) * rng.uniform(-1, 1, 4)
    if rng.random() < 0.1:
        box[rng.integers(2, 4)] = rng.choice([0, -2.5])
    return box.tolist()


def random_scenes(seed):
    """Ground truth and results with all that is hard, by chance more or less of it."""
    rng = np.random.default_rng(seed)
    num_classes, crowd = int(rng.choice([1, 3, 20])), rng.choice([0, 0.3, 1], p=[0.4, 0.5, 0.1])
    category_ids = rng.permutation(90)[:num_classes].tolist()
    digits, more = int(rng.choice([0, 1, 17])), int(rng.choice([0, 10, 150]))
    present = category_ids[: int(rng.integers(1, num_classes + 1))]
    images = [
        {"id": image_id, "height": SIZE, "width": SIZE}
        for image_id in rng.permutation(50)[: rng.choice([1, 4, 9])].tolist()
    ]
    annotations, results = [], []
    for image in images:
        masks = [random_mask(rng) for _ in range(rng.integers(1, 9))]
        if rng.random() < 0.8:
            for mask in masks + masks[:1]:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image["id"],
                        "category_id": int(rng.choice(present)),
                        "iscrowd": int(rng.random() < crowd),
                        "ignore": int(rng.random() < 0.1),
                        "area": float(rng.choice([mask.sum(), rng.choice(AREAS)])),
                        "bbox": box_of(rng, mask),
                        "segmentation": segmentation_of(rng, mask),
                    }
                )
        if rng.random() < 0.8:
            for _ in range(rng.integers(0, 20) + rng.integers(0, more + 1)):
                mask = np.roll(masks[rng.integers(len(masks))], rng.integers(-3, 4, 2), (0, 1))
                mask = mask & (rng.random() > 0.05)
                results.append(
                    {
                        "image_id": image["id"],
                        "category_id": int(rng.choice(present[:2] if rng.random() < 0.8 else 90)),
                        "score": round(float(np.float32(rng.random())), digits),
                        "bbox": box_of(rng, mask),
                        "segmentation": run_lengths(mask),
                    }
                )
    names = [str(category) for category in category_ids]
    return CocoGroundTruth(images, annotations, category_ids, names), results


def with_pycocotools(ground_truth, results, task, max_detections):
    """precision (T, R, K, A), recall (T, K, A) and scores, classes in the ground truth's order."""
    truth, found = COCO(), COCO()
    categories = [{"id": category} for category in ground_truth.category_ids]
    truth.dataset = {
        "images": ground_truth.images,
        "annotations": [dict(annotation) for annotation in ground_truth.annotations],
        "categories": categories,
    }
    keys = {"bbox": "bbox", "segm": "segmentation"}
    shown = [
        {key: result[key] for key in ("image_id", "category_id", "score", keys[task])}
        for result in results
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        if shown:
            found = truth.loadRes(shown)
        else:
            found.dataset = truth.dataset | {"annotations": []}
            found.createIndex()
        scorer = COCOeval(truth, found, task)
        scorer.params.maxDets = [max_detections]
        scorer.evaluate()
        scorer.accumulate()
    order = np.searchsorted(scorer.params.catIds, ground_truth.category_ids)
    return (
        scorer.eval["precision"][..., 0][:, :, order],
        scorer.eval["recall"][..., 0][:, order],
        scorer.eval["scores"][..., 0][:, :, order],
    )


def check(ground_truth, results, task, max_detections=100):
    comparison = compare(ground_truth, results, task)
    columns = comparison.annotated, comparison.detected
    num_classes = len(ground_truth.category_ids)
    curves = precision_at_recalls(*columns, num_classes, max_detections)
    expected = with_pycocotools(ground_truth, results, task, max_detections)
    for values, official in zip(curves, expected, strict=True):
        np.testing.assert_array_equal(values, official)
    return curves


@pytest.mark.parametrize("task", ["bbox", "segm"])
@pytest.mark.parametrize("max_detections", [1, 10, 100, 300])
@pytest.mark.parametrize("seed", range(10))
def test_equals_pycocotools_to_the_bit(task, max_detections, seed):
    check(*random_scenes(seed), task, max_detections)


def test_scenes_are_hard():
    """They have crowds, ties, empty images, too many detections, precision of every height."""
    precisions, crowds, ties, most, empty = [], 0, 0, 0, 0
    for seed in range(10):
        ground_truth, results = random_scenes(seed)
        precisions.append(check(ground_truth, results, "segm").precision.ravel())
        crowds += sum(annotation["iscrowd"] for annotation in ground_truth.annotations)
        scores = [result["score"] for result in results]
        ties += len(scores) - len(set(scores))
        keys = [(result["image_id"], result["category_id"]) for result in results]
        most = max([most, *(keys.count(key) for key in set(keys))])
        images = {annotation["image_id"] for annotation in ground_truth.annotations}
        empty += len(ground_truth.images) - len(images)
    precisions = np.concatenate(precisions)
    assert crowds > 20 and ties > 100 and most > 50 and empty > 2
    assert np.count_nonzero((precisions > 0) & (precisions < 0.999)) > 1000
    assert (precisions == -1).any() and (precisions == 0).any() and (precisions > 0.999).any()


@pytest.mark.parametrize("task", ["bbox", "segm"])
def test_nothing_on_one_side_or_both(task):
    ground_truth, results = random_scenes(1)
    nothing = CocoGroundTruth(
        ground_truth.images, [], ground_truth.category_ids, ground_truth.class_names
    )
    assert (check(ground_truth, [], task).precision <= 0).all()
    assert (check(nothing, results, task).precision == -1).all()
    assert (check(nothing, [], task).precision == -1).all()


def square(top, left, side):
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[top : top + side, left : left + side] = True
    return run_lengths(mask)


def annotation(number, segmentation, image_id=1, **more):
    common = {"id": number, "image_id": image_id, "category_id": 1, "iscrowd": 0}
    area = float(mask_util.area(segmentation))
    return common | {"area": area, "bbox": [], "segmentation": segmentation} | more


def result(segmentation, score, image_id=1):
    return {
        "image_id": image_id,
        "category_id": 1,
        "score": score,
        "segmentation": segmentation,
    }


def scene(annotations, image_ids=(1,)):
    images = [{"id": image_id, "height": SIZE, "width": SIZE} for image_id in image_ids]
    return CocoGroundTruth(images, annotations, [1], ["thing"])


def test_ties_go_to_the_first_image_whatever_the_order_of_the_list():
    """Image 1 has the hit, image 2 the false alarm, both of one score."""
    truth = scene([annotation(1, square(0, 0, 20))], image_ids=(2, 1))
    hit, alarm = result(square(0, 0, 20), 0.5), result(square(50, 50, 20), 0.5, image_id=2)
    for results in ([hit, alarm], [alarm, hit]):
        curves = check(truth, results, "segm")
        np.testing.assert_allclose(curves.precision[:, :, 0, 0], 1)
    truth = scene([annotation(1, square(0, 0, 20), image_id=2)], image_ids=(2, 1))
    curves = check(truth, [hit | {"image_id": 2}, alarm | {"image_id": 1}], "segm")
    np.testing.assert_allclose(curves.precision[:, :, 0, 0], 0.5)


def test_ties_in_an_image_go_to_the_first_listed():
    truth = scene([annotation(1, square(0, 0, 20))])
    good, poor = result(square(0, 0, 20), 0.5), result(square(0, 0, 15), 0.5)
    assert check(truth, [good, poor], "segm").precision[9, 0, 0, 0] == pytest.approx(1)
    assert check(truth, [poor, good], "segm").precision[9, 0, 0, 0] == pytest.approx(0.5)
    assert check(truth, [poor, good], "segm", 1).precision[9, 0, 0, 0] == 0


@pytest.mark.parametrize(("left", "recall"), [(0, 1), (10, 0.5)])
def test_of_two_that_overlap_alike_the_later_annotation_is_taken(left, recall):
    truth = scene([annotation(1, square(0, 0, 20)), annotation(2, square(0, 10, 20))])
    results = [result(square(0, 5, 20), 0.9), result(square(0, left, 20), 0.8)]
    assert check(truth, results, "segm").recall[0, 0, 0] == recall


@pytest.mark.parametrize(("width", "reached"), [(10, 0.5), (15, 0.75)])
def test_iou_at_the_threshold_is_enough(width, reached):
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[:20, :width] = True
    recall = check(
        scene([annotation(1, square(0, 0, 20))]), [result(run_lengths(mask), 0.9)], "segm"
    ).recall[:, 0, 0]
    assert recall.tolist() == [float(threshold <= reached) for threshold in IOU_THRESHOLDS]


def test_several_detections_fit_into_a_crowd_and_none_counts():
    crowd = annotation(1, square(0, 0, 100), iscrowd=1)
    truth = scene([crowd, annotation(2, square(100, 100, 20))])
    results = [result(square(10 * n, 0, 20), 0.9) for n in range(3)]
    curves = check(truth, [*results, result(square(100, 100, 20), 0.1)], "segm")
    np.testing.assert_allclose(curves.precision[:, :, 0, 0], 1)


@pytest.mark.parametrize(
    ("area", "counts"),
    [(1023, "s"), (1024, "sm"), (1025, "m"), (9215, "m"), (9216, "ml"), (9217, "l"), (1e11, "")],
)
def test_a_limit_belongs_to_both_sizes(area, counts):
    truth = scene([annotation(1, square(0, 0, 20), area=area)])
    precision = check(truth, [result(square(0, 0, 20), 0.5)], "segm").precision[0, 0, 0]
    assert (precision[1:] > 0.99).tolist() == [size in counts for size in "sml"]
    assert (precision[1:] == -1).tolist() == [size not in counts for size in "sml"]


def test_text_ids_and_own_overlaps():
    """Two names of images, and an IoU that finds nothing alike."""
    truth = scene([annotation(1, square(0, 0, 20), "b.png")], image_ids=("b.png", "a.png"))
    comparison = compare(truth, [result(square(0, 0, 20), 0.5, "b.png")], "segm")
    columns = comparison.annotated, comparison.detected
    assert precision_at_recalls(*columns, 1, 100).recall[0, 0, 0] == 1
    seen = []

    def nothing_alike(detected, annotated, is_crowd):
        seen.append((len(detected), len(annotated), is_crowd.tolist()))
        return np.zeros((1, 1))

    assert precision_at_recalls(*columns, 1, 100, nothing_alike).recall[0, 0, 0] == 0
    assert seen == [(1, 1, [0])]
