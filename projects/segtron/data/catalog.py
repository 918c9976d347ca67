"""The data sets that Segtron reads itself: names in Detectron2's catalogs, and their metadata.

Importing this module replaces Detectron2's loaders for
`cityscapes_fine_{instance_seg,sem_seg}_{train,val,test}`, `cityscapes_fine_panoptic_{train,val}`
and `coco_2017_{train,val,val_100}_panoptic`, and adds
`toytown_{instance_seg,sem_seg,panoptic}_{train,val}`.
Nothing is read before a data set is asked for.
"""

from __future__ import annotations

import copy
import functools
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from segtron.data import cityscapes
from segtron.data.coco_panoptic import load_coco_panoptic
from segtron.data.sem_seg import IGNORED
from segtron.data.toytown import make_toytown

logger = logging.getLogger(__name__)


def datasets_root() -> Path:
    """The folder that data sets lie in: $DETECTRON2_DATASETS, or `datasets`, as in Detectron2."""
    return Path(os.environ.get("DETECTRON2_DATASETS", "datasets")).expanduser()


def _load(
    load: Callable[[Path, str], list[dict[str, Any]]], layout: str, split: str
) -> list[dict[str, Any]]:
    root = datasets_root() / layout
    if layout == "toytown" and not root.exists():
        logger.warning(
            "toytown is drawn into %s, once (set DETECTRON2_DATASETS to a folder to have it there)",
            root.resolve(),
        )
        make_toytown(root)
    return load(root, split)


INSTANCE_METADATA = {
    "evaluator_type": "cityscapes_instance",
    "thing_classes": [label.name for label in cityscapes.THING_LABELS],
    "thing_colors": [label.color for label in cityscapes.THING_LABELS],
    "thing_dataset_id_to_contiguous_id": cityscapes.THING_ID_TO_CONTIGUOUS,
}
SEM_SEG_METADATA = {
    "evaluator_type": "cityscapes_sem_seg",
    "stuff_classes": [label.name for label in cityscapes.SEM_SEG_LABELS],
    "stuff_colors": [label.color for label in cityscapes.SEM_SEG_LABELS],
    "stuff_dataset_id_to_contiguous_id": cityscapes.SEM_SEG_ID_TO_CONTIGUOUS,
    "ignore_label": IGNORED,
}
# As in Detectron2: both kinds name all classes, see `segtron.data.classes`.
PANOPTIC_METADATA = {
    "evaluator_type": "cityscapes_panoptic_seg",
    **{
        f"{kind}_{key}": values
        for kind in ("thing", "stuff")
        for key, values in (
            ("classes", [label.name for label in cityscapes.SEM_SEG_LABELS]),
            ("colors", [label.color for label in cityscapes.SEM_SEG_LABELS]),
        )
    },
    **{
        f"{kind}_dataset_id_to_contiguous_id": {
            label.id: i
            for i, label in enumerate(cityscapes.SEM_SEG_LABELS)
            if label.hasInstances == is_thing
        }
        for kind, is_thing in (("thing", True), ("stuff", False))
    },
    "ignore_label": IGNORED,
    "label_divisor": 1000,
}
# By the task's part of a name: what reads the data, and what is known without reading it.
TASKS = {
    "instance_seg": (cityscapes.load_instances, INSTANCE_METADATA),
    "sem_seg": (cityscapes.load_sem_seg, SEM_SEG_METADATA),
    "panoptic": (cityscapes.load_panoptic, PANOPTIC_METADATA),
}
SPLITS = {"cityscapes": ("train", "val", "test"), "toytown": ("train", "val")}
COCO_PANOPTIC = ("coco_2017_train_panoptic", "coco_2017_val_panoptic", "coco_2017_val_100_panoptic")
PREFIXES = {"cityscapes": "cityscapes_fine", "toytown": "toytown"}


def register_builtin() -> None:
    """Register all of Segtron's own names."""
    for layout, splits in SPLITS.items():
        root = datasets_root() / layout
        for task, (load, metadata) in TASKS.items():
            for split in splits:
                if task == "panoptic" and split == "test":
                    continue  # its labels are dummies; Detectron2 has no such set either
                name = f"{PREFIXES[layout]}_{task}_{split}"
                if name in DatasetCatalog:
                    DatasetCatalog.remove(name)
                    MetadataCatalog.remove(name)
                DatasetCatalog.register(name, functools.partial(_load, load, layout, split))
                MetadataCatalog.get(name).set(
                    image_dir=str(root / "leftImg8bit" / split),
                    gt_dir=str(root / "gtFine" / split),
                    **copy.deepcopy(metadata),
                )
                if task == "panoptic":
                    # Files that need not be there: what the official converter writes.
                    folder = cityscapes.panoptic_folder(root, split)
                    MetadataCatalog.get(name).set(
                        image_root=str(root / "leftImg8bit" / split),
                        panoptic_root=str(folder),
                        panoptic_json=f"{folder}.json",
                    )
    for name in COCO_PANOPTIC:
        # Metadata and files are Detectron2's.
        metadata = MetadataCatalog.get(name)
        files = (metadata.panoptic_json, metadata.panoptic_root, metadata.image_root)
        DatasetCatalog.remove(name)
        DatasetCatalog.register(
            name,
            functools.partial(load_coco_panoptic, *map(Path, files), metadata=metadata.as_dict()),
        )


register_builtin()
