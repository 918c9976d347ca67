"""Semantic ground truth: label files of whatever encoding, read as contiguous classes."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from segtron.data.image_io import read_colors, read_ids, read_indices
from segtron.errors import UserError

IGNORED = 255
MAX_CLASSES = IGNORED  # class maps are uint8

Color = tuple[int, int, int]


def is_color(value: Any) -> bool:
    """Whether a value from a file is a colour: [red, green, blue], each from 0 to 255."""
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 256 for v in value)
    )


class LabelEncoding(Protocol):
    """How a label file stands for classes."""

    def read(self, path: str | Path) -> np.ndarray:
        """Read a label file.

        Returns:
            (H, W) uint8: class 0 to K - 1, or `IGNORED`.

        Raises:
            UserError: the file is missing, unreadable or of another kind, or has a value or colour
                that is neither a class nor ignored: names the file and the value.
        """


@dataclass(frozen=True)
class IdEncoding:
    """Label files whose pixels are ids.

    Attributes:
        values: at i the id by which the file calls class i, 0 to 65535.
        ignored: ids of pixels that belong to no class.
        indexed: files are palette PNGs, whose indices are the ids.
    """

    values: tuple[int, ...]
    ignored: tuple[int, ...] = (IGNORED,)
    indexed: bool = False

    def read(self, path: str | Path) -> np.ndarray:
        """See `LabelEncoding`."""
        ids = read_indices(path) if self.indexed else read_ids(path)
        class_of, known = _id_tables(self.values, self.ignored)
        strange = ~known[ids]
        if strange.any():
            raise UserError(
                f"label file {path} has the value {ids[strange][0]}, which is no class "
                f"({_ranges(self.values)}) and not ignored ({_ranges(self.ignored) or 'none is'}); "
                "correct the file, or name the value in 'classes' or 'ignore'"
            )
        return class_of[ids]


@dataclass(frozen=True)
class ColorEncoding:
    """Label files that are pictures, one colour a class.

    Attributes:
        colors: at i the RGB colour of class i.
        ignored: colours of pixels that belong to no class.
    """

    colors: tuple[Color, ...]
    ignored: tuple[Color, ...] = ()

    def read(self, path: str | Path) -> np.ndarray:
        """See `LabelEncoding`."""
        codes, classes = _color_table(self.colors, self.ignored)
        red, green, blue = np.moveaxis(read_colors(path).astype(np.uint32), 2, 0)
        pixels = (red << 16) | (green << 8) | blue
        place = np.searchsorted(codes, pixels).clip(max=len(codes) - 1)
        strange = codes[place] != pixels
        if strange.any():
            code = int(pixels[strange][0])
            raise UserError(
                f"label file {path} has the colour {[code >> 16, code >> 8 & 255, code & 255]}, "
                "which is neither in 'palette' nor in 'ignore'; correct the file (was it saved as "
                "JPEG, or resized?) or name the colour there"
            )
        return classes[place]


@functools.lru_cache(maxsize=16)
def _id_tables(values: tuple[int, ...], ignored: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """For each id of 16 bits: its class, and whether it is known at all."""
    class_of = np.full(2**16, IGNORED, np.uint8)
    known = np.zeros(2**16, bool)
    class_of[list(values)] = np.arange(len(values))
    known[[*values, *ignored]] = True
    return class_of, known


@functools.lru_cache(maxsize=16)
def _color_table(
    colors: tuple[Color, ...], ignored: tuple[Color, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """All known colours as ascending 24-bit numbers, and their classes."""
    codes = np.array([(r << 16) | (g << 8) | b for r, g, b in (*colors, *ignored)], np.uint32)
    classes = np.array([*range(len(colors)), *[IGNORED] * len(ignored)], np.uint8)
    order = np.argsort(codes)
    return codes[order], classes[order]


def _ranges(values: tuple[int, ...]) -> str:
    """Numbers in words: "0 to 5, 7"."""
    numbers = np.unique(np.array(values, dtype=np.int64))
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1) if numbers.size else []
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]} to {r[-1]}" for r in runs)


# Detectron2's convention for files that come without an encoding.
_AS_THEY_ARE = IdEncoding(values=tuple(range(MAX_CLASSES)))


def read_sem_seg(record: Mapping[str, Any]) -> np.ndarray:
    """Read the semantic ground truth of a standard dict.

    Args:
        record: with `sem_seg_file_name`, `height` and `width`; `sem_seg_encoding` says how the
            file's values map to classes. Without it they are the classes, 255 is ignored.

    Returns:
        (height, width) uint8: class 0 to K - 1, or `IGNORED`.

    Raises:
        UserError: see `LabelEncoding.read`; or the file has another size than the image.
    """
    path = record["sem_seg_file_name"]
    classes = record.get("sem_seg_encoding", _AS_THEY_ARE).read(path)
    check_label_size(path, classes.shape, record)
    return classes


def check_label_size(
    label_file: str | Path, shape: tuple[int, ...], record: Mapping[str, Any]
) -> None:
    """Make sure that a label file is as large as its image.

    Raises:
        UserError: names both files and sizes.
    """
    if shape != (record["height"], record["width"]):
        raise UserError(
            f"label file {label_file} is {shape[1]} x {shape[0]}, but its image "
            f"{record['file_name']} is {record['width']} x {record['height']}; did one of them get "
            "resized or rotated?"
        )
