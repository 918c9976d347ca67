"""The augmentations that a config asks for."""

from __future__ import annotations

import detectron2.data.transforms as T
from detectron2.config import CfgNode
from detectron2.data import detection_utils
from detectron2.projects.point_rend import ColorAugSSDTransform

from segtron.data.sem_seg import IGNORED


def build_augmentations(cfg: CfgNode, is_train: bool) -> list[T.Augmentation | T.Transform]:
    """The augmentations that the INPUT keys ask for, in the order in which they run.

    In training: colour, crop, resize, flips; or resize before crop. In inference: resize.
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
    if cfg.INPUT.CROP.ENABLED:
        # The resize is the first.
        augmentations.insert(1 if cfg.INPUT.CROP.AFTER_RESIZE else 0, _build_crop(cfg))
    if cfg.INPUT.COLOR_AUG_SSD:
        augmentations.insert(0, ColorAugSSDTransform(img_format=cfg.INPUT.FORMAT))
    return augmentations


def _build_crop(cfg: CfgNode) -> T.Augmentation:
    crop = cfg.INPUT.CROP
    if crop.SINGLE_CATEGORY_MAX_AREA >= 1:
        return T.RandomCrop(crop.TYPE, crop.SIZE)
    return T.RandomCrop_CategoryAreaConstraint(
        crop.TYPE, crop.SIZE, crop.SINGLE_CATEGORY_MAX_AREA, ignored_category=IGNORED
    )
