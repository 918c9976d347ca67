"""Label pictures as maps of classes, whether their values or their colours tell these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segtron.data.converters.class_files import ClassFile
from segtron.data.converters.label_pictures import (
    label_mode,
    read_label_colours,
    read_label_values,
)
from segtron.data.sem_seg import MAX_CLASSES, Color, ColorEncoding, IdEncoding
from segtron.errors import UserError


@dataclass(frozen=True)
class ClassMaps:
    """How label pictures tell classes.

    Attributes:
        names: value -> name of a class, in ascending order; the classes are numbered in it.
        colours: value -> its RGB colour; empty where nothing is known of colours.
        ignored: values and colours of pixels without a class.
        palettes_are_colours: whether of a picture with a palette the colours tell classes, and not
            the indices.
    """

    names: Mapping[int, str]
    colours: Mapping[int, Color]
    ignored: Sequence[int | Color]
    palettes_are_colours: bool

    @classmethod
    def of(
        cls,
        classes: ClassFile,
        ignored: Sequence[int | Color],
        default_colours: Mapping[int, Color] | None = None,
    ) -> ClassMaps:
        """That of a class file.

        Args:
            classes: the file.
            ignored: values and colours of pixels without a class.
            default_colours: value -> colour, where the file has none.

        Raises:
            UserError: it names too many classes.
        """
        if len(classes.names) > MAX_CLASSES:
            raise UserError(
                f"{classes.path} names {len(classes.names)} classes; at most {MAX_CLASSES} are "
                "supported"
            )
        colours = classes.colours or default_colours or {}
        known = {value: colours[value] for value in classes.names if value in colours}
        return cls(classes.names, known, ignored, bool(classes.colours))

    def read(self, path: Path) -> np.ndarray:
        """Read a label picture, upright as its EXIF orientation says.

        Returns:
            (H, W) uint8: the class's place in `names`, 255 where there is none.

        Raises:
            UserError: a value or colour is neither a class nor ignored; or see
                `read_label_values`.
            UnreadableFileError: the file is missing, broken or too large.
        """
        mode = label_mode(path)
        if mode in ("RGB", "RGBA", "PA") or (mode == "P" and self.palettes_are_colours):
            return self._by_colour(path)
        values = read_label_values(path)
        if values.min(initial=0) < 0 or values.max(initial=0) >= 2**16:
            raise UserError(f"label file {path} has values over 65535, which are no classes")
        ignored = tuple(mark for mark in self.ignored if isinstance(mark, int))
        encoding = IdEncoding(tuple(self.names), ignored)
        return encoding.decode(values.astype(np.uint16), path)

    def _by_colour(self, path: Path) -> np.ndarray:
        if not self.colours:
            raise UserError(
                f"label file {path} shows classes by colours; name a file with --classes that has "
                "them, such as a labelmap.txt with lines 'road:128,64,128'"
            )
        ignored = tuple(mark for mark in self.ignored if not isinstance(mark, int))
        encoding = ColorEncoding(tuple(self.colours.values()), ignored)
        # Classes without a colour, of values over VOC's, are the last ones and in no such picture.
        return encoding.decode(read_label_colours(path), path)
