"""What the evaluators read from a model's outputs."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from detectron2.data.catalog import Metadata
from detectron2.structures import Instances

from segtron.data.category_ids import dataset_ids, dataset_segments
from segtron.data.classes import class_metadata, known_metadata
from segtron.data.id_map import measure_segments
from segtron.data.panoptic import VOID
from segtron.errors import UserError
from segtron.evaluation.label_files import label_values
from segtron.modeling.best_classes import best_classes

# What a model's output of a kind is called, and which models give it.
_KINDS = {
    "instances": ("instances", "a model with instances"),
    "sem_seg": ("semantic segmentation", "a model with a semantic head"),
    "panoptic_seg": ("panoptic segmentation", "a panoptic model"),
}


def stuff_class_values(dataset_name: str) -> np.ndarray:
    """See `segtron.evaluation.label_files.label_values`, here for all K classes of a data set."""
    metadata = known_metadata(dataset_name, "stuff_classes")
    return label_values(metadata, len(metadata.stuff_classes))


def require_output(
    needed: Literal["instances", "sem_seg", "panoptic_seg"],
    given: Container[str],
    dataset_name: str,
) -> None:
    """Make sure that a model gives what a dataset is scored by.

    Args:
        needed: an output's name.
        given: the names of the model's outputs.
        dataset_name: for what is said to the user.

    Raises:
        UserError: it gives no such output.
    """
    if needed not in given:
        what, models = _KINDS[needed]
        raise UserError(
            f"{dataset_name} is scored by its {what} and this model predicts none; take {models}, "
            "or name another set in DATASETS.TEST"
        )


def predicted_instances(output: dict[str, Any], dataset_name: str, num_classes: int) -> Instances:
    """The instances that a model found in one image, on the CPU.

    Raises:
        UserError: the model gives no instances, or more classes than the dataset has.
    """
    require_output("instances", output, dataset_name)
    instances = output["instances"].to("cpu")
    if len(instances) and int(instances.pred_classes.max()) >= num_classes:
        raise UserError(
            f"the model predicts class number {int(instances.pred_classes.max())}, but "
            f"{dataset_name} has {num_classes} classes, numbered from 0; set "
            f"MODEL.ROI_HEADS.NUM_CLASSES to {num_classes} and train again"
        )
    return instances


def predicted_sem_seg(output: dict[str, Any], dataset_name: str, num_classes: int) -> np.ndarray:
    """The class that a model found most likely in each pixel of one image.

    Args:
        output: with "sem_seg", (C, H, W) scores.
        dataset_name: for what is said to the user.
        num_classes: K, of the dataset.

    Returns:
        (H, W) uint8, 0 to K - 1; int32 where the model has more than 256 classes.

    Raises:
        UserError: the model gives no semantic scores, or more classes than the dataset has, or
            scores that are no numbers.
    """
    require_output("sem_seg", output, dataset_name)
    if len(output["sem_seg"]) > num_classes:
        raise UserError(
            f"the model predicts {len(output['sem_seg'])} classes, but {dataset_name} has "
            f"{num_classes}; set MODEL.SEM_SEG_HEAD.NUM_CLASSES to {num_classes} and train again"
        )
    # Minus infinity rules a class out, and is no fault.
    if not output["sem_seg"].max().isfinite():
        raise UserError(
            f"{dataset_name}: the model's semantic scores are not finite numbers; take a "
            "checkpoint from before the training diverged"
        )
    return best_classes(output["sem_seg"]).cpu().numpy()


def predicted_panoptic(
    output: dict[str, Any], dataset_name: str
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """The segments that a model found in one image.

    Args:
        output: with "panoptic_seg" in either of Detectron2's forms: ids and `segments_info`; or
            class * `label_divisor` + number, -1 in void, and None.
        dataset_name: a panoptic set.

    Returns:
        (H, W) int32, segment ids, 0 in void; and for each segment that has pixels `id`,
        `category_id` (the data set's own), `isthing` and, if the model gives one, `score`.

    Raises:
        UserError: the model gives no segments, or a class that the data set doesn't have, or a
            score that is no number.
    """
    require_output("panoptic_seg", output, dataset_name)
    ids, segments_info = output["panoptic_seg"]
    ids = ids.cpu().numpy().astype(np.int32)
    if segments_info is None:
        ids, segments_info = decode_segments(ids, class_metadata(dataset_name))
    # Detectron2's merging also lists stuff that things cover wholly, where its limit is 0.
    present = set(measure_segments(ids).ids.tolist())
    segments = [
        {
            "id": int(segment["id"]),
            "category_id": segment["category_id"],
            "isthing": bool(segment["isthing"]),
        }
        | ({"score": float(segment["score"])} if segment.get("score") is not None else {})
        for segment in dataset_segments(segments_info, dataset_name)
        if int(segment["id"]) in present
    ]
    if not all(math.isfinite(segment.get("score", 0)) for segment in segments):
        raise UserError(
            f"{dataset_name}: a predicted segment has a score that is no number; take a checkpoint "
            "from before the training diverged"
        )
    return ids, segments


def decode_segments(
    codes: np.ndarray, metadata: Metadata
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Ids and segments of a map in Detectron2's other form.

    Args:
        codes: (H, W) signed integers, class * `label_divisor` + number, -1 in void.
        metadata: of the data set, as `class_metadata` gives it.

    Returns:
        (H, W) of the same dtype, segment ids, 0 in void; and for each segment `id`, `category_id`
        (the code's class) and `isthing`.
    """
    names = metadata.get("panoptic_classes")
    if names is None:
        things = set(dataset_ids(metadata, "thing"))
    else:
        # By name: of a model's own classes the ids in a data set may be unknown.
        things = {i for i, name in enumerate(names) if name in metadata.thing_classes}
    ids = codes + 1  # void becomes `VOID`
    segments = []
    for segment_id in measure_segments(ids).ids.tolist():
        if segment_id > VOID:
            category = (segment_id - 1) // metadata.label_divisor
            segments.append(
                {"id": segment_id, "category_id": category, "isthing": category in things}
            )
    return ids, segments


@contextmanager
def naming_ground_truth(path: str, dataset_name: str) -> Iterator[None]:
    """Say which file's ground truth a metric refuses, together with a prediction.

    Args:
        path: the file.
        dataset_name: whose it is.

    Raises:
        UserError: in place of a ValueError in the block.
    """
    try:
        yield
    except ValueError as error:
        raise UserError(
            f"{path}: {error}; do this file, the classes of {dataset_name} and the model belong "
            "together?"
        ) from error
