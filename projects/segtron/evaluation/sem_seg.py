"""Semantic segmentation by Detectron2's rules: mIoU, fwIoU, mACC, pACC.

The rules are those of `detectron2.evaluation.SemSegEvaluator`. Only pixels whose ground truth has a
class count, and a class without ground truth stays out of all means, however often it is predicted.
Cityscapes' own mean differs in that: there a class that is predicted and nowhere present counts 0
(`segtron.evaluation.cityscapes_sem_seg`).
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.evaluation import DatasetEvaluator

from segtron.data.classes import is_panoptic, known_metadata
from segtron.data.sem_seg import IGNORED, MAX_CLASSES, read_sem_seg
from segtron.errors import UserError
from segtron.evaluation.boundary_sem_seg import SemSegBoundaryMetric
from segtron.evaluation.confusion import (
    JointHistogram,
    check_classes,
    count_matrix,
    joint_histogram,
    save_confusion_matrix,
    stack_histograms,
)
from segtron.evaluation.gather import merge_over_processes
from segtron.evaluation.image_metric import ImageMetric
from segtron.evaluation.label_files import LabelFiles, write_labels
from segtron.evaluation.model_output import (
    naming_ground_truth,
    predicted_sem_seg,
    stuff_class_values,
)
from segtron.evaluation.scores import SemSegScores

logger = logging.getLogger(__name__)

# What is saved beside the predictions.
CONFUSION_FILE = "confusion_matrix.csv"


class SemSegMetric(ImageMetric[JointHistogram]):
    """IoU and accuracy from label maps in memory: update, merge, compute.

    The state is a sparse confusion matrix an image: six bytes for each pair of classes that meet
    there, whatever the image's size. So an image counts once, in whatever shards it was seen, and
    can be scored on its own.

    Example:
        >>> metric = SemSegMetric(["road", "car"])
        >>> for name, prediction, ground_truth in images:
        ...     metric.update(name, prediction, ground_truth)
        >>> print(metric.compute())
    """

    def __init__(self, class_names: Sequence[str], ignore_label: int = IGNORED) -> None:
        """
        Args:
            class_names: K names, in the order of the classes.
            ignore_label: what the ground truth has in pixels that don't count.
        """
        super().__init__()
        self.class_names = tuple(class_names)
        self._ignore_label = ignore_label

    def update(self, image_id: Hashable, prediction: np.ndarray, ground_truth: np.ndarray) -> None:
        """Add an image; one that is there already (a sampler's padding) is left as it is.

        Args:
            image_id: names the image, alike in every process.
            prediction: (H, W) integers, classes 0 to K - 1.
            ground_truth: (H, W) integers, classes 0 to K - 1 or the ignored label.

        Raises:
            ValueError: the maps differ in size, or one has a value that is no class.
        """
        if image_id in self._images:
            return
        num_classes = len(self.class_names)
        try:
            histogram = joint_histogram(ground_truth, prediction)
            check_classes("prediction", histogram.prediction, num_classes)
            labelled = histogram.ground_truth != self._ignore_label
            histogram = JointHistogram(*(column[labelled] for column in histogram))
            check_classes(
                "ground truth", histogram.ground_truth, num_classes, ignored=self._ignore_label
            )
        except ValueError as error:
            raise ValueError(f"{image_id}: {error}") from error
        dtype = np.min_scalar_type(num_classes)
        self._images[image_id] = JointHistogram(
            histogram.ground_truth.astype(dtype),
            histogram.prediction.astype(dtype),
            histogram.pixels,
        )

    def confusion_matrix(self) -> np.ndarray:
        """The pixels of all images by ground truth (rows) and prediction (columns).

        Returns:
            (K, K) int64. Ignored pixels are not in it.
        """
        ground_truth, prediction, pixels, _ = stack_histograms(self._images.values())
        return count_matrix(ground_truth, prediction, pixels, len(self.class_names))

    def compute(self) -> SemSegScores:
        """The scores of all images together."""
        return score_confusion_matrix(
            self.confusion_matrix(), self.class_names, num_images=len(self)
        )


def score_confusion_matrix(
    confusion_matrix: np.ndarray, class_names: Sequence[str], *, num_images: int
) -> SemSegScores:
    """Score a confusion matrix by Detectron2's rules.

    Args:
        confusion_matrix: (K, K) integers, pixels by ground truth (rows) and prediction (columns).
        class_names: K names.
        num_images: how many images it sums up.
    """
    true = np.diagonal(confusion_matrix).astype(np.float64)
    wanted, found = confusion_matrix.sum(axis=1), confusion_matrix.sum(axis=0)
    present = wanted > 0
    iou, accuracy = np.full((2, len(class_names)), np.nan)
    iou[present] = 100 * true[present] / (wanted + found - true)[present]
    accuracy[present] = 100 * true[present] / wanted[present]

    overall = dict.fromkeys(("mIoU", "fwIoU", "mACC", "pACC"), float("nan"))
    if present.any():
        overall = {
            "mIoU": float(iou[present].mean()),
            "fwIoU": float(np.average(iou[present], weights=wanted[present])),
            "mACC": float(accuracy[present].mean()),
            "pACC": float(100 * true.sum() / wanted.sum()),
        }
    return SemSegScores(
        num_images=num_images,
        overall=overall,
        per_class={
            name: {"IoU": float(iou[i]), "ACC": float(accuracy[i])}
            for i, name in enumerate(class_names)
        },
        num_ground_truth={name: int(n) for name, n in zip(class_names, wanted, strict=True)},
        num_predicted={name: int(n) for name, n in zip(class_names, found, strict=True)},
    )


class SemSegEvaluator(DatasetEvaluator):
    """Score a model's semantic segmentation by Detectron2's rules.

    `evaluate` returns {"sem_seg": {"mIoU", "fwIoU", "mACC", "pACC", "IoU-road", ..., "ACC-road",
    ...}} in percent, and "sem_seg_boundary": {"mBIoU", "BIoU-road", ...} where Boundary IoU is
    asked for; nothing where there is no ground truth.

    Saved in the output folder: the predicted classes of each image, with or without ground truth,
    in the data set's own values (see `LabelFiles`), and `confusion_matrix.csv` (pixels; a row is a
    class of the ground truth).
    """

    needs = "sem_seg"

    def __init__(
        self,
        dataset_name: str,
        *,
        output_dir: str | Path | None = None,
        save_labels: bool = True,
        boundary_ratio: float = 0.0,
    ) -> None:
        """
        Args:
            dataset_name: a registered set whose dicts have what `segtron.data.sem_seg.read_sem_seg`
                takes.
            output_dir: folder of what is saved; None to save nothing.
            save_labels: whether the predicted classes are saved, not only how often each was taken
                for which.
            boundary_ratio: what counts as a region's boundary in Boundary IoU, as a share of the
                image's diagonal; 0 to leave it out.

        Raises:
            UserError: the set has too many classes.
        """
        self._dataset_name = dataset_name
        self._output_dir = output_dir
        self._boundary_ratio = boundary_ratio
        self._label_files = (
            LabelFiles(output_dir, dataset_name) if output_dir and save_labels else None
        )
        # What the data set's label files have for each class.
        self._values = stuff_class_values(dataset_name)
        self._class_names = known_metadata(dataset_name, "stuff_classes").stuff_classes
        if len(self._class_names) > MAX_CLASSES:
            raise UserError(
                f"{dataset_name} has {len(self._class_names)} classes; semantic segmentation is "
                f"scored with up to {MAX_CLASSES}"
            )
        self.reset()

    @classmethod
    def from_config(
        cls, cfg: CfgNode, dataset_name: str, output_dir: str | Path | None
    ) -> SemSegEvaluator:
        # Of a panoptic set nothing is saved unasked, and then its own files hold the classes, too.
        return cls(
            dataset_name,
            output_dir=output_dir,
            save_labels=not is_panoptic(dataset_name),
            boundary_ratio=cfg.TEST.BOUNDARY_RATIO,
        )

    def reset(self) -> None:
        self._metric = SemSegMetric(self._class_names)
        self._boundary_metric: SemSegBoundaryMetric | None = None
        if self._boundary_ratio:
            self._boundary_metric = SemSegBoundaryMetric(self._class_names, self._boundary_ratio)

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        for input_, output in zip(inputs, outputs, strict=True):
            classes = predicted_sem_seg(output, self._dataset_name, len(self._class_names))
            if self._label_files is not None:
                write_labels(self._label_files.of(input_), self._values[classes])
            if input_.get("sem_seg_file_name") is not None:
                self._update(input_, classes, read_sem_seg(input_))

    def _update(
        self, input_: dict[str, Any], classes: np.ndarray, ground_truth: np.ndarray
    ) -> None:
        """Add an image that has ground truth.

        Args:
            input_: its dict.
            classes: (H, W) uint8, the prediction.
            ground_truth: (H, W) uint8, see `read_sem_seg`.

        Raises:
            UserError: the prediction doesn't fit the ground truth.
        """
        with naming_ground_truth(input_["sem_seg_file_name"], self._dataset_name):
            self._metric.update(image_id_of(input_), classes, ground_truth)
            if self._boundary_metric is not None:
                self._boundary_metric.update(image_id_of(input_), classes, ground_truth)

    def evaluate(self) -> dict[str, dict[str, float]]:
        metric = merge_over_processes(self._metric)
        results = {} if metric is None else self._report(metric)
        return results | self._evaluate_boundaries()

    def _report(self, metric: SemSegMetric) -> dict[str, dict[str, float]]:
        """Score all images together, save and log what comes out."""
        scores = metric.compute()
        if not any(scores.num_ground_truth.values()):
            logger.info(
                "%s: %s: predictions are not scored",
                scores.protocol,
                f"no pixel of {self._dataset_name} has a class"
                if len(metric)
                else f"no image of {self._dataset_name} has ground truth",
            )
            return {}
        logger.info("%s", scores)
        if self._output_dir:
            path = Path(self._output_dir) / CONFUSION_FILE
            save_confusion_matrix(path, metric.confusion_matrix(), self._class_names)
            logger.info("%s: confusion matrix saved in %s", scores.protocol, path)
        return {"sem_seg": scores.as_results()}

    def _evaluate_boundaries(self) -> dict[str, dict[str, float]]:
        """Score and log the boundaries of all images, if that is asked for. Every process has to
        call this."""
        if self._boundary_metric is None:
            return {}
        metric = merge_over_processes(self._boundary_metric)
        if metric is None:
            return {}
        scores = metric.compute()
        if not any(scores.num_ground_truth.values()):
            return {}
        logger.info("%s", scores)
        return {"sem_seg_boundary": scores.as_results()}


def image_id_of(input_: dict[str, Any]) -> Hashable:
    """What tells an image of a set from the others: its id, or its file where it has none, as in
    Detectron2's own dicts with label files."""
    image_id = input_.get("image_id")
    return input_["file_name"] if image_id is None else image_id
