"""What all checks share of a data set, whatever it is read from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from segtron.data.checks.classes import ClassUse
from segtron.data.checks.images import ListedImage
from segtron.data.checks.problems import Problems
from segtron.wording import count_of


class Masks(Protocol):
    """Gives masks of objects."""

    def read(self, row: int) -> np.ndarray | None:
        """(H, W) bool, the mask of an object in its image; None if it can't be had."""


@dataclass(frozen=True)
class Objects:
    """The N objects of a set, for statistics and for pictures of them.

    Attributes:
        image: (N,) int64, places in `sizes`.
        category: (N,) int64, places in `names`.
        areas: (N,) float64, in pixels.
        boxes: (N, 4) float64, [x0, y0, x1, y1] in pixels.
        is_crowd: (N,) bool.
        names: of the classes.
        sizes: (I, 2) int64, height and width of the images.
        paths: (I,) their files, None where they are not known.
        masks: gives the objects' masks.
    """

    image: np.ndarray
    category: np.ndarray
    areas: np.ndarray
    boxes: np.ndarray
    is_crowd: np.ndarray
    names: Sequence[str]
    sizes: np.ndarray
    paths: Sequence[Path | None]
    masks: Masks


@dataclass
class CheckedSet:
    """A set that was read.

    Attributes:
        name: what to call it: its file or folder.
        kind: "instances", "panoptic" or "labels"; only sets of one kind have comparable classes.
        role: such as "train"; sets of different roles are compared. Images of a set without one,
            "", belong to whatever set lists them, too.
        is_learnt: whether its role is to be learnt from.
        summary: what is in it, in words.
        listed: its images.
        image_dir: a folder that holds nothing but its images; None where it is not known.
        classes: its classes, None where they can't be known.
        objects: its objects, None where there are none to be known.
    """

    name: str
    kind: str
    role: str
    is_learnt: bool = False
    summary: str = ""
    listed: list[ListedImage] = field(default_factory=list)
    image_dir: Path | None = None
    classes: ClassUse | None = None
    objects: Objects | None = None


@dataclass(frozen=True)
class Role:
    """What a set is for.

    Attributes:
        name: see `CheckedSet.role`.
        is_learnt: whether a model learns from it.
    """

    name: str
    is_learnt: bool


class DataSet(Protocol):
    """A set that can be read."""

    def read(self, problems: Problems, *, with_pixels: bool) -> CheckedSet:
        """Read what lists the images, and the label files; enter what is wrong with them.

        Args:
            problems: what is wrong is entered there.
            with_pixels: whether pictures of labels are read.
        """


def summary(images: int, objects: str, classes: int) -> str:
    """What is in a set, in words."""
    return f"{count_of(images, 'image')}, {objects}, {classes} class{'es' * (classes != 1)}"
