from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from segtron.errors import UserError
from segtron.evaluation.saved_png import (
    read_saved_colors,
    read_saved_labels,
    read_saved_mask,
    read_saved_png,
    read_saved_size,
)

READERS = [read_saved_png, read_saved_labels, read_saved_mask]
# What each reads: colour type and channels.
KINDS = [(reader, 0, 1) for reader in READERS] + [
    (read_saved_labels, 3, 1),
    (read_saved_colors, 2, 3),
    (read_saved_colors, 6, 4),
]
SHAPE = (40, 56)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int,
    height: int,
    data: bytes,
    *,
    depth: int = 8,
    colour_type: int = 0,
    filtering: int = 0,
    interlace: int = 0,
    before: bytes = b"",
    behind: bytes = b"",
) -> bytes:
    """A PNG with other chunks before and behind its pixels; if it needs a palette, all is black."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, filtering, interlace)
    palette = chunk(b"PLTE", bytes(768)) if colour_type == 3 else b""
    parts = [chunk(b"IHDR", header), palette, before, chunk(b"IDAT", data), behind]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def filtered(pixels: np.ndarray, filters: list[int]) -> bytes:
    """Rows of a PNG, each with the filter asked for, byte by byte as the standard says."""
    rows = pixels.astype(pixels.dtype.newbyteorder(">")).view(np.uint8).astype(int)
    rows = rows.reshape(len(pixels), -1)
    step = rows.shape[1] // pixels.shape[1]  # bytes of a pixel
    above = np.zeros(rows.shape[1], dtype=int)
    out = bytearray()
    for row, kind in zip(rows, filters, strict=True):
        out.append(kind)
        for i, value in enumerate(row):
            a, b = (row[i - step] if i >= step else 0), above[i]
            c = above[i - step] if i >= step else 0
            nearest = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            out.append((value - (0, a, b, (a + b) // 2, nearest)[kind]) % 256)
        above = row
    return bytes(out)


def pictures() -> dict[str, np.ndarray]:
    """Masks that leave rows of a PNG empty, in all ways that there are."""
    rng = np.random.default_rng(0)
    empty = np.zeros(SHAPE, dtype=np.uint8)
    found = {"empty": empty, "full": empty + 255, "noise": rng.integers(0, 2, SHAPE, np.uint8)}
    for name, rows, columns in (
        ("inside", slice(9, 20), slice(5, 30)),
        ("top", slice(0, 7), slice(0, 9)),
        ("to the bottom", slice(30, 40), slice(50, 56)),
        ("one pixel", slice(39, 40), slice(55, 56)),
        ("one row", slice(17, 18), slice(0, 56)),
    ):
        found[name] = empty.copy()
        found[name][rows, columns] = 255
    found["two parts"] = found["inside"] | found["to the bottom"]
    found["fading"] = empty.copy()
    found["fading"][10:] = (np.arange(30)[:, None] < 12) * rng.integers(0, 256, (30, 56))
    return found


@pytest.mark.parametrize("name", pictures())
@pytest.mark.parametrize("filters", [0, 1, 2, 3, 4, "mixed"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_masks_with_any_filter(tmp_path, name, filters, dtype):
    pixels = pictures()[name].astype(dtype) * (257 if dtype == np.uint16 else 1)
    height, width = SHAPE
    chosen = np.random.default_rng(1).integers(0, 5, height) if filters == "mixed" else [filters]
    data = filtered(pixels, np.resize(chosen, height).tolist())
    path = tmp_path / "mask.png"
    path.write_bytes(png(width, height, zlib.compress(data), depth=8 * pixels.itemsize))
    np.testing.assert_array_equal(np.asarray(Image.open(path)), pixels)  # the encoder above
    mask = read_saved_mask(path)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, pixels != 0)
    np.testing.assert_array_equal(read_saved_png(path), pixels)


@pytest.mark.parametrize("filters", [2, 3, 4])
def test_empty_rows_that_go_on_with_the_row_above(tmp_path, filters):
    """Below its third row this mask has no byte but that of the filter."""
    height, width = SHAPE
    rows = np.zeros((height, 1 + width), dtype=np.uint8)
    rows[2:, 0] = filters
    rows[2, 5:9] = 200
    rows[30:, 0] = 1
    path = tmp_path / "mask.png"
    path.write_bytes(png(width, height, zlib.compress(rows.tobytes())))
    expected = np.asarray(Image.open(path)) != 0
    assert expected[4].any() and not expected[30:].any()
    np.testing.assert_array_equal(read_saved_mask(path), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_numbers_are_as_in_the_file(tmp_path, dtype):
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, np.iinfo(dtype).max, SHAPE, dtype=dtype, endpoint=True)
    for name, save in (
        ("opencv.png", lambda path: cv2.imwrite(str(path), pixels)),
        ("pillow.png", lambda path: Image.fromarray(pixels).save(path)),
    ):
        save(tmp_path / name)
        for reader in (read_saved_png, read_saved_labels):
            found = reader(tmp_path / name)
            assert found.dtype == dtype
            np.testing.assert_array_equal(found, pixels)
        np.testing.assert_array_equal(read_saved_mask(tmp_path / name), pixels != 0)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("filters", [0, 1, 2, 3, 4])
def test_colours_with_any_filter(tmp_path, filters, channels):
    """Also those that can't be seen."""
    height, width = SHAPE
    pixels = np.random.default_rng(5).integers(0, 256, (*SHAPE, channels), np.uint8)
    data = zlib.compress(filtered(pixels, [filters] * height))
    path = tmp_path / "colours.png"
    path.write_bytes(png(width, height, data, colour_type={3: 2, 4: 6}[channels]))
    np.testing.assert_array_equal(np.asarray(Image.open(path)), pixels)  # the encoder above
    colors = read_saved_colors(path)
    assert colors.dtype == np.uint8
    np.testing.assert_array_equal(colors, pixels[:, :, :3])
    assert read_saved_size(path) == SHAPE


