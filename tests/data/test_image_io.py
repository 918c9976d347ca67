from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from segtron.data import image_io
from segtron.data.image_io import (
    ON_ITS_SIDE,
    open_color_codes,
    open_colors,
    open_ids,
    open_image,
    open_indices,
    read_color_codes,
    read_ids,
    read_image,
    read_image_size,
    read_orientation,
)
from segtron.data.large_image import read_large_image
from segtron.data.pixels import Window, read_all
from segtron.errors import UnreadableFileError, UserError


def save(path, array, **kwargs):
    Image.fromarray(array).save(path, **kwargs)
    return path


def test_channels_come_in_the_order_asked_for(tmp_path):
    path = save(tmp_path / "a.png", np.full((2, 3, 3), (10, 20, 30), np.uint8))
    assert read_image(path, "RGB")[0, 0].tolist() == [10, 20, 30]
    assert read_image(path, "BGR")[0, 0].tolist() == [30, 20, 10]


def test_grey_becomes_coloured_and_transparency_is_dropped(tmp_path):
    grey = save(tmp_path / "grey.png", np.full((2, 3), 7, np.uint8))
    assert (read_image(grey, "BGR") == np.full((2, 3, 3), 7)).all()
    clear = save(tmp_path / "clear.png", np.full((2, 3, 4), (10, 20, 30, 0), np.uint8))
    assert read_image(clear, "BGR")[0, 0].tolist() == [30, 20, 10]


def test_sixteen_bits_are_scaled_to_eight(tmp_path):
    path = save(tmp_path / "deep.png", np.array([[0, 257, 32896, 65535]], np.uint16))
    image = read_image(path, "BGR")
    assert image.dtype == np.uint8
    assert image[0].tolist() == [[0] * 3, [1] * 3, [128] * 3, [255] * 3]


