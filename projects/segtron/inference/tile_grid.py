"""Overlapping tiles of an image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from segtron.data.pixels import Window

# Tiles begin at multiples of this many pixels. It is the coarsest stride of the backbones and
# feature pyramids in use, so that at scale 1 a tile's features are those of the whole image, but
# for what lies near the tile's border.
ALIGNMENT = 64


@dataclass(frozen=True)
class _Axis:
    """The tiles along one axis: tile i has the pixels from starts[i] to stops[i] - 1."""

    length: int
    starts: np.ndarray
    stops: np.ndarray

    def depths(self, first: int, stop: int) -> np.ndarray:
        """How far a range of pixels keeps off the borders of each tile; below 0: it juts out.

        A border that is the image's, too, counts as infinitely far away.
        """
        before = np.where(self.starts == 0, np.inf, first - self.starts)
        behind = np.where(self.stops == self.length, np.inf, self.stops - stop)
        return np.minimum(before, behind)

    def cores(self) -> list[tuple[int, int]]:
        """For each tile the pixels that none other shows further from its border."""
        cuts = ((self.starts[1:] + self.stops[:-1]) // 2).tolist()
        return list(zip([0, *cuts], [*cuts, self.length], strict=True))


@dataclass(frozen=True)
class TileGrid:
    """Tiles of one size that cover an image; the last ones may be a little smaller.

    Attributes:
        image_size: height and width in pixels.
        tile_size: height and width of a tile, each at least `ALIGNMENT`.
        overlap: least number of pixels that neighbours share along each axis, below both.
    """

    image_size: tuple[int, int]
    tile_size: tuple[int, int]
    overlap: int

    @cached_property
    def _axes(self) -> tuple[_Axis, _Axis]:
        rows, columns = (
            _axis(length, size, self.overlap)
            for length, size in zip(self.image_size, self.tile_size, strict=True)
        )
        return rows, columns

    def __len__(self) -> int:
        rows, columns = self._axes
        return len(rows.starts) * len(columns.starts)

    @cached_property
    def windows(self) -> list[Window]:
        """The tiles, row by row."""
        rows, columns = self._axes
        return [
            Window(int(left), int(top), int(right), int(bottom))
            for top, bottom in zip(rows.starts, rows.stops, strict=True)
            for left, right in zip(columns.starts, columns.stops, strict=True)
        ]

    def cores(self) -> list[Window]:
        """The part of each tile that it shows best, in the same order.

        They share no pixel and cover the image. The borders between them go through the middle of
        what two neighbours share.
        """
        rows, columns = self._axes
        return [
            Window(left, top, right, bottom)
            for top, bottom in rows.cores()
            for left, right in columns.cores()
        ]

    def neighbours(self, tile: int) -> Iterator[int]:
        """Earlier tiles that share pixels with one."""
        rows, columns = self._axes
        row, column = divmod(tile, len(columns.starts))
        for r in np.flatnonzero(rows.stops[: row + 1] > rows.starts[row]).tolist():
            shared = (columns.stops > columns.starts[column]) & (
                columns.starts < columns.stops[column]
            )
            for c in np.flatnonzero(shared).tolist():
                other = r * len(columns.starts) + c
                if other < tile:
                    yield other

    def depth(self, tile: int, window: Window) -> float:
        """How far a window keeps off the borders of a tile; below 0 where it juts out of it."""
        rows, columns = self._axes
        row, column = divmod(tile, len(columns.starts))
        return float(
            min(
                rows.depths(window.top, window.bottom)[row],
                columns.depths(window.left, window.right)[column],
            )
        )

    def largest_depth(self, window: Window) -> float:
        """The depth of a window in the tile that shows it best; below 0 if none shows all of it."""
        rows, columns = self._axes
        return float(
            min(
                rows.depths(window.top, window.bottom).max(),
                columns.depths(window.left, window.right).max(),
            )
        )

    def depths_of_pixels(self, tile: int, window: Window) -> np.ndarray:
        """How far each pixel of a window keeps off the borders of a tile.

        Returns:
            (h, w) float32, below 0 outside the tile.
        """
        rows, columns = self._axes
        row, column = divmod(tile, len(columns.starts))
        down = _pixel_depths(rows, row, window.top, window.bottom)
        right = _pixel_depths(columns, column, window.left, window.right)
        return np.minimum(down[:, None], right)


def _axis(length: int, size: int, overlap: int) -> _Axis:
    step = max((size - overlap) // ALIGNMENT, 1) * ALIGNMENT
    starts = [0]
    while starts[-1] + size < length:
        # The last one is moved back, so that it is as large as the others, but for the alignment.
        last = -(-(length - size) // ALIGNMENT) * ALIGNMENT
        starts.append(min(starts[-1] + step, last))
    stops = np.minimum(np.array(starts) + size, length)
    return _Axis(length, np.array(starts), stops)


def _pixel_depths(axis: _Axis, i: int, first: int, stop: int) -> np.ndarray:
    places = np.arange(first, stop, dtype=np.float32)
    before = places - axis.starts[i] if axis.starts[i] else np.full_like(places, np.inf)
    ends = axis.stops[i] == axis.length
    behind = np.full_like(places, np.inf) if ends else axis.stops[i] - 1 - places
    return np.minimum(before, behind)
