"""Instance AP by the Cityscapes protocol.

The rules are those of `cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling`
(https://www.cityscapes-dataset.com/benchmarks/#instance-level-scene-labeling-task), quirks
included; the way there is another: an image is reduced to the pixel counts of its segments and of
their overlaps, all thresholds and classes are scored from these counts at the end.

Boundary AP (Cheng et al. 2021) follows its authors' version of that script
(https://github.com/bowenc0221/boundary-iou-api). It departs from mask AP in the pairs only: one is
worth the lesser of its IoU and its Boundary IoU, and exists only where both boundaries have a pixel
in common. So a group whose contour a prediction doesn't touch is no reason to ignore it. How much
of a prediction lies on void or on an ignored segment is a share of whole masks.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from cityscapesscripts.helpers.labels import id2label, labels
from detectron2.config import CfgNode
from detectron2.evaluation import DatasetEvaluator

from segtron.data.category_ids import thing_category_ids
from segtron.data.cityscapes import FIRST_INSTANCE_ID, THING_LABELS, label_ids_of
from segtron.data.image_io import read_ids
from segtron.data.masks import bounding_slices
from segtron.errors import UserError
from segtron.evaluation.boundary import boundary_of_labels, boundary_width, hollow_out
from segtron.evaluation.gather import merge_over_processes
from segtron.evaluation.image_metric import ImageMetric
from segtron.evaluation.model_output import predicted_instances
from segtron.evaluation.scores import InstanceScores

logger = logging.getLogger(__name__)

# IoU has to exceed these. `arange`, not `linspace`: its last digits are the official ones.
OVERLAPS = np.arange(0.5, 1.0, 0.05)
# Smaller ground truth [pixels] need not be found.
MIN_REGION_SIZE = 100
CLASSES = {label.id: label.name for label in THING_LABELS}
# Compared with the ids as they are, so an instance of a void class (caravan, trailer) is not void.
VOID_IDS = [label.id for label in labels if label.ignoreInEval and label.id >= 0]


class _Image(NamedTuple):
    """The pixel counts of one image: G ground-truth segments of the eight classes (groups and small
    ones too), P predictions, M pairs of the same class that overlap."""

    gt_ids: np.ndarray  # (G,) int32
    gt_pixels: np.ndarray  # (G,) int32
    labels: np.ndarray  # (P,) int32
    scores: np.ndarray  # (P,) float64
    pixels: np.ndarray  # (P,) int32
    void_pixels: np.ndarray  # (P,) int32
    pair_prediction: np.ndarray  # (M,) int32, index into P
    pair_gt: np.ndarray  # (M,) int32, index into G
    pair_pixels: np.ndarray  # (M,) int32
    pair_iou: np.ndarray  # (M,) float64
    pair_boundary_iou: np.ndarray  # (M,) float64, 0 also where boundaries aren't looked at


class CityscapesInstanceMetric(ImageMetric[_Image]):
    """Cityscapes instance AP from masks in memory: update, merge, compute.

    The state is some dozens of bytes a predicted instance, whatever the image's size. The result
    doesn't depend on the order of images: the official integration looks at equal scores at once.

    With a boundary ratio, each mask is looked at once for mask AP and Boundary AP.

    Example:
        >>> metric = CityscapesInstanceMetric()
        >>> for name, instance_ids, masks, label_ids, scores in images:
        ...     metric.update(name, instance_ids, masks, label_ids, scores)
        >>> print(metric.compute())
    """

    def __init__(self, boundary_ratio: float = 0.0) -> None:
        """
        Args:
            boundary_ratio: what counts as a mask's boundary in Boundary AP, as a share of the
                image's diagonal (`segtron.evaluation.boundary.boundary_width`); 0 to leave it out.
        """
        super().__init__()
        self.boundary_ratio = boundary_ratio

    def update(
        self,
        image_id: Hashable,
        instance_ids: np.ndarray,
        masks: Iterable[np.ndarray],
        label_ids: np.ndarray,
        scores: np.ndarray,
    ) -> None:
        """Add an image; one that is there already (a sampler's padding) is left as it is.

        Args:
            image_id: names the image, alike in every process.
            instance_ids: (H, W) unsigned integers, the ground truth as in `*_instanceIds.png`.
            masks: P predictions, each (H, W) bool; they may overlap.
            label_ids: (P,) Cityscapes label ids. Other labels than the eight classes of the
                protocol are skipped, and so are empty masks.
            scores: (P,) confidences.

        Raises:
            ValueError: a mask of another size, an id that Cityscapes doesn't know, a score that
                is not a finite number.
        """
        if image_id in self._images:
            return
        scores = np.asarray(scores, dtype=np.float64)
        if not np.isfinite(scores).all():
            raise ValueError(f"{image_id}: a predicted instance has a score that is no number")

        pixels_of_id = np.bincount(instance_ids.ravel())
        present = np.flatnonzero(pixels_of_id)
        labels_present = label_ids_of(present)
        _check_labels(labels_present, image_id, "ground truth")
        _check_labels(np.unique(label_ids), image_id, "predictions")
        scored = np.isin(labels_present, list(CLASSES))
        gt_ids, gt_labels = present[scored], labels_present[scored]

        # What a pixel counts for: 0 nothing, 1 void, from 2 on the segments in `gt_ids`.
        role_of_id = np.zeros(max(len(pixels_of_id), max(VOID_IDS) + 1), dtype=np.intp)
        role_of_id[VOID_IDS] = 1
        role_of_id[gt_ids] = np.arange(2, len(gt_ids) + 2)

        boundaries = _Boundaries(instance_ids, self.boundary_ratio) if self.boundary_ratio else None
        rows: list[tuple[int, float, int, int]] = []
        pairs: list[np.ndarray] = []
        boundary_ious: list[np.ndarray] = []
        for mask, label_id, score in zip(masks, label_ids, scores, strict=True):
            if mask.shape != instance_ids.shape:
                raise ValueError(
                    f"{image_id}: a predicted mask is {_size(mask)} and the ground truth "
                    f"{_size(instance_ids)}"
                )
            window = bounding_slices(mask) if label_id in CLASSES else None
            if window is None:
                continue
            covered = instance_ids[window][mask[window]]
            counts = np.bincount(role_of_id[covered], minlength=len(gt_ids) + 2)
            (hit,) = np.nonzero((counts[2:] > 0) & (gt_labels == label_id))
            pairs.append(np.stack([np.full_like(hit, len(rows)), hit, counts[2:][hit]]))
            rows.append((int(label_id), score, covered.size, counts[1]))
            if boundaries is not None:
                boundary_ious.append(boundaries.iou(mask, window, gt_ids[hit]))

        pair_columns = np.concatenate(pairs, axis=1) if pairs else np.zeros((3, 0), dtype=np.intp)
        pair_prediction, pair_gt, common = pair_columns
        columns = np.array(rows, dtype=np.float64).reshape(-1, 4).T
        gt_pixels, pixels = pixels_of_id[gt_ids], columns[2]
        self._images[image_id] = _Image(
            gt_ids.astype(np.int32),
            gt_pixels.astype(np.int32),
            columns[0].astype(np.int32),
            columns[1].copy(),
            pixels.astype(np.int32),
            columns[3].astype(np.int32),
            *pair_columns.astype(np.int32),
            pair_iou=common / (gt_pixels[pair_gt] + pixels[pair_prediction] - common),
            pair_boundary_iou=(
                np.concatenate(boundary_ious) if boundary_ious else np.zeros(len(common))
            ),
        )

    def average_precisions(self) -> np.ndarray:
        """AP in [0, 1] of each class at each overlap.

        Returns:
            (8, 10) float64 in the order of `CLASSES` and `OVERLAPS`; nan for a class with no ground
            truth that has to be found. Where the predictions of a class are all ignored (on void or
            groups) the official script fails; here they find nothing, and AP is 0.
        """
        return _class_aps(self._all_images())

    def boundary_average_precisions(self) -> np.ndarray:
        """Boundary AP in [0, 1] of each class at each overlap.

        Returns:
            (8, 10) float64, see `average_precisions`.

        Raises:
            ValueError: the metric has no boundary ratio.
        """
        return _class_aps(self._all_images_by_boundary())

    def compute(self) -> InstanceScores:
        """AP and AP50 in percent, as the official script averages them."""
        return self._score(self._all_images(), "Cityscapes protocol, instances")

    def compute_boundary(self) -> InstanceScores:
        """Boundary AP, and that at the overlap 0.5, in percent.

        Raises:
            ValueError: the metric has no boundary ratio.
        """
        return self._score(
            self._all_images_by_boundary(),
            "Cityscapes protocol, instances, boundary within "
            f"{100 * self.boundary_ratio:g}% of the diagonal",
        )

    def _all_images(self) -> _Image:
        return _concatenate(list(self._images.values()))

    def _all_images_by_boundary(self) -> _Image:
        """All images with the pairs of Boundary AP, fewer and of lesser overlap."""
        if not self.boundary_ratio:
            raise ValueError("no boundaries were looked at; give the metric a boundary ratio")
        images = self._all_images()
        meet = images.pair_boundary_iou > 0
        return images._replace(
            pair_prediction=images.pair_prediction[meet],
            pair_gt=images.pair_gt[meet],
            pair_pixels=images.pair_pixels[meet],
            pair_iou=np.minimum(images.pair_iou, images.pair_boundary_iou)[meet],
            pair_boundary_iou=images.pair_boundary_iou[meet],
        )

    def _score(self, all_images: _Image, protocol: str) -> InstanceScores:
        aps = 100 * _class_aps(all_images)
        wanted = label_ids_of(all_images.gt_ids[_to_find(all_images)])
        return InstanceScores(
            protocol=protocol,
            num_images=len(self),
            overall={"AP": _mean(aps), "AP50": _mean(aps[:, 0])},
            per_class={
                name: {"AP": float(np.mean(ap)), "AP50": float(ap[0])}
                for name, ap in zip(CLASSES.values(), aps, strict=True)
            },
            num_ground_truth={
                name: int(np.count_nonzero(wanted == label_id))
                for label_id, name in CLASSES.items()
            },
            num_predicted={
                name: int(np.count_nonzero(all_images.labels == label_id))
                for label_id, name in CLASSES.items()
            },
        )


class _Boundaries:
    """The boundaries of all ground-truth segments of an image."""

    def __init__(self, instance_ids: np.ndarray, boundary_ratio: float) -> None:
        self._distance = boundary_width(*instance_ids.shape, boundary_ratio)
        is_boundary = boundary_of_labels(instance_ids, boundary_ratio)
        self._pixels_of_id = np.bincount(instance_ids[is_boundary])
        # No segment of the eight classes has the id 0.
        self._ids = np.where(is_boundary, instance_ids, 0)

    def iou(
        self, mask: np.ndarray, window: tuple[slice, slice], segment_ids: np.ndarray
    ) -> np.ndarray:
        """The Boundary IoU of a predicted mask with some segments.

        Args:
            mask: (H, W) bool.
            window: holds every pixel of it.
            segment_ids: (S,) instance ids.

        Returns:
            (S,) float64.
        """
        if not segment_ids.size:
            return np.zeros(0)
        is_boundary = mask[window].copy()
        hollow_out(is_boundary, self._distance)
        found = self._ids[window][is_boundary]
        common = np.bincount(found, minlength=len(self._pixels_of_id))[segment_ids]
        return common / (self._pixels_of_id[segment_ids] + found.size - common)


def _class_aps(all_images: _Image) -> np.ndarray:
    """AP of each class at each overlap, see `CityscapesInstanceMetric.average_precisions`."""
    aps = np.full((len(CLASSES), len(OVERLAPS)), np.nan)
    for row, label_id in enumerate(CLASSES):
        one = _select(all_images, label_id)
        if _to_find(one).any():
            aps[row] = [_average_precision(*_outcomes(one, overlap)) for overlap in OVERLAPS]
    return aps


def _outcomes(one: _Image, overlap: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Match predictions with the ground truth of one class.

    Returns:
        The scores of true positives, those of false positives, and the number of ground-truth
        instances that nothing matches.
    """
    to_find = _to_find(one)
    above = one.pair_iou > overlap

    # Masks may overlap, so several can match one instance: the best is true, the others are false.
    match = np.flatnonzero(above & to_find[one.pair_gt])
    match_scores = one.scores[one.pair_prediction[match]]
    order = np.lexsort((-match_scores, one.pair_gt[match]))
    match_scores = match_scores[order]
    matched, best = np.unique(one.pair_gt[match][order], return_index=True)
    is_best = np.zeros(len(match), dtype=bool)
    is_best[best] = True

    # What matches nothing is false, unless it lies on void, groups and small instances for the
    # most part. A group that is small as well counts twice, as it does officially.
    pair_is_group = one.gt_ids[one.pair_gt] < FIRST_INSTANCE_ID
    pair_is_small = one.gt_pixels[one.pair_gt] < MIN_REGION_SIZE
    ignored = one.void_pixels + np.bincount(
        one.pair_prediction,
        weights=one.pair_pixels * (pair_is_group.astype(int) + pair_is_small),
        minlength=len(one.pixels),
    )
    unmatched = np.ones(len(one.pixels), dtype=bool)
    unmatched[one.pair_prediction[above]] = False
    false = unmatched & (ignored / one.pixels <= overlap)

    return (
        match_scores[is_best],
        np.concatenate([match_scores[~is_best], one.scores[false]]),
        int(np.count_nonzero(to_find)) - len(matched),
    )


def _average_precision(true: np.ndarray, false: np.ndarray, num_missed: int) -> float:
    """The area below the precision-recall curve, by Cityscapes' integration.

    Args:
        true: scores of true positives.
        false: scores of false positives.
        num_missed: ground-truth instances that no prediction matches.
    """
    scores = np.concatenate([true, false])
    if not scores.size:
        return 0.0
    order = np.argsort(scores, kind="stable")
    is_true = (order < len(true)).astype(np.float64)
    _, first = np.unique(scores[order], return_index=True)
    # One point of the curve for each distinct score, at which all that scores less is dropped.
    num_true_below = np.concatenate([[0.0], np.cumsum(is_true)])[first]
    num_true = len(true) - num_true_below
    num_false = len(scores) - first - num_true
    precision = np.append(num_true / (num_true + num_false), 1.0)
    recall = np.append(num_true / (len(true) + num_missed), 0.0)
    # Each point's width reaches half-way to its neighbours.
    step_widths = np.convolve(np.concatenate([recall[:1], recall, [0.0]]), [-0.5, 0, 0.5], "valid")
    return float(np.dot(precision, step_widths))


def _to_find(images: _Image) -> np.ndarray:
    """(G,) bool: ground truth that a prediction has to find, no group and not too small."""
    return (images.gt_ids >= FIRST_INSTANCE_ID) & (images.gt_pixels >= MIN_REGION_SIZE)


def _select(images: _Image, label_id: int) -> _Image:
    """The segments of one class. Pairs are of one class, so none is torn apart."""
    of_gt, of_prediction = label_ids_of(images.gt_ids) == label_id, images.labels == label_id
    of_pair = of_gt[images.pair_gt]
    return _Image(
        images.gt_ids[of_gt],
        images.gt_pixels[of_gt],
        images.labels[of_prediction],
        images.scores[of_prediction],
        images.pixels[of_prediction],
        images.void_pixels[of_prediction],
        (np.cumsum(of_prediction) - 1)[images.pair_prediction[of_pair]],
        (np.cumsum(of_gt) - 1)[images.pair_gt[of_pair]],
        images.pair_pixels[of_pair],
        images.pair_iou[of_pair],
        images.pair_boundary_iou[of_pair],
    )


def _concatenate(images: list[_Image]) -> _Image:
    """All images as one, the indices of pairs moved on; counts in int64."""
    nothing = _Image(*(np.zeros(0, dtype=np.int64) for _ in _Image._fields))
    joined = _Image(*(np.concatenate(column) for column in zip(nothing, *images, strict=True)))
    num_pairs = [len(image.pair_gt) for image in images]
    joined.pair_prediction[:] += _offsets([len(image.pixels) for image in images], num_pairs)
    joined.pair_gt[:] += _offsets([len(image.gt_ids) for image in images], num_pairs)
    return joined


def _offsets(lengths: list[int], repeats: list[int]) -> np.ndarray:
    """Where each part starts once parts of these lengths are joined, repeated as often as given."""
    ends = np.cumsum(lengths, dtype=np.int64)
    return np.repeat(ends - np.array(lengths, dtype=np.int64), repeats)


def _check_labels(label_ids: np.ndarray, image_id: Hashable, where: str) -> None:
    for label_id in label_ids:
        if int(label_id) not in id2label:
            raise ValueError(
                f"{image_id}: label id {label_id} in the {where} is none of Cityscapes"
            )


def _mean(aps: np.ndarray) -> float:
    return float(np.nanmean(aps)) if not np.isnan(aps).all() else float("nan")


def _size(array: np.ndarray) -> str:
    return "x".join(str(length) for length in reversed(array.shape))


class CityscapesInstanceEvaluator(DatasetEvaluator):
    """Score a model's instances by the Cityscapes protocol, with no file in between.

    `evaluate` returns {"cityscapes_segm": {"AP", "AP50", "AP-person", ..., "AP50-person", ...}} in
    percent, and "cityscapes_boundary" with the same keys where Boundary AP is asked for; nothing
    where the dataset has no ground truth or the model no masks.
    """

    needs = "instances"

    def __init__(self, dataset_name: str, *, boundary_ratio: float = 0.0) -> None:
        """
        Args:
            dataset_name: a registered set with Cityscapes' layout, whose dicts have
                `instance_ids_file_name`.
            boundary_ratio: see `CityscapesInstanceMetric`.
        """
        self._dataset_name = dataset_name
        self._boundary_ratio = boundary_ratio
        self._label_ids = thing_category_ids(dataset_name)
        self.reset()

    @classmethod
    def from_config(
        cls, cfg: CfgNode, dataset_name: str, output_dir: str | Path | None
    ) -> CityscapesInstanceEvaluator:
        return cls(dataset_name, boundary_ratio=cfg.TEST.BOUNDARY_RATIO)

    def reset(self) -> None:
        self._metric = CityscapesInstanceMetric(self._boundary_ratio)

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        for input_, output in zip(inputs, outputs, strict=True):
            instances = predicted_instances(output, self._dataset_name, len(self._label_ids))
            path = input_.get("instance_ids_file_name")
            if path is None or not instances.has("pred_masks"):
                continue
            try:
                self._metric.update(
                    input_["image_id"],
                    read_ids(path),
                    instances.pred_masks.numpy().astype(bool, copy=False),
                    self._label_ids[instances.pred_classes.numpy()],
                    instances.scores.numpy(),
                )
            except ValueError as error:
                raise UserError(f"{path}: {error}") from error

    def evaluate(self) -> dict[str, dict[str, float]]:
        metric = merge_over_processes(self._metric)
        if metric is None:
            return {}
        scores = metric.compute()
        if not any(scores.num_ground_truth.values()):
            logger.info(
                "Cityscapes protocol, instances: %s: predictions are not scored",
                f"no ground truth in {self._dataset_name}"
                if len(metric)
                else f"no image of {self._dataset_name} has both ground truth and predicted masks",
            )
            return {}
        logger.info("%s", scores)
        results = {"cityscapes_segm": scores.as_results(("AP", "AP50"))}
        if self._boundary_ratio:
            scores = metric.compute_boundary()
            logger.info("%s", scores)
            results["cityscapes_boundary"] = scores.as_results(("AP", "AP50"))
        return results
