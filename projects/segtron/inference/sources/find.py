"""From what a user names to sources: files, folders, patterns, cameras."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from segtron.data.image_io import IMAGE_SUFFIXES
from segtron.errors import UserError
from segtron.inference.sources.base import USUAL_RATE, ImageFile, Source
from segtron.inference.sources.camera import Camera
from segtron.inference.sources.capture import FrameChoice
from segtron.inference.sources.images import Images
from segtron.inference.sources.video import VIDEO_SUFFIXES, Video

_SUFFIXES = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)
_CAMERA = re.compile(r"camera:(\d{1,3})")


class _Found(NamedTuple):
    """A file, and how results call it: see `ImageFile`."""

    path: Path
    name: str


def find_sources(
    inputs: Sequence[str],
    *,
    skip: Path | None = None,
    choice: FrameChoice | None = None,
    rate: float = USUAL_RATE,
) -> list[Source]:
    """Expand files, folders, patterns and cameras to the images and videos that they are.

    Folders are searched to any depth; in them, what is neither image nor video by its suffix
    (`IMAGE_SUFFIXES`, `VIDEO_SUFFIXES`) or is hidden (a leading dot) is passed over, and links to
    folders are not followed. A file that several inputs lead to comes once.

    Args:
        inputs: paths of images, videos and folders, patterns such as `frames/*_left.png` or
            `**/*.jpg`, and cameras, as `camera:0`.
        skip: a folder that is not searched: that of the output, which may lie inside an input.
        choice: which frames of videos and cameras are taken; None for all.
        rate: of the images, if they are shown as a video.

    Returns:
        In the order of the inputs; within one, by name, with numbers in names compared as numbers.
        Images that follow each other are one source.

    Raises:
        UserError: an input doesn't exist or holds neither image nor video, or results of two would
            go by one name.
    """
    choice = FrameChoice() if choice is None else choice
    found: dict[Path | str, _Found | Camera] = {}
    for given in inputs:
        camera = _CAMERA.fullmatch(given)
        if camera:
            found.setdefault(given, Camera(int(camera[1]), choice))
            continue
        files = list(_expand(given, skip.resolve() if skip is not None else None))
        if not files:
            verb = "matches" if glob.has_magic(given) else "holds"
            raise UserError(
                f"--input {given} {verb} no image and no video; known suffixes are "
                + ", ".join(_SUFFIXES)
            )
        for file in sorted(files, key=lambda file: _natural(file.name)):
            found.setdefault(file.path.resolve(), file)
    _check_names([file for file in found.values() if isinstance(file, _Found)])
    return list(_sources(found.values(), choice, rate))


def _sources(
    found: Iterator[_Found | Camera], choice: FrameChoice, rate: float
) -> Iterator[Source]:
    for are_images, group in itertools.groupby(found, _is_image_file):
        if are_images:
            yield Images([ImageFile(file.path, file.name, rate) for file in group])
        else:
            for one in group:
                yield one if isinstance(one, Camera) else Video(one.path, one.name, choice)


def _is_image_file(found: _Found | Camera) -> bool:
    return isinstance(found, _Found) and found.path.suffix.lower() in IMAGE_SUFFIXES


def _check_names(files: Sequence[_Found]) -> None:
    """Make sure that results of no two files go by one name."""
    by_name: dict[str, _Found] = {}
    folders = {Path(file.name).parent.as_posix() for file in files if _is_image_file(file)}
    for file in files:
        # Results of a video lie in a folder of its name.
        is_image = _is_image_file(file)
        name = file.name if is_image else Path(file.name).with_suffix("").as_posix()
        other = by_name.setdefault(name, file)
        if other is not file:
            common = os.path.commonpath([file.path.absolute(), other.path.absolute()])
            raise UserError(
                f"results of {other.path} and {file.path} would have the same name {name}; "
                f"give their common folder {common} as --input, or predict them one after the other"
            )
        if not is_image and name in folders:
            raise UserError(
                f"results of {file.path} would lie among those of the images in the folder {name}; "
                "predict them one after the other, each to a folder of its own"
            )


def _expand(given: str, skip: Path | None) -> Iterator[_Found]:
    try:
        path = Path(given).expanduser()
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, RuntimeError) as error:
        # RuntimeError: "~name" where there is no such user.
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"--input {given} cannot be looked up: {reason}") from error
    if is_folder:
        yield from _in_folder(path, path, _inside(path, skip))
    elif exists:
        if not path.is_file():
            raise UserError(f"--input {given} is neither a file nor a folder")
        if path.suffix.lower() not in _SUFFIXES:
            raise UserError(
                f"--input {given} is neither image nor video by its suffix; known are "
                + ", ".join(_SUFFIXES)
            )
        yield _Found(path, path.name)
    elif glob.has_magic(given):
        root = _fixed_part(path)
        skip = _inside(root, skip)
        for match in glob.iglob(str(path), recursive=True):
            matched = Path(match)
            if matched.is_dir():
                yield from _in_folder(matched, root, skip)
            elif _is_wanted(matched) and not _is_below(matched, skip):
                yield _Found(matched, matched.relative_to(root).as_posix())
    else:
        raise UserError(f"--input {given} does not exist")


def _in_folder(folder: Path, root: Path, skip: Path | None) -> Iterator[_Found]:
    for parent, subfolders, files in os.walk(folder, onerror=_refuse):
        subfolders[:] = [
            name
            for name in subfolders
            if not name.startswith(".") and not _is_below(Path(parent, name), skip)
        ]
        for name in files:
            path = Path(parent, name)
            if _is_wanted(path):
                yield _Found(path, path.relative_to(root).as_posix())


def _refuse(error: OSError) -> None:
    raise UserError(
        f"folder {error.filename} cannot be searched for images: {error.strerror}"
    ) from error


def _is_wanted(path: Path) -> bool:
    """A pipe would be waited for; of links that lead nowhere it is told that they can't be read."""
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and not path.is_fifo()


def _inside(folder: Path, skip: Path | None) -> Path | None:
    """`skip` if it lies inside a folder; the output may as well lie around the input."""
    return None if skip is None or folder.resolve().is_relative_to(skip) else skip


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
