"""A folder of images with one of semantic label files, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segtron.data.checks.checked_set import CheckedSet, Objects, Role, summary
from segtron.data.checks.classes import ClassUse
from segtron.data.checks.images import ListedImage
from segtron.data.checks.labels import LabelFolder, LabelledFile, check_labels, find_images
from segtron.data.checks.problems import Problems
from segtron.data.image_io import read_image_size
from segtron.data.sem_seg import LabelEncoding
from segtron.errors import UserError


@dataclass(frozen=True)
class LabelSet:
    """Images and their label files.

    Attributes:
        folder: where they are.
        role: what they are for.
    """

    folder: LabelFolder
    role: Role

    def read(self, problems: Problems, *, with_pixels: bool) -> CheckedSet:
        """See `DataSet`."""
        folder = self.folder
        names = find_images(folder, problems)
        checked = CheckedSet(
            str(folder.label_dir),
            "labels",
            self.role.name,
            self.role.is_learnt,
            summary(len(names), "a label file each", len(folder.names)),
        )
        checked.listed = [
            ListedImage(folder.image_dir / name, folder.image_dir, name, (0, 0)) for name in names
        ]
        if not with_pixels:
            checked.classes = ClassUse(folder.names, [1] * len(folder.names))
            return checked
        files = check_labels(folder, names, problems)
        _check_sizes(folder, files, problems)
        pixels = np.zeros(len(folder.names), np.int64)
        for file in files:
            pixels += file.pixels[: len(pixels)]
        checked.classes = ClassUse(folder.names, pixels.tolist())
        checked.objects = _objects(folder, files)
        return checked


def _check_sizes(folder: LabelFolder, files: Sequence[LabelledFile], problems: Problems) -> None:
    for file in files:
        try:
            size = read_image_size(folder.image_dir / file.name)
        except UserError:
            continue  # said elsewhere
        if size != file.size:
            problems.add(
                "label-size",
                folder.label_dir,
                file.name,
                f"{file.label} is {file.size[1]} x {file.size[0]}, its image {size[1]} x {size[0]}",
            )


@dataclass(frozen=True)
class _ClassMasks:
    encoding: LabelEncoding
    labels: Sequence[Path]
    classes: np.ndarray

    def read(self, row: int) -> np.ndarray | None:
        """See `Masks`."""
        try:
            return self.encoding.read(self.labels[row]) == self.classes[row]
        except UserError:
            return None


def _objects(folder: LabelFolder, files: Sequence[LabelledFile]) -> Objects:
    """All pixels of a class in an image as one object; its box is that of the image."""
    number = len(folder.names)
    areas = np.array([file.pixels[:number] for file in files], np.float64).reshape(-1, number)
    sizes = np.array([file.size for file in files], np.int64).reshape(-1, 2)
    image, category = np.nonzero(areas)
    boxes = np.concatenate([np.zeros((len(image), 2)), sizes[image, ::-1]], axis=1)
    return Objects(
        image,
        category,
        areas[image, category],
        boxes,
        np.zeros(len(image), bool),
        list(folder.names),
        sizes,
        [folder.image_dir / file.name for file in files],
        _ClassMasks(folder.encoding, [files[i].label for i in image.tolist()], category),
    )
