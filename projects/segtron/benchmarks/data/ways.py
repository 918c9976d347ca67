"""Reading data and mapping it, by Segtron and by Detectron2."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetMapper
from pycocotools import mask as mask_util

from segtron.benchmarks.timing import Run, Stopwatch
from segtron.config import get_default_config
from segtron.data import SegmentationMapper
from segtron.data.cityscapes import (
    INSTANCE_IDS_SUFFIX,
    LABEL_IDS_SUFFIX,
    THING_ID_TO_CONTIGUOUS,
    Frame,
)

Record = dict[str, Any]
Way = Callable[[], Run]
_POLYGONS_SUFFIX = "_gtFine_polygons.json"


def crop_config() -> CfgNode:
    """Crops of 512 x 1024, flipped or not, for instances as bitmaps."""
    cfg = resize_config()
    cfg.INPUT.CROP.ENABLED, cfg.INPUT.CROP.TYPE = True, "absolute"
    cfg.INPUT.CROP.SIZE = [512, 1024]
    cfg.INPUT.MIN_SIZE_TRAIN = (0,)
    return cfg


def resize_config() -> CfgNode:
    """Whole frames, resized as Detectron2's configs for Cityscapes do, flipped or not."""
    cfg = get_default_config()
    cfg.MODEL.MASK_ON, cfg.INPUT.MASK_FORMAT = True, "bitmask"
    cfg.INPUT.MIN_SIZE_TRAIN = (800, 832, 864, 896, 928, 960, 992, 1024)
    cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING, cfg.INPUT.MAX_SIZE_TRAIN = "choice", 2048
    return cfg


def mapping(mapper: Callable[[Record], Record], records: Sequence[Record]) -> Way:
    """Map records, with the same draws each time."""

    def run() -> Run:
        watch, mapped = Stopwatch(), []
        for number, record in enumerate(records):
            np.random.seed(number)
            with watch:
                one = mapper(record)
            mapped.append(one)
        return Run(watch.seconds, mapped)

    return run


def our_mapper(cfg: CfgNode, cache_dir: str = "") -> SegmentationMapper:
    """Segtron's."""
    cfg = cfg.clone()
    cfg.DATALOADER.CACHE_DIR = cache_dir
    return SegmentationMapper(cfg, is_train=True)


def their_mapper(cfg: CfgNode) -> DatasetMapper:
    """Detectron2's."""
    return DatasetMapper(cfg, is_train=True)


def check_equal_targets(ours: Sequence[Record], theirs: Sequence[Record]) -> None:
    """Make sure that images and all targets that both have are equal.

    Raises:
        RuntimeError: they aren't.
    """
    for our, their in zip(ours, theirs, strict=True):
        for key in ("image", "sem_seg"):
            if key in their and not our[key].equal(their[key]):
                raise RuntimeError(f"{our['file_name']}: {key} differs from Detectron2's")
        if "instances" not in their:
            continue
        found, expected = our["instances"], their["instances"]
        if not (
            found.image_size == expected.image_size
            and found.gt_classes.equal(expected.gt_classes)
            and found.gt_boxes.tensor.equal(expected.gt_boxes.tensor)
            and found.gt_masks.tensor.equal(expected.gt_masks.tensor)
        ):
            raise RuntimeError(f"{our['file_name']}: instances differ from Detectron2's")


def check_equal_images(ours: Sequence[Record], theirs: Sequence[Record]) -> None:
    """Make sure that images are equal, where the targets are of another kind.

    Raises:
        RuntimeError: they aren't.
    """
    for our, their in zip(ours, theirs, strict=True):
        if not our["image"].equal(their["image"]):
            raise RuntimeError(f"{our['file_name']}: the image differs from Detectron2's")


def num_bytes(mapped: Sequence[Record]) -> int:
    """Bytes of all tensors of mapped records."""
    total = 0
    for record in mapped:
        tensors = [value for value in record.values() if isinstance(value, torch.Tensor)]
        if "instances" in record:
            fields = record["instances"].get_fields().values()
            tensors += [f if isinstance(f, torch.Tensor) else f.tensor for f in fields]
        total += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    return total


def timed(load: Callable[[], list[Record]]) -> Way:
    """A way to standard dicts."""

    def run() -> Run:
        watch = Stopwatch()
        with watch:
            records = load()
        return Run(watch.seconds, records)

    return run


def detectron2_loader() -> ModuleType | None:
    """The module of Detectron2 that reads Cityscapes; None where it can't be imported: some
    versions of it need what only their makers have."""
    try:
        return importlib.import_module("detectron2.data.datasets.cityscapes")
    except ImportError:
        return None


def load_by_detectron2(
    module: ModuleType, frames: Sequence[Frame], *, from_polygons: bool
) -> list[Record]:
    """Read instances as `load_cityscapes_instances` does, in this process alone.

    Args:
        module: see `detectron2_loader`.
        frames: which.
        from_polygons: from the polygons, which is how Detectron2 reads its registered sets; else
            from the instance ids, as masks.
    """
    records = []
    for frame in frames:
        suffixes = (INSTANCE_IDS_SUFFIX, LABEL_IDS_SUFFIX, _POLYGONS_SUFFIX)
        files = (str(frame.image_file), *(str(frame.label_file(suffix)) for suffix in suffixes))
        record = module._cityscapes_files_to_dict(
            files, from_json=from_polygons, to_polygons=from_polygons
        )
        for annotation in record["annotations"]:
            annotation["category_id"] = THING_ID_TO_CONTIGUOUS[int(annotation["category_id"])]
        records.append(record)
    return records


def check_same_images(ours: Sequence[Record], theirs: Sequence[Record]) -> None:
    """Make sure that dicts are of the same images, of the same sizes.

    Raises:
        RuntimeError: they aren't.
    """
    keys = ("file_name", "image_id", "height", "width")
    if [[r[k] for k in keys] for r in ours] != [[r[k] for k in keys] for r in theirs]:
        raise RuntimeError("the dicts are of other images than Detectron2's")


def check_same_masks(ours: Sequence[Record], theirs: Sequence[Record]) -> None:
    """Make sure that dicts hold the same masks, classes and crowds in the same order.

    Detectron2 leaves out what is one pixel high or wide.

    Raises:
        RuntimeError: they don't.
    """
    check_same_images(ours, theirs)
    for our, their in zip(ours, theirs, strict=True):
        found = [
            _facts_of(annotation)
            for annotation in our["annotations"]
            if min(mask_util.toBbox(annotation["segmentation"])[2:]) > 1
        ]
        if found != [_facts_of(annotation) for annotation in their["annotations"]]:
            raise RuntimeError(f"{our['file_name']}: instances differ from Detectron2's")


def check_same_dicts(ours: Sequence[Record], theirs: Sequence[Record]) -> None:
    """Make sure that dicts are equal.

    Raises:
        RuntimeError: they aren't.
    """
    if ours != theirs:
        raise RuntimeError("the dicts are not those that were read at first")


def _facts_of(annotation: Mapping[str, Any]) -> tuple[int, bool, bytes]:
    return (
        annotation["category_id"],
        bool(annotation["iscrowd"]),
        annotation["segmentation"]["counts"],
    )


def with_semantics(
    instance_records: Sequence[Record], sem_seg_records: Sequence[Record]
) -> list[Record]:
    """Dicts that have instances and classes, from which Detectron2 makes what its PanopticFPN
    learns from."""
    return [
        copy.copy(record) | {"sem_seg_file_name": semantic["sem_seg_file_name"]}
        for record, semantic in zip(instance_records, sem_seg_records, strict=True)
    ]
