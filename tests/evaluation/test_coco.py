from __future__ import annotations

import contextlib
import io
import json
import logging
import pickle

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import COCOEvaluator
from detectron2.structures import Boxes, BoxMode, Instances
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from segtron.errors import UserError
from segtron.evaluation.coco import CocoInstanceMetric
from segtron.evaluation.coco_evaluator import (
    ERROR_TYPES_FILES,
    PRECISION_RECALL_FILES,
    SIZES_FILES,
    CocoInstanceEvaluator,
)
from segtron.evaluation.error_types import ErrorScores
from segtron.evaluation.score_files import read_scores
from segtron.visualization.score_pictures import draw_scores

from .scenes import HEIGHT, WIDTH, box, ellipse, shifted

CATEGORIES = {3: "cat", 7: "dog", 9: "bird", 12: "unseen"}
METRICS = ["AP", "AP50", "AP75", "APs", "APm", "APl"]


def annotation(mask, category_id, **more):
    """A COCO annotation with compressed RLE."""
    rle = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {
        "category_id": category_id,
        "iscrowd": 0,
        "area": float(mask.sum()),
        "bbox": mask_util.toBbox(rle).tolist(),
        "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
    } | more


def instances_of(predictions):
    """Detectron2's Instances from (mask, contiguous class, score)."""
    masks = np.array([mask for mask, _, _ in predictions], dtype=bool)
    masks = torch.from_numpy(masks.reshape(-1, HEIGHT, WIDTH))
    instances = Instances((HEIGHT, WIDTH))
    instances.pred_masks = masks
    boxes = torch.zeros(len(predictions), 4)
    for number, mask in enumerate(masks):
        if mask.any():
            rows, columns = torch.nonzero(mask, as_tuple=True)
            corners = (columns.min(), rows.min(), columns.max() + 0.75, rows.max() + 1.25)
            boxes[number] = torch.tensor(corners)
    instances.pred_boxes = Boxes(boxes)
    instances.pred_classes = torch.tensor([k for _, k, _ in predictions], dtype=torch.int64)
    instances.scores = torch.tensor([score for _, _, score in predictions], dtype=torch.float32)
    return instances


@pytest.fixture
def register(request, tmp_path):
    """Register ground truth, as a COCO JSON file or as Detectron2's dicts."""
    names = []

    def register_dataset(images, annotations, as_json=True, categories=CATEGORIES):
        name = f"coco_for_{request.node.name}_{len(names)}"
        names.append(name)
        metadata = MetadataCatalog.get(name).set(
            evaluator_type="coco",
            thing_classes=list(categories.values()),
            thing_dataset_id_to_contiguous_id={k: i for i, k in enumerate(categories)},
        )
        if as_json:
            content = {"info": {}, "images": images, "annotations": annotations}
            content["categories"] = [{"id": k, "name": v} for k, v in categories.items()]
            if annotations is None:
                del content["annotations"]
            path = tmp_path / f"{name}.json"
            path.write_text(json.dumps(content))
            metadata.json_file = str(path)
            return name
        order = list(categories)
        dicts = [
            {"image_id": image["id"], "height": HEIGHT, "width": WIDTH, "annotations": []}
            for image in images
        ]
        for entry in annotations:
            x, y, width, height = entry["bbox"]
            more = {
                "bbox": [x, y, x + width, y + height],
                "bbox_mode": BoxMode.XYXY_ABS,
                "category_id": order.index(entry["category_id"]),
            }
            kept = {k: entry[k] for k in ("iscrowd", "area", "segmentation") if k in entry}
            (record,) = (d for d in dicts if d["image_id"] == entry["image_id"])
            record["annotations"].append(kept | more)
        DatasetCatalog.register(name, lambda: dicts)
        return name

    yield register_dataset
    for name in names:
        MetadataCatalog.remove(name)
        if name in DatasetCatalog:
            DatasetCatalog.remove(name)


