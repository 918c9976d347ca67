"""The fields of a COCO annotation that are no mask: id, box, area and iscrowd."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from segtron.data.checks.fields import numbers_only
from segtron.data.checks.problems import Problems, shown
from segtron.data.coco import FARTHEST

_NO_BOX = (np.nan,) * 4


def check_id(
    annotation: dict[str, Any],
    number: int,
    ids: dict[Any, int],
    place: tuple[Path, str],
    problems: Problems,
) -> None:
    """Enter an id that is none, or another annotation's.

    Args:
        annotation: with or without `id`.
        number: its place in the list.
        ids: id -> the place of the annotation that has it; this one's is added.
        place: the file, and what to call the annotation.
        problems: what is wrong is entered there.
    """
    annotation_id = annotation.get("id")
    if type(annotation_id) is not int or annotation_id < 1:
        said = shown(annotation_id) if "id" in annotation else "missing"
        problems.add("annotation-id-missing", *place, f"its id is {said}")
    elif ids.setdefault(annotation_id, number) != number:
        problems.add(
            "annotation-id-repeated",
            *place,
            f"its id {annotation_id} is annotations[{ids[annotation_id]}]'s",
        )


def read_box(
    annotation: dict[str, Any], place: tuple[Path, str], problems: Problems
) -> tuple[float, ...]:
    """`bbox` as it is, four nan and a problem if it is none."""
    box = annotation.get("bbox")
    is_box = isinstance(box, list) and len(box) == 4 and numbers_only(box)
    if is_box and all(abs(value) <= FARTHEST for value in box):
        return tuple(box)
    said = f"'bbox' is {shown(box)}" if "bbox" in annotation else "it has no 'bbox'"
    problems.add("box-value", *place, said)
    return _NO_BOX


def read_area(annotation: dict[str, Any], place: tuple[Path, str], problems: Problems) -> float:
    """`area`, nan and a problem if it is none; it may be missing."""
    area = annotation.get("area")
    if area is None:
        problems.add("area-missing", *place, "it has no 'area'")
        return np.nan
    if numbers_only([area]) and 0 <= area <= sys.float_info.max:
        return float(area)
    problems.add("area-value", *place, f"'area' is {shown(area)}")
    return np.nan


def read_crowd(annotation: dict[str, Any], place: tuple[Path, str], problems: Problems) -> bool:
    """`iscrowd`, which may be missing; False and a problem if it is none."""
    crowd = annotation.get("iscrowd")
    if crowd is None:
        problems.add("crowd-missing", *place, "it has no 'iscrowd'")
    elif crowd not in (0, 1):
        problems.add("crowd-value", *place, f"'iscrowd' is {shown(crowd)}")
        return False
    return bool(crowd)
