"""Text and YAML files from outside: bounded in size, with errors that name the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from segtron.errors import UserError


def read_text(path: Path, what: str, most_bytes: int = 2**20) -> str:
    """Read a text in UTF-8, with or without a byte order mark.

    Args:
        path: the file.
        what: what should be in it, for messages, such as "class names".
        most_bytes: that it may have.

    Raises:
        UserError: the file is missing, larger, or not in UTF-8.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(most_bytes + 1)
    except OSError as error:
        raise UserError(f"cannot read the {what} {path}: {error.strerror}") from error
    if len(content) > most_bytes:
        raise UserError(f"{path} is too large to hold {what}: over {most_bytes:,} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file in UTF-8; save its {what} as one") from error


# Some 10,000 classes; more would take its reader, which is written in Python, many seconds.
_MOST_YAML_BYTES = 2**18


class _Loader(yaml.SafeLoader):
    """Reads plain values. What an alias refers to can be multiplied without end, so there is none
    here."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "it uses an alias (*)", mark)
        return super().compose_node(parent, index)


def read_yaml(path: Path, what: str) -> Any:
    """Read a YAML file of plain values.

    Args:
        path: the file.
        what: as in `read_text`.

    Raises:
        UserError: the file can't be read, see `read_text`, or is no such YAML.
    """
    text = read_text(path, what, _MOST_YAML_BYTES)
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = "?" if error.problem_mark is None else error.problem_mark.line + 1
        problem = " ".join(str(error.problem).split())
        raise UserError(f"{path}:{line}: broken YAML ({problem}); correct the file") from error
    # A control character, a date in a 13th month, a thousand brackets, a key that is a list.
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        problem = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: broken YAML ({problem[:200]}); correct the file") from error
