"""PNGs of ids and masks as programs save them: decoded whole, or refused with the file's name.

Pixels count as the file has them: an orientation in it turns nothing, as officially.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from zlib_ng.zlib_ng import decompressobj, error  # four times as fast as zlib's

from segtron.data.image_io import MAX_PIXELS
from segtron.data.png_chunks import (
    COLOUR,
    COLOUR_ALPHA,
    FIRST_FILTER_LOOKING_UP,
    GREY,
    GREY_ALPHA,
    PALETTE,
    SIGNATURE,
    DamagedPngError,
    PngHeader,
    read_chunks,
    write_png,
)
from segtron.errors import UserError

_START = len(SIGNATURE) + 25  # bytes up to the end of the header's chunk
# What PNG's colour types are called, and how many bits a channel can have.
_COLOUR_TYPES = {
    GREY: ("grey", (1, 2, 4, 8, 16)),
    COLOUR: ("colour", (8, 16)),
    PALETTE: ("a palette", (1, 2, 4, 8)),
    GREY_ALPHA: ("grey with alpha", (8, 16)),
    COLOUR_ALPHA: ("colour with alpha", (8, 16)),
}
_ONE_NUMBER = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH


class _Wanted(NamedTuple):
    """Which PNGs can be read."""

    name: str
    colour_types: tuple[int, ...]
    depths: tuple[int, ...]


_NUMBERS = _Wanted("one-channel PNGs of 8 or 16 bits", (GREY,), (8, 16))
_LABELS = _Wanted("PNGs of 8 or 16 bits, one-channel or with a palette", (GREY, PALETTE), (8, 16))
_COLOURS = _Wanted("colour PNGs of 8 bits a channel", (COLOUR, COLOUR_ALPHA), (8,))


class _Png(NamedTuple):
    """What a file that is whole has of pixels."""

    path: Path
    header: PngHeader
    data: bytes  # the compressed rows


def read_saved_png(path: Path) -> np.ndarray:
    """Read a one-channel PNG, such as Cityscapes' `*_instanceIds.png`.

    OpenCV decodes it, which is somewhat faster than Pillow, and much so in many threads, for it
    leaves Python alone from start to end. What it may overlook, a file that is cut off or changed,
    the check sums that PNGs have show.

    Args:
        path: a grey PNG of 8 or 16 bits.

    Returns:
        (H, W) uint8 or uint16, the numbers as they are in the file.

    Raises:
        UserError: the file is missing, damaged, or no such PNG.
    """
    return _decode(_read(path, _NUMBERS), _ONE_NUMBER)


def read_saved_labels(path: Path) -> np.ndarray:
    """Read a PNG of label ids; if it has a palette its indices are the ids, as they are officially.

    Args:
        path: a PNG of 8 or 16 bits, grey or with a palette.

    Returns:
        (H, W) uint8 or uint16.

    Raises:
        UserError: the file is missing, damaged, or no such PNG.
    """
    png = _read(path, _LABELS)
    # Indices are stored as greys are. Told of the palette, OpenCV would give its colours.
    return _decode(png._replace(header=png.header._replace(colour_type=GREY)), _ONE_NUMBER)


def read_saved_colors(path: Path) -> np.ndarray:
    """Read a PNG whose colours are numbers, such as a panoptic PNG; transparency is dropped.

    Args:
        path: a colour PNG of 8 bits a channel.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        UserError: the file is missing, damaged, or no such PNG.
    """
    colors = _decode(_read(path, _COLOURS), cv2.IMREAD_COLOR)
    return cv2.cvtColor(colors, cv2.COLOR_BGR2RGB)


def read_saved_size(path: Path) -> tuple[int, int]:
    """Height and width of a PNG, of which only the beginning is read.

    Raises:
        UserError: the file is missing or no PNG, or has more pixels than are read at most.
    """
    header = _header(path, next(_chunks(path, _content(path, _START))))
    return header.height, header.width


def read_saved_mask(path: Path) -> np.ndarray:
    """Read a one-channel PNG as a mask: all numbers but 0 belong to it.

    Most of a mask is empty. So its rows are only decompressed, which shows where there is anything,
    and decoded from there on: a quarter of the time of decoding it all.

    Args:
        path: a grey PNG of 8 or 16 bits.

    Returns:
        (H, W) bool.

    Raises:
        UserError: the file is missing, damaged, or no such PNG.
    """
    png = _read(path, _NUMBERS)
    width, height, depth = png.header[:3]
    if png.header.interlace:
        return _decode(png, _ONE_NUMBER) != 0
    mask = np.zeros((height, width), dtype=bool)
    rows = _decompress(png)
    written = np.flatnonzero(np.bitwise_or.reduce(rows[:, 1:], axis=1))
    if written.size:
        top, bottom = written[0], written[-1] + 1
        # Rows with nothing in them repeat the row above, till one comes that doesn't look there.
        (ends,) = np.nonzero(rows[bottom:, 0] < FIRST_FILTER_LOOKING_UP)
        bottom = bottom + ends[0] if ends.size else height
        # What is left of the first byte is 0, as all above is. With one more pixel to the right.
        columns = np.flatnonzero(np.bitwise_or.reduce(rows[top:bottom, 1:], axis=0))
        pixel_size = depth // 8
        left = columns[0] // pixel_size
        right = min(columns[-1] // pixel_size + 2, width)
        pixels = _decode(_cut_out(png, rows[top:bottom], left, right), _ONE_NUMBER)
        if pixels[:, -1].any():  # and so may be what follows
            right = width
            pixels = _decode(_cut_out(png, rows[top:bottom], left, right), _ONE_NUMBER)
        np.not_equal(pixels, 0, out=mask[top:bottom, left:right])
    return mask


def _decompress(png: _Png) -> np.ndarray:
    """(H, 1 + bytes of a row) uint8: before each row its filter, then what the filter left of it.
    Above the first row all counts as 0."""
    length = 1 + png.header.width * png.header.depth // 8
    size = png.header.height * length
    decompressor = decompressobj()
    try:
        rows = decompressor.decompress(png.data, size + 1)
    except error as reason:
        raise _damaged(png.path, "its pixels cannot be decoded") from reason
    if len(rows) != size or not decompressor.eof:
        raise _damaged(png.path, "its pixels cannot be decoded")
    return np.frombuffer(rows, dtype=np.uint8).reshape(png.header.height, length)


def _cut_out(png: _Png, rows: np.ndarray, left: int, right: int) -> _Png:
    """A PNG of some rows and columns, above and left of which all pixels are 0."""
    pixel_size = png.header.depth // 8
    rows = np.hstack([rows[:, :1], rows[:, 1 + left * pixel_size : 1 + right * pixel_size]])
    header = png.header._replace(width=right - left, height=len(rows))
    return png._replace(header=header, data=zlib.compress(rows, 0))


def _decode(png: _Png, mode: int) -> np.ndarray:
    """The pixels, as one of OpenCV's modes has them."""
    try:
        content = np.frombuffer(write_png(png.header, png.data), dtype=np.uint8)
        pixels = cv2.imdecode(content, mode)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise _damaged(png.path, "its pixels cannot be decoded")
    return pixels


def _read(path: Path, wanted: _Wanted) -> _Png:
    """Read a file and make sure that it is whole, and of a kind that can be decoded."""
    first, *chunks = _chunks(path, _content(path))
    header = _header(path, first)
    if header.colour_type not in wanted.colour_types or header.depth not in wanted.depths:
        raise UserError(
            f"{path} is a PNG of {header.depth} bits a channel, "
            f"{_COLOUR_TYPES[header.colour_type][0]}; what is read here are {wanted.name}"
        )
    return _Png(path, header, b"".join(data for kind, data in chunks if kind == b"IDAT"))


def _content(path: Path, size: int = -1) -> bytes:
    """The file's first bytes, or all of it."""
    try:
        with path.open("rb") as file:
            content = file.read(size)
    except FileNotFoundError as reason:
        raise UserError(f"{path} does not exist; restore it") from reason
    except OSError as reason:
        raise UserError(f"{path} cannot be read ({reason.strerror})") from reason
    if not content.startswith(SIGNATURE):
        raise UserError(f"{path} is no PNG, whatever its name says; save it as one")
    return content


def _header(path: Path, chunk: tuple[bytes, memoryview]) -> PngHeader:
    """What the first chunk says, checked."""
    try:
        header = PngHeader.parse(*chunk)
    except DamagedPngError as reason:
        raise _damaged(path, str(reason)) from reason
    _, depths = _COLOUR_TYPES.get(header.colour_type, ("", ()))
    if header.depth not in depths or header.compression or header.filtering:
        raise _damaged(path, "its header is that of no PNG")
    if header.width * header.height > MAX_PIXELS:
        raise UserError(
            f"{path} has {header.width} x {header.height} pixels, more than the {MAX_PIXELS:,} "
            "that are read at most; cut it into pieces or make it smaller"
        )
    return header


def _chunks(path: Path, content: bytes) -> Iterator[tuple[bytes, memoryview]]:
    try:
        yield from read_chunks(content)
    except DamagedPngError as reason:
        raise _damaged(path, str(reason)) from reason


def _damaged(path: Path, how: str) -> UserError:
    return UserError(f"{path} is damaged ({how}); save it again")
