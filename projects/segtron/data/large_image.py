"""Images too large to be kept in memory."""

from __future__ import annotations

import os
import tempfile
import threading
import warnings
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from segtron.data.image_io import MAX_PIXELS, read_image
from segtron.data.pixels import Window
from segtron.data.png import open_png
from segtron.data.png_bands import decode_bands
from segtron.data.png_chunks import DamagedPngError
from segtron.data.unreadable import unreadable
from segtron.errors import UnreadableFileError
from segtron.files import plain_name

# What OpenCV decodes at most, too: 32,768 x 32,768.
MAX_LARGE_PIXELS = 2**30
# Longest side of the small copy that overlays are drawn on.
PREVIEW_SIDE = 2400
# Pillow's names for what has 8 bits a channel or fewer.
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
# Whoever reads a header changes a limit that all of Pillow shares.
_pillow_limit = threading.Lock()


class LargeImage:
    """An image that lies decoded in a temporary file, of which windows are read.

    The file is in the folder for such files ($TMPDIR) and vanishes with the object.

    Attributes:
        shape: height, width and 3.
        preview: (h, w, 3) uint8, BGR, the whole image so small that its longest side is at most
            `PREVIEW_SIDE`.
    """

    def __init__(self, shape: tuple[int, int], bands: Iterable[np.ndarray]) -> None:
        """
        Args:
            shape: height and width.
            bands: (h, W, 3) uint8, BGR: the rows from top to bottom, some at a time.

        Raises:
            OSError: the temporary file can't be written.
        """
        self.shape = (*shape, 3)
        width, height = _preview_size(*shape)
        narrow = []
        self._file = tempfile.TemporaryFile(prefix="segtron-")  # noqa: SIM115, kept open
        for band in bands:
            self._file.write(np.ascontiguousarray(band))
            # First to the small copy's width, since a band has no rows to spare for its height.
            narrow.append(cv2.resize(band, (width, len(band)), interpolation=cv2.INTER_AREA))
        self._file.flush()
        self.preview = cv2.resize(
            np.concatenate(narrow), (width, height), interpolation=cv2.INTER_AREA
        )

    def read(self, window: Window) -> np.ndarray:
        """The pixels of a window, (h, w, 3) uint8.

        Raises:
            OSError: the temporary file can't be read.
        """
        pixels = np.empty((*window.shape, 3), np.uint8)
        for y, row in enumerate(pixels, start=window.top):
            place = 3 * (y * self.shape[1] + window.left)
            if os.preadv(self._file.fileno(), [row], place) < row.nbytes:
                raise OSError(
                    f"the temporary file of an image in {tempfile.gettempdir()} ends early"
                )
        return pixels


def preview_of(pixels: np.ndarray) -> np.ndarray:
    """A copy of (H, W, 3) whose longest side is at most `PREVIEW_SIDE`."""
    size = _preview_size(*pixels.shape[:2])
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def _preview_size(height: int, width: int) -> tuple[int, int]:
    """Width and height of the small copy."""
    scale = min(PREVIEW_SIDE / max(height, width), 1.0)
    return max(round(width * scale), 1), max(round(height * scale), 1)


def read_large_image(path: str | Path) -> np.ndarray | LargeImage:
    """Read a photograph of up to `MAX_LARGE_PIXELS`.

    What `segtron.data.image_io.read_image` takes is read by it. A larger PNG takes little more
    memory than its file (`decode_bands`), if it is grey or coloured with 8 bits a channel and has
    no alpha channel, palette, interlacing, animation or orientation. All else OpenCV decodes, with
    3 bytes a pixel for the time being (a progressive JPEG or such a PNG takes as much again),
    upright as its EXIF orientation says.

    Returns:
        (H, W, 3) uint8 in BGR order, or an image in a temporary file.

    Raises:
        UserError: the file is missing, truncated, no image or too large; or it is larger than
            `read_image` takes and has more than 8 bits a channel.
    """
    mode, height, width = _header(path)
    if height * width <= MAX_PIXELS:
        return read_image(path, "BGR")
    if height * width > MAX_LARGE_PIXELS:
        raise UnreadableFileError(
            f"image {path} is {width} x {height}, more than {MAX_LARGE_PIXELS:,} pixels; cut it up"
        )
    if mode not in _MODES:
        raise UnreadableFileError(
            f"image {path} has Pillow mode {mode}; so large an image must have 8 bits a channel, "
            "so convert it"
        )
    # By bands, without its decoded pixels in memory all together.
    png = open_png(path, MAX_LARGE_PIXELS) if mode in ("L", "RGB") else None
    if png is None:
        pixels = _decoded(path)
        (height, width), bands = pixels.shape[:2], [pixels]
    else:
        bands = decode_bands(png)
    try:
        return LargeImage((height, width), bands)
    except DamagedPngError as error:
        raise unreadable("image", path, error) from error
    except OSError as error:
        raise UnreadableFileError(
            f"image {path} cannot be kept in {tempfile.gettempdir()} ({error.strerror or error}), "
            f"where it takes {3 * height * width / 1e9:.1f} GB; set TMPDIR to a folder with more "
            "room"
        ) from error


def _decoded(path: str | Path) -> np.ndarray:
    """What OpenCV makes of a file, (H, W, 3) uint8 in BGR order."""
    try:
        with plain_name(Path(path)) as name:
            pixels = cv2.imread(name, cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise unreadable("image", path, error) from error
    if pixels is None:
        raise UnreadableFileError(f"image {path} cannot be decoded; restore or remove it")
    return pixels


def _header(path: str | Path) -> tuple[str, int, int]:
    """Pillow's mode of an image, its height and its width, without decoding it."""
    with _pillow_limit, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            with Image.open(path) as image:
                return image.mode, image.height, image.width
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise unreadable("image", path, error) from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit
