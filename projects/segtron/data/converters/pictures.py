"""The picture that an annotation is of: found, measured, and turned as it is shown."""

from __future__ import annotations

import functools
import os
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from segtron.data.coco import path_below
from segtron.data.converters.labelled_image import Dropped
from segtron.data.image_io import (
    MAX_PIXELS,
    ON_ITS_SIDE,
    UPRIGHT,
    read_image_size,
    read_orientation,
)
from segtron.data.picture_names import picture_names
from segtron.errors import UnreadableFileError, UserError


@dataclass(frozen=True)
class Picture:
    """A picture whose header could be read.

    Attributes:
        path: its file.
        name: its path below the folder of pictures, with "/".
        height, width: in pixels, as it is shown.
        orientation: how what is annotated has to be turned to lie on the picture as it is shown,
            as EXIF numbers it: 1 if not at all.
    """

    path: Path
    name: str
    height: int
    width: int
    orientation: int = UPRIGHT

    def orient(self, points: np.ndarray) -> np.ndarray:
        """Coordinates on the picture as it is shown.

        Args:
            points: (N, 2) x and y as annotated, in pixels.

        Returns:
            (N, 2).
        """
        x, y = points[:, 0], points[:, 1]
        turned = {
            5: (y, x),
            6: (self.width - y, x),
            7: (self.width - y, self.height - x),
            8: (y, self.height - x),
        }
        return np.stack(turned.get(self.orientation, (x, y)), axis=1)

    def orient_mask(self, mask: np.ndarray) -> np.ndarray:
        """A mask or id map (H, W) on the picture as it is shown, as `orient` turns points."""
        turned = {
            5: lambda: mask.T,
            6: lambda: np.rot90(mask, -1),
            7: lambda: np.rot90(mask, 2).T,
            8: lambda: np.rot90(mask),
        }
        return turned.get(self.orientation, lambda: mask)()

    @property
    def annotated_size(self) -> tuple[int, int]:
        """Height and width of the picture as it was annotated."""
        on_its_side = self.orientation != UPRIGHT
        return (self.width, self.height) if on_its_side else (self.height, self.width)


class PictureFolder:
    """The folder that a source's pictures are in.

    Attributes:
        root: the folder; what is found lies below it.
    """

    def __init__(self, root: Path) -> None:
        """
        Raises:
            UserError: there is no such folder.
        """
        if not root.is_dir():
            raise UserError(f"folder {root} does not exist; name the folder that has the pictures")
        self.root = root

    def open(
        self, name: str, where: str, dropped: Dropped, size: tuple[int, int] | None = None
    ) -> Picture | None:
        """Find a picture and read its header.

        Args:
            name: of the file, as in `find`.
            where: the entry that names it.
            dropped: is told of a picture that is missing, broken, too large, or of another size.
            size: height and width that the source says it has. If only the picture as it is
                stored, its EXIF orientation not applied, has that size, then that is what was
                annotated.

        Returns:
            The picture, None if it was dropped.
        """
        try:
            path = self.find(name, where)
            return read_picture(path, path.relative_to(self.root).as_posix(), size)
        except UnreadableFileError as error:
            dropped.add(where, str(error))
            return None

    def find(self, name: str, where: str) -> Path:
        """The file of a picture.

        It is what the name leads to from the folder. Where the name's own folder isn't there, since
        sources name those of the machine that they were made on, or where it has none, it is the
        only file below the folder that has the name's last part.

        Args:
            name: a path with "/" or backslashes.
            where: the entry that names it.

        Raises:
            UnreadableFileError: there is none, or there are several.
        """
        relative = name.replace("\\", "/")
        if self._may_be_below(relative):
            path = path_below(self.root, relative, where)
            # os.path, for which a name that is too long is that of no file.
            if os.path.isfile(path):
                return path
            is_elsewhere = path.parent == self.root or not os.path.isdir(path.parent)
        else:
            is_elsewhere = True
        last = PurePosixPath(relative).name
        found = self._by_name.get(one_spelling(last), []) if is_elsewhere else []
        if len(found) == 1:
            return found[0]
        if found:
            raise UnreadableFileError(
                f"{len(found)} pictures below {self.root} are called {last!r}; let the entry name "
                "their folder, too"
            )
        raise UnreadableFileError(
            f"the picture {name!r} is not in {self.root}; add it, or name its folder"
        )

    def _may_be_below(self, relative: str) -> bool:
        """Whether a name may be that of a file in the folder; others are looked for by their last
        part alone."""
        normal = os.path.normpath(relative)
        is_plain = "\0" not in relative and not os.path.isabs(normal) and normal[1:2] != ":"
        try:
            os.fsencode(normal)
        except UnicodeEncodeError:  # half of a pair of surrogates, which JSON can hold
            return False
        return is_plain and normal.split("/")[0] not in ("", ".", "..") and len(normal) < 4096

    @functools.cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        paths: dict[str, list[Path]] = {}
        for name in picture_names(self.root):
            path = self.root / name
            paths.setdefault(one_spelling(path.name), []).append(path)
        return paths


def files_below(folder: Path, pattern: str) -> list[Path]:
    """Files below a folder that a pattern such as "*.json" fits, sorted; without hidden ones, where
    editors keep copies."""
    found = (path for path in folder.rglob(pattern) if path.is_file())
    return sorted(
        path
        for path in found
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def read_picture(path: Path, name: str, size: tuple[int, int] | None = None) -> Picture:
    """Read a picture's header.

    Args:
        path: the file.
        name: of the result.
        size: as in `PictureFolder.open`.

    Raises:
        UnreadableFileError: the file is missing, no picture or too large, or contradicts the size.
    """
    return fit_picture(path, name, read_image_size(path), size, lambda: read_orientation(path))


def fit_picture(
    path: Path,
    name: str,
    shown: tuple[int, int],
    size: tuple[int, int] | None,
    orientation: Callable[[], int],
) -> Picture:
    """A picture with its header known.

    Args:
        path, name: of the result.
        shown: height and width as it is shown.
        size: as in `PictureFolder.open`.
        orientation: gives its EXIF orientation.

    Raises:
        UnreadableFileError: it is too large, or contradicts the size.
    """
    height, width = shown
    if height * width > MAX_PIXELS:
        raise UnreadableFileError(
            f"image {path} has {width} x {height} pixels, more than the {MAX_PIXELS:,} that are "
            "read at most; cut it into pieces or make it smaller"
        )
    if size in (None, shown):
        return Picture(path, name, height, width)
    if size == (width, height) and orientation() in ON_ITS_SIDE:
        return Picture(path, name, height, width, orientation())
    raise UnreadableFileError(
        f"image {path} has {width} x {height} pixels, but was annotated with "
        f"{size[1]} x {size[0]}; restore the picture that was annotated"
    )


def one_spelling(name: str) -> str:
    """File names in one spelling: some systems take letters and their accents apart."""
    return unicodedata.normalize("NFC", name)
