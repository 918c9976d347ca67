"""What augmentations add to the mapping of images."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import detectron2.data.transforms as T
import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetMapper

from segtron.benchmarks.data.ways import Record, Way, crop_config, mapping, our_mapper
from segtron.data.mixing import build_mixer

FRAMES = 2  # of each row
_PLAIN = "the same without it"
_SQUARE = [1024, 1024]


class AugmentationRow(NamedTuple):
    """Two ways to images: with an augmentation, and without it or with Detectron2's.

    Attributes:
        work, against, ours, theirs: see `segtron.benchmarks.report.Row`.
    """

    work: str
    against: str
    ours: Way
    theirs: Way


def compare_augmentations(records: Sequence[Record]) -> tuple[list[AugmentationRow], list[str]]:
    """Rows for all augmentations of instances, in crops of 512 x 1024.

    Args:
        records: standard dicts with instances, of which `FRAMES` are taken.

    Returns:
        The rows; and what could not be compared, a sentence each.
    """
    records = records[:FRAMES]
    plain = mapping(our_mapper(crop_config()), records)
    # As large as the crops.
    mosaic = [min(512, records[0]["height"]), min(1024, records[0]["width"])]
    rows = [
        _row(
            "scale jitter to 1024 x 1024",
            "Detectron2's ResizeScale and FixedSizeCrop",
            mapping(our_mapper(_jitter_config()), records),
            mapping(_their_mapper(_their_jitter()), records),
        ),
        _row(
            "colours",
            "Detectron2's RandomBrightness, RandomContrast and RandomSaturation",
            _ours(records, BRIGHTNESS=0.4, CONTRAST=0.4, SATURATION=0.4, part="COLOR_JITTER"),
            mapping(_their_mapper(_their_crop() + _their_colours()), records),
        ),
        _row(
            "rotation",
            "Detectron2's RandomRotation",
            _ours(records, PROB=1.0, part="ROTATION"),
            mapping(
                _their_mapper(_their_crop() + [T.RandomRotation([-10, 10], expand=False)]), records
            ),
        ),
        _row("hue", _PLAIN, _ours(records, HUE=0.1, part="COLOR_JITTER"), plain),
        _row("copy-paste", _PLAIN, _mixing(records, PROB=1.0, part="COPY_PASTE"), plain),
        _row("mosaic", _PLAIN, _mixing(records, PROB=1.0, SIZE=mosaic, part="MOSAIC"), plain),
    ]
    if importlib.util.find_spec("albumentations") is None:
        return rows, ["albumentations is not installed, so its transforms are not timed."]
    for entry in ({"name": "GaussNoise", "p": 1}, {"name": "Affine", "rotate": 10, "p": 1}):
        cfg = crop_config()
        cfg.INPUT.ALBUMENTATIONS = [entry]
        ours = mapping(our_mapper(cfg), records)
        rows.append(_row(f"albumentations' {entry['name']}", _PLAIN, ours, plain))
    return rows, []


def check_same_sizes(ours: Sequence[Record], theirs: Sequence[Record]) -> None:
    """Make sure that images have the same size; with other draws all else differs.

    Raises:
        RuntimeError: they haven't.
    """
    for our, their in zip(ours, theirs, strict=True):
        if our["image"].shape != their["image"].shape:
            raise RuntimeError(f"{our['file_name']}: the image has another size than the other's")


def _row(augmentation: str, against: str, ours: Way, theirs: Way) -> AugmentationRow:
    return AugmentationRow(f"{augmentation}, {FRAMES} frames' instances", against, ours, theirs)


def _config(part: str, **values: Any) -> CfgNode:
    cfg = crop_config()
    for key, value in values.items():
        cfg.INPUT[part][key] = value
    return cfg


def _ours(records: Sequence[Record], *, part: str, **values: Any) -> Way:
    return mapping(our_mapper(_config(part, **values)), records)


def _mixing(records: Sequence[Record], *, part: str, **values: Any) -> Way:
    cfg = _config(part, **values)
    mapper, mixer = our_mapper(cfg), build_mixer(cfg)

    def map_mixed(record: Record) -> Record:
        return mixer.mix(
            lambda size: mapper.map(record, size),
            lambda size: mapper.map(records[np.random.randint(len(records))], size),
        )

    return mapping(map_mixed, records)


def _jitter_config() -> CfgNode:
    cfg = _config("SCALE_JITTER", ENABLED=True, SIZE=_SQUARE)
    cfg.INPUT.CROP.ENABLED = False
    return cfg


def _their_mapper(augmentations: list[T.Augmentation]) -> Callable[[Record], Record]:
    arguments = DatasetMapper.from_config(crop_config(), True)
    arguments["augmentations"] = augmentations
    return DatasetMapper(**arguments)


def _their_jitter() -> list[T.Augmentation]:
    # With Detectron2's own value for labels, 255, what is filled up would belong to each instance.
    crop = T.FixedSizeCrop(_SQUARE, seg_pad_value=0)
    return [T.ResizeScale(0.1, 2.0, *_SQUARE), crop, T.RandomFlip()]


def _their_crop() -> list[T.Augmentation]:
    return [T.RandomCrop("absolute", (512, 1024)), T.RandomFlip()]


def _their_colours() -> list[T.Augmentation]:
    kinds = (T.RandomBrightness, T.RandomContrast, T.RandomSaturation)
    return [kind(0.6, 1.4) for kind in kinds]