def random_data(seed=0, num_images=6, num_predictions=12, digits=None):
    """Images, annotations and the model's outputs, with crowds, ties, empty images and masks."""
    rng = np.random.default_rng(seed)
    images = [{"id": 10 * n + 5, "height": HEIGHT, "width": WIDTH} for n in range(num_images)]
    annotations, outputs = [], {}
    for number, image in enumerate(images):
        predictions = []
        for _ in range(0 if number == 1 else 8):  # the second image has no ground truth
            mask = ellipse(rng, 3, 45)
            category = int(rng.choice([3, 7, 9]))
            crowd = int(rng.random() < 0.2)
            annotations.append(
                annotation(
                    mask, category, image_id=image["id"], iscrowd=crowd, id=len(annotations) + 1
                )
            )
            near = list(CATEGORIES).index(category)
            predictions.append((shifted(rng, mask), near, rng.random()))
        while len(predictions) < num_predictions:
            predictions.append((ellipse(rng), int(rng.integers(0, 4)), rng.random()))
        predictions.append((np.zeros((HEIGHT, WIDTH), dtype=bool), 0, 0.7))
        if digits is not None:
            predictions = [(m, k, round(s, digits)) for m, k, s in predictions]
        outputs[image["id"]] = instances_of([] if number == 2 else predictions)
    return images, annotations, outputs


def run(evaluator, outputs):
    evaluator.reset()
    for image_id, instances in outputs.items():
        evaluator.process([{"image_id": image_id}], [{"instances": instances}])
    return evaluator.evaluate()


