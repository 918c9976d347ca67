"""How often an epoch shows each image, by names of samplers: Detectron2's and one more."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.data.samplers import RepeatFactorTrainingSampler

from segtron.data.class_balance import class_balanced_factors
from segtron.data.seeded import Purpose, derive, generator_of
from segtron.errors import UserError

logger = logging.getLogger(__name__)

Records = Sequence[Mapping[str, Any]]


def build_repeat_factors(cfg: CfgNode, records: Records, seed: int) -> np.ndarray:
    """How often an epoch shows each image, as DATALOADER.SAMPLER_TRAIN says.

    Args:
        cfg: a config.
        records: N standard dicts.
        seed: what RandomSubsetTrainingSampler draws its subset from.

    Returns:
        (N,) float64: 0 for an image that is left out, else 1 or more.

    Raises:
        UserError: there is no such sampler, an image has not the instances or labels that it goes
            by, or it would leave out all images.
    """
    name = cfg.DATALOADER.SAMPLER_TRAIN
    if name not in _SAMPLERS:
        raise UserError(
            f"DATALOADER.SAMPLER_TRAIN is {name!r}; it must be one of {', '.join(_SAMPLERS)}"
        )
    factors = _SAMPLERS[name](cfg, records, seed)
    logger.info(
        "%s: an epoch shows %d of %d images, %.1f times on average.",
        name,
        np.count_nonzero(factors),
        len(factors),
        factors.sum() / np.count_nonzero(factors),
    )
    return factors


def _all_once(cfg: CfgNode, records: Records, seed: int) -> np.ndarray:
    return np.ones(len(records))


def _by_rarest_class(cfg: CfgNode, records: Records, seed: int) -> np.ndarray:
    factors = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(
        [{"annotations": _instances(record)} for record in records],
        cfg.DATALOADER.REPEAT_THRESHOLD,
        sqrt=cfg.DATALOADER.REPEAT_SQRT,
    )
    return factors.numpy().astype(np.float64)


def _instances(record: Mapping[str, Any]) -> list[dict[str, int]]:
    if "annotations" in record:
        return record["annotations"]
    if "segments_info" not in record:
        raise UserError(
            "DATALOADER.SAMPLER_TRAIN RepeatFactorTrainingSampler goes by the classes of "
            f"instances, and image {record['file_name']} has none; set it to TrainingSampler"
        )
    things = [segment for segment in record["segments_info"] if segment["isthing"]]
    return [{"category_id": thing["thing_category_id"]} for thing in things]


def _random_subset(cfg: CfgNode, records: Records, seed: int) -> np.ndarray:
    ratio = cfg.DATALOADER.RANDOM_SUBSET_RATIO
    size = int(len(records) * ratio)
    if size < 1 or ratio > 1:
        raise UserError(
            f"DATALOADER.RANDOM_SUBSET_RATIO is {ratio}; of {len(records)} images it must leave "
            "1 or more, and be at most 1"
        )
    factors = np.zeros(len(records))
    factors[generator_of(derive(seed, Purpose.SUBSET)).permutation(len(records))[:size]] = 1
    return factors


def _by_all_classes(cfg: CfgNode, records: Records, seed: int) -> np.ndarray:
    return class_balanced_factors(
        records,
        cfg.DATALOADER.CLASS_BALANCE_MAX_REPEAT,
        skip_unreadable=cfg.DATALOADER.SKIP_UNREADABLE,
    )


_SAMPLERS: dict[str, Callable[[CfgNode, Records, int], np.ndarray]] = {
    "TrainingSampler": _all_once,
    "RepeatFactorTrainingSampler": _by_rarest_class,
    "RandomSubsetTrainingSampler": _random_subset,
    "ClassBalancedTrainingSampler": _by_all_classes,
}
