"""Images beyond the usual limit, which the tests lower."""

from __future__ import annotations

import os
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from segtron.data import large_image, png_bands
from segtron.data.image_io import read_image
from segtron.data.large_image import LargeImage, read_large_image
from segtron.data.pixels import Window, whole
from segtron.data.png_chunks import COLOUR, PngHeader, write_png
from segtron.errors import UserError


@pytest.fixture(autouse=True)
def low_limits(monkeypatch):
    monkeypatch.setattr(large_image, "MAX_PIXELS", 1000)
    monkeypatch.setattr(large_image, "MAX_LARGE_PIXELS", 20_000)
    monkeypatch.setattr(large_image, "PREVIEW_SIDE", 50)


def picture(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("name", ["ä.png", "a.bmp", "a.tif"])
def test_windows_of_a_large_image(tmp_path, name):
    pixels = picture(100, 130)
    _, content = cv2.imencode(name[-4:], pixels)
    (tmp_path / name).write_bytes(content)
    image = read_large_image(tmp_path / name)
    assert isinstance(image, LargeImage) and image.shape == (100, 130, 3)
    assert np.array_equal(image.read(whole((100, 130))), pixels)
    for window in (Window(3, 5, 4, 6), Window(0, 99, 130, 100), Window(129, 0, 130, 100)):
        assert np.array_equal(image.read(window), window.of(pixels))
    assert image.preview.shape == (38, 50, 3)
    assert abs(image.preview.mean() - pixels.mean()) < 2


def test_small_images_are_arrays(tmp_path):
    Image.fromarray(picture(20, 30)).save(tmp_path / "a.png")
    image = read_large_image(tmp_path / "a.png")
    assert np.array_equal(image, read_image(tmp_path / "a.png", "BGR"))


def test_a_large_photograph_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(picture(100, 130)).save(tmp_path / "a.jpg", exif=exif)
    image = read_large_image(tmp_path / "a.jpg")
    assert image.shape == (130, 100, 3)
    assert np.array_equal(image.read(whole((130, 100))), read_image(tmp_path / "a.jpg", "BGR"))


def test_grey_and_transparent_images(tmp_path):
    grey = picture(60, 70)[..., 0]
    Image.fromarray(grey).save(tmp_path / "a.png")
    assert (read_large_image(tmp_path / "a.png").read(whole((60, 70))) == grey[..., None]).all()
    rgba = np.dstack([picture(60, 70), grey])
    Image.fromarray(rgba).save(tmp_path / "b.png")
    expected = rgba[..., 2::-1]
    assert np.array_equal(read_large_image(tmp_path / "b.png").read(whole((60, 70))), expected)


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_bytes(b"no image"), "cannot be read"),
        (lambda path: Image.new("L", (200, 101)).save(path), "is 200 x 101, more than 20,000"),
        (
            lambda path: Image.fromarray(np.zeros((50, 60), np.uint16)).save(path),
            "must have 8 bits a channel",
        ),
    ],
)
def test_what_cannot_be_read(tmp_path, write, sentence):
    path = tmp_path / "a.png"
    write(path)
    with pytest.raises(UserError, match=sentence) as error:
        read_large_image(path)
    assert str(path) in str(error.value)


def test_png_in_bands(tmp_path, monkeypatch):
    """Bands and OpenCV, the way of all other files, give the same."""
    monkeypatch.setattr(png_bands, "_BAND", 1000)
    Image.fromarray(picture(100, 130)).save(tmp_path / "a.png")
    by_bands = read_large_image(tmp_path / "a.png")
    monkeypatch.setattr(large_image, "open_png", lambda path, max_pixels: None)
    by_opencv = read_large_image(tmp_path / "a.png")
    window = whole((100, 130))
    assert np.array_equal(by_bands.read(window), by_opencv.read(window))
    difference = by_bands.preview.astype(int) - by_opencv.preview
    assert abs(difference).max() <= 2  # it is rounded once more


def test_a_png_with_a_palette(tmp_path):
    image = Image.fromarray(picture(100, 130)).quantize(16)
    image.save(tmp_path / "a.png")
    expected = np.asarray(image.convert("RGB"))[:, :, ::-1]
    assert np.array_equal(read_large_image(tmp_path / "a.png").read(whole((100, 130))), expected)


def test_a_png_with_an_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(picture(100, 130)).save(tmp_path / "a.png", exif=exif)
    image = read_large_image(tmp_path / "a.png")
    assert np.array_equal(image.read(whole((130, 100))), read_image(tmp_path / "a.png", "BGR"))


def test_the_first_picture_of_an_animation(tmp_path):
    first, second = (Image.fromarray(picture(100, 130)), Image.new("RGB", (130, 100)))
    first.save(tmp_path / "a.png", save_all=True, append_images=[second])
    image = read_large_image(tmp_path / "a.png")
    assert np.array_equal(image.read(whole((100, 130))), picture(100, 130)[:, :, ::-1])


def test_damaged_rows(tmp_path):
    """The check sums of such a file are right."""
    Image.fromarray(picture(100, 130)).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(
        write_png(PngHeader(130, 100, 8, COLOUR), zlib.compress(bytes(391 * 99)))
    )
    with pytest.raises(UserError, match=r"a\.png.*its rows are cut off"):
        read_large_image(tmp_path / "a.png")


def test_a_truncated_png(tmp_path):
    Image.fromarray(picture(100, 130)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"a\.png"):
        read_large_image(tmp_path / "a.png")


def test_a_truncated_file(tmp_path):
    Image.fromarray(picture(100, 130)).save(tmp_path / "a.tif")
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"a\.tif"):
        read_large_image(tmp_path / "a.tif")


def test_no_room_for_the_temporary_file(tmp_path, monkeypatch):
    Image.fromarray(picture(100, 130)).save(tmp_path / "a.png")

    def full(**options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(large_image.tempfile, "TemporaryFile", full)
    with pytest.raises(UserError, match="set TMPDIR to a folder with more room"):
        read_large_image(tmp_path / "a.png")


@pytest.mark.parametrize("name", [b"\xff\xfe.png", b"%03d.png", b"a\nb.png", b"http:..png"])
def test_any_name_will_do(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    Image.fromarray(picture(100, 130)).save(tmp_path / "plain.png")
    (tmp_path / "plain.png").rename(path)
    assert read_large_image(path).shape == (100, 130, 3)


def test_a_temporary_file_that_was_cut_off():
    image = LargeImage((100, 130), [picture(100, 130)])
    image._file.truncate(3 * 130 * 50)
    assert image.read(Window(0, 0, 130, 50)).shape == (50, 130, 3)
    with pytest.raises(OSError, match="ends early"):
        image.read(Window(0, 49, 130, 51))
