from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from segtron.data import image_io
from segtron.data.image_io import read_color_codes, read_image
from segtron.errors import UserError


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
