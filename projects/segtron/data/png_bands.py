"""PNGs too large to be decoded at once, band by band.

OpenCV takes twice the memory of a PNG's pixels to decode it. A band of its rows is a PNG of its
own, if the row above it is put before it: the filters of rows look no further.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from zlib_ng import zlib_ng

from segtron.data.png import Png, imdecode
from segtron.data.png_chunks import COLOUR, DamagedPngError, PngHeader, write_png
from segtron.data.png_rows import RowStream

# Bytes of a band, about.
_BAND = 2**24


def decode_bands(png: Png) -> Iterator[np.ndarray]:
    """Decode a whole PNG, in memory for some rows.

    Args:
        png: of `GREY` or `COLOUR`, with 8 bits a channel.

    Yields:
        (h, W, 3) uint8, BGR: bands from top to bottom.

    Raises:
        DamagedPngError: there are fewer rows than the file says, or they can't be decoded.
    """
    height, width = png.shape
    row_size = 1 + width * (3 if png.colour_type == COLOUR else 1)
    most_rows = max(_BAND // row_size, 1)
    stream = RowStream(png.rows)
    # A filter's number, 0 for none, and the pixels. Above the first row all counts as black.
    above = np.zeros(row_size, np.uint8)
    for top in range(0, height, most_rows):
        rows = np.empty((1 + min(most_rows, height - top), row_size), np.uint8)
        rows[0] = above
        if not stream.fill(rows[1:].reshape(-1)):
            raise DamagedPngError("its rows are cut off or compressed wrongly")
        content = write_png(
            PngHeader(width, len(rows), 8, png.colour_type), zlib_ng.compress(rows, 0)
        )
        band = imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        if band is None:
            raise DamagedPngError("a row of it can't be decoded")
        above[1:] = (band[-1, :, ::-1] if png.colour_type == COLOUR else band[-1, :, :1]).ravel()
        yield band[1:]
