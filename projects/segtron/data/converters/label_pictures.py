"""Pictures whose values or colours are labels: masks, id maps and label maps of any kind.

Tools write them as PNG, TIFF or BMP, of one channel, with a palette or in colours.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from segtron.data.converters.pictures import Picture, read_picture
from segtron.data.image_io import MAX_PIXELS, read_image_size
from segtron.errors import UnreadableFileError, UserError

# Without loss, so that each value is still what somebody drew.
LABEL_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
_ONE_NUMBER = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L", "I;16N")
_COLOURS = ("RGB", "RGBA", "LA", "PA")


def label_mode(path: Path) -> str:
    """Pillow's name of what a label picture's values are, such as "P" for a palette's indices.

    Raises:
        UnreadableFileError: the file is missing or no image.
    """
    read_image_size(path, "label file")
    with Image.open(path) as image:
        return image.mode


def read_label_values(path: Path) -> np.ndarray:
    """Read a label picture, one number a pixel, upright as its EXIF orientation says.

    Args:
        path: the label picture. Of a palette the numbers are indices; a colour's number is
            red * 65536 + green * 256 + blue; where a picture is transparent its number is 0.

    Returns:
        (H, W) uint8, uint16 or int32.

    Raises:
        UserError: the file has several pages, or holds floats or colours of 16 bits.
        UnreadableFileError: it is missing, broken or larger than `MAX_PIXELS`.
    """
    values = _read(path, as_colours=False)
    if values.ndim == 3:
        # A pixel's four bytes are a number, whose highest byte is the opacity.
        numbers = cv2.cvtColor(values, cv2.COLOR_RGBA2BGRA).view("<i4")[:, :, 0]
        numbers[values[:, :, 3] == 0] = 0
        numbers &= 2**24 - 1
        return numbers
    if values.dtype == bool:
        return values.astype(np.uint8)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def read_label_shades(path: Path) -> np.ndarray:
    """Read how bright a picture is, by its brightest channel; transparent is 0.

    Returns:
        (H, W) uint8, uint16 or int32.

    Raises:
        UserError, UnreadableFileError: see `read_label_values`.
    """
    if label_mode(path) in ("1", "P"):
        # Indices of a palette are no shades, nor is the 1 of a picture of one bit.
        return _read(path, as_colours=True).max(axis=2)
    values = _read(path, as_colours=False)
    if values.ndim == 3:
        return np.where(values[:, :, 3] > 0, values[:, :, :3].max(axis=2), np.uint8(0))
    return values


def read_label_colours(path: Path) -> np.ndarray:
    """Read the colours of a label picture of any kind, upright as its EXIF orientation says.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        UserError, UnreadableFileError: see `read_label_values`.
    """
    return _read(path, as_colours=True)


def picture_of_labels(path: Path, name: str, shape: tuple[int, ...], label_file: Path) -> Picture:
    """Read the header of the photograph that labels are of.

    Args:
        path: the photograph.
        name: of the result.
        shape: of the labels, height and width first. They may lie on the photograph as it is shown,
            or as it is stored (then `Picture.orient_mask` turns them).
        label_file: where they are from.

    Raises:
        UserError: they have another size.
        UnreadableFileError: the photograph is missing, broken or too large.
    """
    picture = read_picture(path, name)
    if shape[:2] == (picture.height, picture.width):
        return picture
    # Turned, if the photograph's orientation says so.
    with suppress(UnreadableFileError):
        return read_picture(path, name, shape[:2])
    raise UserError(
        f"label file {label_file} is {shape[1]} x {shape[0]}, but its image {path} is "
        f"{picture.width} x {picture.height}; did one of them get resized or rotated?"
    )


def _read(path: Path, *, as_colours: bool) -> np.ndarray:
    """Pixels in the file's own mode; colours as RGB if they are asked for, else as RGBA."""
    height, width = read_image_size(path, "label file")
    if height * width > MAX_PIXELS:
        raise UnreadableFileError(
            f"label file {path} has {width} x {height} pixels, more than the {MAX_PIXELS:,} that "
            "are read at most; cut it into pieces or make it smaller"
        )
    try:
        with Image.open(path) as image:
            _check_kind(image, path)
            ImageOps.exif_transpose(image, in_place=True)
            if as_colours:
                return np.asarray(image.convert("RGB"))
            return np.asarray(image.convert("RGBA") if image.mode in _COLOURS else image)
    # What Pillow raises for a file that is no image or ends too early.
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableFileError(
            f"label file {path} cannot be read ({reason}); restore or remove it"
        ) from error


def _check_kind(image: Image.Image, path: Path) -> None:
    if image.mode not in (*_ONE_NUMBER, *_COLOURS):
        raise UserError(
            f"label file {path} has Pillow mode {image.mode}, in which values are no labels; save "
            "it with one channel of 8 or 16 bits, with a palette, or in RGB"
        )
    pages = getattr(image, "n_frames", 1)
    if pages > 1:
        raise UserError(f"label file {path} has {pages} pages; save each as a file of its own")
    # Pillow reads colours of 16 bits as if they had 8.
    if image.format == "PNG" and image.mode in ("RGB", "RGBA", "LA"):
        with open(path, "rb") as file:
            depth = file.read(25)[24]
        if depth > 8:
            raise UserError(
                f"label file {path} has {depth} bits a channel; save its colours with 8 bits"
            )