@pytest.mark.parametrize(("reader", "colour_type", "channels"), KINDS)
def test_interlaced_pixel(tmp_path, reader, colour_type, channels):
    # All of it is in the first of the seven passes.
    path = tmp_path / "pixel.png"
    data = zlib.compress(b"\0" + bytes(range(7, 7 + channels)))
    path.write_bytes(png(1, 1, data, colour_type=colour_type, interlace=1))
    expected = [[[7, 8, 9]]] if channels > 1 else [[7]]
    if reader is read_saved_mask:
        expected = [[True]]
    np.testing.assert_array_equal(reader(path), expected)


def upside_down() -> bytes:
    """Metadata by which a picture is to be shown upside down."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    return exif.tobytes().removeprefix(b"Exif\0\0")


@pytest.mark.parametrize(("reader", "colour_type", "channels"), KINDS)
def test_pixels_are_those_of_the_file_whatever_else_is_in_it(
    tmp_path, reader, colour_type, channels
):
    """Orientation, transparency, gamma, and an animation in which the picture doesn't come."""
    height, width = SHAPE
    rows = np.random.default_rng(6).integers(0, 256, (height, 1 + width * channels), np.uint8)
    rows[:, 0] = 0
    frame = struct.pack(">IIIIIHHBB", 0, width, height, 0, 0, 1, 1, 0, 0)
    pixels = {"colour_type": colour_type, "data": zlib.compress(rows.tobytes())}
    before = [
        chunk(b"acTL", struct.pack(">II", 1, 0)),
        chunk(b"eXIf", upside_down()),
        chunk(b"gAMA", struct.pack(">I", 10_000)),
    ]
    if colour_type not in (4, 6):
        before.append(chunk(b"tRNS", bytes(2 * channels)))
    behind = [
        chunk(b"fcTL", frame),
        chunk(b"fdAT", struct.pack(">I", 1) + zlib.compress(bytes(rows.size))),
    ]
    plain, full = tmp_path / "plain.png", tmp_path / "full.png"
    plain.write_bytes(png(width, height, **pixels))
    full.write_bytes(png(width, height, before=b"".join(before), behind=b"".join(behind), **pixels))
    expected = rows[:, 1:].reshape(height, width, channels)[:, :, :3].squeeze()
    if reader is read_saved_mask:
        expected = expected != 0
    for path in (plain, full):
        np.testing.assert_array_equal(reader(path), expected)
    assert read_saved_size(full) == SHAPE


def test_labels_with_a_palette_are_its_indices(tmp_path):
    labels = np.random.default_rng(3).integers(0, 34, SHAPE, dtype=np.uint8)
    image = Image.fromarray(labels, mode="P")
    image.putpalette([(7 * i + 3) % 256 for i in range(768)])
    image.save(tmp_path / "labels.png", bits=8)
    np.testing.assert_array_equal(read_saved_labels(tmp_path / "labels.png"), labels)
    for reader in (read_saved_png, read_saved_mask):
        with pytest.raises(UserError, match=r"labels\.png is a PNG of 8 bits .*, a palette; what"):
            reader(tmp_path / "labels.png")


def whole() -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(4).integers(0, 9, SHAPE, np.uint8)).save(content, "PNG")
    return content.getvalue()


