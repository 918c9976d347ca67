"""Augmentations of one's own, by name in a config."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import detectron2.data.transforms as T
from detectron2.utils.registry import Registry

from segtron.errors import UserError

AUGMENTATIONS = Registry("AUGMENTATION")
AUGMENTATIONS.__doc__ = """
Classes of `detectron2.data.transforms.Augmentation` or `Transform` that INPUT.AUGMENTATIONS can
name. docs/augmentations.md has an example.
"""
_KEY = "INPUT.AUGMENTATIONS"


def build_registered(entries: Sequence[Mapping[str, Any]]) -> list[T.Augmentation | T.Transform]:
    """Make augmentations of the entries of INPUT.AUGMENTATIONS.

    Args:
        entries: each with `name`, of a registered class, and its arguments.

    Raises:
        UserError: there is no such class, or it has no such arguments.
    """
    return [_build(entry, f"{_KEY}[{number}]") for number, entry in enumerate(entries)]


def _build(entry: Mapping[str, Any], where: str) -> T.Augmentation | T.Transform:
    name = str(entry["name"])
    if name not in AUGMENTATIONS:
        names = [known for known, _ in AUGMENTATIONS]
        near = difflib.get_close_matches(name, names, n=1)
        hint = (
            f"did you mean {near[0]!r}?" if near else "name the file that registers it to --parts"
        )
        raise UserError(f"{where}: no augmentation is registered as {name!r}; {hint}")
    try:
        return AUGMENTATIONS.get(name)(**{k: v for k, v in entry.items() if k != "name"})
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {name}: {error}; correct its arguments") from error
