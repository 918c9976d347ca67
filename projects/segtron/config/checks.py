"""Values of the right type that no training could mean, found before anything is built of them."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

from detectron2.config import CfgNode

from segtron.config.augmentation_checks import check_augmentations
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
        "ClassBalancedTrainingSampler",
    ),
    "SOLVER.LR_SCHEDULER_NAME": (
        "WarmupMultiStepLR",
        "WarmupCosineLR",
        "WarmupStepWithFixedGammaLR",
        "WarmupPolyLR",
    ),
    "SOLVER.WARMUP_METHOD": ("constant", "linear"),
    "TEST.BEST.MODE": ("", "max", "min"),
    "TEST.EARLY_STOPPING.MODE": ("", "max", "min"),
    "SOLVER.AMP.PRECISION": ("auto", "bfloat16", "float16"),
    "TEST.PRECISION": ("auto", "float32", "bfloat16", "float16"),
    "MODEL.BACKBONE.FREEZE_AT": (0, 1, 2, 3, 4, 5),
    "MODEL.RESNETS.DEPTH": (18, 34, 50, 101, 152),
    "MODEL.RESNETS.NORM": ("", "BN", "SyncBN", "FrozenBN", "GN", "LN"),
}
# Keys with a smallest value.
AT_LEAST = {
    "SOLVER.MAX_ITER": 1,
    "SOLVER.CHECKPOINT_PERIOD": 1,
    "SOLVER.CHECKPOINTS_KEPT": 0,
    "SOLVER.WARMUP_FACTOR": 0,
    "SOLVER.WARMUP_ITERS": 0,
    "SOLVER.GAMMA": 0,
    "SOLVER.WEIGHT_DECAY": 0,
    "SOLVER.ACCUMULATE": 1,
    "SOLVER.AVERAGE_LAST": 0,
    "SOLVER.REFERENCE_BATCH_SIZE": 0,
    "SOLVER.NUM_DECAYS": 0,
    "TEST.EARLY_STOPPING.PATIENCE": 0,
    "TEST.EARLY_STOPPING.MIN_DELTA": 0,
    "LOG.PICTURES_PERIOD": 0,
    "LOG.PICTURES_NUMBER": 1,
    "TEST.EVAL_PERIOD": 0,
    "DATALOADER.NUM_WORKERS": 0,
    "DATALOADER.CLASS_BALANCE_MAX_REPEAT": 1,
    "MODEL.ROI_HEADS.NUM_CLASSES": 1,
    "MODEL.SEM_SEG_HEAD.NUM_CLASSES": 1,
    "MODEL.SEM_SEG_HEAD.CONVS_DIM": 1,
    "MODEL.SEM_SEG_HEAD.COMMON_STRIDE": 1,
    "MODEL.SEM_SEG_HEAD.FCN.NUM_CONV": 0,
    "MODEL.SEM_SEG_HEAD.AUX.CONVS_DIM": 1,
    "MODEL.SEM_SEG_HEAD.AUX.LOSS_WEIGHT": 0,
    "SOLVER.BACKBONE_MULTIPLIER": 0,
}
# Chances and shares: from 0 to 1.
SHARES = (
    "INPUT.VERTICAL_FLIP_PROB",
    "INPUT.CROP.SINGLE_CATEGORY_MAX_AREA",
    "INPUT.COLOR_JITTER.BRIGHTNESS",
    "INPUT.COLOR_JITTER.CONTRAST",
    "INPUT.COLOR_JITTER.SATURATION",
    "INPUT.COLOR_JITTER.HUE",
    "INPUT.ROTATION.PROB",
    "INPUT.COPY_PASTE.PROB",
    "INPUT.COPY_PASTE.OBJECT_PROB",
    "INPUT.COPY_PASTE.MIN_VISIBLE",
    "INPUT.MOSAIC.PROB",
    "TEST.BOUNDARY_RATIO",
    "SOLVER.EMA.DECAY",
    "SOLVER.MOMENTUM",
)
# Detectron2's switches for what Segtron's training path does not do. Refused, since a run that
# leaves out what it was asked for would mislead.
NOT_SUPPORTED = (
    "MODEL.LOAD_PROPOSALS",
    "MODEL.KEYPOINT_ON",
    "TEST.PRECISE_BN.ENABLED",
)
# What is made for some meta-architectures only.
ARCHITECTURES = {
    "TEST.SLIDING_WINDOW.ENABLED": ("SemanticSegmentor",),
    "TEST.AUG.ENABLED": (
        "SemanticSegmentor",
        "GeneralizedRCNN",
        "UnifiedPanopticFPN",
        "BottomUpPanoptic",
    ),
}
# What a training does with DATASETS.TEST only.
NEED_TEST_SET = ("TEST.EVAL_PERIOD", "TEST.VALIDATION_LOSS", "LOG.PICTURES_PERIOD")
# The mask head that MODEL.ROI_MASK_HEAD.MASK_IOU is of.
_RESCORING_HEAD = "InstanceMaskHead"
LISTS_OF_NAMES = (
    "DATASETS.TRAIN",
    "DATASETS.TEST",
    "DATASETS.THING_CLASSES",
    "DATASETS.STUFF_CLASSES",
    "MODEL.SEM_SEG_HEAD.IN_FEATURES",
    "MODEL.CENTER_HEAD.IN_FEATURES",
)


def check_values(cfg: CfgNode) -> None:
    """Make sure that each value is one that its key can have.

    Raises:
        UserError: names the key, its value and what it can be.
    """
    get = functools.partial(_get, cfg)
    for key, choices in CHOICES.items():
        if get(key) not in choices:
            raise UserError(
                f"{key} is {get(key)!r}; it must be one of {', '.join(map(_shown, choices))}"
            )
    for key, smallest in AT_LEAST.items():
        if not smallest <= get(key) < math.inf:
            raise UserError(f"{key} is {get(key)}; it must be {smallest} or more")
    # What the data gives to pixels without a class (segtron.data.sem_seg).
    if cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE != 255:
        raise UserError(
            f"MODEL.SEM_SEG_HEAD.IGNORE_VALUE is {cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE}; labels are "
            "read with 255 for ignored pixels whatever the files have, so leave it at 255"
        )
    for key in SHARES:
        if not 0 <= get(key) <= 1:
            raise UserError(f"{key} is {get(key)}; it must be from 0 to 1")
    for key in NOT_SUPPORTED:
        if get(key):
            raise UserError(f"{key} is True, which Segtron does not support; set it to False")
    architecture = cfg.MODEL.META_ARCHITECTURE
    for key, able in ARCHITECTURES.items():
        if get(key) and architecture not in able:
            raise UserError(
                f"{key} is True, which Segtron does for MODEL.META_ARCHITECTURE "
                f"{', '.join(able)} only, not {architecture}; set it to False"
            )
    for key in LISTS_OF_NAMES:
        for name in get(key):
            if not isinstance(name, str):
                raise UserError(f"{key} holds {name!r}, which is no name; put it in quotes")
    _check_optimizer(cfg)
    _check_kept(cfg)
    _check_pixels(cfg)
    _check_steps(cfg)
    _check_sizes(cfg)
    check_augmentations(cfg)
    _check_windows(cfg)
    _check_scales(cfg)


def idle_settings(cfg: CfgNode) -> list[str]:
    """Settings for a training that do nothing, or little of what they are for, beside others.

    Each is a sentence without its full stop that names keys and values. What asks for something
    that can't be had is refused elsewhere, such as TEST.EARLY_STOPPING without evaluations.
    """
    solver = cfg.SOLVER
    sentences = []
    wanted = [f"{key} {value}" for key in NEED_TEST_SET if (value := _get(cfg, key))]
    if wanted and not cfg.DATASETS.TEST:
        sentences.append(
            f"DATASETS.TEST is empty, so nothing comes of {_enumerate(wanted)}; give it a data set"
        )
    if solver.EMA.ENABLED and solver.EMA.DECAY == 0:
        sentences.append(
            f"SOLVER.EMA.DECAY is {solver.EMA.DECAY}, so the average of the weights is the weights "
            "themselves; the default is 0.999"
        )
    if solver.EMA.ENABLED and solver.EMA.DECAY == 1:
        sentences.append(
            f"SOLVER.EMA.DECAY is {solver.EMA.DECAY}, so the average of the weights reaches back "
            "over about a ninth of all iterations, however many; 0.999 reaches back over 1000"
        )
    if solver.WARMUP_ITERS >= solver.MAX_ITER:
        sentences.append(
            f"SOLVER.WARMUP_ITERS {solver.WARMUP_ITERS} is not below SOLVER.MAX_ITER "
            f"{solver.MAX_ITER}, so the training ends while its learning rate still warms up; "
            "shorten the warm-up"
        )
    head = cfg.MODEL.ROI_MASK_HEAD
    if head.MASK_IOU.ENABLED and head.NAME != _RESCORING_HEAD:
        sentences.append(
            f"MODEL.ROI_MASK_HEAD.MASK_IOU.ENABLED is True, but the head {head.NAME} "
            f"(MODEL.ROI_MASK_HEAD.NAME) doesn't rescore masks; {_RESCORING_HEAD} does"
        )
    return sentences


def _enumerate(things: Sequence[str]) -> str:
    *others, last = things
    return f"{', '.join(others)} and {last}" if others else last


def _check_optimizer(cfg: CfgNode) -> None:
    if cfg.SOLVER.NESTEROV and not cfg.SOLVER.MOMENTUM:
        raise UserError("SOLVER.NESTEROV is True and SOLVER.MOMENTUM 0; give it a momentum")
    clip = cfg.SOLVER.CLIP_GRADIENTS
    for key in ("CLIP_VALUE", "NORM_TYPE"):
        # A norm of the order infinity is the largest gradient.
        if clip.ENABLED and not clip[key] > 0:
            raise UserError(f"SOLVER.CLIP_GRADIENTS.{key} is {clip[key]}; it must be above 0")
    if cfg.SEED >= 2**31:
        raise UserError(f"SEED is {cfg.SEED}; it must be below {2**31}")


def _check_kept(cfg: CfgNode) -> None:
    kept, averaged = cfg.SOLVER.CHECKPOINTS_KEPT, cfg.SOLVER.AVERAGE_LAST
    if kept and averaged > kept:
        raise UserError(
            f"SOLVER.AVERAGE_LAST is {averaged}, but SOLVER.CHECKPOINTS_KEPT is {kept}; keep "
            f"{averaged} or more, or all (0)"
        )


def _get(cfg: CfgNode, key: str) -> Any:
    return functools.reduce(getattr, key.split("."), cfg)


def _shown(choice: str | int) -> str:
    """A choice as one gives it: the empty string has to be seen."""
    return str(choice) if choice != "" else '""'


def _check_pixels(cfg: CfgNode) -> None:
    channels = 1 if cfg.INPUT.FORMAT == "L" else 3
    for key in ("PIXEL_MEAN", "PIXEL_STD"):
        value = list(cfg.MODEL[key])
        if len(value) != channels or not all(_is_number(v) for v in value):
            raise UserError(
                f"MODEL.{key} is {value}; INPUT.FORMAT {cfg.INPUT.FORMAT} wants {channels} numbers"
            )
    if min(cfg.MODEL.PIXEL_STD) <= 0:
        raise UserError(
            f"MODEL.PIXEL_STD is {list(cfg.MODEL.PIXEL_STD)}; it must be above 0, since images are "
            "divided by it"
        )


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
    if cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING == "range" and sizes[0] > sizes[1]:
        raise UserError(
            f"INPUT.MIN_SIZE_TRAIN is {sizes}; for INPUT.MIN_SIZE_TRAIN_SAMPLING 'range' the "
            "smallest length comes first"
        )
    crop = cfg.INPUT.CROP
    kinds = {
        "relative": (lambda h, w: max(h, w) <= 1, "height and width as shares, at most 1"),
        "relative_range": (lambda h, w: max(h, w) <= 1, "the smallest shares, at most 1"),
        "absolute": (_are_whole, "height and width in whole pixels"),
        "absolute_range": (
            lambda low, high: _are_whole(low, high) and low <= high,
            "the smallest and the largest length in whole pixels",
        ),
    }
    fits, meaning = kinds[crop.TYPE]
    if (
        len(crop.SIZE) != 2
        or not all(_is_number(size) and size > 0 for size in crop.SIZE)
        or not fits(*crop.SIZE)
    ):
        raise UserError(
            f"INPUT.CROP.SIZE is {list(crop.SIZE)}; for INPUT.CROP.TYPE {crop.TYPE!r} it must be "
            + meaning
        )


def _check_windows(cfg: CfgNode) -> None:
    options = cfg.TEST.SLIDING_WINDOW
    if not options.ENABLED:
        return
    for key in ("SIZE", "STRIDE"):
        value = list(options[key])
        if len(value) != 2 or not all(_is_length(side) and side > 0 for side in value):
            raise UserError(
                f"TEST.SLIDING_WINDOW.{key} is {value}; it must be height and width in whole pixels"
            )
    if any(step > side for step, side in zip(options.STRIDE, options.SIZE, strict=True)):
        raise UserError(
            f"TEST.SLIDING_WINDOW.STRIDE is {list(options.STRIDE)}, larger than SIZE "
            f"{list(options.SIZE)}: pixels between two windows would not be predicted; lower it"
        )


def _check_scales(cfg: CfgNode) -> None:
    options = cfg.TEST.AUG
    if not options.ENABLED:
        return
    sizes = list(options.MIN_SIZES)
    if not sizes or not all(_is_length(size) and size >= 0 for size in sizes):
        raise UserError(
            f"TEST.AUG.MIN_SIZES is {sizes}; it must be a list of lengths in whole pixels "
            "(0: as the image is)"
        )
    if options.MAX_SIZE < 1:
        raise UserError(f"TEST.AUG.MAX_SIZE is {options.MAX_SIZE}; it must be 1 or more")


def _are_whole(*sizes: float) -> bool:
    return all(size == int(size) for size in sizes)


def _is_length(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
