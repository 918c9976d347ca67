"""Files that name classes: lists of names, tables of colours, YAML.

Read are

- texts with a name a line, the first of which is value 0 (`classes.txt`, `obj.names`);
- texts with a name and a colour a line, in either order: CVAT's and labelme's `labelmap.txt`
  (`road:128,64,128::`), `class_dict.csv` (`road,128,64,128`), CamVid's `label_colors.txt`
  (`128 64 128 road`);
- YAML with a list of names or a mapping {value: name}, by itself or as `names` or `classes`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtron.data.converters.text_files import read_text, read_yaml
from segtron.data.sem_seg import Color
from segtron.errors import UserError

# The names under which tools write them.
USUAL_NAMES = (
    "classes.txt", "labelmap.txt", "class_dict.csv", "label_colors.txt", "class_names.txt",
    "labels.txt", "obj.names", "classes.yaml",
)  # fmt: skip
_LONGEST_LINE = 1000
_COLOUR = r"(?P<red>\d{1,3})[\s,;]+(?P<green>\d{1,3})[\s,;]+(?P<blue>\d{1,3})"
_NAME_FIRST = re.compile(rf"(?P<name>.+?)[\s:,;]+{_COLOUR}(?:\s*[:,;].*)?")
_COLOUR_FIRST = re.compile(rf"{_COLOUR}[\s:,;]+(?P<name>.+)")


@dataclass(frozen=True)
class ClassFile:
    """What a file says of classes.

    Attributes:
        path: of the file.
        names: value -> name, in ascending order of values; not empty, no name twice.
        colours: value -> RGB colour; empty where the file has none.
    """

    path: Path
    names: Mapping[int, str]
    colours: Mapping[int, Color]


def find_class_file(folder: Path) -> Path | None:
    """The class file that lies in a folder under one of the `USUAL_NAMES`; None if none does."""
    return next((path for name in USUAL_NAMES if (path := folder / name).is_file()), None)


def is_background(name: str) -> bool:
    """Whether a class is what is left beside all objects."""
    return name.strip("_").lower() == "background"


def read_class_file(path: Path) -> ClassFile:
    """Read a class file of any of the kinds above.

    Raises:
        UserError: the file is missing, broken, names no class, or one twice.
    """
    if path.suffix.lower() in (".yaml", ".yml"):
        content = read_yaml(path, "class names")
        if isinstance(content, dict):
            content = content.get("names", content.get("classes", content))
        return ClassFile(path, names_by_value(content, str(path)), {})
    lines = [line.strip() for line in read_text(path, "class names").splitlines()]
    numbered = [(n, line) for n, line in enumerate(lines, 1) if not line.startswith("#")]
    lines = [line for _, line in numbered if line]
    if any(len(line) > _LONGEST_LINE for line in lines):
        raise UserError(f"{path} has a line of more than {_LONGEST_LINE} characters; is it a list?")
    coloured = [_NAME_FIRST.fullmatch(line) or _COLOUR_FIRST.fullmatch(line) for line in lines]
    if len(lines) > 1 and not coloured[0] and all(coloured[1:]):
        coloured = coloured[1:]  # the head of a table
    if not coloured or not all(coloured):
        for place, (number, line) in enumerate(numbered[: len(lines)]):
            if not line:
                raise UserError(
                    f"{path}:{number} is empty, but a line's place is the value of its class, here "
                    f"{place}; name the class, or remove the line if the values go on without it"
                )
        return ClassFile(path, names_by_value(lines, str(path)), {})
    names = names_by_value([match["name"].strip() for match in coloured], str(path))
    return ClassFile(path, names, dict(enumerate(_colours(coloured, path))))


def _colours(lines: Sequence[re.Match[str]], path: Path) -> list[Color]:
    colours: list[Color] = []
    for line in lines:
        colour = (int(line["red"]), int(line["green"]), int(line["blue"]))
        if max(colour) > 255 or colour in colours:
            raise UserError(
                f"{path}: {line['name'].strip()!r} has the colour {list(colour)}; each class has "
                "its own, of numbers from 0 to 255"
            )
        colours.append(colour)
    return colours


def names_by_value(content: Any, where: str) -> dict[int, str]:
    """Class names by their values.

    Args:
        content: from a file: a list of names, the first of which is value 0, or {value: name}.
        where: what to call it.

    Returns:
        In ascending order of values.

    Raises:
        UserError: it is nothing of the kind, has no name, or one twice.
    """
    if isinstance(content, list):
        content = dict(enumerate(content))
    if not isinstance(content, dict) or not content:
        raise UserError(f"{where} names no classes; write a list of names, or {{value: name}}")
    names: dict[int, str] = {}
    for value, name in content.items():
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**16:
            raise UserError(
                f"{where}: {repr(value)[:40]} is no value of a class; these are whole numbers from "
                "0 to 65535"
            )
        if isinstance(name, int | float) and not isinstance(name, bool):
            name = str(name)
        if not isinstance(name, str) or not name.strip():
            raise UserError(
                f"{where}: the class of value {value} is called {repr(name)[:40]}; a name is a "
                "text, so put it in quotes"
            )
        names[value] = name.strip()
    seen: dict[str, int] = {}
    for value, name in names.items():
        if seen.setdefault(name, value) != value:
            raise UserError(
                f"{where}: {name!r} is the class of value {seen[name]} and of {value}; give each a "
                "name of its own"
            )
    return dict(sorted(names.items()))
