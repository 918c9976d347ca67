"""Scoring saved semantic segmentation by the Cityscapes protocol: a PNG of label ids for each image
(`cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling`)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from segtron.data.cityscapes import (
    INSTANCE_IDS_SUFFIX,
    LABEL_IDS_SUFFIX,
    SEM_SEG_ID_TO_CONTIGUOUS,
    SEM_SEG_LABELS,
    label_ids_of,
)
from segtron.data.each_item import for_each
from segtron.data.sem_seg import IGNORED
from segtron.errors import UserError
from segtron.evaluation.boundary_sem_seg import SemSegBoundaryMetric
from segtron.evaluation.cityscapes_files import find_ground_truth, find_predictions
from segtron.evaluation.cityscapes_sem_seg import CityscapesSemSegMetric
from segtron.evaluation.confusion import joint_histogram
from segtron.evaluation.saved_png import read_saved_labels, read_saved_png
from segtron.evaluation.scores import CityscapesSemSegScores

_SCORED_IDS = [label.id for label in SEM_SEG_LABELS]
_CLASS_NAMES = [label.name for label in SEM_SEG_LABELS]
# The class of any label id or instance id.
_CLASS_OF_ID = np.array(
    [SEM_SEG_ID_TO_CONTIGUOUS.get(i, IGNORED) for i in label_ids_of(np.arange(2**16)).tolist()],
    dtype=np.uint8,
)


def score_cityscapes_semantics(
    split_folder: Path,
    results_folder: Path,
    *,
    allow_missing: bool = False,
    workers: int | None = None,
    boundary_ratio: float = 0.0,
) -> CityscapesSemSegScores:
    """Score saved label maps of any program.

    Args:
        split_folder: the ground truth, such as gtFine/val: label ids, and instance ids for iIoU.
        results_folder: holds a PNG of label ids for each image.
        allow_missing: whether images may lack a PNG; they are not scored.
        workers: images at once; default: one for each core.
        boundary_ratio: what counts as a region's boundary in Boundary IoU, as a share of the
            image's diagonal; 0 to leave it out.

    Raises:
        UserError: a file is missing, unreadable, of another size, or has a label that Cityscapes
            doesn't know; or label ids and instance ids disagree: names the file.
    """
    label_files = find_ground_truth(split_folder, LABEL_IDS_SUFFIX)
    predictions, num_missing = find_predictions(
        results_folder, ".png", label_files, allow_missing=allow_missing
    )

    def score(frame: str) -> tuple[CityscapesSemSegMetric, SemSegBoundaryMetric]:
        return _score_image(frame, label_files[frame], predictions[frame], boundary_ratio)

    metric = CityscapesSemSegMetric()
    boundary_metric = SemSegBoundaryMetric(_CLASS_NAMES, boundary_ratio)
    for one_image, its_boundaries in for_each(
        score, list(predictions), workers=workers, unit=" images", desc="scoring"
    ):
        metric.merge(one_image)
        boundary_metric.merge(its_boundaries)
    scores = dataclasses.replace(metric.compute(), num_missing=num_missing)
    if not boundary_ratio:
        return scores
    boundary = dataclasses.replace(boundary_metric.compute(), num_missing=num_missing)
    return dataclasses.replace(scores, boundary=boundary)


def _score_image(
    frame: str, label_file: Path, prediction_file: Path, boundary_ratio: float
) -> tuple[CityscapesSemSegMetric, SemSegBoundaryMetric]:
    """Metrics of one image; that of boundaries is empty where they aren't asked for."""
    instance_file = label_file.with_name(f"{frame}{INSTANCE_IDS_SUFFIX}")
    instance_ids = read_saved_png(instance_file)
    _check_agreement(instance_file, instance_ids, label_file)
    prediction = read_saved_labels(prediction_file)
    if prediction.shape != instance_ids.shape:
        raise UserError(
            f"{prediction_file} is {prediction.shape[1]} x {prediction.shape[0]}, but "
            f"{label_file} is {instance_ids.shape[1]} x {instance_ids.shape[0]}; save predictions "
            "in the size of the image"
        )
    metric = CityscapesSemSegMetric()
    boundary_metric = SemSegBoundaryMetric(_CLASS_NAMES, boundary_ratio)
    try:
        metric.update(frame, prediction, instance_ids)
    except ValueError as error:
        raise UserError(f"{prediction_file} and {instance_file}: {error}") from error
    if boundary_ratio:
        # A label that isn't scored is no class; where one is predicted, the class is missed.
        boundary_metric.update(frame, _CLASS_OF_ID[prediction], _CLASS_OF_ID[instance_ids])
    return metric, boundary_metric


def _check_agreement(instance_file: Path, instance_ids: np.ndarray, label_file: Path) -> None:
    """Make sure that both files of an image say the same of the labels that are scored: officially
    IoU is taken from one of them and iIoU from the other, here both are from the instance ids."""
    labels = read_saved_png(label_file)
    if labels.shape != instance_ids.shape:
        raise UserError(
            f"{instance_file} is {instance_ids.shape[1]} x {instance_ids.shape[0]}, but "
            f"{label_file} is {labels.shape[1]} x {labels.shape[0]}; make both from the same "
            "annotations"
        )
    ids, label_ids, pixels = joint_histogram(instance_ids, labels)
    of_instance = label_ids_of(ids)
    differs = (of_instance != label_ids) & (
        np.isin(of_instance, _SCORED_IDS) | np.isin(label_ids, _SCORED_IDS)
    )
    if differs.any():
        raise UserError(
            f"{instance_file} and {label_file} disagree in {pixels[differs].sum()} pixels: where "
            f"the first has the id {ids[differs][0]}, the second has {label_ids[differs][0]}; make "
            "both from the same annotations"
        )
