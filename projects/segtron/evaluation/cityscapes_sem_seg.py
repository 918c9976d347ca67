"""Semantic segmentation by the Cityscapes protocol: IoU and iIoU of classes and categories.

The rules are those of `cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling`
(https://www.cityscapes-dataset.com/benchmarks/#pixel-level-semantic-labeling-task), quirks
included; the way there is another: an image is reduced to one joint histogram of instance ids and
predicted labels, from which all else follows.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from cityscapesscripts.helpers.labels import Label, category2labels, id2label

from segtron.data.cityscapes import FIRST_INSTANCE_ID, SEM_SEG_LABELS, THING_LABELS, label_ids_of
from segtron.data.image_io import read_ids
from segtron.data.sem_seg import IGNORED, check_label_size
from segtron.errors import UserError
from segtron.evaluation.confusion import (
    JointHistogram,
    count_matrix,
    joint_histogram,
    stack_histograms,
)
from segtron.evaluation.gather import merge_over_processes
from segtron.evaluation.image_metric import ImageMetric
from segtron.evaluation.model_output import naming_ground_truth
from segtron.evaluation.scores import CityscapesSemSegScores
from segtron.evaluation.sem_seg import SemSegEvaluator, image_id_of

logger = logging.getLogger(__name__)

# Label ids are 0 to NUM_LABELS - 1. The licence plate, -1, is never drawn.
NUM_LABELS = max(id2label) + 1
# Pixels of an average instance. In iIoU an instance counts as if it had so many.
AVERAGE_SIZES = {
    "person": 3462.4756337644,
    "rider": 3930.4788056518,
    "car": 12794.0202738185,
    "truck": 27855.1264367816,
    "bus": 35732.1511111111,
    "train": 67583.7075812274,
    "motorcycle": 6298.7200839748,
    "bicycle": 4672.3249222261,
}
_SCORED_IDS = [label.id for label in SEM_SEG_LABELS]
_THING_IDS = [label.id for label in THING_LABELS]
_AVERAGE_SIZE_OF_ID = np.full(NUM_LABELS, np.nan)
_AVERAGE_SIZE_OF_ID[_THING_IDS] = [AVERAGE_SIZES[label.name] for label in THING_LABELS]


class _Group(NamedTuple):
    """What gets a score: a class or a category."""

    name: str
    label_ids: list[int]  # that are scored
    labels_on_instances: list[int]  # that are right on its instances; empty: it has no iIoU


def _group(name: str, members: Iterable[Label]) -> _Group:
    drawn = [label for label in members if label.id >= 0]
    have_instances = all(label.hasInstances for label in drawn)
    return _Group(
        name,
        [label.id for label in drawn if not label.ignoreInEval],
        [label.id for label in drawn] if have_instances else [],
    )


CLASSES = [_group(label.name, [label]) for label in SEM_SEG_LABELS]
CATEGORIES = [
    group
    for group in (_group(name, members) for name, members in category2labels.items())
    if group.label_ids
]


class CityscapesSemSegMetric(ImageMetric[JointHistogram]):
    """Cityscapes IoU and iIoU from label maps in memory: update, merge, compute.

    The state is seven bytes for each pair of an instance id and a label predicted somewhere on it,
    about a kilobyte an image whatever its size. The result doesn't depend on the order of images,
    to the last bit.

    What the protocol says of the rare cases:

    - Where the ground truth is a label that isn't scored (void, parking, caravan, ...) nothing
      counts; but such a label predicted on a scored one is a miss.
    - A class (category) that is neither in the ground truth nor predicted on scored ground truth is
      nan and stays out of the mean; one that is only predicted counts 0.
    - Classes without instances have no iIoU. In the others groups need not be found, but are false
      positives where another class is predicted. So a class of which there are only groups, or
      nothing, has iIoU 0 if another's pixels are taken for it, else nan.
    - A category has an iIoU where all its labels have instances: human and vehicle. There a pixel
      of a car predicted as caravan is found, though in IoU it is missed.

    Example:
        >>> metric = CityscapesSemSegMetric()
        >>> for name, prediction, instance_ids in images:
        ...     metric.update(name, prediction, instance_ids)
        >>> print(metric.compute())
    """

    def update(self, image_id: Hashable, prediction: np.ndarray, instance_ids: np.ndarray) -> None:
        """Add an image; one that is there already (a sampler's padding) is left as it is.

        Args:
            image_id: names the image, alike in every process.
            prediction: (H, W) integers, label ids as in the results that the benchmark takes.
            instance_ids: (H, W) unsigned integers, the ground truth as in `*_instanceIds.png`. IoU
                is taken from it too, where the official script reads `*_labelIds.png`: the labels
                in both must be the same.

        Raises:
            ValueError: the maps differ in size, or one has an id that Cityscapes doesn't know.
        """
        if image_id in self._images:
            return
        try:
            histogram = joint_histogram(instance_ids, prediction)
            _check_prediction(histogram.prediction)
            _check_instance_ids(histogram.ground_truth)
        except ValueError as error:
            raise ValueError(f"{image_id}: {error}") from error
        self._images[image_id] = JointHistogram(
            histogram.ground_truth.astype(np.uint16),
            histogram.prediction.astype(np.uint8),
            histogram.pixels,
        )

    def confusion_matrix(self) -> np.ndarray:
        """The pixels of all images by label id of ground truth (rows) and prediction (columns).

        Returns:
            (34, 34) int64, with the labels that aren't scored.
        """
        ids, prediction, pixels, _ = stack_histograms(self._images.values())
        return count_matrix(label_ids_of(ids), prediction, pixels, NUM_LABELS)

    def compute(self) -> CityscapesSemSegScores:
        """IoU and iIoU in percent, as the official script averages them."""
        confusion = self.confusion_matrix()
        instances = self._instances()
        per_class, per_category = (
            {group.name: _score(group, confusion, instances) for group in groups}
            for groups in (CLASSES, CATEGORIES)
        )
        return CityscapesSemSegScores(
            num_images=len(self),
            overall={
                f"{metric}{suffix}": _mean(rows, metric)
                for rows, suffix in ((per_class, ""), (per_category, "_sup"))
                for metric in ("IoU", "iIoU")
            },
            per_class=per_class,
            per_category=per_category,
            num_ground_truth={
                label.name: int(confusion[label.id].sum()) for label in SEM_SEG_LABELS
            },
            num_predicted={
                label.name: int(confusion[_SCORED_IDS, label.id].sum()) for label in SEM_SEG_LABELS
            },
            num_instances={
                label.name: int(np.count_nonzero(instances.label_ids == label.id))
                for label in THING_LABELS
            },
        )

    def _instances(self) -> _Instances:
        ids, prediction, pixels, image = stack_histograms(self._images.values())
        of_thing = (ids >= FIRST_INSTANCE_ID) & np.isin(label_ids_of(ids), _THING_IDS)
        ids, prediction, pixels, image = (
            column[of_thing] for column in (ids, prediction, pixels, image)
        )
        # A histogram is sorted, so that an instance is a run.
        is_first = np.ones(len(ids), dtype=bool)
        is_first[1:] = (ids[1:] != ids[:-1]) | (image[1:] != image[:-1])
        instance = np.cumsum(is_first) - 1
        sizes = np.bincount(instance, weights=pixels, minlength=np.count_nonzero(is_first))
        return _Instances(label_ids_of(ids[is_first]), sizes, instance, prediction, pixels)


class _Instances(NamedTuple):
    """The I instances of all images, and what was predicted on them: N pairs of instance and
    label."""

    label_ids: np.ndarray  # (I,) int64
    sizes: np.ndarray  # (I,) float64, pixels
    pair_instance: np.ndarray  # (N,) int64, index into I
    pair_prediction: np.ndarray  # (N,) int64, label id
    pair_pixels: np.ndarray  # (N,) int64


def _score(group: _Group, confusion: np.ndarray, instances: _Instances) -> dict[str, float]:
    """The scores of a class or category in percent: "IoU", and "iIoU" where it has instances."""
    _, members, accepted = group
    others = [label_id for label_id in _SCORED_IDS if label_id not in members]
    true = int(confusion[np.ix_(members, members)].sum())
    # Whatever is predicted on a member is a miss, on a label that isn't scored it is nothing.
    missed = int(confusion[members].sum()) - true
    scores = {"IoU": _iou(true, missed, int(confusion[np.ix_(others, members)].sum()))}
    if accepted:
        true, missed = _weighted_pixels(members, accepted, instances)
        scores["iIoU"] = _iou(true, missed, int(confusion[np.ix_(others, accepted)].sum()))
    return scores


def _weighted_pixels(
    members: list[int], accepted: list[int], instances: _Instances
) -> tuple[float, float]:
    """True and missed pixels of the instances of a group, all instances counting alike.

    Args:
        members: label ids of the instances.
        accepted: label ids that are right on them.
        instances: of all groups.
    """
    right = np.isin(instances.pair_prediction, accepted)
    true = np.bincount(
        instances.pair_instance,
        weights=instances.pair_pixels * right,
        minlength=len(instances.sizes),
    )
    weights = _AVERAGE_SIZE_OF_ID[instances.label_ids] / instances.sizes
    in_group = np.isin(instances.label_ids, members)
    # fsum: the same to the last bit in whatever order images come.
    return (
        math.fsum((true * weights)[in_group]),
        math.fsum(((instances.sizes - true) * weights)[in_group]),
    )


def _iou(true: float, missed: float, false: float) -> float:
    union = true + missed + false
    return 100 * true / union if union else math.nan


def _mean(rows: dict[str, dict[str, float]], metric: str) -> float:
    values = [row[metric] for row in rows.values() if not math.isnan(row.get(metric, math.nan))]
    return math.fsum(values) / len(values) if values else math.nan


def _check_prediction(label_ids: np.ndarray) -> None:
    strange = label_ids[(label_ids < 0) | (label_ids >= NUM_LABELS)]
    if strange.size:
        raise ValueError(
            f"the prediction has the label id {strange[0]}, which is none of Cityscapes "
            f"(0 to {NUM_LABELS - 1}; train ids are none)"
        )


def _check_instance_ids(instance_ids: np.ndarray) -> None:
    label_ids = label_ids_of(instance_ids)
    is_instance = (instance_ids >= FIRST_INSTANCE_ID) & np.isin(label_ids, _SCORED_IDS)
    strange = instance_ids[
        (label_ids < 0)
        | (label_ids >= NUM_LABELS)
        | (is_instance & ~np.isin(label_ids, _THING_IDS))
    ]
    if strange.size:
        raise ValueError(
            f"the ground truth has the instance id {strange[0]}, which is none of Cityscapes (a "
            f"label id up to {NUM_LABELS - 1}, or 1000 times that of a thing plus a number)"
        )


class CityscapesSemSegEvaluator(SemSegEvaluator):
    """Score a model's semantic segmentation by Detectron2's rules and the Cityscapes protocol, with
    no file in between.

    `evaluate` returns what `SemSegEvaluator` does and "cityscapes_sem_seg": {"IoU", "iIoU",
    "IoU_sup", "iIoU_sup", "IoU-road", ..., "iIoU-person", ...} in percent; nothing where there is
    no ground truth. An image's labels and instance ids have to agree in the classes that are
    scored. Where an image comes without instance ids, there is no "cityscapes_sem_seg".

    What is saved is what `SemSegEvaluator` saves; the folder `labels` is what the official script
    and the benchmark's server take.
    """

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
            dataset_name: a registered set with Cityscapes' layout, whose dicts have
                `instance_ids_file_name` beside what `SemSegEvaluator` takes, and whose values are
                Cityscapes' label ids.
            output_dir: folder of what is saved; None to save nothing.
            save_labels: see `SemSegEvaluator`.
            boundary_ratio: see `SemSegEvaluator`.

        Raises:
            UserError: the set's metadata don't give each class a label id of Cityscapes.
        """
        super().__init__(
            dataset_name,
            output_dir=output_dir,
            save_labels=save_labels,
            boundary_ratio=boundary_ratio,
        )
        if not np.isin(self._values, _SCORED_IDS).all():
            raise UserError(
                f"{dataset_name} is scored by the Cityscapes protocol, but its classes have the "
                f"ids {', '.join(map(str, self._values))}, not all of which Cityscapes scores; "
                "give their label ids in its stuff_dataset_id_to_contiguous_id, or set its "
                "evaluator_type to 'sem_seg'"
            )
        # The class of any instance id.
        self._class_of_id = np.full(2**16, IGNORED, dtype=np.uint8)
        label_ids = label_ids_of(np.arange(2**16))
        for number, label_id in enumerate(self._values):
            self._class_of_id[label_ids == label_id] = number

    def reset(self) -> None:
        super().reset()
        self._cityscapes_metric = CityscapesSemSegMetric()

    def _update(
        self, input_: dict[str, Any], classes: np.ndarray, ground_truth: np.ndarray
    ) -> None:
        path = input_.get("instance_ids_file_name")
        if path is not None:
            instance_ids = read_ids(path)
            self._check_agreement(input_, instance_ids, ground_truth)
            with naming_ground_truth(path, self._dataset_name):
                self._cityscapes_metric.update(
                    image_id_of(input_), self._values[classes], instance_ids
                )
        super()._update(input_, classes, ground_truth)

    def _check_agreement(
        self, input_: dict[str, Any], instance_ids: np.ndarray, ground_truth: np.ndarray
    ) -> None:
        """Make sure that both files of an image say the same, so that it doesn't matter which of
        them a score is taken from."""
        path = input_["instance_ids_file_name"]
        check_label_size(path, instance_ids.shape, input_)
        differs = self._class_of_id[instance_ids] != ground_truth
        if differs.any():
            y, x = np.unravel_index(differs.argmax(), differs.shape)
            raise UserError(
                f"{path} and {input_['sem_seg_file_name']} disagree in "
                f"{np.count_nonzero(differs)} pixels: at x {x}, y {y} the first has the id "
                f"{instance_ids[y, x]} and the second {self._name_of(ground_truth[y, x])}; make "
                "both from the same annotations"
            )

    def _name_of(self, number: int) -> str:
        return "no class" if number == IGNORED else f"the class {self._class_names[number]!r}"

    def evaluate(self) -> dict[str, dict[str, float]]:
        metric = merge_over_processes(self._metric)
        cityscapes_metric = merge_over_processes(self._cityscapes_metric)
        results = {} if metric is None else self._report(metric)
        results |= self._evaluate_boundaries()
        if not results:
            return {}
        scores = cityscapes_metric.compute()
        if len(cityscapes_metric) < len(metric):
            logger.info(
                "%s: %d of the %d images of %s have no instance ids: not scored",
                scores.protocol,
                len(metric) - len(cityscapes_metric),
                len(metric),
                self._dataset_name,
            )
            return results
        logger.info("%s", scores)
        return results | {"cityscapes_sem_seg": scores.as_results()}
