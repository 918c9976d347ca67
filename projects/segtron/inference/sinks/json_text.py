"""Lists in JSON files that are written entry by entry."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from segtron.files import replacing


@contextmanager
def text_file(path: Path, *, newline: str | None = None) -> Iterator[TextIO]:
    """Open a text file in UTF-8 that appears whole or not at all.

    Bytes of file names that are no UTF-8 become `\\udc..`, as Python calls them; in JSON that is an
    escape that Python's reader turns back.

    Args:
        path: the file; its folder is made.
        newline: as for `open`.

    Raises:
        UserError: it can't be written.
    """
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline=newline) as file,
    ):
        yield file


def write_list(file: TextIO, entries: Iterable[Any]) -> None:
    """Write a JSON list with a line for each entry."""
    file.write("[")
    separator = "\n"
    for entry in entries:
        file.write(separator + json.dumps(entry, ensure_ascii=False))
        separator = ",\n"
    file.write("\n]")
