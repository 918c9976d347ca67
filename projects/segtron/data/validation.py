"""Loaders of what a validation loss is computed from: test sets, with their ground truth."""

from __future__ import annotations

import logging
from typing import Any

import torch.utils.data
from detectron2.config import CfgNode
from detectron2.data.samplers import InferenceSampler

from segtron.data.augmentations import build_augmentations
from segtron.data.loaders import NEEDED, leaves_out_empty, load_dataset_dicts
from segtron.data.mapper import SegmentationMapper
from segtron.data.watched_loader import MappedRecords, WatchedLoader

logger = logging.getLogger(__name__)


def build_validation_loader(cfg: CfgNode, name: str) -> torch.utils.data.DataLoader | None:
    """Each image of a data set once, with ground truth in the form that training wants.

    Images are resized as for testing and not augmented. Those that a training on this set would
    leave out are left out here, too, so that both losses are about the same kind of images: without
    what the architecture learns from; and, of models that learn from instances only, without an
    instance, if DATALOADER.FILTER_EMPTY_ANNOTATIONS says so.

    Args:
        cfg: the config of the training.
        name: one of DATASETS.TEST, whose classes `build_test_loader` has checked.

    Returns:
        A loader of batches of one image, shared by all processes; None, and a line in the log, if
        the set has no ground truth to learn from.

    Raises:
        UserError: see `load_dataset_dicts`.
    """
    records = load_dataset_dicts([name], filter_empty=False)
    kept = [record for record in records if _has_ground_truth(cfg, record)]
    if leaves_out_empty(cfg):
        kept = [record for record in kept if _has_instance(record)]
    if len(kept) < len(records):
        logger.info(
            "%s: %d of %d images have ground truth that a %s learns from; %s",
            name,
            len(kept),
            len(records),
            cfg.MODEL.META_ARCHITECTURE,
            "the validation loss is that of these" if kept else "there is no validation loss",
        )
    if not kept:
        return None
    mapper = SegmentationMapper(
        cfg,
        is_train=True,
        augmentations=build_augmentations(cfg, is_train=False),
        # Only a crop needs new boxes.
        recompute_boxes=False,
    )
    images = MappedRecords(kept, mapper, cfg.DATALOADER.NUM_WORKERS)
    return WatchedLoader(images, sampler=InferenceSampler(len(kept)))


def _has_ground_truth(cfg: CfgNode, record: dict[str, Any]) -> bool:
    needed = NEEDED.get(cfg.MODEL.META_ARCHITECTURE, ())
    return all(any(field in record for field in fields) for _, fields in needed)


def _has_instance(record: dict[str, Any]) -> bool:
    """Whether a standard dict has an instance that is no crowd."""
    if "annotations" in record:
        return any(not annotation.get("iscrowd", 0) for annotation in record["annotations"])
    return any(
        segment["isthing"] and not segment.get("iscrowd", 0)
        for segment in record.get("segments_info", ())
    )
