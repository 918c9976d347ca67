"""Where images come from: files, folders and patterns."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from segtron.data.image_io import IMAGE_SUFFIXES
from segtron.errors import UserError


@dataclass(frozen=True)
class ImageFile:
    """An image to be predicted.

    Attributes:
        path: the file.
        name: its path below the folder that the user gave, with forward slashes; the name alone for
            a file given by itself. Results go by this name.
    """

    path: Path
    name: str


def find_images(inputs: Sequence[str], *, skip: Path | None = None) -> list[ImageFile]:
    """Expand files, folders and patterns to the images they hold.

    Folders are searched to any depth; in them, what is no image by its suffix (`IMAGE_SUFFIXES`) or
    is hidden (a leading dot) is passed over, and links to folders are not followed. An image that
    several inputs lead to comes once.

    Args:
        inputs: paths of images and folders, and patterns such as `frames/*_left.png` or `**/*.jpg`.
        skip: a folder that is not searched: that of the output, which may lie inside an input.

    Returns:
        In the order of the inputs; within one, by name, with numbers in names compared as numbers.

    Raises:
        UserError: an input doesn't exist or holds no image, or two images would go by one name.
    """
    found: dict[Path, ImageFile] = {}
    for given in inputs:
        images = list(_expand(given, skip.resolve() if skip is not None else None))
        if not images:
            raise UserError(
                f"--input {given} holds no image; known suffixes are {', '.join(IMAGE_SUFFIXES)}"
            )
        for image in sorted(images, key=lambda image: _natural(image.name)):
            found.setdefault(image.path.resolve(), image)
    by_name: dict[str, ImageFile] = {}
    for image in found.values():
        other = by_name.setdefault(image.name, image)
        if other is not image:
            common = os.path.commonpath([image.path.absolute(), other.path.absolute()])
            raise UserError(
                f"results of {other.path} and {image.path} would have the same name {image.name}; "
                f"give their common folder {common} as --input, or predict them one after the other"
            )
    return list(found.values())


def _expand(given: str, skip: Path | None) -> Iterator[ImageFile]:
    path = Path(given).expanduser()
    if path.is_dir():
        yield from _in_folder(path, path, skip)
    elif path.exists():
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            raise UserError(
                f"--input {given} is not an image by its suffix; known are "
                + ", ".join(IMAGE_SUFFIXES)
            )
        yield ImageFile(path, path.name)
    elif glob.has_magic(given):
        root = _fixed_part(path)
        for match in glob.iglob(str(path), recursive=True):
            matched = Path(match)
            if matched.is_dir():
                yield from _in_folder(matched, root, skip)
            elif _is_image(matched) and not _is_below(matched, skip):
                yield ImageFile(matched, matched.relative_to(root).as_posix())
    else:
        raise UserError(f"--input {given} does not exist")


def _in_folder(folder: Path, root: Path, skip: Path | None) -> Iterator[ImageFile]:
    for parent, subfolders, files in os.walk(folder):
        subfolders[:] = [
            name
            for name in subfolders
            if not name.startswith(".") and not _is_below(Path(parent, name), skip)
        ]
        for name in files:
            path = Path(parent, name)
            if _is_image(path):
                yield ImageFile(path, path.relative_to(root).as_posix())


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def _is_below(path: Path, folder: Path | None) -> bool:
    return folder is not None and path.resolve().is_relative_to(folder)


def _fixed_part(pattern: Path) -> Path:
    """The folder that a pattern starts from: its parts before the first with a wildcard."""
    fixed = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)


def _natural(name: str) -> list[tuple[int, int | str]]:
    """A sort key by which frame9 comes before frame10."""
    return [
        (0, int(part)) if part.isdecimal() else (1, part)
        for part in re.split(r"(\d+)", name)
        if part
    ]
