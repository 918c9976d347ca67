"""The augmentations that a config asks for."""

from __future__ import annotations

import detectron2.data.transforms as T
from detectron2.config import CfgNode
from detectron2.data import detection_utils
from detectron2.projects.point_rend import ColorAugSSDTransform

from segtron.data.augmentations.color_jitter import ColorJitter
from segtron.data.augmentations.fixed_size import PadToSize
from segtron.data.augmentations.from_albumentations import build_from_albumentations
from segtron.data.augmentations.registry import build_registered
from segtron.data.augmentations.rotation import RandomRotation
from segtron.data.augmentations.scale_jitter import ScaleJitter
from segtron.data.sem_seg import IGNORED


def build_augmentations(cfg: CfgNode, is_train: bool) -> list[T.Augmentation | T.Transform]:
    """The augmentations that the INPUT keys ask for, in the order in which they run.

    In training: INPUT.COLOR_AUG_SSD; crop, resize (or resize before crop), or scale jitter; flips;
    colour jitter; rotation; those of albumentations; registered ones; padding. In inference:
    resize.

    Raises:
        UserError: INPUT.ALBUMENTATIONS or INPUT.AUGMENTATIONS asks for what can't be had.
    """
    augmentations: list[T.Augmentation | T.Transform] = detection_utils.build_augmentation(
        cfg, is_train
    )
    if not is_train:
        return augmentations
    if cfg.INPUT.VERTICAL_FLIP_PROB > 0:
        augmentations.append(
            T.RandomFlip(cfg.INPUT.VERTICAL_FLIP_PROB, horizontal=False, vertical=True)
        )
    # The resize is the first.
    if cfg.INPUT.SCALE_JITTER.ENABLED:
        size = cfg.INPUT.SCALE_JITTER.SIZE
        augmentations[:1] = [
            ScaleJitter(cfg.INPUT.SCALE_JITTER.RANGE, size),
            T.RandomCrop("absolute", size),
        ]
    if cfg.INPUT.CROP.ENABLED:
        augmentations.insert(1 if cfg.INPUT.CROP.AFTER_RESIZE else 0, _build_crop(cfg))
    if cfg.INPUT.COLOR_AUG_SSD:
        augmentations.insert(0, ColorAugSSDTransform(img_format=cfg.INPUT.FORMAT))
    return augmentations + _build_slow(cfg)


def needs_bitmaps(cfg: CfgNode) -> bool:
    """Whether augmentations of a training move masks as bitmaps, whatever they come as."""
    options = cfg.INPUT
    return bool(
        options.SCALE_JITTER.ENABLED
        or options.CROP.PAD
        or options.ROTATION.PROB > 0
        or options.ALBUMENTATIONS
        or options.AUGMENTATIONS
        or options.COPY_PASTE.PROB > 0
        or options.MOSAIC.PROB > 0
    )


def _build_crop(cfg: CfgNode) -> T.Augmentation:
    crop = cfg.INPUT.CROP
    if crop.SINGLE_CATEGORY_MAX_AREA >= 1:
        return T.RandomCrop(crop.TYPE, crop.SIZE)
    return T.RandomCrop_CategoryAreaConstraint(
        crop.TYPE, crop.SIZE, crop.SINGLE_CATEGORY_MAX_AREA, ignored_category=IGNORED
    )


def _build_slow(cfg: CfgNode) -> list[T.Augmentation | T.Transform]:
    """What works on all pixels, and so comes after the crop; and then what makes up its size."""
    options = cfg.INPUT
    fill = tuple(round(value) for value in cfg.MODEL.PIXEL_MEAN)
    augmentations: list[T.Augmentation | T.Transform] = []
    jitter = options.COLOR_JITTER
    if max(jitter.BRIGHTNESS, jitter.CONTRAST, jitter.SATURATION, jitter.HUE) > 0:
        augmentations.append(
            ColorJitter(
                jitter.BRIGHTNESS, jitter.CONTRAST, jitter.SATURATION, jitter.HUE, options.FORMAT
            )
        )
    if options.ROTATION.PROB > 0:
        augmentations.append(RandomRotation(options.ROTATION.PROB, options.ROTATION.ANGLES, fill))
    augmentations += build_from_albumentations(options.ALBUMENTATIONS, options.FORMAT)
    augmentations += build_registered(options.AUGMENTATIONS)
    if options.SCALE_JITTER.ENABLED:
        augmentations.append(PadToSize(options.SCALE_JITTER.SIZE, fill))
    elif options.CROP.ENABLED and options.CROP.PAD:
        augmentations.append(PadToSize(options.CROP.SIZE, fill))
    return augmentations
