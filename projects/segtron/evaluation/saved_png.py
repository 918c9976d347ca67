"""PNGs of ids and masks as programs save them: decoded whole, or refused with the file's name."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image
from zlib_ng.zlib_ng import decompressobj, error  # four times as fast as zlib's

from segtron.data.image_io import MAX_PIXELS
from segtron.errors import UserError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# The colour types of PNG that can hold one number a pixel, and what all types are called.
_GREY, _PALETTE = 0, 3
_COLOUR_TYPES = {_GREY: "grey", 2: "colour", _PALETTE: "a palette", 4: "grey with alpha"}
_ONE_NUMBER = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
# PNG's filters from this one on (Up, Average, Paeth) build a row on the one above.
_FIRST_FILTER_LOOKING_UP = 2


class _Png(NamedTuple):
    """A file that is whole, and its header."""

    path: Path
    content: bytes
    width: int
    height: int
    depth: int  # bits a channel
    colour_type: int
    is_interlaced: bool
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
    return _decode_grey(_read(path, (_GREY,), "one-channel PNGs of 8 or 16 bits"))


def read_saved_labels(path: Path) -> np.ndarray:
    """Read a PNG of label ids; if it has a palette its indices are the ids, as they are officially.

    Args:
        path: a PNG of 8 or 16 bits, grey or with a palette.

    Returns:
        (H, W) uint8 or uint16.

    Raises:
        UserError: the file is missing, damaged, or no such PNG.
    """
    png = _read(path, (_GREY, _PALETTE), "PNGs of 8 or 16 bits, one-channel or with a palette")
    if png.colour_type == _GREY:
        return _decode_grey(png)
    try:
        # OpenCV gives a palette's colours, not its indices.
        with Image.open(io.BytesIO(png.content)) as image:
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError) as reason:
        raise _damaged(path, "its pixels cannot be decoded") from reason


def read_saved_mask(path: Path) -> np.ndarray:
    """Read a one-channel PNG as a mask: all numbers but 0 belong to it.

    Most of a mask is empty. So its rows are only decompressed, which shows where there is anything,
    and decoded from there on: a third of the time of decoding it all.

    Args:
        path: a grey PNG of 8 or 16 bits.

    Returns:
        (H, W) bool.

    Raises:
        UserError: the file is missing, damaged, or no such PNG.
    """
    png = _read(path, (_GREY,), "one-channel PNGs of 8 or 16 bits")
    if png.is_interlaced:
        return _decode_grey(png) != 0
    mask = np.zeros((png.height, png.width), dtype=bool)
    rows = _decompress(png)
    written = np.flatnonzero(np.bitwise_or.reduce(rows[:, 1:], axis=1))
    if written.size:
        top, bottom = written[0], written[-1] + 1
        # Rows with nothing in them repeat the row above, till one comes that doesn't look there.
        (ends,) = np.nonzero(rows[bottom:, 0] < _FIRST_FILTER_LOOKING_UP)
        bottom = bottom + ends[0] if ends.size else png.height
        np.not_equal(_decode_grey(_cut_out(png, rows[top:bottom])), 0, out=mask[top:bottom])
    return mask


def _decompress(png: _Png) -> np.ndarray:
    """(H, 1 + bytes of a row) uint8: before each row its filter, then what the filter left of it.
    Above the first row all counts as 0."""
    length = 1 + png.width * png.depth // 8
    size = png.height * length
    decompressor = decompressobj()
    try:
        rows = decompressor.decompress(png.data, size + 1)
    except error as reason:
        raise _damaged(png.path, "its pixels cannot be decoded") from reason
    if len(rows) != size or not decompressor.eof:
        raise _damaged(png.path, "its pixels cannot be decoded")
    return np.frombuffer(rows, dtype=np.uint8).reshape(png.height, length)


def _cut_out(png: _Png, rows: np.ndarray) -> _Png:
    """A PNG of some rows, above which all pixels are 0."""
    header = struct.pack(">IIBBBBB", png.width, len(rows), png.depth, png.colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    content = _SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return png._replace(content=content, height=len(rows))


def _decode_grey(png: _Png) -> np.ndarray:
    try:
        pixels = cv2.imdecode(np.frombuffer(png.content, dtype=np.uint8), _ONE_NUMBER)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise _damaged(png.path, "its pixels cannot be decoded")
    return pixels


def _read(path: Path, colour_types: tuple[int, ...], expected: str) -> _Png:
    """Read a file and make sure that it is whole, and of a kind that can be decoded.

    Args:
        path: the file.
        colour_types: those that can be.
        expected: what they are called.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as reason:
        raise UserError(f"{path} does not exist; restore it") from reason
    except OSError as reason:
        raise UserError(f"{path} cannot be read ({reason.strerror})") from reason
    if not content.startswith(_SIGNATURE):
        raise UserError(f"{path} is no PNG; what is read here are {expected}")
    (kind, header), *chunks = _chunks(path, content)
    if kind != b"IHDR" or len(header) != 13:
        raise _damaged(path, "it has no header")
    width, height, depth, colour_type, _, _, interlace = struct.unpack(">IIBBBBB", header)
    if depth not in (8, 16) or colour_type not in colour_types:
        raise UserError(
            f"{path} is a PNG of {depth} bits a channel, "
            f"{_COLOUR_TYPES.get(colour_type, 'colour with alpha')}; what is read here are "
            f"{expected}"
        )
    if width * height > MAX_PIXELS:
        raise UserError(
            f"{path} has {width} x {height} pixels, more than the {MAX_PIXELS:,} that are read at "
            "most"
        )
    data = b"".join(data for kind, data in chunks if kind == b"IDAT")
    return _Png(path, content, width, height, depth, colour_type, bool(interlace), data)


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
