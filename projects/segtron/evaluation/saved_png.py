"""PNGs of ids and masks as programs save them: decoded whole, or refused with the file's name.

Pixels count as the file has them: an orientation in it turns nothing, as officially.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from zlib_ng.zlib_ng import decompressobj, error  # four times as fast as zlib's

from segtron.data.image_io import MAX_PIXELS
from segtron.errors import UserError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_START = len(_SIGNATURE) + 25  # bytes up to the end of the header's chunk
# The colour types that PNG has: what they are called, and how many bits a channel can have.
_GREY, _COLOUR, _PALETTE, _GREY_ALPHA, _COLOUR_ALPHA = 0, 2, 3, 4, 6
_COLOUR_TYPES = {
    _GREY: ("grey", (1, 2, 4, 8, 16)),
    _COLOUR: ("colour", (8, 16)),
    _PALETTE: ("a palette", (1, 2, 4, 8)),
    _GREY_ALPHA: ("grey with alpha", (8, 16)),
    _COLOUR_ALPHA: ("colour with alpha", (8, 16)),
}
_ONE_NUMBER = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH
# PNG's filters from this one on (Up, Average, Paeth) build a row on the one above.
_FIRST_FILTER_LOOKING_UP = 2


class _Wanted(NamedTuple):
    """Which PNGs can be read."""

    name: str
    colour_types: tuple[int, ...]
    depths: tuple[int, ...]


_NUMBERS = _Wanted("one-channel PNGs of 8 or 16 bits", (_GREY,), (8, 16))
_LABELS = _Wanted("PNGs of 8 or 16 bits, one-channel or with a palette", (_GREY, _PALETTE), (8, 16))
_COLOURS = _Wanted("colour PNGs of 8 bits a channel", (_COLOUR, _COLOUR_ALPHA), (8,))


class _Header(NamedTuple):
    width: int
    height: int
    depth: int  # bits a channel
    colour_type: int
    interlace: int


class _Png(NamedTuple):
    """What a file that is whole has of pixels."""

    path: Path
    header: _Header
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
    return _decode(png._replace(header=png.header._replace(colour_type=_GREY)), _ONE_NUMBER)


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
    width, height, depth, _, interlace = png.header
    if interlace:
        return _decode(png, _ONE_NUMBER) != 0
    mask = np.zeros((height, width), dtype=bool)
    rows = _decompress(png)
    written = np.flatnonzero(np.bitwise_or.reduce(rows[:, 1:], axis=1))
    if written.size:
        top, bottom = written[0], written[-1] + 1
        # Rows with nothing in them repeat the row above, till one comes that doesn't look there.
        (ends,) = np.nonzero(rows[bottom:, 0] < _FIRST_FILTER_LOOKING_UP)
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
    # Of header and pixels alone: what else there was (an orientation, an animation, transparency)
    # can't change them.
    width, height, depth, colour_type, interlace = png.header
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, interlace)
    chunks = ((b"IHDR", header), (b"IDAT", png.data), (b"IEND", b""))
    content = _SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    try:
        pixels = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), mode)
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
    if not content.startswith(_SIGNATURE):
        raise UserError(f"{path} is no PNG, whatever its name says; save it as one")
    return content


def _header(path: Path, chunk: tuple[bytes, memoryview]) -> _Header:
    """What the first chunk says, checked."""
    kind, content = chunk
    if kind != b"IHDR" or len(content) != 13:
        raise _damaged(path, "it has no header")
    width, height, depth, colour_type, *methods, interlace = struct.unpack(">IIBBBBB", content)
    _, depths = _COLOUR_TYPES.get(colour_type, ("", ()))
    if depth not in depths or any(methods):
        raise _damaged(path, "its header is that of no PNG")
    if width * height > MAX_PIXELS:
        raise UserError(
            f"{path} has {width} x {height} pixels, more than the {MAX_PIXELS:,} that are read at "
            "most; cut it into pieces or make it smaller"
        )
    return _Header(width, height, depth, colour_type, interlace)


def _chunks(path: Path, content: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """The chunks of a PNG up to the last, their lengths and check sums checked."""
    view = memoryview(content)
    position = len(_SIGNATURE)
    while True:
        if position + 12 > len(content):
            raise _damaged(path, "it is cut off")
        (length,) = struct.unpack_from(">I", content, position)
        end = position + 8 + length
        if end + 4 > len(content):
            raise _damaged(path, "it is cut off")
        (check_sum,) = struct.unpack_from(">I", content, end)
        if zlib.crc32(view[position + 4 : end]) != check_sum:
            raise _damaged(path, "a check sum in it is wrong")
        kind = content[position + 4 : position + 8]
        yield kind, view[position + 8 : end]
        if kind == b"IEND":
            return
        position = end + 4


def _damaged(path: Path, how: str) -> UserError:
    return UserError(f"{path} is damaged ({how}); save it again")