def plain_pycocotools(json_file, results_file, task, max_detections=100):
    """COCO's own steps, from files: six numbers and the AP of each category, in percent."""
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO(json_file)
        with open(results_file) as file:
            results = json.load(file)
        if task == "segm":
            for result in results:
                del result["bbox"]  # else areas are those of boxes
        scorer = COCOeval(ground_truth, ground_truth.loadRes(results), task)
        scorer.params.maxDets = [1, 10, max_detections]
        scorer.evaluate()
        scorer.accumulate()
        scorer.summarize()
    stats = scorer.stats[:6].copy()
    if max_detections != 100:
        everything = scorer.eval["precision"][:, :, :, 0, 2]
        stats[0] = everything[everything > -1].mean()  # summarize() looks for 100
    per_class = []
    for number in range(len(scorer.params.catIds)):
        precision = scorer.eval["precision"][:, :, number, 0, 2]
        precision = precision[precision > -1]
        per_class.append(precision.mean() if precision.size else np.nan)
    stats[stats == -1] = np.nan
    return [*(100 * stats), *(100 * np.array(per_class))]


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "dicts"])
@pytest.mark.parametrize(
    ("arguments", "max_detections"),
    [
        ({}, 100),
        ({"seed": 1, "digits": 1}, 100),
        ({"seed": 2, "digits": 0}, 100),
        ({"seed": 3, "num_images": 3}, 100),
        ({"seed": 4, "num_images": 2, "num_predictions": 600, "digits": 1}, 100),
        ({"seed": 4, "num_images": 2, "num_predictions": 600, "digits": 1}, 120),
        ({"seed": 4, "num_images": 1, "num_predictions": 1200}, 400),
    ],
)
def test_equals_plain_pycocotools(register, tmp_path, arguments, max_detections, as_json):
    images, annotations, outputs = random_data(**arguments)
    reference = register(images, annotations)
    name = reference if as_json else register(images, annotations, as_json=False)
    evaluator = CocoInstanceEvaluator(name, output_dir=str(tmp_path), max_detections=max_detections)
    results = run(evaluator, outputs)
    assert list(results) == ["bbox", "segm"]
    for task in results:
        expected = plain_pycocotools(
            MetadataCatalog.get(reference).json_file,
            tmp_path / "coco_instances_results.json",
            task,
            max_detections,
        )
        assert list(results[task]) == [*METRICS, *(f"AP-{c}" for c in CATEGORIES.values())]
        np.testing.assert_allclose(list(results[task].values()), expected, rtol=0, atol=1e-10)
        assert 0 < results[task]["AP"] < 99
        assert np.isnan(results[task]["AP-unseen"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_equals_detectron2s_evaluator(register):
    images, annotations, outputs = random_data(seed=5)
    name = register(images, annotations)
    theirs = COCOEvaluator(name, ("bbox", "segm"), distributed=False, use_fast_impl=False)
    with contextlib.redirect_stdout(io.StringIO()):
        expected = run(theirs, outputs)
    results = run(CocoInstanceEvaluator(name), outputs)
    for task in ("bbox", "segm"):
        assert list(results[task]) == list(expected[task])
        np.testing.assert_allclose(
            list(results[task].values()), list(expected[task].values()), rtol=0, atol=1e-10
        )


def two_dogs():
    """Two dogs of 200 pixels, and three predictions: IoU 1, nothing, IoU 144 / 200 = 0.72."""
    images = [{"id": 1, "height": HEIGHT, "width": WIDTH}]
    annotations = [
        annotation(box(0, 10, 0, 20), 7, image_id=1, id=1),
        annotation(box(20, 30, 0, 20), 7, image_id=1, id=2),
    ]
    instances = instances_of(
        [(box(0, 10, 0, 20), 1, 0.9), (box(50, 60, 0, 20), 1, 0.85), (box(20, 29, 0, 16), 1, 0.8)]
    )
    corners = [[0.0, 0, 20, 10], [0, 50, 20, 60], [0, 20, 16, 29]]
    instances.pred_boxes = Boxes(torch.tensor(corners))
    return images, annotations, instances


# Precision is 1 at the 51 recalls up to 1/2, and 2/3 at the other 50 where the second dog counts.
BOTH, ONE = 100 * (51 + 50 * 2 / 3) / 101, 100 * 51 / 101


def test_hand_computed(register):
    images, annotations, instances = two_dogs()
    results = run(CocoInstanceEvaluator(register(images, annotations)), {1: instances})
    for task in ("bbox", "segm"):
        expected = {
            "AP": (BOTH + ONE) / 2,
            "AP50": BOTH,
            "AP75": ONE,
            "APs": (BOTH + ONE) / 2,
            "APm": np.nan,
            "APl": np.nan,
            "AP-cat": np.nan,
            "AP-dog": (BOTH + ONE) / 2,
            "AP-bird": np.nan,
            "AP-unseen": np.nan,
        }
        assert results[task] == pytest.approx(expected, abs=1e-10, nan_ok=True)


def test_crowd_is_neither_found_nor_missed(register):
    images, annotations, instances = two_dogs()
    annotations.append(annotation(box(45, 80, 0, 60), 7, image_id=1, id=3, iscrowd=1))
    results = run(CocoInstanceEvaluator(register(images, annotations)), {1: instances})
    # The prediction that found nothing lies in the crowd, so it isn't counted any more.
    assert results["segm"]["AP50"] == pytest.approx(100)
    assert results["segm"]["AP75"] == pytest.approx(ONE)


def test_boxes_have_their_own_scores(register, tmp_path):
    images, annotations, instances = two_dogs()
    instances.box_scores = torch.tensor([0.9, 0.1, 0.8])
    evaluator = CocoInstanceEvaluator(register(images, annotations), output_dir=str(tmp_path))
    results = run(evaluator, {1: instances})
    assert results["bbox"]["AP50"] == pytest.approx(100)
    assert results["segm"]["AP50"] == pytest.approx(BOTH)
    saved = json.loads((tmp_path / "coco_instances_results.json").read_text())
    assert [r["box_score"] for r in saved] == pytest.approx([0.9, 0.1, 0.8])


def test_no_predictions_is_zero(register, tmp_path):
    images, annotations, instances = two_dogs()
    evaluator = CocoInstanceEvaluator(register(images, annotations), output_dir=str(tmp_path))
    results = run(evaluator, {1: instances[instances.scores > 1]})
    for task in ("bbox", "segm"):
        assert results[task]["AP"] == results[task]["AP50"] == results[task]["AP-dog"] == 0
        assert np.isnan(results[task]["AP-cat"]) and np.isnan(results[task]["APl"])
    assert json.loads((tmp_path / "coco_instances_results.json").read_text()) == []


@pytest.mark.parametrize("crowd_only", [False, True])
@pytest.mark.parametrize("as_json", [True, False])
def test_no_ground_truth_is_not_scored(register, tmp_path, caplog, as_json, crowd_only):
    images, annotations, instances = two_dogs()
    annotations = [a | {"iscrowd": 1} for a in annotations] if crowd_only else []
    name = register(images, annotations, as_json)
    evaluator = CocoInstanceEvaluator(name, output_dir=str(tmp_path))
    with caplog.at_level(logging.INFO, logger="segtron"):
        assert run(evaluator, {1: instances}) == {}
    assert f"no ground truth in {name}: predictions are saved, not scored" in caplog.text
    saved = json.loads((tmp_path / "coco_instances_results.json").read_text())
    assert [r["category_id"] for r in saved] == [7, 7, 7]
    assert saved[2]["bbox"] == [0, 20, 16, 9]
    np.testing.assert_array_equal(mask_util.decode(saved[2]["segmentation"]), box(20, 29, 0, 16))


def test_json_without_annotations_is_not_scored(register):
    images, _, instances = two_dogs()
    assert run(CocoInstanceEvaluator(register(images, None)), {1: instances}) == {}


def test_boxes_only(register):
    images, annotations, instances = two_dogs()
    name = register(images, annotations)
    instances.remove("pred_masks")
    assert list(run(CocoInstanceEvaluator(name), {1: instances})) == ["bbox"]


def test_ground_truth_without_masks(register, caplog):
    images, annotations, instances = two_dogs()
    del annotations[1]["segmentation"]
    results = run(CocoInstanceEvaluator(register(images, annotations)), {1: instances})
    assert results["bbox"]["AP50"] == pytest.approx(BOTH)
    assert results["segm"]["AP50"] == pytest.approx(100)
    assert "1 annotations" in caplog.text and "have no mask" in caplog.text
    del annotations[0]["segmentation"]
    results = run(CocoInstanceEvaluator(register(images, annotations)), {1: instances})
    assert list(results) == ["bbox"]


def test_json_as_converters_write_it(register):
    """Ids from 0 (which pycocotools takes for "not matched") and no areas or crowd flags."""
    images, annotations, instances = two_dogs()
    for number, entry in enumerate(annotations):
        entry["id"] = number
        del entry["area"], entry["iscrowd"]
    annotations[0]["segmentation"] = [[0.0, 0.0, 20.0, 0.0, 20.0, 10.0, 0.0, 10.0]]
    results = run(CocoInstanceEvaluator(register(images, annotations)), {1: instances})
    for task in ("bbox", "segm"):
        assert results[task]["AP50"] == pytest.approx(BOTH)
        assert results[task]["APs"] == pytest.approx((BOTH + ONE) / 2)


def test_json_with_nothing_and_with_lines_for_polygons(register):
    """null for what is unknown, lengths as floats, and a line before the polygon, or instead."""
    images, annotations, instances = two_dogs()
    images[0] |= {"height": float(HEIGHT), "width": float(WIDTH)}
    for entry in annotations:
        entry |= {"area": None, "iscrowd": None}
    line, polygon = [0.0, 0.0, 5.0, 5.0], [0.0, 0.0, 20.0, 0.0, 20.0, 10.0, 0.0, 10.0]
    annotations[0]["segmentation"] = [line, polygon]
    results = run(CocoInstanceEvaluator(register(images, annotations)), {1: instances})
    assert results["segm"]["AP50"] == pytest.approx(BOTH)
    annotations[0]["segmentation"] = [line]
    alone = run(CocoInstanceEvaluator(register(images, annotations)), {1: instances})
    without = run(CocoInstanceEvaluator(register(images, annotations[1:])), {1: instances})
    np.testing.assert_equal(alone["segm"], without["segm"])


def test_image_ids_that_are_names(register):
    images, annotations, outputs = random_data(seed=6)
    expected = run(CocoInstanceEvaluator(register(images, annotations)), outputs)
    for entry in images:
        entry["id"] = f"frame_{entry['id']:04d}.png"
    for entry in annotations:
        entry["image_id"] = f"frame_{entry['image_id']:04d}.png"
    outputs = {f"frame_{image_id:04d}.png": o for image_id, o in outputs.items()}
    for as_json in (True, False):
        results = run(CocoInstanceEvaluator(register(images, annotations, as_json)), outputs)
        np.testing.assert_equal(results, expected)


def test_images_not_run_are_said(register, caplog):
    images, annotations, outputs = random_data()
    del outputs[images[0]["id"]]
    run(CocoInstanceEvaluator(register(images, annotations)), outputs)
    assert "1 of the 6 images" in caplog.text


def test_log_names_protocol_and_limit(register, caplog):
    images, annotations, instances = two_dogs()
    evaluator = CocoInstanceEvaluator(register(images, annotations), max_detections=300)
    with caplog.at_level(logging.INFO, logger="segtron"):
        run(evaluator, {1: instances})
    assert "up to 300 detections" in caplog.text
    for task in ("bbox", "segm"):
        assert caplog.text.count(f"COCO protocol, {task}: 1 images, 2 ground-truth instances") == 1
    assert "| dog " in caplog.text


def test_sharding_and_order_change_no_bit(register):
    images, annotations, outputs = random_data(seed=7, num_images=8, digits=1)
    name = register(images, annotations)
    expected = run(CocoInstanceEvaluator(name), outputs)
    rng = np.random.default_rng(0)
    for num_shards in (2, 3):
        order = rng.permutation(list(outputs)).tolist()
        shards = []
        for part in np.array_split(order, num_shards):
            shard = CocoInstanceEvaluator(name)
            for image_id in [*part.tolist(), order[0]]:  # padded with the same image everywhere
                shard.process([{"image_id": image_id}], [{"instances": outputs[image_id]}])
            shards.append(shard)
        whole = CocoInstanceEvaluator(name)
        for shard in shards:
            whole._metric.merge(pickle.loads(pickle.dumps(shard._metric)))
        np.testing.assert_equal(whole.evaluate(), expected)


def test_bad_results_are_named():
    metric = CocoInstanceMetric()
    with pytest.raises(ValueError, match=r"frame: .* no number"):
        metric.update("frame", [{"score": float("nan")}], has_masks=False)
    result = {"category_id": 1, "bbox": [0, 0, 2, 2], "score": 0.5}
    for box_score in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"frame: .* no number"):
            metric.update("frame", [result, result | {"box_score": box_score}], has_masks=False)
    assert len(metric) == 0


def test_a_diverged_models_results_are_a_users_mistake(register):
    images, annotations, instances = two_dogs()
    instances.scores = instances.scores * float("nan")
    with pytest.raises(UserError, match="no number; take a checkpoint"):
        run(CocoInstanceEvaluator(register(images, annotations)), {1: instances})


def test_where_points_are_lost_is_logged_and_saved(register, tmp_path, caplog):
    images, annotations, outputs = random_data(seed=8)
    with caplog.at_level(logging.INFO, logger="segtron"):
        evaluator = CocoInstanceEvaluator(
            register(images, annotations), output_dir=tmp_path, boundary_ratio=0.02
        )
        results = run(evaluator, outputs)
    # In the log for masks only, in files for both.
    assert caplog.text.count("Error types, ") == caplog.text.count("Error types, segm") == 1
    assert caplog.text.count("Precision and recall, segm") == 1
    for task in ("bbox", "segm"):
        errors = read_scores(tmp_path / f"error_types_{task}.json", ErrorScores)
        assert errors.overall["AP50"] == pytest.approx(results[task]["AP50"])
    draw_scores(tmp_path)
    kinds = (ERROR_TYPES_FILES, PRECISION_RECALL_FILES, SIZES_FILES)
    pictures = {f"{kind}_{task}.png" for kind in kinds for task in results}
    assert {path.name for path in tmp_path.glob("*.png")} == {
        name for name in pictures if "boundary" not in name
    }
    assert 0 < results["boundary"]["AP"] <= results["segm"]["AP"]
    without = run(CocoInstanceEvaluator(register(images, annotations)), outputs)
    assert set(without) == {"bbox", "segm"}


def test_results_come_back_as_they_were():
    """By image id, with or without boxes, masks, scores of boxes."""
    mask = annotation(ellipse(np.random.default_rng(0)), 3)["segmentation"]
    empty = annotation(box(0, 0, 0, 0), 3)["segmentation"]
    full = {"image_id": 2, "category_id": 3, "bbox": [0.1, 1 / 3, 7.0, 1e-9]}
    full |= {"score": 0.30000000000000004, "segmentation": mask}
    given = {
        2: [full, full | {"box_score": 0.25, "segmentation": empty}],
        1: [{"image_id": 1, "category_id": 12, "score": 1.0, "segmentation": mask}],
        0: [],
        3: [{"image_id": 3, "category_id": 2**40, "bbox": [1.0, 2.0, 3.0, 4.0], "score": 0.5}],
    }
    metric = CocoInstanceMetric()
    for image_id, results in given.items():
        metric.update(image_id, results, has_masks=True)
    metric = pickle.loads(pickle.dumps(metric))
    assert list(metric.results()) == [*given[1], *given[2], *given[3]]


def test_the_state_is_small():
    """A few hundred bytes a detection, whatever the size of its image."""
    rng = np.random.default_rng(0)
    results = [
        {"image_id": 0, "category_id": 3, "bbox": rng.random(4).tolist(), "score": rng.random()}
        | {"segmentation": annotation(ellipse(rng), 3)["segmentation"]}
        for _ in range(200)
    ]
    metric = CocoInstanceMetric()
    for image_id in range(20):
        of_image = [result | {"image_id": image_id} for result in results]
        metric.update(image_id, of_image, has_masks=True)
    text = np.mean([len(result["segmentation"]["counts"]) for result in results])
    assert len(pickle.dumps(metric)) / (20 * len(results)) < 80 + 0.8 * text
