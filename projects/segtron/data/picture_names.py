"""Which pictures lie below a folder."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from segtron.data.image_io import IMAGE_SUFFIXES
from segtron.errors import UserError


def picture_names(folder: Path, excluded: Collection[Path] = ()) -> list[str]:
    """Paths of the pictures below a folder.

    Args:
        folder: searched to any depth, through links too, but in no circle; without hidden files and
            folders.
        excluded: resolved folders that are left out.

    Returns:
        Relative to the folder, with "/", sorted.

    Raises:
        UserError: a folder can't be read.
    """
    return sorted(_names(folder, tuple(excluded), ""))


def is_picture(name: str) -> bool:
    """Whether a file is called as pictures are, and isn't hidden."""
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


def _names(folder: Path, excluded: tuple[Path, ...], prefix: str) -> Iterator[str]:
    real = folder.resolve()
    if real in excluded:
        return
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise UserError(f"folder {folder} cannot be read ({error.strerror})") from error
    for name in names:
        if name.startswith("."):
            continue
        if os.path.isdir(folder / name):
            # Without the folders above, since a link can lead back to one of them.
            yield from _names(folder / name, (*excluded, real), f"{prefix}{name}/")
        elif is_picture(name):
            yield prefix + name
