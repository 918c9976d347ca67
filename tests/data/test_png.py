"""Windows of PNGs: the pixels that Pillow decodes, of files that are whole and plain."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from segtron.data.pixels import Window, whole
from segtron.data.png import COLOUR, GREY, PALETTE, open_png
from segtron.data.png_chunks import PngHeader, write_png

NUMBERS = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH
LIMIT = 2**20


def chunk(kind: bytes, data: bytes) -> bytes:
    content = kind + data
    return struct.pack(">I", len(data)) + content + struct.pack(">I", zlib.crc32(content))


def encode(pixels: np.ndarray, filters: list[int], pieces: int = 1) -> bytes:
    """A PNG whose rows have the filters that are asked for, as the standard describes them."""
    height, width = pixels.shape[:2]
    depth = 8 * pixels.dtype.itemsize
    big_endian = pixels.astype(pixels.dtype.newbyteorder(">"))
    raw = np.frombuffer(big_endian.tobytes(), np.uint8).reshape(height, -1).astype(int)
    size = raw.shape[1] // width
    rows = []
    for y, kind in enumerate(filters):
        above = raw[y - 1] if y else np.zeros_like(raw[0])
        left, corner = (np.concatenate([[0] * size, row[:-size]]) for row in (raw[y], above))
        estimate = left + above - corner
        distances = np.abs(np.stack([left, above, corner]) - estimate)
        paeth = np.stack([left, above, corner])[distances.argmin(axis=0), np.arange(raw.shape[1])]
        prediction = [0 * left, left, above, (left + above) // 2, paeth][kind]
        rows.append(bytes([kind]) + ((raw[y] - prediction) % 256).astype(np.uint8).tobytes())
    data = zlib.compress(b"".join(rows))
    length = -(-len(data) // pieces)
    kind = COLOUR if pixels.ndim == 3 else GREY
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = [data[start : start + length] for start in range(0, len(data), length)]
    idats = b"".join(chunk(b"IDAT", part) for part in parts)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + idats + chunk(b"IEND", b"")


def picture(kind: str, height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if kind == "colour":
        return rng.integers(0, 256, (height, width, 3), np.uint8)
    dtype = np.uint8 if kind == "grey" else np.uint16
    return rng.integers(0, np.iinfo(dtype).max + 1, (height, width), dtype)


@pytest.mark.parametrize("kind", ["colour", "grey", "deep"])
@pytest.mark.parametrize("seed", range(6))
def test_windows_are_those_of_the_picture(tmp_path: Path, kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 40, 2).tolist()
    pixels = picture(kind, height, width, seed)
    # With one kind of filter only no row but the first may be a start.
    filters = rng.integers(0, 5, height) if seed < 4 else np.full(height, seed - 1)
    path = tmp_path / "a.png"
    path.write_bytes(encode(pixels, filters.tolist(), pieces=1 + seed % 3))
    np.testing.assert_array_equal(np.asarray(Image.open(path)), pixels)  # the encoder is right
    png = open_png(path, LIMIT)
    assert png is not None
    assert (png.shape, png.depth) == ((height, width), 8 * pixels.dtype.itemsize)
    mode = cv2.IMREAD_COLOR_RGB if kind == "colour" else NUMBERS
    for _ in range(40):
        left, right = sorted(rng.integers(0, width + 1, 2).tolist())
        top, bottom = sorted(rng.integers(0, height + 1, 2).tolist())
        window = Window(left, top, max(right, left + 1), max(bottom, top + 1))
        if left < width and top < height:
            found = png.decode(window, mode)
            assert found.dtype == pixels.dtype
            np.testing.assert_array_equal(found, window.of(pixels))
    np.testing.assert_array_equal(png.decode(whole(png.shape), mode), pixels)


def test_large_pictures_in_several_blocks(tmp_path: Path) -> None:
    pixels = picture("colour", 300, 900)  # 800 kB, in blocks of 64 kB at most
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    png = open_png(path, LIMIT)
    for window in (Window(0, 0, 900, 200), Window(3, 57, 800, 250), Window(899, 0, 900, 1)):
        found = png.decode(window, cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(found, window.of(pixels)[:, :, ::-1])


def test_a_row_that_fits_into_no_block_is_decoded_with_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(picture("colour", 10, 25000)).save(path)
    png = open_png(path, LIMIT)
    assert png.decode(Window(0, 0, 25000, 5), cv2.IMREAD_COLOR) is None
    assert png.decode(Window(0, 0, 100, 5), cv2.IMREAD_COLOR).shape == (5, 100, 3)


def test_indices_of_a_palette(tmp_path: Path) -> None:
    indices = picture("grey", 30, 20)
    image = Image.fromarray(indices, "P")
    image.putpalette(np.random.default_rng(1).integers(0, 256, 768).tolist())
    image.save(tmp_path / "a.png")
    png = open_png(tmp_path / "a.png", LIMIT)
    assert png.colour_type == PALETTE
    window = Window(2, 3, 9, 11)
    np.testing.assert_array_equal(png.decode(window, NUMBERS), window.of(indices))
    np.testing.assert_array_equal(png.decode(whole(png.shape), NUMBERS), indices)


@pytest.mark.parametrize("place", [0, 20, 45, 100, 1000, -30, -13, -3])
@pytest.mark.parametrize("how", ["cut off", "changed"])
def test_no_damage_goes_unnoticed(tmp_path: Path, place: int, how: str) -> None:
    content = encode(picture("grey", 40, 40), [1] * 40, pieces=3)
    place %= len(content)
    path = tmp_path / "a.png"
    if how == "changed":
        content = content[:place] + bytes([content[place] ^ 8]) + content[place + 1 :]
    path.write_bytes(content if how == "changed" else content[:place])
    assert open_png(path, LIMIT) is None


def test_fewer_rows_than_the_header_says(tmp_path: Path) -> None:
    content = encode(picture("grey", 40, 40), [1] * 40)
    header = struct.pack(">IIBBBBB", 40, 80, 8, GREY, 0, 0, 0)
    path = tmp_path / "a.png"
    path.write_bytes(content[:8] + chunk(b"IHDR", header) + content[33:])
    png = open_png(path, LIMIT)
    assert png.decode(Window(0, 30, 20, 50), NUMBERS) is None
    assert png.decode(Window(0, 0, 20, 40), NUMBERS) is not None


def test_what_lies_behind_too_few_rows_is_no_row(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    rows = zlib.compress(bytes(41 * 20)) + bytes(600_000)
    path.write_bytes(write_png(PngHeader(40, 40, 8, GREY), rows))
    assert open_png(path, LIMIT).decode(Window(0, 10, 20, 30), NUMBERS) is None


def test_what_is_compressed_wrongly_is_not_decoded(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 40, 40, 8, GREY, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"nothing")
    path = tmp_path / "a.png"
    path.write_bytes(content + chunk(b"IEND", b""))
    assert open_png(path, LIMIT).decode(Window(0, 0, 20, 20), NUMBERS) is None
    assert open_png(path, LIMIT).decode(Window(0, 0, 40, 40), NUMBERS) is None


def test_what_pillow_has_to_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    pixels = picture("colour", 8, 8)
    turned = Image.Exif()
    turned[274] = 6
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", "<x/>")
    for image, extra in (
        (Image.fromarray(pixels), {"exif": turned}),
        (Image.fromarray(pixels), {"pnginfo": text}),
        (Image.fromarray(np.dstack([pixels, pixels[:, :, :1]])), {}),  # transparency
        (Image.fromarray(pixels[:, :, 0] > 90), {}),  # one bit
    ):
        image.save(path, **extra)
        assert open_png(path, LIMIT) is None
    Image.fromarray(pixels).save(path, "JPEG")
    assert open_png(path, LIMIT) is None
    assert open_png(tmp_path / "absent.png", LIMIT) is None
    assert open_png(tmp_path, LIMIT) is None


def test_texts_that_turn_nothing_are_let_pass(tmp_path: Path) -> None:
    text = PngInfo()
    text.add_text("Software", "a camera")
    Image.fromarray(picture("grey", 8, 8)).save(tmp_path / "a.png", pnginfo=text, gamma=0.5)
    assert open_png(tmp_path / "a.png", LIMIT) is not None


def test_the_limit_is_one_of_pixels(tmp_path: Path) -> None:
    Image.fromarray(picture("grey", 8, 9)).save(tmp_path / "a.png")
    assert open_png(tmp_path / "a.png", 72) is not None
    assert open_png(tmp_path / "a.png", 71) is None
