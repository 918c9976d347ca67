"""Box and mask AP by the COCO protocol (https://cocodataset.org/#detection-eval)."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import logging
import math
from collections.abc import Hashable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pycocotools.mask as mask_util
from detectron2.config import CfgNode
from detectron2.evaluation import DatasetEvaluator
from detectron2.structures import Instances
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from segtron.errors import UserError
from segtron.evaluation.coco_ground_truth import (
    CocoGroundTruth,
    coco_index,
    load_coco_ground_truth,
)
from segtron.evaluation.gather import merge_over_processes
from segtron.evaluation.masks import encode_mask
from segtron.evaluation.model_output import predicted_instances, thing_category_ids
from segtron.evaluation.scores import InstanceScores
from segtron.files import replacing

logger = logging.getLogger(__name__)

Task = Literal["bbox", "segm"]

# The most confident detections of a class in an image that COCO looks at.
MAX_DETECTIONS = 100


class CocoInstanceMetric:
    """COCO AP from results in COCO's form: update, merge, compute.

    Each result is {"image_id", "category_id" (the dataset's), "bbox" (XYWH), "score"}, with
    "segmentation" (compressed RLE) where there are masks, and "box_score" where boxes have a score
    of their own (mask rescoring). Images are taken in the order of their ids and an image's results
    in the order given, so ties fall alike however the images were shared out.
    """

    def __init__(self) -> None:
        self._results: dict[Hashable, list[dict[str, Any]]] = {}
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
        self._results.setdefault(image_id, results)
        self._has_masks |= has_masks

    def merge(self, other: CocoInstanceMetric) -> None:
        """Take over another metric's images; those in both are counted once."""
        self._results = other._results | self._results
        self._has_masks |= other._has_masks

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What can be scored."""
        return ("bbox", "segm") if self._has_masks else ("bbox",)

    @property
    def image_ids(self) -> set[Hashable]:
        """The images seen."""
        return set(self._results)

    def results(self) -> list[dict[str, Any]]:
        """All results, by image id."""
        return [result for image_id in sorted(self._results) for result in self._results[image_id]]

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
        strangers = self.image_ids - {image["id"] for image in ground_truth.images}
        if strangers:
            raise ValueError(f"image {min(strangers)} is not in the ground truth")
        results = self.results()
        category_ids = ground_truth.category_ids
        precision = average_precision_with_pycocotools(
            # copies, for pycocotools writes into what it is given
            coco_index(ground_truth.images, [dict(a) for a in ground_truth.annotations]),
            coco_index(ground_truth.images, _detections(results, task)),
            task,
            category_ids,
            max_detections,
        )
        names = ground_truth.class_names
        predicted = np.array([result["category_id"] for result in results])
        return InstanceScores(
            protocol=f"COCO protocol, {task}",
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


def average_precision_with_pycocotools(
    ground_truth: COCO,
    detections: COCO,
    task: Task,
    category_ids: list[int],
    max_detections: int,
) -> np.ndarray:
    """COCO's interpolated precision, by the reference implementation.

    Returns:
        (T, R, K, A) float64: at 10 IoU thresholds, 101 recalls, the classes in the order given, and
        the areas all, small, medium, large; -1 where there is no ground truth.
    """
    scorer = COCOeval(ground_truth, detections, iouType=task)
    scorer.params.catIds = sorted(category_ids)
    scorer.params.maxDets = [max_detections]
    with contextlib.redirect_stdout(io.StringIO()):
        scorer.evaluate()
        scorer.accumulate()
    # not `summarize()`: it looks for 100 detections, whatever was asked for
    order = np.searchsorted(scorer.params.catIds, category_ids)
    return scorer.eval["precision"][..., 0][:, :, order]


def _detections(results: list[dict], task: Task) -> list[dict]:
    """Results as pycocotools' `loadRes` would number and measure them; it can't load none."""
    if task == "bbox":
        return [
            {
                "id": number,
                "image_id": result["image_id"],
                "category_id": result["category_id"],
                "bbox": result["bbox"],
                "area": result["bbox"][2] * result["bbox"][3],
                "score": result.get("box_score", result["score"]),
            }
            for number, result in enumerate(results, start=1)
        ]
    return [
        {
            "id": number,
            "image_id": result["image_id"],
            "category_id": result["category_id"],
            "segmentation": result["segmentation"],
            # one by one: on numpy 2 pycocotools can't measure more than 255 at once
            "area": mask_util.area(result["segmentation"]),
            "score": result["score"],
        }
        for number, result in enumerate(results, start=1)
    ]


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


class CocoInstanceEvaluator(DatasetEvaluator):
    """Score a model's boxes and masks by the COCO protocol.

    `evaluate` returns {"bbox": {"AP", "AP50", "AP75", "APs", "APm", "APl", "AP-person", ...},
    "segm": {...}} in percent, "segm" where model and ground truth have masks; nothing where there
    is no ground truth. A class without ground truth is nan and stays out of the mean. The results
    are saved as `coco_instances_results.json` in any case.
    """

    needs = "instances"

    def __init__(
        self,
        dataset_name: str,
        *,
        output_dir: str | Path | None = None,
        max_detections: int = MAX_DETECTIONS,
    ) -> None:
        """
        Args:
            dataset_name: a registered set with instances.
            output_dir: folder of the results' JSON; None to save nothing.
            max_detections: how many detections of a class in an image count. COCO's own number is
                100; images with more instances need more.
        """
        self._dataset_name = dataset_name
        self._category_ids = thing_category_ids(dataset_name)
        self._output_dir = output_dir
        self._max_detections = max_detections
        self.reset()

    @classmethod
    def from_config(
        cls, cfg: CfgNode, dataset_name: str, output_dir: str | Path | None
    ) -> CocoInstanceEvaluator:
        return cls(
            dataset_name,
            output_dir=output_dir,
            max_detections=max(MAX_DETECTIONS, cfg.TEST.DETECTIONS_PER_IMAGE),
        )

    def reset(self) -> None:
        self._metric = CocoInstanceMetric()

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        for input_, output in zip(inputs, outputs, strict=True):
            instances = predicted_instances(output, self._dataset_name, len(self._category_ids))
            try:
                self._metric.update(
                    input_["image_id"],
                    instances_to_coco_results(instances, input_["image_id"], self._category_ids),
                    has_masks=instances.has("pred_masks"),
                )
            except ValueError as error:
                raise UserError(
                    f"{self._dataset_name}: {error}; take a checkpoint from before the training "
                    "diverged"
                ) from error

    def evaluate(self) -> dict[str, dict[str, float]]:
        metric = merge_over_processes(self._metric)
        if metric is None:
            return {}
        if self._output_dir:
            path = Path(self._output_dir) / "coco_instances_results.json"
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(metric.results()))
            logger.info("COCO protocol: predictions saved in %s", path)

        ground_truth = self._ground_truth
        num_unseen = len({image["id"] for image in ground_truth.images} - metric.image_ids)
        if num_unseen:
            logger.warning(
                "COCO protocol: %d of the %d images of %s were not run; they count as images where "
                "nothing was found",
                num_unseen,
                len(ground_truth.images),
                self._dataset_name,
            )
        if self._max_detections != MAX_DETECTIONS:
            logger.info(
                "COCO protocol: up to %d detections of a class in an image count; COCO's own limit "
                "is %d",
                self._max_detections,
                MAX_DETECTIONS,
            )
        all_scores = {}
        for task in metric.tasks:
            scores = self._score(metric, ground_truth, task)
            if scores is not None:
                logger.info("%s", scores)
                all_scores[task] = scores.as_results()
        return all_scores

    @functools.cached_property
    def _ground_truth(self) -> CocoGroundTruth:
        return load_coco_ground_truth(self._dataset_name)

    def _score(
        self, metric: CocoInstanceMetric, ground_truth: CocoGroundTruth, task: Task
    ) -> InstanceScores | None:
        """Score a task, or say why it can't be."""
        task_ground_truth = ground_truth.with_masks() if task == "segm" else ground_truth
        num_without_mask = len(ground_truth.annotations) - len(task_ground_truth.annotations)
        if not any(not annotation["iscrowd"] for annotation in task_ground_truth.annotations):
            logger.info(
                "COCO protocol, %s: no ground truth in %s: predictions are saved, not scored",
                task,
                self._dataset_name,
            )
            return None
        if num_without_mask:
            logger.warning(
                "COCO protocol, %s: %d annotations of %s have no mask and are left out",
                task,
                num_without_mask,
                self._dataset_name,
            )
        logger.info("COCO protocol, %s: scoring %s ...", task, self._dataset_name)
        return metric.compute(task_ground_truth, task, self._max_detections)
