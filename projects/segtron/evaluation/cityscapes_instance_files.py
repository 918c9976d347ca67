"""Scoring saved instances by the Cityscapes protocol.

An image's predictions are a text file, of which each line names the PNG of a mask (any pixel but 0
belongs to it), a label id and a score: `masks/frame_0.png 26 0.93`
(`cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling`).
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from cityscapesscripts.helpers.labels import id2label

from segtron.data.cityscapes import INSTANCE_IDS_SUFFIX
from segtron.data.coco import path_below
from segtron.data.each_item import for_each
from segtron.errors import UserError
from segtron.evaluation.cityscapes_files import find_ground_truth, find_predictions
from segtron.evaluation.cityscapes_instance import CLASSES, CityscapesInstanceMetric
from segtron.evaluation.saved_png import read_saved_mask, read_saved_png
from segtron.evaluation.scores import InstanceScores


class SavedInstance(NamedTuple):
    """A line of a file of predictions."""

    mask_file: Path
    label_id: int
    score: float


def score_cityscapes_instances(
    split_folder: Path,
    results_folder: Path,
    *,
    allow_missing: bool = False,
    workers: int | None = None,
    boundary_ratio: float = 0.0,
) -> InstanceScores:
    """Score saved instances of any program.

    Args:
        split_folder: the ground truth, such as gtFine/val.
        results_folder: holds a text file for each image, and the masks that these name.
        allow_missing: whether images may lack a file; they are not scored. (An image in which
            nothing was found has an empty one.)
        workers: images at once; default: one for each core.
        boundary_ratio: what counts as a mask's boundary in Boundary AP, as a share of the image's
            diagonal; 0 to leave it out.

    Raises:
        UserError: a file is missing, unreadable, or not as it should be: names it, and the line.
    """
    ground_truth = find_ground_truth(split_folder, INSTANCE_IDS_SUFFIX)
    predictions, num_missing = find_predictions(
        results_folder, ".txt", ground_truth, allow_missing=allow_missing
    )

    def score(frame: str) -> CityscapesInstanceMetric:
        instances = read_instance_lines(predictions[frame], results_folder)
        return _score_image(frame, ground_truth[frame], instances, boundary_ratio)

    metric = CityscapesInstanceMetric(boundary_ratio)
    for one_image in for_each(
        score, list(predictions), workers=workers, unit=" images", desc="scoring"
    ):
        metric.merge(one_image)
    scores = dataclasses.replace(metric.compute(), num_missing=num_missing)
    if not boundary_ratio:
        return scores
    boundary = dataclasses.replace(metric.compute_boundary(), num_missing=num_missing)
    return dataclasses.replace(scores, boundary=boundary)


def read_instance_lines(path: Path, results_folder: Path) -> list[SavedInstance]:
    """Read the predictions of an image.

    Args:
        path: the text file, in UTF-8, with a byte order mark or without. The masks in it are
            relative to its own folder.
        results_folder: no mask may lie outside of it.

    Returns:
        One entry a line, also those of labels that aren't scored. Blank lines are skipped.

    Raises:
        UserError: the file can't be read, or a line is wrong: names it.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8; save it again") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error
    line_of: dict[Path, int] = {}
    instances = []
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields:
            continue
        where = f"{path}: line {number}"
        if len(fields) != 3:
            raise UserError(
                f"{where} has {len(fields)} fields; a line is the path of a mask (without spaces), "
                "a label id and a score"
            )
        mask_file = _mask_file(fields[0], path, results_folder, where)
        other = line_of.setdefault(mask_file, number)
        if other != number:
            raise UserError(
                f"{where} names {fields[0]}, as line {other} does; an instance has one line"
            )
        instances.append(
            SavedInstance(mask_file, _label_id(fields[1], where), _score(fields[2], where))
        )
    return instances


def _mask_file(name: str, text_file: Path, results_folder: Path, where: str) -> Path:
    if os.path.isabs(name):
        raise UserError(f"{where} names {name}; paths of masks must be relative to their file")
    from_root = os.path.join(os.path.relpath(text_file.parent, results_folder), name)
    mask_file = path_below(results_folder, from_root, where)
    # `os.path`, for a `Path` raises for a name that is too long.
    if not os.path.isfile(mask_file):
        raise UserError(f"{where} names the mask {mask_file}, which does not exist")
    return mask_file


def _label_id(text: str, where: str) -> int:
    # The official script takes 26.0, too.
    value = _number(text)
    if value not in id2label:
        raise UserError(
            f"{where} has the label id {text}, which is none of Cityscapes; things have the ids "
            f"{min(CLASSES)} to {max(CLASSES)}"
        )
    return int(value)


def _score(text: str, where: str) -> float:
    value = _number(text)
    if not math.isfinite(value):
        raise UserError(f"{where} has the score {text}, which is no number")
    return value


def _number(text: str) -> float:
    """The number that a text stands for, nan if it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _score_image(
    frame: str, gt_file: Path, instances: Sequence[SavedInstance], boundary_ratio: float
) -> CityscapesInstanceMetric:
    """A metric of one image, the masks of which are read one by one."""
    instance_ids = read_saved_png(gt_file)
    scored = [instance for instance in instances if instance.label_id in CLASSES]

    def masks() -> Iterator[np.ndarray]:
        for instance in scored:
            mask = read_saved_mask(instance.mask_file)
            if mask.shape != instance_ids.shape:
                raise UserError(
                    f"the mask {instance.mask_file} is {mask.shape[1]} x {mask.shape[0]}, but "
                    f"{gt_file} is {instance_ids.shape[1]} x {instance_ids.shape[0]}"
                )
            yield mask

    metric = CityscapesInstanceMetric(boundary_ratio)
    try:
        metric.update(
            frame,
            instance_ids,
            masks(),
            np.array([instance.label_id for instance in scored], dtype=np.int64),
            np.array([instance.score for instance in scored], dtype=np.float64),
        )
    except ValueError as error:
        raise UserError(f"{gt_file}: {error}") from error
    return metric
