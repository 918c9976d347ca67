"""Reading images and id maps from disk, with errors that name the file.

Pillow knows all kinds of files and says what is wrong with a broken one. Plain PNGs
(`segtron.data.png`) and JPEGs OpenCV decodes to the same pixels in less time, and of PNGs only the
part that is wanted; what it can't decode is left to Pillow.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from detectron2.data import detection_utils
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin

from segtron.data.pixels import ArrayPixels, Pixels, Window, read_all
from segtron.data.png import COLOUR, GREY, PALETTE, Png, open_png
from segtron.data.unreadable import unreadable
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
# EXIF's orientation of an image that is stored as it is shown.
UPRIGHT = 1
# EXIF's orientations by which height and width change places.
ON_ITS_SIDE = (5, 6, 7, 8)
# How OpenCV decodes images: what its colours are in, by the format that is asked for.
_COLOUR_MODES = {"BGR": cv2.IMREAD_COLOR, "RGB": cv2.IMREAD_COLOR_RGB}
_ONE_NUMBER = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH


@dataclass(frozen=True)
class Decoder:
    """A way to read a kind of files.

    Attributes:
        name: a word for the way, and for what pixels it gives.
        open: gives a file's pixels.
    """

    name: str
    open: Callable[[str | Path], Pixels]

    def read(self, path: str | Path) -> np.ndarray:
        """All pixels of a file."""
        return read_all(self.open(path))


@dataclass(frozen=True)
class _PngPixels:
    """A PNG that OpenCV decodes.

    Attributes:
        png: the file.
        mode: OpenCV's.
        path: of the file.
        by_pillow: reads it whole, or says what is wrong with it.
    """

    png: Png
    mode: int
    path: str | Path
    by_pillow: Callable[[str | Path], np.ndarray]

    @property
    def shape(self) -> tuple[int, int]:
        """See `Pixels`."""
        return self.png.shape

    def read(self, window: Window) -> np.ndarray:
        """See `Pixels`."""
        decoded = self.png.decode(window, self.mode)
        return window.of(self.by_pillow(self.path)) if decoded is None else decoded


def _open(
    path: str | Path,
    by_pillow: Callable[[str | Path], np.ndarray],
    kinds: tuple[tuple[int, int], ...],
    mode: int,
) -> Pixels:
    """Leave a PNG of one of these kinds (colour type, depth) to OpenCV."""
    png = open_png(path, MAX_PIXELS)
    if png is not None and (png.colour_type, png.depth) in kinds:
        return _PngPixels(png, mode, path, by_pillow)
    return ArrayPixels(by_pillow(path))


def open_image(path: str | Path, format: str) -> Pixels:
    """Open a photograph, upright as its EXIF orientation says.

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
    by_pillow = functools.partial(_read_image_file, format=format)
    if format not in _COLOUR_MODES:
        return ArrayPixels(by_pillow(path))
    return _open(path, by_pillow, ((COLOUR, 8), (GREY, 8)), _COLOUR_MODES[format])


def read_image(path: str | Path, format: str) -> np.ndarray:
    """Read a photograph as `open_image` does.

    Returns:
        (H, W, C) uint8.
    """
    return read_all(open_image(path, format))


def image_decoder(format: str) -> Decoder:
    """The decoder of photographs; see `open_image`."""
    return Decoder(f"image-{format}", functools.partial(open_image, format=format))


def _read_image_file(path: str | Path, format: str) -> np.ndarray:
    try:
        with Image.open(path) as image:
            _check_pixels("image", image, path)
            if image.mode in _DEEP_MODES:
                shades = _scale_to_8_bits(np.asarray(ImageOps.exif_transpose(image)), path)
                return detection_utils.convert_PIL_to_numpy(Image.fromarray(shades), format)
            if image.mode == "F":
                raise UserError(f"image {path} holds floats; convert it to 8 or 16 bits a channel")
            decoded = _decode_jpeg(image, path, format)
            if decoded is not None:
                return decoded
            image.load()  # now, for what it raises while it is asked for EXIF is not passed on
            upright = detection_utils._apply_exif_orientation(image)
            return detection_utils.convert_PIL_to_numpy(upright, format)
    except _UNREADABLE as error:
        raise unreadable("image", path, error) from error


def _decode_jpeg(image: Image.Image, path: str | Path, format: str) -> np.ndarray | None:
    """A plain JPEG's pixels; None for all other files, and for JPEGs that end too early."""
    plain = image.format == "JPEG" and image.mode in ("RGB", "L") and format in _COLOUR_MODES
    if not plain or orientation_of(image) != UPRIGHT:
        return None
    mode = _COLOUR_MODES[format] | cv2.IMREAD_IGNORE_ORIENTATION
    return cv2.imdecode(np.fromfile(path, np.uint8), mode)


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
    return _read_header(path, what)[0]


