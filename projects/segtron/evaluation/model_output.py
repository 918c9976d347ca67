"""What the evaluators read from a model's outputs and a dataset's metadata."""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Literal

import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.catalog import Metadata
from detectron2.structures import Instances

from segtron.errors import UserError
from segtron.evaluation.label_files import label_values

# What a model's output of a kind is called, and which models give it.
_KINDS = {
    "instances": ("instances", "a model with instances"),
    "sem_seg": ("semantic segmentation", "a model with a semantic head"),
}


def thing_category_ids(dataset_name: str) -> np.ndarray:
    """The ids by which a dataset's own files call its thing classes, in the model's order.

    Returns:
        (K,) int64: at i the dataset's id of the class that the model calls i.
    """
    metadata = _metadata_with(dataset_name, "thing_classes")
    to_contiguous = metadata.get("thing_dataset_id_to_contiguous_id")
    if to_contiguous is None:
        return np.arange(len(metadata.thing_classes))
    ids = {contiguous: dataset_id for dataset_id, contiguous in to_contiguous.items()}
    return np.array([ids[i] for i in range(len(ids))], dtype=np.int64)


def stuff_class_values(dataset_name: str) -> np.ndarray:
    """See `segtron.evaluation.label_files.label_values`, here for all K classes of a data set."""
    metadata = _metadata_with(dataset_name, "stuff_classes")
    return label_values(metadata, len(metadata.stuff_classes))


def _metadata_with(dataset_name: str, key: str) -> Metadata:
    metadata = MetadataCatalog.get(dataset_name)
    if metadata.get(key) is None:
        DatasetCatalog.get(dataset_name)  # many loaders name the classes only as they read the data
    return metadata


def require_output(
    needed: Literal["instances", "sem_seg"], given: Container[str], dataset_name: str
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
        (H, W) uint8, 0 to K - 1.

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
    # Not argmax: on a CPU it takes more than twice as long, and it would hide nan.
    scores, classes = output["sem_seg"].max(dim=0)
    if not torch.isfinite(scores).all():
        raise UserError(
            f"{dataset_name}: the model's semantic scores are not finite numbers; take a "
            "checkpoint from before the training diverged"
        )
    return classes.to(torch.uint8).cpu().numpy()
