"""Class weights that a training takes from its own data."""

from __future__ import annotations

import logging

from detectron2.config import CfgNode
from detectron2.utils import comm

from segtron.data import load_dataset_dicts
from segtron.data.class_weights import METHODS, count_classes
from segtron.data.loaders import check_learnable
from segtron.errors import UserError

logger = logging.getLogger(__name__)


def fill_class_weights(cfg: CfgNode) -> CfgNode:
    """Compute MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS where the config asks for it.

    The label files are read once, by the main process, and the numbers stand in the config that the
    training writes.

    Args:
        cfg: frozen; not changed.

    Returns:
        `cfg` itself; or a frozen copy with the weights, and CLASS_WEIGHTS_FROM_DATA empty.

    Raises:
        UserError: the method is unknown, weights are given as well, or the data has no semantic
            labels or a broken one.
    """
    loss = cfg.MODEL.SEM_SEG_HEAD.LOSS
    method = loss.CLASS_WEIGHTS_FROM_DATA
    if not method:
        return cfg
    if loss.CLASS_WEIGHTS:
        raise UserError(
            f"MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS_FROM_DATA is {method!r}, but CLASS_WEIGHTS is "
            "given, too; leave one of them empty"
        )
    if method not in METHODS:
        raise UserError(
            f"MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS_FROM_DATA is {method!r}; known: "
            + ", ".join(METHODS)
        )
    found = _compute(cfg, method) if comm.is_main_process() else None
    weights = comm.all_gather(found)[0]
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS = weights
    cfg.MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS_FROM_DATA = ""
    cfg.freeze()
    return cfg


def _compute(cfg: CfgNode, method: str) -> list[float]:
    records = load_dataset_dicts(cfg.DATASETS.TRAIN, filter_empty=False)
    check_learnable(cfg, records)
    if not all("sem_seg_file_name" in record for record in records):
        raise UserError(
            f"class weights can't be computed: {', '.join(cfg.DATASETS.TRAIN)} has images without "
            "semantic labels; leave MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS_FROM_DATA empty"
        )
    pixels, company = count_classes(records, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES)
    if not pixels.any():
        raise UserError(
            f"no pixel of {', '.join(cfg.DATASETS.TRAIN)} has a class: all values are ignored; "
            "correct 'ignore' or the label files"
        )
    weights = METHODS[method](pixels, company)
    weights = [float(f"{weight:.4g}") for weight in weights]  # as they are to be read
    names = cfg.DATASETS.STUFF_CLASSES or [str(i) for i in range(len(weights))]
    absent = [name for name, count in zip(names, pixels, strict=True) if not count]
    if absent:
        logger.warning(
            "No pixel of %s is %s: nothing can be learnt of it.",
            ", ".join(cfg.DATASETS.TRAIN),
            ", ".join(absent),
        )
    logger.info(
        "Class weights by %s: %s.",
        method,
        ", ".join(f"{name} {weight:g}" for name, weight in zip(names, weights, strict=True)),
    )
    return weights
