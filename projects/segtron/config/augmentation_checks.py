"""Values of the keys of augmentations that can't be meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.config import CfgNode

from segtron.errors import UserError

_COLOR_FORMATS = ("BGR", "RGB")


def check_augmentations(cfg: CfgNode) -> None:
    """Make sure that the augmentations of a config can be built, and go together.

    Raises:
        UserError: names the key, its value and what it can be.
    """
    options = cfg.INPUT
    _check_size("INPUT.SCALE_JITTER.SIZE", options.SCALE_JITTER.SIZE, smallest=1)
    _check_size("INPUT.MOSAIC.SIZE", options.MOSAIC.SIZE, smallest=2)
    _check_range("INPUT.SCALE_JITTER.RANGE", options.SCALE_JITTER.RANGE, "factors above 0", 0)
    _check_range("INPUT.ROTATION.ANGLES", options.ROTATION.ANGLES, "angles in degrees", None)
    if options.SCALE_JITTER.ENABLED and options.CROP.ENABLED:
        raise UserError(
            "INPUT.SCALE_JITTER.ENABLED and INPUT.CROP.ENABLED are both True, but scale jitter "
            "cuts to its own SIZE; set one of them to False"
        )
    crop = options.CROP
    if crop.PAD and not (crop.ENABLED and crop.TYPE == "absolute" and crop.AFTER_RESIZE):
        raise UserError(
            "INPUT.CROP.PAD is True, which goes with crops that all have one size; set "
            "INPUT.CROP.ENABLED and INPUT.CROP.AFTER_RESIZE to True and INPUT.CROP.TYPE to "
            "absolute, or PAD to False"
        )
    _check_colors(cfg)
    _check_entries("INPUT.ALBUMENTATIONS", options.ALBUMENTATIONS)
    _check_entries("INPUT.AUGMENTATIONS", options.AUGMENTATIONS)
    if options.ALBUMENTATIONS and options.FORMAT not in (*_COLOR_FORMATS, "L"):
        raise UserError(
            f"INPUT.ALBUMENTATIONS is for images of bytes, which INPUT.FORMAT {options.FORMAT} has "
            "not; empty it, or set INPUT.FORMAT to BGR, RGB or L"
        )


def _check_colors(cfg: CfgNode) -> None:
    jitter, image_format = cfg.INPUT.COLOR_JITTER, cfg.INPUT.FORMAT
    if jitter.HUE > 0.5:
        raise UserError(f"INPUT.COLOR_JITTER.HUE is {jitter.HUE}; it must be at most 0.5 turns")
    used = [key for key, strength in jitter.items() if strength > 0]
    if used and image_format not in _COLOR_FORMATS:
        raise UserError(
            f"INPUT.COLOR_JITTER.{used[0]} is {jitter[used[0]]}, but INPUT.FORMAT {image_format} "
            "has no colours to change; set it to 0"
        )


def _check_entries(key: str, entries: Sequence[Any]) -> None:
    for number, entry in enumerate(entries):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
            raise UserError(
                f"{key}[{number}] is {entry!r}; it must be a mapping with a 'name', such as "
                "{name: GaussNoise, p: 0.3}"
            )


def _check_size(key: str, size: Any, smallest: int) -> None:
    if len(size) != 2 or not all(type(side) is int and side >= smallest for side in size):
        raise UserError(
            f"{key} is {list(size)}; it must be height and width in whole pixels, {smallest} or "
            "more"
        )


def _check_range(key: str, ends: Any, what: str, above: float | None) -> None:
    """A check that leaves room for one value, the same at both ends."""
    is_range = (
        len(ends) == 2
        and all(type(end) in (int, float) for end in ends)
        and ends[0] <= ends[1]
        and abs(ends[0]) < 1e6
        and abs(ends[1]) < 1e6
        and (above is None or ends[0] > above)
    )
    if not is_range:
        raise UserError(f"{key} is {list(ends)}; it must be two {what}, the smaller one first")
