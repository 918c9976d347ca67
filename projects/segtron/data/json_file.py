"""JSON files from outside: read with errors that name the file, and checked field by field."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segtron.errors import UserError

# What an entry must have, and of which type.
Fields = Mapping[str, type | tuple[type, ...]]


def read_json(json_file: Path, what: str) -> Any:
    """Read a JSON file.

    Args:
        json_file: the file; it may begin with a byte order mark.
        what: what should be in it, for messages, such as "annotations".

    Raises:
        UserError: the file is missing or no JSON, or a whole number in it has more digits than
            Python converts.
    """
    try:
        return json.loads(json_file.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read the {what} {json_file}: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{json_file} is not valid JSON ({error}); export it again") from error
    except ValueError as error:
        raise UserError(
            f"{json_file} has a whole number of more than {sys.get_int_max_str_digits()} digits; "
            "export it again"
        ) from error


def read_json_lists(json_file: Path, lists: Mapping[str, Fields], format: str) -> dict[str, Any]:
    """Read a JSON object that holds lists of entries.

    Args:
        json_file: the file.
        lists: by name, the lists that there must be, and what each of their entries must have.
        format: what the file should be, for messages, such as "COCO".

    Returns:
        The file's content, with what else is in it.

    Raises:
        UserError: the file is missing, no JSON, or lacks a list or a field: names the entry.
    """
    content = read_json(json_file, "annotations")
    if not isinstance(content, dict):
        *names, last = (repr(name) for name in lists)
        raise UserError(
            f"{json_file} is not {format}: it holds a JSON {type(content).__name__}, not an object "
            f"with {', '.join(names)}{' and ' * bool(names)}{last}"
        )
    for name, fields in lists.items():
        if not isinstance(content.get(name), list):
            raise UserError(f"{json_file} is not {format}: it has no list {name!r}")
        for number, entry in enumerate(content[name]):
            check_fields(entry, fields, f"{json_file}: {name}[{number}]", format)
    return content


def check_fields(entry: Any, fields: Fields, where: str, format: str) -> None:
    """Make sure that an entry has the fields that it must have.

    Args:
        entry: any JSON value.
        fields: their names and types; true and false pass for no number, unless bool is
            one of them.
        where: what to call the entry.
        format: as in `read_json_lists`.

    Raises:
        UserError: names the field.
    """
    if not isinstance(entry, dict):
        raise UserError(f"{where} is not an object but a {type(entry).__name__}")
    for field, types in fields.items():
        if field not in entry:
            raise UserError(f"{where} has no {field!r}")
        allowed = types if isinstance(types, tuple) else (types,)
        is_flag = isinstance(entry[field], bool) and bool not in allowed
        if not isinstance(entry[field], allowed) or is_flag:
            value = repr(entry[field])
            raise UserError(
                f"{where}: {field!r} is {value[:40]}, which {format} does not allow there"
            )
        if field.endswith("id") and not _is_id(entry[field]):
            raise UserError(f"{where}: {field!r} is a number of more than 63 bits")


def _is_id(value: Any) -> bool:
    """Whether arrays of ids can hold it."""
    return not isinstance(value, int) or abs(value) < 2**63
