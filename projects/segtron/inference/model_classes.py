"""What is known of a model's classes: names, colours, and the ids that data sets give them."""

from __future__ import annotations

import contextlib

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.data.catalog import Metadata

from segtron.data.category_ids import dataset_ids
from segtron.data.class_completion import CLASS_KINDS
from segtron.data.classes import class_metadata
from segtron.errors import UserError


def model_metadata(cfg: CfgNode) -> Metadata:
    """What is known of a model's classes, in the form that `class_metadata` gives.

    Names, colours and ids come from the first test set if it is registered and its annotations can
    be read; else names from DATASETS.THING_CLASSES and DATASETS.STUFF_CLASSES; else there are none.
    """
    name = cfg.DATASETS.TEST[0] if cfg.DATASETS.TEST else None
    wanted = {kind.metadata_key: kind.of_config(cfg) for kind in CLASS_KINDS}
    if name is not None and name in DatasetCatalog:
        # Predicting is possible where the data set is not.
        with contextlib.suppress(UserError):
            found = {kind.metadata_key: kind.of_dataset(name) for kind in CLASS_KINDS}
            if any(found.values()) and all(
                not classes or classes == found[key] for key, classes in wanted.items()
            ):
                return class_metadata(name)
    known = {key: classes for key, classes in wanted.items() if classes}
    if cfg.MODEL.SEM_SEG_HEAD.THING_CLASSES and wanted["stuff_classes"]:
        known["panoptic_classes"] = wanted["stuff_classes"]
    return Metadata(name="model", **known)


def category_ids(metadata: Metadata, num_classes: int) -> list[int]:
    """The ids by which the data set's files call the model's classes; counted from 1 if unknown.

    Args:
        metadata: see `model_metadata`.
        num_classes: number of the model's classes.

    Returns:
        At i the id of the class that the model calls i.
    """
    ids = dataset_ids(metadata, "thing")
    return [ids.get(i, i + 1) for i in range(num_classes)]
