"""PNGs of which a window is decoded: what lies below it and to its right is not.

A PNG's rows are compressed all together, so that none can be read without those above. But to
decompress them takes only a third of the time of decoding; the rest goes into undoing the filter of
each row, which looks at the pixels to the left and in the row above. Some filters look to the left
only, so a row that has one of these is as good a start as the first row.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from zlib_ng import zlib_ng

from segtron.data.pixels import Window
from segtron.data.png_chunks import (
    COLOUR,
    FIRST_FILTER_LOOKING_UP,
    GREY,
    PALETTE,
    SIGNATURE,
    DamagedPngError,
    PngHeader,
    chunk,
    read_chunks,
    write_png,
)
from segtron.data.png_rows import RowStream

# Chunks that change nothing about the pixels as they are read here. All others may: an orientation,
# an animation, or what is not known.
_HARMLESS = {
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT",
    b"bKGD", b"hIST", b"pHYs", b"sPLT", b"tIME", b"cICP",
}  # fmt: skip
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
# Texts that can hold an orientation.
_TURNING_TEXTS = (b"Raw profile type exif", b"Raw profile type APP1", b"XML:com.adobe.xmp")
# The share of a picture from which on leaving out the rest doesn't pay.
_MOST = 0.8
_LARGEST_BLOCK = 2**16 - 1  # bytes that are stored without compression at a time


class _Scratch(threading.local):
    """Memory of a thread for what is in between, since new memory takes as long as the work in it.

    It stays as large as the largest picture needed it.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, np.ndarray] = {}

    def get(self, name: str, size: int) -> np.ndarray:
        """(size,) uint8 with anything in it, the same memory for the same name."""
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size:
            buffer = self._buffers[name] = np.empty(size, np.uint8)
        return buffer[:size]


_scratch = _Scratch()


class Png(NamedTuple):
    """A whole and plain PNG: its check sums are right, and it is neither interlaced nor turned.

    Attributes:
        shape: height and width.
        depth: bits a channel, 8 or 16.
        colour_type: `GREY`, `COLOUR` (RGB) or `PALETTE`.
        rows: what is compressed.
    """

    shape: tuple[int, int]
    depth: int
    colour_type: int
    rows: Sequence[memoryview]

    def decode(self, window: Window, mode: int) -> np.ndarray | None:
        """Decode a window.

        Args:
            window: which one.
            mode: OpenCV's, such as cv2.IMREAD_COLOR.

        Returns:
            (h, w) or (h, w, 3), a view of some more pixels; None where the file has fewer rows than
            it says, or rows that can't be decoded. Of palettes the indices, in a mode for greys.
        """
        unfiltered = (window.bottom - window.top) * window.right
        if unfiltered > _MOST * self.shape[0] * self.shape[1]:
            content = write_png(self._header(*self.shape), b"".join(self.rows))
            decoded = imdecode(np.frombuffer(content, np.uint8), mode)
            return None if decoded is None else window.of(decoded)
        pixel_size = (3 if self.colour_type == COLOUR else 1) * self.depth // 8
        # Before each row is a byte that says which filter it has.
        row_size, wanted = 1 + self.shape[1] * pixel_size, 1 + window.right * pixel_size
        content = _scratch.get("rows", window.bottom * row_size)
        if wanted > _LARGEST_BLOCK or not self._decompress(content):
            return None
        rows = content.reshape(window.bottom, row_size)
        (starts,) = np.nonzero(rows[: window.top + 1, 0] < FIRST_FILTER_LOOKING_UP)
        top = int(starts[-1]) if starts.size else 0
        header = self._header(window.bottom - top, window.right)
        decoded = imdecode(_stored(header, rows[top:, :wanted]), mode)
        return None if decoded is None else decoded[window.top - top :, window.left :]

    def _header(self, height: int, width: int) -> PngHeader:
        """That of a PNG like this one."""
        # Indices are stored as greys are. Told of the palette, OpenCV would give its colours.
        kind = COLOUR if self.colour_type == COLOUR else GREY
        return PngHeader(width, height, self.depth, kind)

    def _decompress(self, content: np.ndarray) -> bool:
        """Fill an array with the first rows; whether there are so many."""
        # Few long pieces are decompressed faster than many short ones.
        return RowStream([memoryview(b"".join(self.rows))]).fill(content)


def imdecode(content: np.ndarray, mode: int) -> np.ndarray | None:
    """OpenCV's `imdecode`; None also where OpenCV raises an error."""
    try:
        return cv2.imdecode(content, mode)
    except cv2.error:
        return None


def _stored(header: PngHeader, rows: np.ndarray) -> np.ndarray:
    """A PNG of filtered rows, without compression.

    Args:
        header: its size and kind.
        rows: (R, N) uint8.
    """
    number, size = rows.shape
    a_block = _LARGEST_BLOCK // size  # rows
    num_blocks = -(-number // a_block)
    length = 2 + 5 * num_blocks + rows.size + 4
    head = SIGNATURE + header.as_chunk()
    start = len(head) + 8
    content = _scratch.get("stored", start + length + 4 + 12)
    content[: start - 8] = _bytes(head)
    content[start - 8 : start + 2] = _bytes(struct.pack(">I", length), b"IDAT", b"\x78\x01")
    position, check_sum = start + 2, 1
    for first in range(0, number, a_block):
        block = rows[first : first + a_block]
        is_last = first + a_block >= number
        sizes = struct.pack("<BHH", is_last, block.size, block.size ^ 0xFFFF)
        content[position : position + 5] = _bytes(sizes)
        data = content[position + 5 : position + 5 + block.size]
        data.reshape(block.shape)[:] = block
        check_sum = zlib_ng.adler32(data, check_sum)
        position += 5 + block.size
    content[position : position + 4] = _bytes(struct.pack(">I", check_sum))
    check_sum = zlib_ng.crc32(content[start - 4 : position + 4])
    content[position + 4 :] = _bytes(struct.pack(">I", check_sum), chunk(b"IEND", b""))
    return content


def _bytes(*parts: bytes) -> np.ndarray:
    return np.frombuffer(b"".join(parts), np.uint8)


def open_png(path: str | Path, max_pixels: int) -> Png | None:
    """Read a PNG's file and make sure that it is whole, without decoding it.

    Args:
        path: a file.
        max_pixels: that it may have.

    Returns:
        None where the file is missing, damaged, too large, no PNG, or of a kind that is not read
        here; Pillow then knows what to make of it.
    """
    try:
        with Path(path).open("rb") as file:
            if file.read(len(SIGNATURE)) != SIGNATURE:
                return None
            file.seek(0)
            content = file.read()
    except OSError:
        return None
    try:
        first, *chunks = read_chunks(content)
        header = PngHeader.parse(*first)
    except DamagedPngError:
        return None
    is_known = header.depth == 8 and header.colour_type in (GREY, COLOUR, PALETTE)
    is_known = is_known or (header.depth == 16 and header.colour_type == GREY)
    is_plain = not (header.compression or header.filtering or header.interlace)
    fits = 0 < header.width * header.height <= max_pixels
    if not (is_known and is_plain and fits and all(_is_harmless(*c) for c in chunks)):
        return None
    rows = [data for kind, data in chunks if kind == b"IDAT"]
    return Png((header.height, header.width), header.depth, header.colour_type, rows)


def _is_harmless(kind: bytes, data: memoryview) -> bool:
    if kind in _TEXTS:
        return not bytes(data[:40]).startswith(_TURNING_TEXTS)
    return kind in _HARMLESS
