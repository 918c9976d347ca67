"""Boundary IoU of semantic segmentation: each class's region is a mask, and its boundary counts."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from segtron.data.sem_seg import IGNORED
from segtron.evaluation.boundary import DILATION_RATIO, boundary_of_labels
from segtron.evaluation.confusion import check_classes, joint_histogram
from segtron.evaluation.image_metric import ImageMetric
from segtron.evaluation.scores import SemSegBoundaryScores


class _Pixels(NamedTuple):
    """The boundary pixels of each class that an image has or is said to have."""

    classes: np.ndarray  # (N,) the smallest unsigned integers that hold all classes
    common: np.ndarray  # (N,) int32, in both boundaries
    ground_truth: np.ndarray  # (N,) int32
    prediction: np.ndarray  # (N,) int32


class SemSegBoundaryMetric(ImageMetric[_Pixels]):
    """Boundary IoU from label maps in memory: update, merge, compute.

    As for IoU, intersections and unions are summed over images before they are divided, and a class
    without ground truth stays out of the mean. Pixels without a class in the ground truth have none
    in the prediction either: both masks end there, so that nothing is lost along such an edge.
    Where a prediction names no class, nothing is found.

    The state is 13 bytes for each class of an image.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        dilation_ratio: float = DILATION_RATIO,
        ignore_label: int = IGNORED,
    ) -> None:
        """
        Args:
            class_names: K names, in the order of the classes.
            dilation_ratio: see `segtron.evaluation.boundary.boundary_width`.
            ignore_label: what the ground truth has in pixels that don't count, and predictions
                where they name no class; no class.
        """
        super().__init__()
        self.class_names = tuple(class_names)
        self.dilation_ratio = dilation_ratio
        self._ignore_label = ignore_label

    def update(self, image_id: Hashable, prediction: np.ndarray, ground_truth: np.ndarray) -> None:
        """Add an image; one that is there already (a sampler's padding) is left as it is.

        Args:
            image_id: names the image, alike in every process.
            prediction: (H, W) integers, classes 0 to K - 1 or the ignored label.
            ground_truth: (H, W) integers, likewise.

        Raises:
            ValueError: the maps differ in size, or one has a value that is no class.
        """
        if image_id in self._images:
            return
        try:
            self._images[image_id] = self._count(prediction, ground_truth)
        except ValueError as error:
            raise ValueError(f"{image_id}: {error}") from error

    def compute(self) -> SemSegBoundaryScores:
        """The scores of all images together."""
        common, wanted, found = totals = np.zeros((3, len(self.class_names)), dtype=np.int64)
        for image in self._images.values():
            totals[:, image.classes] += image[1:]
        present = wanted > 0
        iou = np.full(len(self.class_names), np.nan)
        iou[present] = 100 * common[present] / (wanted + found - common)[present]
        return SemSegBoundaryScores(
            dilation_ratio=self.dilation_ratio,
            num_images=len(self),
            overall={"mBIoU": float(iou[present].mean()) if present.any() else float("nan")},
            per_class={
                name: {"BIoU": float(value)}
                for name, value in zip(self.class_names, iou, strict=True)
            },
            num_ground_truth=_by_name(self.class_names, wanted),
            num_predicted=_by_name(self.class_names, found),
        )

    def _count(self, prediction: np.ndarray, ground_truth: np.ndarray) -> _Pixels:
        if prediction.shape != ground_truth.shape:
            raise ValueError(
                f"the prediction has the shape {prediction.shape} and the ground truth "
                f"{ground_truth.shape}"
            )
        num_classes = len(self.class_names)
        named = prediction != self._ignore_label
        labelled = ground_truth != self._ignore_label
        for where, classes in (
            ("prediction", prediction[named]),
            ("ground truth", ground_truth[labelled]),
        ):
            check_classes(where, _extremes(classes), num_classes, ignored=self._ignore_label)
        # What is no class's boundary gets the number after the last class.
        dtype = np.min_scalar_type(num_classes)
        nothing = dtype.type(num_classes)
        sides = []
        for labels, has_class in ((ground_truth, labelled), (prediction, labelled & named)):
            classes = np.where(has_class, labels, nothing).astype(dtype, copy=False)
            is_boundary = boundary_of_labels(classes, self.dilation_ratio)
            sides.append(np.where(is_boundary, classes, nothing))
        pairs = joint_histogram(*sides)
        common = np.where(pairs.ground_truth == pairs.prediction, pairs.pixels, 0)
        counts = np.array(
            [
                np.bincount(classes, weights=pixels, minlength=num_classes + 1)[:num_classes]
                for classes, pixels in (
                    (pairs.ground_truth, common),
                    (pairs.ground_truth, pairs.pixels),
                    (pairs.prediction, pairs.pixels),
                )
            ]
        ).astype(np.int32)
        seen = np.flatnonzero(counts.any(axis=0))
        return _Pixels(seen.astype(dtype), *counts[:, seen])


def _extremes(classes: np.ndarray) -> np.ndarray:
    """The smallest and the largest of the classes, or nothing."""
    return np.array([classes.min(), classes.max()] if classes.size else [], dtype=np.int64)


def _by_name(names: Sequence[str], pixels: np.ndarray) -> dict[str, int]:
    return {name: int(number) for name, number in zip(names, pixels, strict=True)}
