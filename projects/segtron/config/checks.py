"""Values of the right type that no training could mean, found before anything is built of them."""

from __future__ import annotations

import functools
from typing import Any

from detectron2.config import CfgNode

from segtron.errors import UserError

# Keys with a fixed set of values.
CHOICES = {
    "INPUT.FORMAT": ("BGR", "RGB", "L", "YUV-BT.601"),
    "INPUT.MASK_FORMAT": ("polygon", "bitmask"),
    "INPUT.RANDOM_FLIP": ("none", "horizontal", "vertical"),
    "INPUT.MIN_SIZE_TRAIN_SAMPLING": ("choice", "range"),
    "INPUT.CROP.TYPE": ("relative", "relative_range", "absolute", "absolute_range"),
    "DATALOADER.SAMPLER_TRAIN": (
        "TrainingSampler",
        "RepeatFactorTrainingSampler",
        "RandomSubsetTrainingSampler",
    ),
    "SOLVER.LR_SCHEDULER_NAME": (
        "WarmupMultiStepLR",
        "WarmupCosineLR",
        "WarmupStepWithFixedGammaLR",
    ),
    "SOLVER.WARMUP_METHOD": ("constant", "linear"),
}
# Keys with a smallest value.
AT_LEAST = {
    "SOLVER.MAX_ITER": 1,
    "SOLVER.CHECKPOINT_PERIOD": 1,
    "TEST.EVAL_PERIOD": 0,
    "DATALOADER.NUM_WORKERS": 0,
    "MODEL.BACKBONE.FREEZE_AT": 0,
    "MODEL.ROI_HEADS.NUM_CLASSES": 1,
}
# Detectron2's switches for what Segtron's training path does not do. Refused, since a run that
# leaves out what it was asked for would mislead.
NOT_SUPPORTED = (
    "MODEL.LOAD_PROPOSALS",
    "MODEL.KEYPOINT_ON",
    "TEST.PRECISE_BN.ENABLED",
    "TEST.AUG.ENABLED",
)
LISTS_OF_NAMES = ("DATASETS.TRAIN", "DATASETS.TEST", "DATASETS.THING_CLASSES")


def check_values(cfg: CfgNode) -> None:
    """Make sure that each value is one that its key can have.

    Raises:
        UserError: names the key, its value and what it can be.
    """
    get = functools.partial(_get, cfg)
    for key, choices in CHOICES.items():
        if get(key) not in choices:
            raise UserError(f"{key} is {get(key)!r}; it must be one of {', '.join(choices)}")
    for key, smallest in AT_LEAST.items():
        if get(key) < smallest:
            raise UserError(f"{key} is {get(key)}; it must be {smallest} or more")
    for key in NOT_SUPPORTED:
        if get(key):
            raise UserError(f"{key} is True, which Segtron does not support; set it to False")
    for key in LISTS_OF_NAMES:
        for name in get(key):
            if not isinstance(name, str):
                raise UserError(f"{key} holds {name!r}, which is no name; put it in quotes")
    _check_steps(cfg)
    _check_sizes(cfg)


def _get(cfg: CfgNode, key: str) -> Any:
    return functools.reduce(getattr, key.split("."), cfg)


def _check_steps(cfg: CfgNode) -> None:
    steps = list(cfg.SOLVER.STEPS)
    if not all(_is_number(step) and step > 0 for step in steps) or steps != sorted(set(steps)):
        raise UserError(
            f"SOLVER.STEPS is {steps}; it must be a list of iterations, each after the one before"
        )


def _check_sizes(cfg: CfgNode) -> None:
    sizes = list(cfg.INPUT.MIN_SIZE_TRAIN)
    if not sizes or not all(_is_number(size) and size >= 0 for size in sizes):
        raise UserError(f"INPUT.MIN_SIZE_TRAIN is {sizes}; it must be a list of lengths in pixels")
    if cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING == "range" and len(sizes) != 2:
        raise UserError(
            f"INPUT.MIN_SIZE_TRAIN is {sizes}, but INPUT.MIN_SIZE_TRAIN_SAMPLING 'range' wants the "
            "smallest and the largest length; give two, or 'choice'"
        )
    crop = cfg.INPUT.CROP
    relative = crop.TYPE.startswith("relative")
    if (
        len(crop.SIZE) != 2
        or not all(_is_number(size) and size > 0 for size in crop.SIZE)
        or (relative and max(crop.SIZE) > 1)
    ):
        raise UserError(
            f"INPUT.CROP.SIZE is {list(crop.SIZE)}; for INPUT.CROP.TYPE {crop.TYPE!r} it must be "
            f"height and width, "
            + ("as shares of the image, at most 1" if relative else "in pixels")
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
