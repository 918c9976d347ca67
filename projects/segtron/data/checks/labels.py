"""Semantic label files: one for each image, of its size, with values that are classes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segtron.data.checks.problems import Problems
from segtron.data.each_item import go_through
from segtron.data.label_folder import LABEL_SUFFIX
from segtron.data.picture_names import picture_names
from segtron.data.sem_seg import IGNORED, LabelEncoding
from segtron.errors import UserError
from segtron.wording import printable


@dataclass(frozen=True)
class LabelFolder:
    """A folder of images and one of label files; see `segtron.data.label_folder`.

    Attributes:
        image_dir: holds the images.
        label_dir: holds the label files.
        encoding: what their values stand for.
        names: of the classes, "" where it is not known.
        label_suffix: what takes the place of an image's suffix.
        may_be_binary: whether 255 is ignored only because nobody said otherwise.
    """

    image_dir: Path
    label_dir: Path
    encoding: LabelEncoding
    names: Sequence[str]
    label_suffix: str = LABEL_SUFFIX
    may_be_binary: bool = False


@dataclass(frozen=True)
class LabelledFile:
    """An image and what its label file holds.

    Attributes:
        name: of the image, below its folder.
        label: of the label file.
        size: height and width of the label file, (0, 0) if it can't be read.
        pixels: (256,) how many each class has, at `IGNORED` how many none.
    """

    name: str
    label: Path
    size: tuple[int, int]
    pixels: np.ndarray


def find_images(folder: LabelFolder, problems: Problems) -> list[str]:
    """Names of the images of a folder, in the order in which they are read.

    Raises:
        UserError: a folder does not exist.
    """
    for path in (folder.image_dir, folder.label_dir):
        if not path.is_dir():
            raise UserError(f"folder {path} does not exist; correct the path")
    one_folder = folder.image_dir.resolve() == folder.label_dir.resolve()
    excluded = () if one_folder else (folder.label_dir.resolve(),)
    names = picture_names(folder.image_dir, excluded)
    if one_folder:
        names = [name for name in names if not name.endswith(folder.label_suffix)]
    if not names:
        problems.add("no-images", folder.image_dir, "", "it holds no image")
    by_stem: dict[str, str] = {}
    for name in names:
        other = by_stem.setdefault(os.path.splitext(name)[0], name)
        if other != name:
            problems.add("label-shared", folder.image_dir, name, f"{printable(other)} has it, too")
    return names


def check_labels(
    folder: LabelFolder, names: Sequence[str], problems: Problems
) -> list[LabelledFile]:
    """Read the label files of images, and enter what is wrong with them."""

    def read(name: str) -> LabelledFile | tuple[str, str]:
        label = folder.label_dir / (os.path.splitext(name)[0] + folder.label_suffix)
        if not os.path.isfile(label):
            return "label-missing", f"{label} does not exist"
        return _read(label, name, folder.encoding)

    found = []
    results = go_through(read, names, "reading label files")
    for name, result in zip(names, results, strict=True):
        if isinstance(result, tuple):
            problems.add(result[0], folder.label_dir, name, result[1])
            continue
        found.append(result)
        if result.pixels[IGNORED] == result.pixels.sum():
            problems.add("label-ignored", folder.label_dir, name, "all its pixels are ignored")
    total = sum((file.pixels for file in found), np.zeros(IGNORED + 1, np.int64))
    if folder.may_be_binary and total[0] and total[IGNORED] and not total[1:IGNORED].any():
        problems.add(
            "label-binary", folder.label_dir, "", "its label files hold 0 and 255 and nothing else"
        )
    elif found:
        for place, name in enumerate(folder.names):
            if name and not total[place]:
                problems.add("class-unused", folder.label_dir, f"class {name!r}", "it has no pixel")
    return found


def _read(label: Path, name: str, encoding: LabelEncoding) -> LabelledFile | tuple[str, str]:
    try:
        pixels = encoding.decoder.read(label)
    except (UserError, OSError, MemoryError) as error:
        return "label-unreadable", str(error)
    try:
        classes = encoding.decode(pixels, label)
    except UserError as error:
        return "label-value", str(error)
    counts = np.bincount(classes.ravel(), minlength=IGNORED + 1)
    return LabelledFile(name, label, classes.shape, counts)
