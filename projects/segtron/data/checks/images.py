"""The images of a set: their entries against the files."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segtron.data.checks.pictures import Picture
from segtron.data.checks.problems import Problems
from segtron.data.checks.structure import Images
from segtron.data.image_io import ON_ITS_SIDE, UPRIGHT
from segtron.data.picture_names import is_picture, picture_names

# So many images tell whether a folder is theirs.
_SAMPLE_SIZE = 50


@dataclass(frozen=True)
class ListedImage:
    """An image as a set lists it.

    Attributes:
        path: of its file.
        file: that lists it.
        entry: there.
        size: height and width as the set has them, (0, 0) if it does not say.
    """

    path: Path
    file: Path
    entry: str
    size: tuple[int, int]


def listed_images(images: Images, file: Path, image_dir: Path) -> list[ListedImage]:
    """The images of a file that can be looked for."""
    return [
        ListedImage(image_dir / name, file, images.entry(row), tuple(images.sizes[row].tolist()))
        for row, name in enumerate(images.names)
        if name is not None
    ]


def find_image_dir(json_file: Path, images: Images) -> Path | None:
    """The folder that the images of a file most probably lie in; None if none was found.

    Beside the JSON `images`, a folder of the JSON's name, one of the name after the first "_"
    (train2017 for instances_train2017.json) and the same one folder up; or the JSON's own folder.
    """
    parent, stem = json_file.parent, json_file.stem
    short = stem.partition("_")[2] or stem
    candidates = [
        parent / "images", parent / stem, parent / short, parent,
        parent.parent / "images", parent.parent / stem, parent.parent / short,
    ]  # fmt: skip
    names = [name for name in images.names if name is not None]
    sample = names[:: -(-len(names) // _SAMPLE_SIZE)] if names else []
    # `Path.is_file` fails on names that are too long.
    found = {f: sum(os.path.isfile(f / name) for name in sample) for f in candidates}
    best = max(candidates, key=found.__getitem__)
    return best if found[best] else None


def check_pictures(
    listed: Iterable[ListedImage], pictures: Mapping[Path, Picture], problems: Problems
) -> None:
    """Enter what is wrong with the files of images.

    Args:
        listed: images of a set.
        pictures: by path, what they are.
        problems: what is wrong is entered there.
    """
    for image in listed:
        picture = pictures[image.path]
        place = (image.file, image.entry)
        if picture.is_missing:
            problems.add("image-missing", *place, f"{image.path} does not exist")
        elif picture.error:
            problems.add("image-unreadable", *place, picture.error)
        else:
            _check_size(image, picture, problems)


def _check_size(image: ListedImage, picture: Picture, problems: Problems) -> None:
    place = (image.file, image.entry)
    size = (picture.height, picture.width)
    if image.size not in ((0, 0), size):
        is_turned = image.size == size[::-1] and picture.orientation in ON_ITS_SIDE
        problems.add(
            "image-turned" if is_turned else "image-size",
            *place,
            f"the picture is {size[1]} x {size[0]}"
            + (f" by its EXIF orientation {picture.orientation}" if is_turned else "")
            + f", its entry says {image.size[1]} x {image.size[0]}",
        )
    elif picture.orientation != UPRIGHT:
        problems.add("image-exif", *place, f"its EXIF orientation is {picture.orientation}")


def check_entries(listed: Sequence[ListedImage], problems: Problems) -> None:
    """Enter entries that name one file."""
    first_of: dict[str, ListedImage] = {}
    for image in listed:
        first = first_of.setdefault(os.path.normpath(image.path), image)
        if first is not image:
            problems.add(
                "image-name-repeated", image.file, image.entry, f"{first.entry} names the same file"
            )


def check_empty(
    images: Images, with_objects: Collection[int], file: Path, problems: Problems
) -> None:
    """Enter images without an object.

    Args:
        images: of the file.
        with_objects: rows of images that have one.
        file: the file.
        problems: what is wrong is entered there.
    """
    known = np.isin(np.arange(len(images.ids)), np.array(list(with_objects), np.int64))
    for row in np.flatnonzero(~known).tolist():
        problems.add("image-empty", file, images.entry(row), "it has no object")


def check_unlisted(listed: Iterable[Path], image_dirs: Iterable[Path], problems: Problems) -> None:
    """Enter pictures that no set names.

    Args:
        listed: the paths that sets name.
        image_dirs: are searched; and the folders of `listed`.
        problems: what is wrong is entered there.
    """
    known = {os.path.normpath(path) for path in listed}
    found = {
        os.path.normpath(os.path.join(folder, name))
        for folder in image_dirs
        for name in picture_names(folder)
    }
    for folder in {os.path.dirname(path) for path in known}:
        found.update(os.path.join(folder, name) for name in _pictures_in(folder))
    for path in sorted(found - known):
        folder, name = os.path.split(path)
        problems.add("image-unlisted", folder, name, "no entry names it")


def _pictures_in(folder: str) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if is_picture(name)]
    except OSError:
        return []  # that its images do not exist is said elsewhere
