"""The page of all config keys, made of the defaults and the comments above them.

python -m segtron.config.reference > docs/config.md
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass

from segtron.config import defaults

_HEADER = """\
# Every config key

<!-- Made by `python -m segtron.config.reference > docs/config.md`. -->

What Segtron adds to [Detectron2's keys][1], with its defaults. A config file sets them as nested
mappings, a command line as `KEY VALUE` pairs after all else.

[1]: https://detectron2.readthedocs.io/en/latest/modules/config.html#yaml-config-references
"""


@dataclass(frozen=True)
class _Entry:
    """A comment, and the keys below it.

    Attributes:
        text: the comment, its lines without "#".
        keys: full names and defaults as they stand in the code; none if the comment is about what
            follows.
    """

    text: list[str]
    keys: list[tuple[str, str]]


def config_reference() -> str:
    """All keys that Segtron adds, as a page in Markdown.

    Sections are the functions of `segtron.config.defaults`. A comment is about the keys that follow
    it up to the next comment or an empty line, and where there are none about what follows.
    """
    source = inspect.getsource(defaults)
    lines = source.splitlines()
    parts = [_HEADER]
    for function in ast.parse(source).body:
        if isinstance(function, ast.FunctionDef):
            entries = list(_entries(function, lines))
            if any(entry.keys for entry in entries):
                parts += [f"## {_title(function)}\n", *map(_render, entries)]
    return "\n".join(parts)


def _entries(function: ast.FunctionDef, lines: list[str]) -> Iterator[_Entry]:
    end = function.end_lineno
    # A comment at the end belongs to the function, though the tree knows nothing of it.
    while end < len(lines) and re.match(r"    \s*#", lines[end]):
        end += 1
    assignments = {
        statement.lineno: statement
        for statement in function.body
        if isinstance(statement, ast.Assign)
        and ast.unparse(statement.targets[0]).startswith("cfg.")
    }
    entry, is_complete = _Entry([], []), False
    for number in range(function.lineno, end + 1):
        line = lines[number - 1].strip()
        is_comment = line.startswith("#")
        if not line or (is_comment and is_complete):
            if entry.text or entry.keys:
                yield entry
            entry, is_complete = _Entry([], []), False
        if is_comment:
            entry.text.append(line[1:].removeprefix(" "))
        elif number in assignments:
            is_complete = True
            statement = assignments[number]
            if ast.unparse(statement.value) != "CfgNode()":
                name = ast.unparse(statement.targets[0]).removeprefix("cfg.")
                entry.keys.append((name, ast.unparse(statement.value)))
    if entry.text or entry.keys:
        yield entry


def _title(function: ast.FunctionDef) -> str:
    words = function.name.removeprefix("_add_").replace("_", " ")
    return "General" if words == function.name.replace("_", " ") else words.capitalize()


def _render(entry: _Entry) -> str:
    keys = "".join(f"**`{name}`** = `{default}`  \n" for name, default in entry.keys)
    # Lines that are indented are examples.
    text = "\n".join(
        f"`{line.strip()}`  " if line.startswith("  ") else line for line in entry.text
    )
    return f"{keys}{text}\n"


if __name__ == "__main__":
    print(config_reference(), end="")
