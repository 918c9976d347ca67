"""Single fields of a JSON's entries: names, numbers, ids and sizes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segtron.data.checks.problems import Problems, shown
from segtron.data.coco import FARTHEST, path_below
from segtron.errors import UserError

_LARGEST_ID = 2**63


def has_field(
    entry: dict[str, Any],
    field: str,
    types: type | tuple[type, ...],
    place: tuple[Path, str],
    problems: Problems,
) -> bool:
    """Whether an entry has a field of a type; enters it as a problem where it has not.

    True and false are no numbers, unless bool is one of the types; ids have 63 bits at most.
    """
    file, where = place
    if field not in entry:
        problems.add("field-missing", file, where, f"it has no '{field}'")
        return False
    value = entry[field]
    allowed = types if isinstance(types, tuple) else (types,)
    is_flag = isinstance(value, bool) and bool not in allowed
    if isinstance(value, allowed) and not is_flag:
        if not (field.endswith("id") and isinstance(value, int) and abs(value) >= _LARGEST_ID):
            return True
        problems.add("field-type", file, where, f"'{field}' is a number of more than 63 bits")
        return False
    # An id that only looks different can be put right.
    code = "id-type" if field.endswith("id") and whole_number(value) is not None else "field-type"
    problems.add(code, file, where, f"'{field}' is {shown(value)}")
    return False


def whole_number(value: Any) -> int | None:
    """The whole number of 63 bits at most that a value stands for: 3, 3.0 or "3"."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    elif isinstance(value, str) and len(value) < 20 and value.isascii():
        digits = value.removeprefix("-")
        # "007" and "7" may be two ids.
        canonical = digits.isdigit() and (digits == "0" or digits[0] != "0")
        value = int(value) if canonical and value != "-0" else None
    return value if isinstance(value, int) and abs(value) < _LARGEST_ID else None


def usable_name(name: str, place: tuple[Path, str], problems: Problems) -> str | None:
    """A file's name if it stays in its folder; None, and a problem, if it does not."""
    try:
        path_below(Path("/folder"), name, "")
    except UserError:
        problems.add("file-name", *place, f"it names the file {shown(name)}")
        return None
    return name


def is_length(value: Any) -> bool:
    """Whether a value is a side of a picture in whole pixels; 640.0 is one, too."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 < value <= FARTHEST and value == int(value)


def numbers_only(values: Sequence[Any]) -> bool:
    """Whether all values are numbers, true and false being none."""
    return set(map(type, values)) <= {int, float}
