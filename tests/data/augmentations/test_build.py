"""Which augmentations a config asks for, in their order."""

from __future__ import annotations

from typing import Any

import pytest
from detectron2.config import CfgNode

from segtron.config import get_default_config
from segtron.data import SegmentationMapper
from segtron.data.augmentations import build_augmentations, needs_bitmaps

PLAIN = ["ResizeShortestEdge", "RandomFlip"]


def config(*pairs: Any) -> CfgNode:
    cfg = get_default_config()
    cfg.merge_from_list(
        [p if i % 2 else f"INPUT.{p}" for i, p in enumerate(pairs)],
    )
    return cfg


def names(cfg: CfgNode, is_train: bool = True) -> list[str]:
    return [type(augmentation).__name__ for augmentation in build_augmentations(cfg, is_train)]


def test_none_by_default() -> None:
    cfg = get_default_config()
    assert names(cfg) == PLAIN
    assert not needs_bitmaps(cfg)
    arguments = SegmentationMapper.from_config(cfg, True)
    assert arguments["instance_mask_format"] == "polygon"
    assert not arguments["recompute_boxes"]


CROP = ("CROP.ENABLED", True, "CROP.TYPE", "absolute", "CROP.SIZE", [64, 64])


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (
            ("SCALE_JITTER.ENABLED", True, "COLOR_AUG_SSD", True),
            ["ColorAugSSDTransform", "ScaleJitter", "RandomCrop", "RandomFlip", "PadToSize"],
        ),
        (("COLOR_JITTER.HUE", 0.1), [*PLAIN, "ColorJitter"]),
        (("ROTATION.PROB", 0.1, "VERTICAL_FLIP_PROB", 0.5), [*PLAIN, PLAIN[1], "RandomRotation"]),
        (
            (*CROP, "CROP.AFTER_RESIZE", True, "CROP.PAD", True),
            [PLAIN[0], "RandomCrop", PLAIN[1], "PadToSize"],
        ),
        (("MOSAIC.PROB", 0.5), PLAIN),
        (("COPY_PASTE.PROB", 0.5), PLAIN),
    ],
)
def test_augmentations_of_keys(pairs: tuple[Any, ...], expected: list[str]) -> None:
    cfg = config(*pairs)
    assert names(cfg) == expected
    assert names(cfg, False) == PLAIN[:1]
    # All but colours move masks as bitmaps, and their boxes follow them.
    moves = "COLOR_JITTER.HUE" not in pairs
    arguments = SegmentationMapper.from_config(cfg, True)
    assert needs_bitmaps(cfg) == arguments["recompute_boxes"] == moves
    assert arguments["instance_mask_format"] == ("bitmask" if moves else "polygon")
    assert not SegmentationMapper.from_config(cfg, False).get("recompute_boxes")


def test_all_in_their_order() -> None:
    pytest.importorskip("albumentations")
    cfg = config(
        *("SCALE_JITTER.ENABLED", True, "COLOR_JITTER.HUE", 0.1, "ROTATION.PROB", 0.5),
        *("ALBUMENTATIONS", [{"name": "Blur"}, {"name": "Transpose", "p": 1}]),
    )
    moving = ["ColorJitter", "RandomRotation", "FromAlbumentations", "FromAlbumentations"]
    assert names(cfg) == ["ScaleJitter", "RandomCrop", "RandomFlip", *moving, "PadToSize"]