def test_images_stand_upright(tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # to be turned by a quarter, clockwise
    array = np.zeros((2, 4, 3), np.uint8)
    array[0, 0] = 255
    path = save(tmp_path / "turned.png", array, exif=exif)
    image = read_image(path, "RGB")
    assert image.shape == (4, 2, 3)
    assert image[0, 1].tolist() == [255] * 3


@pytest.mark.parametrize(("written", "read"), [(1, 1), (3, 3), (6, 6), (8, 8), (77, 1)])
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_the_orientation_stands_in_the_header(tmp_path, written, read, suffix):
    exif = Image.Exif()
    exif[274] = written
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    path = save(tmp_path / f"turned.{suffix}", noise, exif=exif)
    size = read_image(path, "RGB").shape[:2]
    path.write_bytes(path.read_bytes()[:-900])  # pixels that can't be decoded
    assert read_orientation(path) == read
    assert read_image_size(path) == size == ((60, 40) if read in ON_ITS_SIDE else (40, 60))


def test_a_tiff_of_which_only_xmp_says_that_it_is_turned(tmp_path):
    xmp = b'<rdf:Description tiff:Orientation="6"/>'
    path = save(tmp_path / "a.tif", np.zeros((2, 4, 3), np.uint8), tiffinfo={700: xmp})
    size = (4, 2) if read_orientation(path) == 6 else (2, 4)  # older Pillows don't look there
    assert read_image_size(path) == read_image(path, "RGB").shape[:2] == size


def test_a_truncated_png_without_exif_is_upright(tmp_path):
    """Pillow would decode it to look behind its pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    path = save(tmp_path / "cut.png", noise)
    path.write_bytes(path.read_bytes()[:-900])
    assert read_orientation(path) == 1


@pytest.mark.parametrize("name", ["XML:com.adobe.xmp", "Raw profile type exif"])
def test_orientations_that_a_png_has_as_text(tmp_path, name):
    exif = Image.Exif()
    exif[274] = 6
    texts = {
        "XML:com.adobe.xmp": '<rdf:Description tiff:Orientation="6"/>',
        "Raw profile type exif": f"\nexif\n{len(exif.tobytes())}\n{exif.tobytes().hex()}\n",
    }
    info = PngInfo()
    info.add_itxt(name, texts[name])
    path = save(tmp_path / "a.png", np.zeros((2, 4, 3), np.uint8), pnginfo=info)
    assert read_orientation(path) == 6
    assert read_image_size(path) == read_image(path, "RGB").shape[:2] == (4, 2)


@pytest.mark.parametrize("content", [None, b"no picture"])
def test_an_orientation_that_can_not_be_read(tmp_path, content):
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=r"a\.png (does not exist|cannot be read)"):
        read_orientation(path)


@pytest.mark.parametrize("array", [np.ones((2, 2), np.float32), np.full((2, 2), 70000, np.int32)])
def test_numbers_that_are_no_shades_are_refused(tmp_path, array):
    path = save(tmp_path / "measured.tif", array)
    with pytest.raises(UserError, match="measured.tif holds .* convert it"):
        read_image(path, "BGR")


def test_size_is_bounded_before_decoding(tmp_path, monkeypatch):
    path = save(tmp_path / "large.png", np.zeros((10, 20, 3), np.uint8))
    monkeypatch.setattr(image_io, "MAX_PIXELS", 199)
    with pytest.raises(UserError, match=r"large\.png has 20 x 10 pixels, more than the 199"):
        read_image(path, "BGR")


def test_truncated_and_foreign_files_are_named(tmp_path):
    whole = save(
        tmp_path / "whole.png", np.random.default_rng(0).integers(0, 255, (40, 40, 3), "u1")
    )
    half = tmp_path / "half.png"
    half.write_bytes(whole.read_bytes()[:2000])
    text = tmp_path / "text.png"
    text.write_text("no image")
    for path in (half, text, tmp_path / "absent.png"):
        with pytest.raises(UserError, match=path.name):
            read_image(path, "BGR")


def test_colours_that_are_numbers_stay_as_they_are(tmp_path):
    pixels = np.array([[[1, 2, 3, 0], [255, 128, 0, 255]]], np.uint8)
    for name, array in (("clear", pixels), ("opaque", pixels[..., :3])):
        codes = read_color_codes(save(tmp_path / f"{name}.png", np.ascontiguousarray(array)))
        assert codes.dtype == np.uint8
        assert codes.tolist() == [[[1, 2, 3], [255, 128, 0]]]


@pytest.mark.parametrize("mode", ["L", "P", "I;16", "CMYK"])
def test_colours_are_not_made_of_other_pictures(tmp_path, mode):
    path = tmp_path / "a.tif"
    Image.new(mode, (2, 2)).save(path)
    with pytest.raises(UserError, match=f"a.tif has Pillow mode {mode}; a panoptic PNG"):
        read_color_codes(path)


WINDOW = Window(5, 3, 29, 17)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp"])
@pytest.mark.parametrize("shape", [(40, 50, 3), (40, 50)])
def test_windows_of_images_are_those_of_pillow(tmp_path, suffix, shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    path = save(tmp_path / f"a.{suffix}", pixels)
    expected = np.asarray(Image.open(path).convert("RGB"))
    for format, order in (("RGB", 1), ("BGR", -1)):
        image = open_image(path, format)
        assert image.shape == (40, 50)
        np.testing.assert_array_equal(image.read(WINDOW), WINDOW.of(expected)[:, :, ::order])
        np.testing.assert_array_equal(read_image(path, format), expected[:, :, ::order])
    one_channel = read_all(open_image(path, "L"))
    np.testing.assert_array_equal(one_channel[:, :, 0], np.asarray(Image.open(path).convert("L")))


def test_windows_of_label_files_are_those_of_pillow(tmp_path):
    rng = np.random.default_rng(0)
    small = save(tmp_path / "small.png", rng.integers(0, 256, (40, 50), np.uint8))
    deep = save(tmp_path / "deep.png", rng.integers(0, 2**16, (40, 50)).astype(np.uint16))
    colour = save(tmp_path / "colour.png", rng.integers(0, 256, (40, 50, 3), np.uint8))
    clear = save(tmp_path / "clear.png", rng.integers(0, 256, (40, 50, 4), np.uint8))
    flat = tmp_path / "flat.png"
    Image.open(colour).quantize(90).save(flat)
    for open_file, path, mode in (
        (open_ids, small, None),
        (open_ids, deep, None),
        (open_indices, deep, None),
        (open_indices, flat, None),
        (open_colors, flat, "RGB"),
        (open_colors, small, "RGB"),
        (open_colors, colour, "RGB"),
        (open_colors, clear, "RGB"),
        (open_color_codes, colour, None),
        (open_color_codes, clear, "RGB"),
    ):
        with Image.open(path) as image:
            expected = np.asarray(image if mode is None else image.convert(mode))
        pixels = open_file(path)
        assert pixels.shape == (40, 50)
        found = pixels.read(WINDOW)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, WINDOW.of(expected))
        np.testing.assert_array_equal(read_all(pixels), expected)


@pytest.mark.parametrize("read", [read_ids, lambda path: read_image(path, "BGR")])
def test_a_damaged_png_is_named_whatever_part_is_read(tmp_path, read):
    whole = save(tmp_path / "whole.png", np.random.default_rng(0).integers(0, 255, (40, 40), "u1"))
    content = whole.read_bytes()
    changed = tmp_path / "changed.png"
    changed.write_bytes(content[:900] + bytes([content[900] ^ 1]) + content[901:])
    with pytest.raises(UserError, match=r"changed\.png cannot be read"):
        read(changed)


@pytest.mark.parametrize("left_out", [2, 30, 900])
def test_a_truncated_jpeg_is_named(tmp_path, left_out):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = save(tmp_path / "cut.jpg", noise)
    path.write_bytes(path.read_bytes()[:-left_out])
    with pytest.raises(UserError, match=r"cut\.jpg cannot be read .*truncated"):
        read_image(path, "BGR")


def test_jpegs_stand_upright_and_keep_their_colours(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    exif = Image.Exif()
    for orientation in (1, 3, 6):
        exif[274] = orientation
        path = save(tmp_path / "a.jpg", noise, exif=exif)
        with Image.open(path) as image:
            expected = np.asarray(ImageOps.exif_transpose(image))
        np.testing.assert_array_equal(read_image(path, "RGB"), expected)
    inks = tmp_path / "inks.jpg"
    Image.fromarray(noise).convert("CMYK").save(inks)
    with Image.open(inks) as image:
        np.testing.assert_array_equal(read_image(inks, "RGB"), np.asarray(image.convert("RGB")))


def tiff(channels, bits, sample_format):
    """The smallest TIFF of one pixel, little-endian."""
    short, long = 3, 4
    pixel = bytes(channels * bits // 8)
    bits_of_all = struct.pack(f"<{channels}H", *[bits] * channels)
    formats = struct.pack(f"<{channels}H", *[sample_format] * channels)
    tags = [
        (256, long, 1, 1),
        (257, long, 1, 1),
        (258, short, channels, 8 if channels > 2 else bits),
        (259, short, 1, 1),
        (262, short, 1, 2 if channels > 2 else 1),
        (273, long, 1, 8 + len(bits_of_all) + len(formats)),
        (277, short, 1, channels),
        (278, long, 1, 1),
        (279, long, 1, len(pixel)),
        (339, short, channels, 8 + len(bits_of_all) if channels > 2 else sample_format),
    ]
    content = bits_of_all + formats + pixel
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHLL", *tag) for tag in tags)
    return struct.pack("<2sHL", b"II", 42, 8 + len(content)) + content + directory + bytes(4)


@pytest.mark.parametrize(
    ("channels", "bits", "sample_format", "words"),
    [
        (3, 32, 3, "TIFF with 3 channels of 32-bit floats"),
        (1, 64, 3, "TIFF with 1 channel of 64-bit floats"),
        (5, 16, 1, "TIFF with 5 channels of 16-bit integers"),
    ],
)
def test_kinds_of_pixels_that_pillow_does_not_know(tmp_path, channels, bits, sample_format, words):
    path = tmp_path / "measured.tif"
    path.write_bytes(tiff(channels, bits, sample_format))
    message = f"measured.tif is a {words}, which cannot be read; convert it to grey or RGB of 8"
    for read in (lambda path: read_image(path, "BGR"), read_image_size, read_ids, read_large_image):
        with pytest.raises(UnreadableFileError, match=message):
            read(path)
    # It is a picture for all that, as those of usual pixels are.
    path.write_bytes(tiff(3, 8, 1))
    assert read_image(path, "BGR").shape == (1, 1, 3)


def test_jpegs_of_twelve_bits(tmp_path):
    path = save(tmp_path / "deep.jpg", np.zeros((8, 8), np.uint8))
    content = path.read_bytes()
    frame = content.index(b"\xff\xc0") + 4
    path.write_bytes(content[:frame] + b"\x0c" + content[frame + 1 :])
    with pytest.raises(
        UserError, match=r"deep\.jpg is a JPEG of another kind .*12-bit.* convert it"
    ):
        read_image(path, "BGR")


@pytest.mark.parametrize("left", [9, 60])
def test_damaged_tiffs_are_no_other_kind(tmp_path, left):
    path = tmp_path / "cut.tif"
    path.write_bytes(tiff(3, 32, 3)[:left])
    with pytest.raises(UnreadableFileError, match=r"cut\.tif cannot be read .*; restore or remove"):
        read_image(path, "BGR")
