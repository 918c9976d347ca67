"""What the evaluators read from a model's outputs and a dataset's metadata."""

from __future__ import annotations

from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Instances

from segtron.errors import UserError


def thing_category_ids(dataset_name: str) -> np.ndarray:
    """The ids by which a dataset's own files call its thing classes, in the model's order.

    Returns:
        (K,) int64: at i the dataset's id of the class that the model calls i.
    """
    metadata = MetadataCatalog.get(dataset_name)
    if metadata.get("thing_classes") is None:
        DatasetCatalog.get(dataset_name)  # many loaders name the classes only as they read the data
    to_contiguous = metadata.get("thing_dataset_id_to_contiguous_id")
    if to_contiguous is None:
        return np.arange(len(metadata.thing_classes))
    ids = {contiguous: dataset_id for dataset_id, contiguous in to_contiguous.items()}
    return np.array([ids[i] for i in range(len(ids))], dtype=np.int64)


def predicted_instances(output: dict[str, Any], dataset_name: str, num_classes: int) -> Instances:
    """The instances that a model found in one image, on the CPU.

    Raises:
        UserError: the model gives no instances, or more classes than the dataset has.
    """
    if "instances" not in output:
        raise UserError(
            f"{dataset_name} is scored by its instances and this model predicts none; take a "
            "model with instances, or name another set in DATASETS.TEST"
        )
    instances = output["instances"].to("cpu")
    if len(instances) and int(instances.pred_classes.max()) >= num_classes:
        raise UserError(
            f"the model predicts class number {int(instances.pred_classes.max())}, but "
            f"{dataset_name} has {num_classes} classes, numbered from 0; set "
            f"MODEL.ROI_HEADS.NUM_CLASSES to {num_classes} and train again"
        )
    return instances
