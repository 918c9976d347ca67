"""Bands of PNGs are the pixels that Pillow decodes, whatever filters the rows have."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segtron.data import png_bands
from segtron.data.png import open_png
from segtron.data.png_bands import decode_bands
from segtron.data.png_chunks import DamagedPngError

from .test_png import LIMIT, chunk, encode, picture


@pytest.fixture(params=[1, 100, 700, 2**24])
def band_size(request, monkeypatch):
    monkeypatch.setattr(png_bands, "_BAND", request.param)
    return request.param


@pytest.mark.parametrize("kind", ["colour", "grey"])
@pytest.mark.parametrize("seed", range(8))
def test_bands_are_the_picture(tmp_path: Path, kind: str, seed: int, band_size: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 40, 2).tolist()
    pixels = picture(kind, height, width, seed)
    # With one kind of filter, or any.
    filters = np.full(height, seed) if seed < 5 else rng.integers(0, 5, height)
    path = tmp_path / "a.png"
    path.write_bytes(encode(pixels, filters.tolist(), pieces=1 + seed % 3))
    bands = list(decode_bands(open_png(path, LIMIT)))
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB"))[:, :, ::-1]
    np.testing.assert_array_equal(np.concatenate(bands), expected)
    row_size = 1 + width * (3 if kind == "colour" else 1)
    assert max(map(len, bands)) <= max(band_size // row_size, 1)


def rewritten(pixels: np.ndarray, rows: bytes) -> bytes:
    """A PNG of the picture's size with other compressed rows."""
    header = struct.pack(">IIBBBBB", pixels.shape[1], len(pixels), 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        pytest.param(zlib.compress(bytes(61 * 19)), "cut off", id="too_few"),
        pytest.param(zlib.compress(bytes(61 * 20))[:-9], "cut off", id="compressed_rows_cut_off"),
        pytest.param(
            zlib.compress(bytes(61 * 19)) + b"y" * 600_000, "cut off", id="too_few_and_more_behind"
        ),
        pytest.param(b"no rows", "compressed wrongly", id="not_compressed"),
        pytest.param(
            zlib.compress((b"\x07" + bytes(60)) * 20),
            "a row of it can't be decoded",
            id="unknown_filter",
        ),
    ],
)
def test_damage_is_told(tmp_path: Path, rows: bytes, sentence: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(rewritten(picture("colour", 20, 20), rows))
    with pytest.raises(DamagedPngError, match=sentence):
        list(decode_bands(open_png(path, LIMIT)))


def test_no_more_is_decompressed_than_the_picture_has(tmp_path: Path) -> None:
    # A hundred megabytes of rows that the header doesn't announce.
    path = tmp_path / "a.png"
    path.write_bytes(rewritten(picture("colour", 20, 20), zlib.compress(bytes(10**8))))
    png = open_png(path, LIMIT)
    tracemalloc.start()
    bands = list(decode_bands(png))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.concatenate(bands).shape == (20, 20, 3)
    assert peak < 10**6
