"""What every entry of COCO's result format has: a JSON list of boxes and masks with scores.

See https://cocodataset.org/#format-results, "Object Detection".
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segtron.data.json_file import Fields, check_fields
from segtron.errors import UserError

RESULTS_FORMAT = "COCO's result format"
# Beside them, what it is a result of: `bbox`, `segmentation`, or both.
RESULT_FIELDS: Fields = {"image_id": (int, str), "category_id": int, "score": (int, float)}
# `box_score` is Segtron's: that of the box, where a mask has its own.
_SCORES = ("score", "box_score")


def name_of_result(json_file: Path, number: int) -> str:
    """What messages call an entry of a file of results."""
    return f"{json_file}: entry {number}"


def check_result(result: Any, where: str) -> None:
    """Make sure that a result has the fields that all have, and scores that are numbers.

    Args:
        result: any JSON value.
        where: what to call it.

    Raises:
        UserError: names the field.
    """
    check_fields(result, RESULT_FIELDS, where, RESULTS_FORMAT)
    check_scores(result, where)


def check_scores(entry: Mapping[str, Any], where: str) -> None:
    """Make sure that an entry's scores, if it has some, are numbers that float64 can hold.

    Args:
        entry: a result, or an annotation, of which tools keep scores as well.
        where: what to call it.

    Raises:
        UserError: names the score.
    """
    for name in _SCORES:
        score = entry.get(name)
        is_number = isinstance(score, int | float) and not isinstance(score, bool)
        # Not "> max", since nan is neither.
        if score is not None and not (is_number and abs(score) <= sys.float_info.max):
            raise UserError(f"{where}: {name!r} is {repr(score)[:40]}; it must be a finite number")
