"""What a PNG consists of: a signature and chunks, each with its length, kind and check sum.

See https://www.w3.org/TR/png-3/. Pixels are not decoded here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from zlib_ng import zlib_ng  # both its check sums and its decompression are faster than zlib's

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Colour types.
GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6
# Filters from this one on (Up, Average, Paeth) build a row on the one above.
FIRST_FILTER_LOOKING_UP = 2

_HEADER = ">IIBBBBB"


class DamagedPngError(ValueError):
    """A PNG that is not whole; the message says how, in a few words."""


class PngHeader(NamedTuple):
    """What the first chunk says."""

    width: int
    height: int
    depth: int  # bits a channel
    colour_type: int
    compression: int = 0
    filtering: int = 0
    interlace: int = 0

    @classmethod
    def parse(cls, kind: bytes, data: bytes | memoryview) -> PngHeader:
        """Read a chunk.

        Raises:
            DamagedPngError: it is no header.
        """
        if kind != b"IHDR" or len(data) != struct.calcsize(_HEADER):
            raise DamagedPngError("it has no header")
        return cls(*struct.unpack(_HEADER, data))

    def as_chunk(self) -> bytes:
        """The header as a chunk."""
        return chunk(b"IHDR", struct.pack(_HEADER, *self))


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk as it stands in a file."""
    content = kind + data
    return struct.pack(">I", len(data)) + content + struct.pack(">I", zlib_ng.crc32(content))


def read_chunks(content: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """The chunks of a PNG up to the last: kind and data, their lengths and check sums checked.

    Args:
        content: of a file that begins with `SIGNATURE`.

    Raises:
        DamagedPngError: the content is cut off, or a check sum is wrong.
    """
    view = memoryview(content)
    position = len(SIGNATURE)
    while True:
        if position + 12 > len(content):
            raise DamagedPngError("it is cut off")
        (length,) = struct.unpack_from(">I", content, position)
        end = position + 8 + length
        if end + 4 > len(content):
            raise DamagedPngError("it is cut off")
        (check_sum,) = struct.unpack_from(">I", content, end)
        if zlib_ng.crc32(view[position + 4 : end]) != check_sum:
            raise DamagedPngError("a check sum in it is wrong")
        kind = content[position + 4 : position + 8]
        yield kind, view[position + 8 : end]
        if kind == b"IEND":
            return
        position = end + 4


def write_png(header: PngHeader, data: bytes) -> bytes:
    """A PNG of compressed rows and nothing else: what else there may be in a file (an orientation,
    an animation, transparency) can't change its pixels.

    Args:
        header: its size and kind.
        data: filtered rows, compressed.
    """
    return SIGNATURE + header.as_chunk() + chunk(b"IDAT", data) + chunk(b"IEND", b"")
