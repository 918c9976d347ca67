"""Ways to COCO's scores: Segtron's, and those of the programs that it is compared with.

See `segtron.benchmarks.ways` for what a way is.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from detectron2.data import MetadataCatalog
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from segtron.benchmarks.frames import Record
from segtron.benchmarks.ways import OutputOf
from segtron.data.category_ids import thing_category_ids
from segtron.data.cityscapes import THING_ID_TO_CONTIGUOUS, THING_LABELS
from segtron.evaluation.coco import (
    MAX_DETECTIONS,
    CocoInstanceMetric,
    Task,
    instances_to_coco_results,
)
from segtron.evaluation.coco_files import score_coco_results
from segtron.evaluation.coco_ground_truth import CocoGroundTruth
from segtron.evaluation.error_types import score_error_types
from segtron.evaluation.instance_matching import match_instances

# COCO's results by image.
Results = Mapping[int, list[dict[str, Any]]]


@contextmanager
def coco_set(json_file: Path) -> Iterator[str]:
    """A set of COCO's form, known to Segtron's and Detectron2's evaluators by the name given."""
    name = f"benchmark_{uuid.uuid4().hex}"
    MetadataCatalog.get(name).set(
        json_file=str(json_file),
        evaluator_type="coco",
        thing_classes=[label.name for label in THING_LABELS],
        thing_dataset_id_to_contiguous_id=dict(THING_ID_TO_CONTIGUOUS),
    )
    try:
        yield name
    finally:
        MetadataCatalog.remove(name)


def metric_scores(
    ground_truth: CocoGroundTruth, results: Results, task: Task
) -> dict[str, dict[str, float]]:
    """What Segtron's metric says of results in memory."""
    return {task: _metric_of(results).compute(ground_truth, task).overall}


def file_scores(
    gt_json: Path, results_json: Path, boundary_ratio: float = 0.0
) -> dict[str, dict[str, float]]:
    """What Segtron says of saved results, by task."""
    scores = score_coco_results(gt_json, results_json, boundary_ratio=boundary_ratio)
    return {task: of_task.overall for task, of_task in scores.by_task.items()}


def error_type_scores(
    ground_truth: CocoGroundTruth, results: Results, task: Task
) -> dict[str, dict[str, float]]:
    """What Segtron says of where AP50 is lost, and how many errors of each type there are."""
    comparison = _metric_of(results).compare(ground_truth, task)
    scores = score_error_types(match_instances(comparison, MAX_DETECTIONS))
    numbers = {f"number-{name}": float(number) for name, number in scores.num_errors.items()}
    return {"error_types": scores.overall | numbers}


def _metric_of(results: Results) -> CocoInstanceMetric:
    metric = CocoInstanceMetric()
    for image_id, of_image in results.items():
        metric.update(image_id, of_image, has_masks=True)
    return metric


def pycocotools_scores(
    ground_truth: COCO, results: Results, task: Task
) -> dict[str, dict[str, float]]:
    """What pycocotools says of results in memory, by the calls that Detectron2 makes."""
    # Copies, for `loadRes` writes into what it is given.
    listed = [dict(result) for result in listed_results(results, task)]
    return _pycocotools_summary(ground_truth, ground_truth.loadRes(listed), task)


def pycocotools_file_scores(
    gt_json: Path, results_json: Path, task: Task
) -> dict[str, dict[str, float]]:
    """What pycocotools says of saved results."""
    ground_truth = COCO(gt_json)
    return _pycocotools_summary(ground_truth, ground_truth.loadRes(str(results_json)), task)


def _pycocotools_summary(
    ground_truth: COCO, results: COCO, task: Task
) -> dict[str, dict[str, float]]:
    scorer = COCOeval(ground_truth, results, task)
    scorer.evaluate()
    scorer.accumulate()
    scorer.summarize()
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl")
    scores = zip(names, scorer.stats[: len(names)].tolist(), strict=True)
    return {task: {name: 100 * value if value >= 0 else math.nan for name, value in scores}}


def coco_results(
    dataset_name: str, records: Sequence[Record], output_of: OutputOf
) -> dict[int, list[dict[str, Any]]]:
    """Outputs as COCO results, by image."""
    category_ids = thing_category_ids(dataset_name)
    return {
        record["image_id"]: instances_to_coco_results(
            output_of(number)["instances"], record["image_id"], category_ids
        )
        for number, record in enumerate(records)
    }


def listed_results(results: Results, task: Task) -> list[dict[str, Any]]:
    """All results with what a task is about, as a file has them. Where there are boxes, pycocotools
    takes a mask's area from them."""
    others = {"segm": "bbox", "bbox": "segmentation"}[task]
    return [
        {name: value for name, value in result.items() if name != others}
        for of_image in results.values()
        for result in of_image
    ]


def without_ties(ground_truth: CocoGroundTruth, results: Results) -> Results:
    """Results on which TIDE's own code follows COCO's protocol: in the same order, but no two of
    the same score, and none of a class that the ground truth has not."""
    present = {
        annotation["category_id"]
        for annotation in ground_truth.annotations
        if not annotation["iscrowd"]
    }
    kept = {
        image_id: [dict(result) for result in of_image if result["category_id"] in present]
        for image_id, of_image in results.items()
    }
    listed = [result for of_image in kept.values() for result in of_image]
    for rank, result in enumerate(sorted(listed, key=lambda result: result["score"]), start=1):
        result["score"] = rank / (len(listed) + 1)
    return kept
