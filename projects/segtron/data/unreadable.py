"""Why a picture can't be read, in a sentence that says what to do."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

from PIL import JpegImagePlugin, TiffImagePlugin, UnidentifiedImageError

from segtron.errors import UnreadableFileError
from segtron.wording import count_of

# TIFF's numbers for what a sample is.
_NUMBERS = {1: "integers", 2: "signed integers", 3: "floats"}


def unreadable(what: str, path: str | Path, error: Exception) -> UnreadableFileError:
    """The error that tells why Pillow or OpenCV couldn't read a file.

    Args:
        what: what to call it, "image" or "label file".
        path: the file.
        error: what was raised.
    """
    if isinstance(error, FileNotFoundError):
        return UnreadableFileError(f"{what} {path} does not exist; restore it or remove its entry")
    pixels = _unknown_pixels(path) if isinstance(error, UnidentifiedImageError) else None
    if pixels is not None:
        return UnreadableFileError(
            f"{what} {path} is a {pixels}, which cannot be read; convert it to grey or RGB of 8 or "
            "16 bits a channel"
        )
    reason = " ".join(str(error).split()) or type(error).__name__
    return UnreadableFileError(f"{what} {path} cannot be read ({reason}); restore or remove it")


def _unknown_pixels(path: str | Path) -> str | None:
    """What a picture is that Pillow can't identify though it is whole, but for its kind of pixels;
    None if it is no such picture.

    Pillow keeps back what its readers of formats say.
    """
    for reader in (_unknown_tiff, _unknown_jpeg):
        try:
            found = reader(path)
        # What Pillow raises at damaged headers.
        except (OSError, SyntaxError, ValueError, LookupError, TypeError, struct.error):
            continue
        if found is not None:
            return found
    return None


def _unknown_tiff(path: str | Path) -> str | None:
    if "unknown pixel mode" not in _complaint(TiffImagePlugin.TiffImageFile, path):
        return None
    with open(path, "rb") as file:
        header = file.read(8)
        if header[2] == 43:  # a BigTIFF
            header += file.read(8)
        tags = TiffImagePlugin.ImageFileDirectory_v2(header)
        file.seek(tags.next)
        tags.load(file)
    bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))[0]
    numbers = _NUMBERS.get(tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,))[0], "numbers")
    channels = count_of(tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1), "channel")
    return f"TIFF with {channels} of {bits}-bit {numbers}"


def _unknown_jpeg(path: str | Path) -> str | None:
    complaint = _complaint(JpegImagePlugin.JpegImageFile, path)
    # Of the bits or the number of channels.
    return f"JPEG of another kind ({complaint})" if "cannot handle" in complaint else None


def _complaint(opens: Callable[[str | Path], object], path: str | Path) -> str:
    """What a format's reader says of a file; "" if nothing."""
    try:
        opens(path)
    except SyntaxError as error:
        return str(error)
    return ""
