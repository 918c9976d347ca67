"""The data sets that Segtron brings: names in Detectron2's catalogs, and their metadata.

Importing this module replaces Detectron2's loaders for
`cityscapes_fine_instance_seg_{train,val,test}` and adds `toytown_instance_seg_{train,val}`.
Nothing is read before a data set is asked for.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from segtron.data import cityscapes
from segtron.data.toytown import make_toytown


def datasets_root() -> Path:
    """The folder that data sets lie in: $DETECTRON2_DATASETS, or `datasets`, as in Detectron2."""
    return Path(os.environ.get("DETECTRON2_DATASETS", "datasets")).expanduser()


def _load_cityscapes(split: str) -> list[dict[str, Any]]:
    return cityscapes.load_instances(datasets_root() / "cityscapes", split)


def _load_toytown(split: str) -> list[dict[str, Any]]:
    root = datasets_root() / "toytown"
    if not root.exists():
        make_toytown(root)
    return cityscapes.load_instances(root, split)


def _register(name: str, load: Callable[[], list[dict[str, Any]]], layout: str, split: str) -> None:
    if name in DatasetCatalog:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    DatasetCatalog.register(name, load)
    root = datasets_root() / layout
    MetadataCatalog.get(name).set(
        image_dir=str(root / "leftImg8bit" / split),
        gt_dir=str(root / "gtFine" / split),
        evaluator_type="cityscapes_instance",
        thing_classes=[label.name for label in cityscapes.THING_LABELS],
        thing_colors=[label.color for label in cityscapes.THING_LABELS],
        thing_dataset_id_to_contiguous_id=dict(cityscapes.THING_ID_TO_CONTIGUOUS),
    )


def register_builtin() -> None:
    """Register all of Segtron's own names."""
    for split in ("train", "val", "test"):
        name = f"cityscapes_fine_instance_seg_{split}"
        _register(name, functools.partial(_load_cityscapes, split), "cityscapes", split)
    for split in ("train", "val"):
        name = f"toytown_instance_seg_{split}"
        _register(name, functools.partial(_load_toytown, split), "toytown", split)


register_builtin()
