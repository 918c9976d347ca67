"""Lists of a COCO file that are written before it is known which of their entries it gets."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


def compact(value: Any) -> str:
    """JSON without blanks."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class JsonSpool:
    """Images and annotations, in a file that has no name.

    Attributes:
        number: of annotations.
    """

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: on the disk that has room for it.
        """
        self.number = 0
        self._images, self._annotations = (_spool(folder) for _ in range(2))

    def add_image(self, entry: Mapping[str, Any]) -> None:
        """Keep an entry of `images`, whose `id` is a number."""
        self._images.write(f"{entry['id']}\t\t{compact(entry)}\n")

    def add(self, class_number: int | None, entry: Mapping[str, Any]) -> None:
        """Keep an entry of `annotations`.

        Args:
            class_number: of its class, where it is of one; its id may not be known yet.
            entry: all but its `category_id`.
        """
        self.number += 1
        number = "" if class_number is None else class_number
        self._annotations.write(f"{entry['image_id']}\t{number}\t{compact(entry)}\n")

    def write(
        self,
        path: Path,
        chosen: Collection[int],
        categories: Sequence[Mapping[str, Any]],
        category_ids: Sequence[int],
    ) -> None:
        """Write a file of some of the images with their annotations.

        Args:
            path: the file.
            chosen: ids of the images.
            categories: its list of them.
            category_ids: the id of the class of each number.
        """

        def with_category(number: str, text: str) -> str:
            return f'{{"category_id":{category_ids[int(number)]},{text[1:]}' if number else text

        with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.write('{"images":[')
            file.writelines(_entries(self._images, chosen, lambda _, text: text))
            file.write('],\n"annotations":[')
            file.writelines(_entries(self._annotations, chosen, with_category))
            file.write(f'],\n"categories":{compact(categories)}}}\n')

    def close(self) -> None:
        """Give the room back."""
        self._images.close()
        self._annotations.close()


def _spool(folder: Path) -> Any:
    # Half of a pair of surrogates, which JSON can hold and UTF-8 can't, stays the escape it was.
    return tempfile.TemporaryFile(
        "w+", dir=folder, encoding="utf-8", errors="backslashreplace", newline="\n"
    )


def _entries(
    spool: Any, chosen: Collection[int], text_of: Callable[[str, str], str]
) -> Iterator[str]:
    """The chosen entries of a list, with what separates them."""
    separator = "\n"
    spool.seek(0)
    for line in spool:
        image, number, text = line.rstrip("\n").split("\t", 2)
        if int(image) in chosen:
            yield separator + text_of(number, text)
            separator = ",\n"
    spool.seek(0, 2)
