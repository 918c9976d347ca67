"""What panoptic models share: which classes are things, and what they learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.config import CfgNode

from segtron.errors import UserError


def thing_classes_of(cfg: CfgNode) -> list[int]:
    """The semantic classes that are things, as MODEL.SEM_SEG_HEAD.THING_CLASSES says.

    Raises:
        UserError: it is empty, or no list of distinct semantic classes.
    """
    thing_classes = list(cfg.MODEL.SEM_SEG_HEAD.THING_CLASSES)
    num_classes = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    if not thing_classes:
        raise UserError(
            "MODEL.SEM_SEG_HEAD.THING_CLASSES is empty; it follows from the data, so name a "
            "panoptic set with things in DATASETS.TRAIN; for stuff alone take a semantic model "
            "(MODEL.META_ARCHITECTURE SemanticSegmentor)"
        )
    if not all(type(label) is int and 0 <= label < num_classes for label in thing_classes):
        raise UserError(
            f"MODEL.SEM_SEG_HEAD.THING_CLASSES is {thing_classes}; it must list classes from 0 to "
            f"{num_classes - 1}, below MODEL.SEM_SEG_HEAD.NUM_CLASSES"
        )
    if len(set(thing_classes)) < len(thing_classes):
        raise UserError(
            f"MODEL.SEM_SEG_HEAD.THING_CLASSES is {thing_classes}; name each class once"
        )
    return thing_classes


def check_targets(
    batched_inputs: Sequence[Mapping[str, Any]], keys: Sequence[str], needs: str
) -> None:
    """Make sure that all images can be trained on.

    Args:
        batched_inputs: a model's inputs.
        keys: what each has to have.
        needs: which model learns from what, for the user.

    Raises:
        UserError: names the image and what it lacks.
    """
    for inputs in batched_inputs:
        for key in keys:
            if key not in inputs:
                raise UserError(
                    f"image {inputs.get('file_name', '')} has no {key} to train on; {needs}, so "
                    "name only sets that have them in DATASETS.TRAIN"
                )
