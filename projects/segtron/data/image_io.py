"""Reading images and id maps from disk, with errors that name the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from detectron2.data import detection_utils
from PIL import ExifTags, Image, ImageOps

from segtron.errors import UnreadableFileError, UserError

# What Pillow raises for a file that is no image, ends too early or claims an absurd size.
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
# Larger images are not decoded: a small file can claim to be a huge image.
MAX_PIXELS = 2**27
# What is looked for in folders of images.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
# Pillow's names for one channel of 16 bits, in either byte order; "I" is what older Pillows take
# it for.
_DEEP_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I")
# EXIF orientations by which height and width change places.
_ON_ITS_SIDE = (5, 6, 7, 8)


def read_image(path: str | Path, format: str) -> np.ndarray:
    """Read a photograph, upright as its EXIF orientation says.

    Grey images become coloured, transparency is dropped, and values of 16 bits are scaled to 8.

    Args:
        path: the image file.
        format: "RGB", "BGR" or another that `detectron2.data.detection_utils.read_image` knows.

    Returns:
        (H, W, C) uint8.

    Raises:
        UserError: the file is missing, truncated, no image, larger than `MAX_PIXELS`, or holds
            numbers that are no shades (floats, 32-bit integers).
    """
    try:
        with Image.open(path) as image:
            _check_pixels("image", image, path)
            if image.mode in _DEEP_MODES:
                shades = _scale_to_8_bits(np.asarray(ImageOps.exif_transpose(image)), path)
                return detection_utils.convert_PIL_to_numpy(Image.fromarray(shades), format)
            if image.mode == "F":
                raise UserError(f"image {path} holds floats; convert it to 8 or 16 bits a channel")
        return detection_utils.read_image(str(path), format=format)
    except _UNREADABLE as error:
        raise _unreadable("image", path, error) from error


def _check_pixels(what: str, image: Image.Image, path: str | Path) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableFileError(
            f"{what} {path} has {image.width} x {image.height} pixels, more than the "
            f"{MAX_PIXELS:,} that are read at most; cut it into pieces or make it smaller"
        )


def _scale_to_8_bits(values: np.ndarray, path: str | Path) -> np.ndarray:
    if values.size and (values.min() < 0 or values.max() >= 2**16):
        raise UserError(f"image {path} holds 32-bit integers; convert it to 8 or 16 bits a channel")
    # 65535 / 255 = 257
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def read_image_size(path: str | Path, what: str = "image") -> tuple[int, int]:
    """Height and width of an image or label file as it is read: upright by its EXIF orientation.

    Args:
        path: the file.
        what: what to call it in errors, "image" or "label file".

    Raises:
        UserError: the file is missing or no image.
    """
    try:
        with Image.open(path) as image:
            # To look for EXIF behind the pixels of a PNG, where nearly nobody writes it, Pillow
            # decodes them all.
            has_exif = image.format != "PNG" or "exif" in image.info
            orientation = image.getexif().get(ExifTags.Base.Orientation) if has_exif else None
            on_its_side = orientation in _ON_ITS_SIDE
            return (image.width, image.height) if on_its_side else (image.height, image.width)
    except _UNREADABLE as error:
        raise _unreadable(what, path, error) from error


def read_ids(path: str | Path) -> np.ndarray:
    """Read a PNG whose values are ids, upright as its EXIF orientation says.

    Args:
        path: a one-channel PNG of 8 or 16 bits.

    Returns:
        (H, W) uint8 or uint16.

    Raises:
        UserError: the file is missing, truncated, or not a one-channel PNG.
    """
    mode, ids = _read_label_file(path, None)
    if mode == "P":
        raise UserError(
            f"label file {path} is a palette PNG where ids were expected; convert it to one "
            "channel, or give its entry of DATASETS.REGISTER 'label_format: indices' if its "
            "indices are the ids, 'label_format: colors' if its colours show the classes"
        )
    if ids.ndim != 2 or ids.dtype not in (np.uint8, np.uint16):
        raise UserError(
            f"label file {path} has Pillow mode {mode}; ids are read from one-channel PNGs of 8 or "
            "16 bits; if its colours show the classes give its entry of DATASETS.REGISTER "
            "'label_format: colors'"
        )
    return ids


def read_indices(path: str | Path) -> np.ndarray:
    """Read a palette PNG whose indices are ids, such as Pascal VOC's; also a plain id PNG.

    Returns:
        (H, W) uint8 or uint16.

    Raises:
        UserError: the file is missing, truncated, or a colour picture.
    """
    mode, ids = _read_label_file(path, None)
    if ids.ndim != 2 or ids.dtype not in (np.uint8, np.uint16):
        raise UserError(
            f"label file {path} has Pillow mode {mode}, but its entry of DATASETS.REGISTER says "
            "'label_format: indices', which are palette PNGs or one-channel PNGs"
        )
    return ids


def read_colors(path: str | Path) -> np.ndarray:
    """Read a picture whose colours show classes; transparency is dropped.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        UserError: the file is missing, truncated or no image.
    """
    return _read_label_file(path, "RGB")[1]


def read_color_codes(path: str | Path) -> np.ndarray:
    """Read a colour PNG whose colours are numbers, which no conversion may touch.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        UserError: the file is missing, truncated, or no colour picture of 8 bits a channel.
    """
    mode, pixels = _read_label_file(path, None)
    if mode not in ("RGB", "RGBA"):
        raise UserError(
            f"label file {path} has Pillow mode {mode}; a panoptic PNG is a colour picture of 8 "
            "bits a channel, whose colours are the ids of segments"
        )
    # Pillow reads channels of 16 bits as if they had 8.
    with open(path, "rb") as file:
        header = file.read(25)
    if header.startswith(b"\x89PNG") and header[24] != 8:
        raise UserError(
            f"label file {path} has {header[24]} bits a channel; a panoptic PNG has 8, since its "
            "colours are the ids of segments"
        )
    return pixels[:, :, :3]


def _read_label_file(path: str | Path, mode: str | None) -> tuple[str, np.ndarray]:
    """The file's own mode, and its pixels, converted to `mode` if one is given."""
    try:
        # Pillow, not OpenCV: the latter can return a truncated PNG half black, with no error.
        with Image.open(path) as image:
            _check_pixels("label file", image, path)
            # As images are: else a label file would lie across the image that it was drawn on.
            ImageOps.exif_transpose(image, in_place=True)
            pixels = np.asarray(image if mode is None else image.convert(mode))
            own_mode = image.mode
    except _UNREADABLE as error:
        raise _unreadable("label file", path, error) from error
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8)  # a PNG of one bit
    if own_mode == "I" and pixels.size and pixels.min() >= 0 and pixels.max() < 2**16:
        pixels = pixels.astype(np.uint16)  # how older Pillows open a PNG of 16 bits
    return own_mode, pixels


def _unreadable(what: str, path: str | Path, error: Exception) -> UnreadableFileError:
    if isinstance(error, FileNotFoundError):
        return UnreadableFileError(f"{what} {path} does not exist; restore it or remove its entry")
    reason = " ".join(str(error).split()) or type(error).__name__
    return UnreadableFileError(f"{what} {path} cannot be read ({reason}); restore or remove it")
