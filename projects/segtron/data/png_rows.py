"""The rows of a PNG, decompressed from top to bottom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from zlib_ng import zlib_ng

# Bytes that are decompressed at a time: few calls, and no memory that has to be new each time.
_PIECE = 2**18


class RowStream:
    """What is compressed in a PNG, read like a file."""

    def __init__(self, chunks: Iterable[memoryview]) -> None:
        """
        Args:
            chunks: the data of the PNG's IDAT chunks, in order.
        """
        self._decompressor = zlib_ng.decompressobj()
        self._pieces = _pieces(chunks)

    def fill(self, content: np.ndarray) -> bool:
        """Fill an array with what comes next, and decompress no more than that.

        Args:
            content: (L,) uint8.

        Returns:
            Whether there was so much. If not, or if it is compressed wrongly on the way there, the
            content means nothing, nor does what would come next.
        """
        position = 0
        try:
            while position < content.size:
                compressed = self._decompressor.unconsumed_tail or next(self._pieces, None)
                # At its end the decompressor never uses up what lies behind.
                if compressed is None or self._decompressor.eof:
                    return False
                piece = self._decompressor.decompress(compressed, content.size - position)
                content[position : position + len(piece)] = np.frombuffer(piece, np.uint8)
                position += len(piece)
        except zlib_ng.error:
            return False
        return True


def _pieces(chunks: Iterable[memoryview]) -> Iterator[memoryview]:
    for chunk in chunks:
        for start in range(0, len(chunk), _PIECE):
            yield chunk[start : start + _PIECE]
