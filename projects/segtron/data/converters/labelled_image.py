"""What each labelling format is read as, and COCO's files are written from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class LabelledObject:
    """One instance.

    Attributes:
        class_name: of the object; not empty.
        segmentation: as in COCO's JSON: a list of polygons `[x0, y0, x1, y1, ...]` in pixels, or a
            compressed run-length encoding `{"size": [H, W], "counts": str}` where the object has
            holes. It lies within the image.
        where: what to call the object in messages, such as "street.json: shapes[3]".
        is_crowd: whether it is a group of objects that are not told apart.
        attributes: what the source says of the object besides; texts, numbers and truth values.
    """

    class_name: str
    segmentation: list[list[float]] | dict[str, Any]
    where: str
    is_crowd: bool = False
    attributes: Mapping[str, str | float | bool] = field(default_factory=dict)


def as_attribute(value: Any) -> str | float | bool | None:
    """A value from a file as an attribute; None if it can't be one.

    What JSON must not hold, though Python reads it (nan, infinity), becomes a text.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float) else None


@dataclass(frozen=True)
class Segments:
    """A panoptic segmentation.

    Attributes:
        ids: (H, W) int32, at each pixel the id of its segment, 0 where there is none.
        class_names: segment id -> the name of its class.
        crowds: the ids of segments that are groups.
    """

    ids: np.ndarray
    class_names: Mapping[int, str]
    crowds: frozenset[int] = frozenset()


@dataclass(frozen=True)
class LabelledImage:
    """An image with all that its source says of it.

    Attributes:
        path: the file of the picture, or of what embeds it.
        name: where the picture comes to lie below OUT/images: a relative path with "/", that no
            other image of the source has.
        height, width: in pixels, as the picture is shown (its EXIF orientation applied).
        objects: its instances.
        group: what it belongs to (a sequence, a folder), for splits that keep groups together; ""
            if nothing says so. One that is only its folder counts if the split is by folder.
        read_labels: gives the semantic labels, (H, W) of indices into the source's classes, 255
            where there is no class; None where the source has none.
        read_segments: gives the panoptic segmentation; None where the source has none.
        content: the picture itself, as a file holds it, where the source embeds it; else None.
    """

    path: Path
    name: str
    height: int
    width: int
    objects: Sequence[LabelledObject]
    group: str = ""
    read_labels: Callable[[], np.ndarray] | None = None
    read_segments: Callable[[], Segments] | None = None
    content: bytes | None = None


@dataclass
class Dropped:
    """What of a source can't be carried over; every reader enters what it leaves out.

    Attributes:
        entries: where (file and entry) and why, in the order of reading.
    """

    entries: list[tuple[str, str]] = field(default_factory=list)

    def add(self, where: str, why: str) -> None:
        """Enter an object, or an image, that is left out."""
        self.entries.append((where, why))


@dataclass(frozen=True)
class Labelling:
    """A source that was opened.

    Attributes:
        images: its images; read one by one, so that a large source needs little memory.
        classes: the names of its classes in its own order; None where it has no order, and they
            are sorted by name once all images are read. Images with labels or segments need them.
        stuff: those of the classes that have no instances, where the source tells.
        number: how many images there are, for the progress bar.
    """

    images: Iterable[LabelledImage]
    number: int
    classes: Sequence[str] | None = None
    stuff: frozenset[str] = frozenset()