def read_orientation(path: str | Path) -> int:
    """The EXIF orientation of an image file, 1 to 8, from what is before its pixels.

    Raises:
        UnreadableFileError: the file is missing or no image.
    """
    return _read_header(path, "image")[1]


def _read_header(path: str | Path, what: str) -> tuple[tuple[int, int], int]:
    """Height and width of an image or label file as it is read, and its orientation."""
    try:
        with Image.open(path) as image:
            return upright_size(image), orientation_of(image)
    except _UNREADABLE as error:
        raise unreadable(what, path, error) from error


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Height and width, upright by its EXIF orientation, of an image whose header was read."""
    stored = (image.height, image.width)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # Whether Pillow has turned these already depends on its version.
        tags = image.tag_v2
        stored = (tags[TiffImagePlugin.IMAGELENGTH], tags[TiffImagePlugin.IMAGEWIDTH])
    return stored[::-1] if orientation_of(image) in ON_ITS_SIDE else stored


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation of an image whose header was read, 1 to 8."""
    # Pillow's own `getexif` of a PNG decodes it to look behind the pixels, too, where nearly nobody
    # writes EXIF.
    orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
    return orientation if orientation in range(1, 9) else UPRIGHT


def open_ids(path: str | Path) -> Pixels:
    """Open a PNG whose values are ids, upright as its EXIF orientation says.

    Args:
        path: a one-channel PNG of 8 or 16 bits.

    Returns:
        (H, W) uint8 or uint16.

    Raises:
        UserError: the file is missing, truncated, or not a one-channel PNG.
    """
    return _open(path, _read_id_file, ((GREY, 8), (GREY, 16)), _ONE_NUMBER)


def read_ids(path: str | Path) -> np.ndarray:
    """Read ids as `open_ids` does.

    Returns:
        (H, W) uint8 or uint16.
    """
    return read_all(open_ids(path))


def _read_id_file(path: str | Path) -> np.ndarray:
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


def open_indices(path: str | Path) -> Pixels:
    """Open a palette PNG whose indices are ids, such as Pascal VOC's; also a plain id PNG.

    Returns:
        (H, W) uint8 or uint16.

    Raises:
        UserError: the file is missing, truncated, or a colour picture.
    """
    return _open(path, _read_index_file, ((PALETTE, 8), (GREY, 8), (GREY, 16)), _ONE_NUMBER)


def _read_index_file(path: str | Path) -> np.ndarray:
    mode, ids = _read_label_file(path, None)
    if ids.ndim != 2 or ids.dtype not in (np.uint8, np.uint16):
        raise UserError(
            f"label file {path} has Pillow mode {mode}, but its entry of DATASETS.REGISTER says "
            "'label_format: indices', which are palette PNGs or one-channel PNGs"
        )
    return ids


def open_colors(path: str | Path) -> Pixels:
    """Open a picture whose colours show classes; transparency is dropped.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        UserError: the file is missing, truncated or no image.
    """
    return _open(path, _read_color_file, ((COLOUR, 8), (GREY, 8)), cv2.IMREAD_COLOR_RGB)


def _read_color_file(path: str | Path) -> np.ndarray:
    return _read_label_file(path, "RGB")[1]


def open_color_codes(path: str | Path) -> Pixels:
    """Open a colour PNG whose colours are numbers, which no conversion may touch.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        UserError: the file is missing, truncated, or no colour picture of 8 bits a channel.
    """
    return _open(path, _read_code_file, ((COLOUR, 8),), cv2.IMREAD_COLOR_RGB)


def read_color_codes(path: str | Path) -> np.ndarray:
    """Read colours as `open_color_codes` does.

    Returns:
        (H, W, 3) uint8, RGB.
    """
    return read_all(open_color_codes(path))


def _read_code_file(path: str | Path) -> np.ndarray:
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


IDS = Decoder("ids", open_ids)
INDICES = Decoder("indices", open_indices)
COLORS = Decoder("colors", open_colors)
COLOR_CODES = Decoder("color-codes", open_color_codes)


def _read_label_file(path: str | Path, mode: str | None) -> tuple[str, np.ndarray]:
    """The file's own mode, and its pixels, converted to `mode` if one is given."""
    try:
        with Image.open(path) as image:
            _check_pixels("label file", image, path)
            # As images are: else a label file would lie across the image that it was drawn on.
            ImageOps.exif_transpose(image, in_place=True)
            pixels = np.asarray(image if mode is None else image.convert(mode))
            own_mode = image.mode
    except _UNREADABLE as error:
        raise unreadable("label file", path, error) from error
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8)  # a PNG of one bit
    if own_mode == "I" and pixels.size and pixels.min() >= 0 and pixels.max() < 2**16:
        pixels = pixels.astype(np.uint16)  # how older Pillows open a PNG of 16 bits
    return own_mode, pixels
