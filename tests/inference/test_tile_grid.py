"""Grids of tiles against what is true of each pixel."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from segtron.data.pixels import Window
from segtron.inference.tile_grid import ALIGNMENT, TileGrid


@pytest.mark.parametrize("overlap", [0, 32, 64])
@pytest.mark.parametrize("size", [(128, 192), (129, 192), (500, 700), (1, 1000), (64, 193)])
def test_tiles_and_cores(size, overlap):
    grid = TileGrid(size, (128, 192), overlap)
    windows, cores = grid.windows, grid.cores()
    assert len(grid) == len(windows) == len(cores)
    times = np.zeros(size, int)
    for window, core in zip(windows, cores, strict=True):
        assert window.left % ALIGNMENT == window.top % ALIGNMENT == 0
        assert window.shape <= (128, 192) and min(window.shape) > 0
        core.of(times)[:] += 1
        for low in (0, 1):
            assert window[low] <= core[low] and core[low + 2] <= window[low + 2]
    assert (times == 1).all()
    # All that share a pixel, as a loop over all pairs finds them.
    for tile, window in enumerate(windows):
        shared = [
            other
            for other in range(tile)
            if max(window.left, windows[other].left) < min(window.right, windows[other].right)
            and max(window.top, windows[other].top) < min(window.bottom, windows[other].bottom)
        ]
        assert sorted(grid.neighbours(tile)) == shared


def test_neighbours_share_what_is_asked_for():
    windows = TileGrid((128, 1000), (128, 192), 60).windows
    assert [window.left for window in windows] == [64 * i for i in (0, 2, 4, 6, 8, 10, 12, 13)]
    assert windows[-1].right == 1000
    assert all(a.right - b.left >= 60 for a, b in itertools.pairwise(windows))


def test_depths():
    grid = TileGrid((128, 400), (128, 192), 64)  # tiles begin at 0, 128 and 256
    window = Window(150, 5, 160, 20)
    # Above and below is the image's border, which doesn't count.
    assert [grid.depth(tile, window) for tile in range(3)] == [32, 22, -106]
    assert grid.largest_depth(window) == 32
    assert grid.largest_depth(Window(100, 0, 300, 9)) < 0
    depths = grid.depths_of_pixels(1, Window(126, 0, 131, 2))
    assert depths.tolist() == [[-2, -1, 0, 1, 2]] * 2
    assert grid.depths_of_pixels(0, Window(0, 0, 2, 1)).tolist() == [[191, 190]]
