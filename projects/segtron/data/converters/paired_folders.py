"""A folder of photographs and one of label pictures that go with them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from segtron.data.converters.label_pictures import LABEL_SUFFIXES
from segtron.data.converters.labelled_image import Dropped
from segtron.data.converters.pictures import one_spelling
from segtron.data.picture_names import picture_names
from segtron.errors import UserError

_IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages", "photos", "pictures")
_LABEL_FOLDERS = (
    "labels", "label", "masks", "mask", "annotations", "instances", "instance_ids", "ids",
    "segmentations", "segmentation", "gt", "ground_truth", "groundtruth",
)  # fmt: skip


class Pair(NamedTuple):
    """A photograph and its label picture.

    Attributes:
        image: the photograph.
        name: its path below the folder of photographs, with "/".
        labels: the label picture.
    """

    image: Path
    name: str
    labels: Path

    @property
    def group(self) -> str:
        """The folder of the photograph, "" for none."""
        return group_of(self.name)


def group_of(name: str) -> str:
    """The folder in a picture's name, "" for none."""
    return PurePosixPath(name).parent.as_posix().removeprefix(".")


def without_suffix(name: str) -> str:
    """A picture's name without its suffix, in one spelling."""
    return one_spelling(os.path.splitext(name)[0])


def find_pairs(
    src: Path,
    dropped: Dropped,
    images: Path | None = None,
    labels: Path | None = None,
    label_suffix: str | None = None,
) -> list[Pair]:
    """Pair photographs with label pictures of the same path but for its suffix.

    Args:
        src: the folder that has both folders.
        dropped: is told of photographs without labels, and of labels without a photograph.
        images: the folder of photographs; default: the one of a usual name (`images`, `img`, ...).
        labels: that of label pictures; default likewise (`labels`, `masks`, ...).
        label_suffix: what takes the place of an image's suffix, such as "_mask.png"; default: any
            of `LABEL_SUFFIXES`.

    Returns:
        Sorted by name; one at least.

    Raises:
        UserError: a folder is missing, several may be meant, or nothing goes together.
    """
    image_dir = images or _find_folder(src, _IMAGE_FOLDERS, "--images", "photographs")
    label_dir = labels or _find_folder(src, _LABEL_FOLDERS, "--labels", "label pictures")
    suffixes = LABEL_SUFFIXES if label_suffix is None else (label_suffix,)
    for folder in (image_dir, label_dir):
        if not folder.is_dir():
            raise UserError(f"folder {folder} does not exist; correct its name")
    one_folder = image_dir.resolve() == label_dir.resolve()
    if one_folder and label_suffix is None:
        raise UserError(
            f"{image_dir} is to hold photographs and label pictures; say with --label-suffix how "
            "the latter end, such as _mask.png"
        )
    label_names = _by_stem(picture_names(label_dir), suffixes)
    names = picture_names(image_dir)
    if one_folder:
        taken = {name for found in label_names.values() for name in found}
        names = [name for name in names if name not in taken]
    pairs, used = [], set()
    for name in names:
        stem = without_suffix(name)
        found = label_names.get(stem, [])
        if not found:
            dropped.add(f"{image_dir / name}", f"has no label picture in {label_dir}")
            continue
        if len(found) > 1:
            raise UserError(
                f"{label_dir / found[0]} and {label_dir / found[1]} are both labels of "
                f"{image_dir / name}; remove one of them"
            )
        if stem in used:
            raise UserError(
                f"{image_dir / name} and another image have the one label picture "
                f"{label_dir / found[0]}; rename or remove one of them"
            )
        used.add(stem)
        pairs.append(Pair(image_dir / name, name, label_dir / found[0]))
    if not pairs:
        raise UserError(
            f"no image in {image_dir} has a label picture in {label_dir}; these are called as "
            f"images are, but for the suffix ({' or '.join(suffixes)}; --label-suffix changes it)"
        )
    for stem in sorted(label_names.keys() - used):
        for name in label_names[stem]:
            dropped.add(f"{label_dir / name}", f"has no image in {image_dir}")
    return pairs


def _by_stem(names: Iterable[str], suffixes: Sequence[str]) -> dict[str, list[str]]:
    """Names of label pictures by what they share with their photographs."""
    by_stem: dict[str, list[str]] = {}
    for name in names:
        for suffix in suffixes:
            if name.lower().endswith(suffix.lower()):
                stem = without_suffix(f"{name[: -len(suffix)]}.png")
                by_stem.setdefault(stem, []).append(name)
                break
    return by_stem


def _find_folder(src: Path, usual: Sequence[str], option: str, what: str) -> Path:
    if not src.is_dir():
        raise UserError(f"folder {src} does not exist; name the folder that has the data")
    folders = sorted(path for path in src.iterdir() if path.name.lower() in usual and path.is_dir())
    if len(folders) > 1:
        raise UserError(
            f"{src} has the folders {folders[0].name} and {folders[1].name}; say with {option} "
            f"which of them holds {what}"
        )
    if not folders:
        raise UserError(
            f"{src} has no folder of {what} under a usual name ({', '.join(usual[:4])}, ...); "
            f"name it with {option}"
        )
    return folders[0]
