"""Scoring saved semantic segmentation by the Cityscapes protocol: a PNG of label ids for each image
(`cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling`)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from segtron.data.cityscapes import (
    INSTANCE_IDS_SUFFIX,
    LABEL_IDS_SUFFIX,
    SEM_SEG_LABELS,
    label_ids_of,
)
from segtron.errors import UserError
from segtron.evaluation.cityscapes_files import find_ground_truth, find_predictions
from segtron.evaluation.cityscapes_sem_seg import CityscapesSemSegMetric
from segtron.evaluation.confusion import joint_histogram
from segtron.evaluation.each_image import for_each_image
from segtron.evaluation.saved_png import read_saved_labels, read_saved_png
from segtron.evaluation.scores import CityscapesSemSegScores

_SCORED_IDS = [label.id for label in SEM_SEG_LABELS]


def score_cityscapes_semantics(
    split_folder: Path,
    results_folder: Path,
    *,
    allow_missing: bool = False,
    workers: int | None = None,
) -> CityscapesSemSegScores:
    """Score saved label maps of any program.

    Args:
        split_folder: the ground truth, such as gtFine/val: label ids, and instance ids for iIoU.
        results_folder: holds a PNG of label ids for each image.
        allow_missing: whether images may lack a PNG; they are not scored.
        workers: images at once; default: one for each core.

    Raises:
        UserError: a file is missing, unreadable, of another size, or has a label that Cityscapes
            doesn't know; or label ids and instance ids disagree: names the file.
    """
    label_files = find_ground_truth(split_folder, LABEL_IDS_SUFFIX)
    predictions, num_missing = find_predictions(
        results_folder, ".png", label_files, allow_missing=allow_missing
    )

    def score(frame: str) -> CityscapesSemSegMetric:
        return _score_image(frame, label_files[frame], predictions[frame])

    metric = CityscapesSemSegMetric()
    for one_image in for_each_image(score, list(predictions), workers=workers):
        metric.merge(one_image)
    return dataclasses.replace(metric.compute(), num_missing=num_missing)


def _score_image(frame: str, label_file: Path, prediction_file: Path) -> CityscapesSemSegMetric:
    """A metric of one image."""
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
    try:
        metric.update(frame, prediction, instance_ids)
    except ValueError as error:
        raise UserError(f"{prediction_file} and {instance_file}: {error}") from error
    return metric


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
