"""Box and mask AP by the COCO protocol (https://cocodataset.org/#detection-eval)."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any, Literal

import numpy as np
import pycocotools.mask as mask_util
from detectron2.structures import Instances

from segtron.evaluation.coco_average_precision import (
    DetectionColumns,
    GroundTruthColumns,
    Overlaps,
    Shapes,
    precision_at_recalls,
)
from segtron.evaluation.coco_ground_truth import CocoGroundTruth
from segtron.evaluation.image_metric import ImageMetric
from segtron.evaluation.masks import as_rle, encode_mask
from segtron.evaluation.scores import InstanceScores

Task = Literal["bbox", "segm"]

# The most confident detections of a class in an image that COCO looks at.
MAX_DETECTIONS = 100


class CocoInstanceMetric(ImageMetric[list[dict[str, Any]]]):
    """COCO AP from results in COCO's form: update, merge, compute.

    Each result is {"image_id", "category_id" (the dataset's), "bbox" (XYWH), "score"}, with
    "segmentation" (compressed RLE) where there are masks, and "box_score" where boxes have a score
    of their own (mask rescoring). Images are taken in the order of their ids and an image's results
    in the order given, so ties fall alike however the images were shared out.
    """

    def __init__(self) -> None:
        super().__init__()
        self._has_masks = False

    def update(self, image_id: Hashable, results: list[dict[str, Any]], *, has_masks: bool) -> None:
        """Add an image; one that is there already (a sampler's padding) is left as it is.

        Args:
            image_id: the image's id in the dataset.
            results: its predicted instances, perhaps none.
            has_masks: whether the model gives masks, which an image without results can't tell.

        Raises:
            ValueError: a score that is not a finite number.
        """
        if not all(math.isfinite(result["score"]) for result in results):
            raise ValueError(f"{image_id}: a predicted instance has a score that is no number")
        self._images.setdefault(image_id, results)
        self._has_masks |= has_masks

    def merge(self, other: CocoInstanceMetric) -> None:
        """See `ImageMetric`."""
        super().merge(other)
        self._has_masks |= other._has_masks

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What can be scored."""
        return ("bbox", "segm") if self._has_masks else ("bbox",)

    def results(self) -> list[dict[str, Any]]:
        """All results, by image id."""
        return [result for image_id in sorted(self._images) for result in self._images[image_id]]

    def compute(
        self, ground_truth: CocoGroundTruth, task: Task, max_detections: int = MAX_DETECTIONS
    ) -> InstanceScores:
        """Score one task. Images without results count as images where nothing was found.

        Args:
            ground_truth: of the whole set; for "segm", only annotations with a mask.
            task: "bbox" or "segm".
            max_detections: how many detections of a class in an image count, the best first.

        Raises:
            ValueError: results for an image that is not in the ground truth.
        """
        return self.score_with(
            mask_util.iou, ground_truth, task, max_detections, protocol=f"COCO protocol, {task}"
        )

    def score_with(
        self,
        overlaps: Overlaps,
        ground_truth: CocoGroundTruth,
        task: Task,
        max_detections: int,
        *,
        protocol: str,
    ) -> InstanceScores:
        """Score by any measure of how well a detection fits.

        Args:
            overlaps: the measure, of boxes or of masks.
            ground_truth: see `compute`.
            task: what the overlaps and areas are of.
            max_detections: see `compute`.
            protocol: heads the table.

        Raises:
            ValueError: results for an image that is not in the ground truth.
        """
        strangers = self._images.keys() - {image["id"] for image in ground_truth.images}
        if strangers:
            raise ValueError(f"image {min(strangers)} is not in the ground truth")
        results = self.results()
        category_ids = ground_truth.category_ids
        annotated, detected = coco_columns(ground_truth, results, task)
        precision = precision_at_recalls(
            annotated, detected, len(category_ids), max_detections, overlaps
        ).precision
        names = ground_truth.class_names
        predicted = np.array([result["category_id"] for result in results])
        return InstanceScores(
            protocol=protocol,
            num_images=len(ground_truth.images),
            overall=_summary(precision),
            per_class={name: _summary(precision[:, :, [k]]) for k, name in enumerate(names)},
            num_ground_truth={
                name: ground_truth.num_instances(category_id)
                for name, category_id in zip(names, category_ids, strict=True)
            },
            num_predicted={
                name: int(np.count_nonzero(predicted == category_id))
                for name, category_id in zip(names, category_ids, strict=True)
            },
        )


def coco_columns(
    ground_truth: CocoGroundTruth, results: list[dict[str, Any]], task: Task
) -> tuple[GroundTruthColumns, DetectionColumns]:
    """Ground truth and results as the matching takes them; results of other classes are left out.

    Args:
        ground_truth: of the whole set; for "segm", only annotations with a mask.
        results: in COCO's form, those of an image in the order that breaks ties.
        task: "bbox" or "segm".
    """
    image_ids = sorted({image["id"] for image in ground_truth.images})
    image_of = {image_id: place for place, image_id in enumerate(image_ids)}
    class_of = {category: place for place, category in enumerate(ground_truth.category_ids)}
    annotations = ground_truth.annotations
    results = [result for result in results if result["category_id"] in class_of]

    def places(entries: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        images = [image_of[entry["image_id"]] for entry in entries]
        classes = [class_of[entry["category_id"]] for entry in entries]
        return np.array(images, dtype=np.int64), np.array(classes, dtype=np.int64)

    if task == "bbox":
        annotated, detected = _boxes(annotations), _boxes(results)
        areas = detected[:, 2] * detected[:, 3]
        scores = [result.get("box_score", result["score"]) for result in results]
    else:
        sizes = {image["id"]: (image["height"], image["width"]) for image in ground_truth.images}
        annotated: Shapes = [
            as_rle(entry["segmentation"], *sizes[entry["image_id"]]) for entry in annotations
        ]
        detected: Shapes = [result["segmentation"] for result in results]
        # one by one: on numpy 2 pycocotools can't measure more than 255 at once
        areas = [mask_util.area(mask) for mask in detected]
        scores = [result["score"] for result in results]
    return (
        GroundTruthColumns(
            *places(annotations),
            annotated,
            np.array([entry["area"] for entry in annotations], dtype=np.float64),
            np.array([entry["iscrowd"] for entry in annotations], dtype=bool),
        ),
        DetectionColumns(
            *places(results),
            detected,
            np.array(areas, dtype=np.float64),
            np.array(scores, dtype=np.float64),
        ),
    )


def _boxes(entries: list[dict[str, Any]]) -> np.ndarray:
    return np.array([entry["bbox"] for entry in entries], dtype=np.float64).reshape(-1, 4)


def _summary(precision: np.ndarray) -> dict[str, float]:
    """COCO's six numbers in percent, nan where no ground truth defines them.

    Args:
        precision: (T, R, K, A), -1 where undefined; T are the IoUs 0.5, 0.55, ..., 0.95.
    """

    def percent(part: np.ndarray) -> float:
        part = part[part > -1]
        return float(100 * np.mean(part)) if part.size else float("nan")

    return {
        "AP": percent(precision[..., 0]),
        "AP50": percent(precision[0, ..., 0]),
        "AP75": percent(precision[5, ..., 0]),
        "APs": percent(precision[..., 1]),
        "APm": percent(precision[..., 2]),
        "APl": percent(precision[..., 3]),
    }


def instances_to_coco_results(
    instances: Instances, image_id: Hashable, category_ids: np.ndarray
) -> list[dict[str, Any]]:
    """Predicted instances of an image as COCO results, ready for JSON.

    Args:
        instances: on the CPU, with pred_boxes, scores, pred_classes; optionally pred_masks (N, H,
            W) bool, and box_scores where `scores` are those of rescored masks.
        image_id: the image's id in the dataset.
        category_ids: (K,) the dataset's ids of the model's classes.
    """
    boxes = instances.pred_boxes.tensor.numpy().copy()
    boxes[:, 2:] -= boxes[:, :2]
    columns: dict[str, list] = {
        "category_id": category_ids[instances.pred_classes.numpy()].tolist(),
        "bbox": boxes.tolist(),
        "score": instances.scores.tolist(),
    }
    if instances.has("box_scores"):
        columns["box_score"] = instances.box_scores.tolist()
    if instances.has("pred_masks"):
        masks = instances.pred_masks.numpy().astype(bool, copy=False)
        columns["segmentation"] = [encode_mask(mask) for mask in masks]
    return [
        {"image_id": image_id, **dict(zip(columns, values, strict=True))}
        for values in zip(*columns.values(), strict=True)
    ]
