"""Folders with one picture an object, such as those of the Data Science Bowl 2018.

    <anything>/images/<image>.png
    <anything>/masks/<object>.png             one image in `images`
    <anything>/masks/<image>/<object>.png     several images in `images`

Folders between those and the objects name classes: `masks/nucleus/1.png` is a nucleus. What is not
0 (nor transparent) is the object; objects may overlap.

See https://www.kaggle.com/c/data-science-bowl-2018/data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from segtron.data.converters.label_pictures import (
    picture_of_labels,
    read_label_shades,
    read_label_values,
)
from segtron.data.converters.labelled_image import (
    Dropped,
    LabelledImage,
    LabelledObject,
    Labelling,
)
from segtron.data.converters.paired_folders import group_of
from segtron.data.converters.pictures import Picture, read_picture
from segtron.data.masks import encode_mask
from segtron.data.picture_names import picture_names
from segtron.errors import UnreadableFileError, UserError

_IMAGES, _MASKS = ("images", "image"), ("masks", "mask")


class _Masks(NamedTuple):
    """An image and its masks.

    Attributes:
        image: the photograph's path below the source.
        group: see `LabelledImage`.
        masks: for each, its path below the source and the folders that name its class, "" for none.
    """

    image: str
    group: str
    masks: list[tuple[str, str]]


def open_mask_folders(
    src: Path, dropped: Dropped, *, class_name: str = "object", threshold: int | None = None
) -> Labelling:
    """Open folders of masks.

    Args:
        src: a folder that holds `images` and `masks`, or folders that do, at any depth.
        dropped: is told of empty and unreadable masks, of masks without an image, and of images
            without masks.
        class_name: of objects whose masks lie in no folder of a class.
        threshold: masks have shades, and what is above it is the object; default: a mask has one
            value besides 0.

    Raises:
        UserError: no image has masks; while reading: a mask has another size than its image, or
            several values and there is no threshold.
    """
    if not src.is_dir():
        raise UserError(f"folder {src} does not exist; name the folder that has the data")
    found = _find_masks(src, dropped)
    if not found:
        raise UserError(
            f"{src} has no folder that holds a folder 'images' and a folder 'masks' with a picture "
            "an object; see datasets/convert.py mask-folders --help"
        )

    def read() -> Iterator[LabelledImage]:
        for masks in found:
            image = _read_image(src, masks, dropped, class_name, threshold)
            if image is not None:
                yield image

    return Labelling(read(), len(found))


def _find_masks(src: Path, dropped: Dropped) -> list[_Masks]:
    """The images below a folder that have masks, by name."""
    # By the folder that has both: image names, and mask names.
    images: dict[str, list[str]] = {}
    masks: dict[str, list[str]] = {}
    for name in picture_names(src):
        parts = PurePosixPath(name).parts
        place = next((i for i, part in enumerate(parts[:-1]) if part in _IMAGES + _MASKS), None)
        if place is None:
            dropped.add(str(src / name), "lies neither in a folder 'images' nor in one 'masks'")
            continue
        by_folder = images if parts[place] in _IMAGES else masks
        by_folder.setdefault("/".join(parts[:place]), []).append(name)
    found = []
    for folder, names in images.items():
        of_image = _masks_by_image(src, folder, names, masks.pop(folder, []), dropped)
        for image in names:
            # Of a folder that is one image's own, the one above says what goes together.
            group = group_of(folder if len(names) == 1 else _output_name(image))
            if image in of_image:
                found.append(_Masks(image, group, of_image[image]))
    for name in (name for names in masks.values() for name in names):
        dropped.add(str(src / name), "has no folder 'images' beside its folder of masks")
    return sorted(found)


def _masks_by_image(
    src: Path, folder: str, images: list[str], masks: list[str], dropped: Dropped
) -> Mapping[str, list[tuple[str, str]]]:
    """The masks of each image of a folder; see `_Masks`."""
    mask_dir = next((src / folder / m for m in _MASKS if (src / folder / m).is_dir()), None)
    by_stem: dict[str, str] = {}
    of_image: dict[str, list[tuple[str, str]]] = {}
    for image in images:
        stem = "/".join(_folders(image, folder) + (PurePosixPath(image).stem,))
        if stem in by_stem:
            raise UserError(
                f"{src / by_stem[stem]} and {src / image} would have the same masks; rename or "
                "remove one of them"
            )
        by_stem[stem] = image
        if mask_dir is not None and (len(images) == 1 or (mask_dir / stem).is_dir()):
            of_image[image] = []
        else:
            wanted = "masks" if mask_dir is None else f"{mask_dir.name}/{stem}"
            dropped.add(str(src / image), f"has no folder {wanted!r}")
    for name in masks:
        folders = _folders(name, folder)
        named = [n for n in range(1, len(folders) + 1) if "/".join(folders[:n]) in by_stem]
        if named:
            image, folders = by_stem["/".join(folders[: named[-1]])], folders[named[-1] :]
        elif len(images) == 1:
            image = images[0]
        else:
            dropped.add(str(src / name), "lies in no folder of the name of an image")
            continue
        of_image.setdefault(image, []).append((name, "/".join(folders)))
    return of_image


def _folders(name: str, folder: str) -> tuple[str, ...]:
    """The folders between `images` or `masks`, which are below a folder, and a file."""
    return PurePosixPath(name).relative_to(folder).parts[1:-1]


def _read_image(
    src: Path, masks: _Masks, dropped: Dropped, class_name: str, threshold: int | None
) -> LabelledImage | None:
    path, name = src / masks.image, _output_name(masks.image)
    picture: Picture | None = None
    objects = []
    for mask_name, folders in masks.masks:
        mask_file = src / mask_name
        try:
            mask = _read_mask(mask_file, threshold)
        except UnreadableFileError as error:
            dropped.add(str(mask_file), str(error))
            continue
        try:
            if picture is None or mask.shape != picture.annotated_size:
                picture = picture_of_labels(path, name, mask.shape, mask_file)
        except UnreadableFileError as error:
            dropped.add(str(path), str(error))
            return None
        mask = picture.orient_mask(mask)
        if not mask.any():
            dropped.add(str(mask_file), "is empty")
            continue
        segmentation = encode_mask(mask)
        objects.append(LabelledObject(folders or class_name, segmentation, str(mask_file)))
    try:
        picture = picture or read_picture(path, name)
    except UnreadableFileError as error:
        dropped.add(str(path), str(error))
        return None
    return LabelledImage(path, name, picture.height, picture.width, objects, masks.group)


def _output_name(image: str) -> str:
    """An image's name without the folder that is called `images`."""
    parts = PurePosixPath(image).parts
    place = next(i for i, part in enumerate(parts) if part in _IMAGES)
    return "/".join(parts[:place] + parts[place + 1 :])


def _read_mask(path: Path, threshold: int | None) -> np.ndarray:
    """(H, W) bool."""
    if threshold is not None:
        return read_label_shades(path) > threshold
    values = read_label_values(path)
    mask = values != 0
    if (values[mask] != values.max(initial=0)).any():
        raise UserError(
            f"mask {path} has several values besides 0; one mask holds one object, so convert maps "
            "of many with instance-pngs, or say with --threshold above which shade the object is"
        )
    return mask
