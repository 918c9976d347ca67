"""Scoring a model's boxes and masks by the COCO protocol, and where it loses points."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.evaluation import DatasetEvaluator

from segtron.data.category_ids import thing_category_ids
from segtron.errors import UserError
from segtron.evaluation.boundary_ap import compute_boundary_ap
from segtron.evaluation.coco import (
    MAX_DETECTIONS,
    CocoComparison,
    CocoInstanceMetric,
    Task,
    instances_to_coco_results,
)
from segtron.evaluation.coco_ground_truth import CocoGroundTruth, load_coco_ground_truth
from segtron.evaluation.error_types import score_error_types
from segtron.evaluation.gather import merge_over_processes
from segtron.evaluation.instance_matching import match_instances
from segtron.evaluation.model_output import predicted_instances
from segtron.evaluation.precision_recall import score_precision_recall
from segtron.evaluation.score_files import write_scores
from segtron.evaluation.scores import InstanceScores
from segtron.evaluation.size_breakdown import score_sizes
from segtron.files import write_json

logger = logging.getLogger(__name__)

RESULTS_FILE = "coco_instances_results.json"
# What is saved of where points are lost, each as <name>_<task>.json.
ERROR_TYPES_FILES, PRECISION_RECALL_FILES, SIZES_FILES = "error_types", "precision_recall", "sizes"


class CocoInstanceEvaluator(DatasetEvaluator):
    """Score a model's boxes and masks by the COCO protocol.

    `evaluate` returns {"bbox": {"AP", "AP50", "AP75", "APs", "APm", "APl", "AP-person", ...},
    "segm": {...}} in percent, "segm" where model and ground truth have masks, and "boundary" beside
    it where it is asked for; nothing where there is no ground truth. A class without ground truth
    is nan and stays out of the mean.

    Saved in the output folder: the results, in any case, as `coco_instances_results.json`; and
    where they are scored, for each task, error types, precision and recall, and sizes.
    """

    needs = "instances"

    def __init__(
        self,
        dataset_name: str,
        *,
        output_dir: str | Path | None = None,
        max_detections: int = MAX_DETECTIONS,
        boundary_ratio: float = 0.0,
    ) -> None:
        """
        Args:
            dataset_name: a registered set with instances.
            output_dir: folder of what is saved; None to save nothing.
            boundary_ratio: what counts as a mask's boundary in Boundary AP, as a part of the
                image's diagonal; 0 to leave it out.
            max_detections: how many detections of a class in an image count. COCO's own number is
                100; images with more instances need more.
        """
        self._dataset_name = dataset_name
        self._category_ids = thing_category_ids(dataset_name)
        self._output_dir = output_dir
        self._max_detections = max_detections
        self._boundary_ratio = boundary_ratio
        self.reset()

    @classmethod
    def from_config(
        cls, cfg: CfgNode, dataset_name: str, output_dir: str | Path | None
    ) -> CocoInstanceEvaluator:
        return cls(
            dataset_name,
            output_dir=output_dir,
            max_detections=max(MAX_DETECTIONS, cfg.TEST.DETECTIONS_PER_IMAGE),
            boundary_ratio=cfg.TEST.BOUNDARY_RATIO,
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
            path = Path(self._output_dir) / RESULTS_FILE
            write_json(path, list(metric.results()))
            logger.info("COCO protocol: predictions saved in %s", path)

        ground_truth = self._ground_truth
        num_unseen = len(
            {image["id"] for image in ground_truth.images}.difference(metric.image_ids)
        )
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
            task_ground_truth = self._scorable(ground_truth, task)
            if task_ground_truth is None:
                continue
            comparison = metric.compare(task_ground_truth, task)
            scores = comparison.score(self._max_detections)
            logger.info("%s", scores)
            all_scores[task] = scores.as_results()
            self._diagnose(comparison, scores, is_logged=task == metric.tasks[-1])
            if task == "segm" and self._boundary_ratio:
                scores = compute_boundary_ap(comparison, self._boundary_ratio, self._max_detections)
                logger.info("%s", scores)
                all_scores["boundary"] = scores.as_results()
        return all_scores

    @functools.cached_property
    def _ground_truth(self) -> CocoGroundTruth:
        return load_coco_ground_truth(self._dataset_name)

    def _scorable(self, ground_truth: CocoGroundTruth, task: Task) -> CocoGroundTruth | None:
        """What a task is scored against, or None, and why it can't be."""
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
        return task_ground_truth

    def _diagnose(
        self, comparison: CocoComparison, scores: InstanceScores, *, is_logged: bool
    ) -> None:
        """Say where points are lost, in files and, for the task that matters most, in the log."""
        matches = match_instances(comparison, self._max_detections)
        errors, curves = score_error_types(matches), score_precision_recall(matches)
        if is_logged:
            logger.info("%s", errors)
            logger.info("%s", curves)
        if self._output_dir:
            sizes = score_sizes(matches, scores)
            for name, found in (
                (ERROR_TYPES_FILES, errors),
                (PRECISION_RECALL_FILES, curves),
                (SIZES_FILES, sizes),
            ):
                path = Path(self._output_dir) / f"{name}_{comparison.task}.json"
                write_scores(path, found)