def changed_byte() -> bytes:
    content = bytearray(whole())
    content[len(content) // 2] ^= 1
    return bytes(content)


def jpeg() -> bytes:
    content = io.BytesIO()
    Image.new("L", (8, 8)).save(content, "JPEG")
    return content.getvalue()


def rows(number: int) -> bytes:
    return zlib.compress(bytes(57) * number)


BAD_FILES = {
    "empty": (b"", "is no PNG"),
    "text": (b"road", "is no PNG"),
    "jpeg": (jpeg(), "is no PNG"),
    "cut in its pixels": (whole()[:300], r"is damaged \(it is cut off\)"),
    "cut at its end": (whole()[:-1], r"is damaged \(it is cut off\)"),
    "cut behind the header": (whole()[:33], r"is damaged \(it is cut off\)"),
    "changed": (changed_byte(), r"is damaged \(a check sum in it is wrong\)"),
    # Whole as a file, but not what is in it.
    "too few rows": (png(56, 40, rows(20)), r"is damaged \(its pixels cannot be decoded\)"),
    "data cut off": (png(56, 40, rows(40)[:20]), r"is damaged \(its pixels cannot be decoded\)"),
    "no data": (png(56, 40, b""), r"is damaged \(its pixels cannot be decoded\)"),
    "too large": (
        png(100_000, 100_000, rows(1)),
        "100000 x 100000 pixels, more than .* at most; cut it into pieces or make it smaller",
    ),
    "1 bit": (png(56, 40, zlib.compress(bytes(8) * 40), depth=1), "PNG of 1 bits a channel, grey;"),
    "4 bits": (png(56, 40, zlib.compress(bytes(29) * 40), depth=4), "of 4 bits a channel, grey;"),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("fault", BAD_FILES)
def test_files_that_are_refused(tmp_path, fault, reader):
    content, message = BAD_FILES[fault]
    path = tmp_path / "file.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"file\.png.*{message}"):
        reader(path)


@pytest.mark.parametrize(("reader", "colour_type", "channels"), KINDS)
@pytest.mark.parametrize("what_is_there", [0, 0.5, 0.999])
def test_pixels_that_are_not_all_there(tmp_path, reader, colour_type, channels, what_is_there):
    """A decoder may leave the others black, for what is compressed has an end that is in order."""
    height, width = SHAPE
    rows = bytes(height * (1 + width * channels))
    path = tmp_path / "file.png"
    for data, is_whole in ((rows, True), (rows[: int(what_is_there * len(rows))], False)):
        path.write_bytes(png(width, height, zlib.compress(data), colour_type=colour_type))
        if is_whole:
            assert reader(path).shape[:2] == SHAPE
            continue
        with pytest.raises(UserError, match=r"file\.png is damaged \(its pixels cannot be deco"):
            reader(path)


@pytest.mark.parametrize("reader", [*READERS, read_saved_colors, read_saved_size])
@pytest.mark.parametrize(
    "header",
    [
        {"colour_type": 1},
        {"colour_type": 5},
        {"colour_type": 7},
        {"colour_type": 3, "depth": 16},
        {"colour_type": 2, "depth": 4},
        {"depth": 7},
        {"filtering": 64},
    ],
)
def test_headers_that_no_png_has(tmp_path, reader, header):
    path = tmp_path / "file.png"
    path.write_bytes(png(56, 40, rows(40), **header))
    with pytest.raises(UserError, match=r"file\.png is damaged \(its header is that of no PNG\)"):
        reader(path)


@pytest.mark.parametrize("fault", ["empty", "text", "jpeg", "cut behind the header", "too large"])
def test_sizes_that_are_refused(tmp_path, fault):
    content, message = BAD_FILES[fault]
    path = tmp_path / "file.png"
    path.write_bytes(content)
    if fault == "cut behind the header":
        assert read_saved_size(path) == SHAPE
        path.write_bytes(content[:-1])
    with pytest.raises(UserError, match=rf"file\.png.*{message}"):
        read_saved_size(path)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16"])
def test_what_is_not_coloured_is_refused_as_colours(tmp_path, mode):
    Image.new(mode, (5, 4)).save(tmp_path / "file.png")
    with pytest.raises(UserError, match=r"file\.png is a PNG of .*; what is read here are colour"):
        read_saved_colors(tmp_path / "file.png")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("mode", "message"), [("RGB", "colour;"), ("RGBA", "colour with alpha;"), ("LA", "grey with")]
)
def test_pictures_that_are_refused(tmp_path, reader, mode, message):
    Image.new(mode, (5, 4)).save(tmp_path / "file.png")
    with pytest.raises(UserError, match=rf"file\.png is a PNG of 8 bits a channel, {message}"):
        reader(tmp_path / "file.png")


@pytest.mark.parametrize("reader", [*READERS, read_saved_colors, read_saved_size])
def test_files_that_are_not_there(tmp_path, reader):
    with pytest.raises(UserError, match=r"file\.png does not exist"):
        reader(Path(tmp_path, "file.png"))
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match=r"folder\.png cannot be read"):
        reader(tmp_path / "folder.png")
