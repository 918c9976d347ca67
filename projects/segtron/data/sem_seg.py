"""Semantic ground truth: label files of whatever encoding, read as contiguous classes."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segtron.data.file_encoding import FileEncoding, Opener, open_file
from segtron.data.image_io import COLORS, IDS, INDICES, Decoder
from segtron.data.pixels import Pixels, read_all
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


class LabelEncoding(FileEncoding):
    """How a label file stands for classes."""

    @abstractmethod
    def decode(self, pixels: np.ndarray, path: str | Path) -> np.ndarray:
        """The classes of pixels; see `FileEncoding`.

        Returns:
            (H, W) uint8: class 0 to K - 1, or `IGNORED`.

        Raises:
            UserError: a value or colour is neither a class nor ignored.
        """


@dataclass(frozen=True)
class IdEncoding(LabelEncoding):
    """Label files whose pixels are ids.

    Attributes:
        values: at i the id by which the file calls class i, 0 to 65535.
        ignored: ids of pixels that belong to no class.
        indexed: files are palette PNGs, whose indices are the ids.
    """

    values: tuple[int, ...]
    ignored: tuple[int, ...] = (IGNORED,)
    indexed: bool = False

    @property
    def decoder(self) -> Decoder:
        """See `FileEncoding`."""
        return INDICES if self.indexed else IDS

    def decode(self, pixels: np.ndarray, path: str | Path) -> np.ndarray:
        """See `LabelEncoding`."""
        ids = pixels
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
class ColorEncoding(LabelEncoding):
    """Label files that are pictures, one colour a class.

    Attributes:
        colors: at i the RGB colour of class i.
        ignored: colours of pixels that belong to no class.
    """

    colors: tuple[Color, ...]
    ignored: tuple[Color, ...] = ()

    @property
    def decoder(self) -> Decoder:
        """See `FileEncoding`."""
        return COLORS

    def decode(self, pixels: np.ndarray, path: str | Path) -> np.ndarray:
        """See `LabelEncoding`."""
        codes, classes = _color_table(self.colors, self.ignored)
        red, green, blue = np.moveaxis(pixels.astype(np.uint32), 2, 0)
        colors = (red << 16) | (green << 8) | blue
        place = np.searchsorted(codes, colors).clip(max=len(codes) - 1)
        strange = codes[place] != colors
        if strange.any():
            code = int(colors[strange][0])
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


def open_sem_seg(record: Mapping[str, Any], opener: Opener = open_file) -> Pixels:
    """Open the semantic ground truth of a standard dict.

    Args:
        record: with `sem_seg_file_name`, `height` and `width`; `sem_seg_encoding` says how the
            file's values map to classes. Without it they are the classes, 255 is ignored.
        opener: opens files.

    Returns:
        (height, width) uint8: class 0 to K - 1, or `IGNORED`. What is no class is found when it is
        read.

    Raises:
        UserError: see `LabelEncoding`; or the file has another size than the image.
    """
    path = record["sem_seg_file_name"]
    classes = record.get("sem_seg_encoding", _AS_THEY_ARE).open(path, opener)
    check_label_size(path, classes.shape, record)
    return classes


def read_sem_seg(record: Mapping[str, Any]) -> np.ndarray:
    """Read the semantic ground truth of a standard dict, see `open_sem_seg`.

    Returns:
        (height, width) uint8: class 0 to K - 1, or `IGNORED`.
    """
    return read_all(open_sem_seg(record))


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
