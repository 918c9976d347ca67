"""Label pictures of all kinds, read as numbers and colours."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from segtron.data.converters.label_pictures import (
    label_mode,
    picture_of_labels,
    read_label_colours,
    read_label_shades,
    read_label_values,
)
from segtron.errors import UnreadableFileError, UserError

VALUES = np.array([[0, 1, 2], [3, 200, 255]], np.uint8)


def palette_image(values: np.ndarray) -> Image.Image:
    image = Image.fromarray(values)
    image.putpalette([channel for i in range(256) for channel in (i, 255 - i, 7)])
    return image


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp"])
def test_one_channel(tmp_path: Path, name: str) -> None:
    Image.fromarray(VALUES).save(tmp_path / name)
    values = read_label_values(tmp_path / name)
    assert values.dtype == np.uint8
    assert values.tolist() == VALUES.tolist()


def test_sixteen_bits(tmp_path: Path) -> None:
    deep = VALUES.astype(np.uint16) * 257
    for name in ("a.png", "a.tif"):
        Image.fromarray(deep).save(tmp_path / name)
        values = read_label_values(tmp_path / name)
        assert (values.dtype, values.tolist()) == (np.uint16, deep.tolist())


def test_one_bit(tmp_path: Path) -> None:
    Image.fromarray(VALUES > 1).save(tmp_path / "a.png")
    assert label_mode(tmp_path / "a.png") == "1"
    assert read_label_values(tmp_path / "a.png").tolist() == [[0, 0, 1], [1, 1, 1]]


def test_a_palette_has_indices_and_colours(tmp_path: Path) -> None:
    palette_image(VALUES).save(tmp_path / "a.png")
    assert label_mode(tmp_path / "a.png") == "P"
    assert read_label_values(tmp_path / "a.png").tolist() == VALUES.tolist()
    assert read_label_colours(tmp_path / "a.png")[1, 1].tolist() == [200, 55, 7]


def test_colours_are_numbers_and_what_is_transparent_is_nothing(tmp_path: Path) -> None:
    pixels = np.array([[[1, 2, 3, 255], [1, 2, 3, 0], [0, 0, 1, 9]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert read_label_values(tmp_path / "a.png").tolist() == [[0x010203, 0, 1]]
    assert read_label_shades(tmp_path / "a.png").tolist() == [[3, 0, 1]]
    Image.fromarray(pixels[:, :, :3]).save(tmp_path / "b.png")
    assert read_label_values(tmp_path / "b.png").tolist() == [[0x010203, 0x010203, 1]]


def test_colours_of_sixteen_bits_would_be_cut(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.ones((2, 2, 3), np.uint16))
    with pytest.raises(UserError, match=r"a\.png has 16 bits a channel"):
        read_label_values(tmp_path / "a.png")


def test_floats_and_pages_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=r"a\.tif has Pillow mode F"):
        read_label_values(tmp_path / "a.tif")
    page = Image.fromarray(VALUES)
    page.save(tmp_path / "b.tif", save_all=True, append_images=[page])
    with pytest.raises(UserError, match=r"b\.tif has 2 pages"):
        read_label_values(tmp_path / "b.tif")


def test_broken_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no image")
    Image.fromarray(np.random.default_rng(0).integers(0, 9, (64, 64)).astype(np.uint8)).save(
        tmp_path / "b.png"
    )
    content = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(content[: len(content) // 2])
    for name in ("a.png", "b.png", "missing.png"):
        with pytest.raises(UnreadableFileError, match=rf"^label file .*{name}"):
            read_label_values(tmp_path / name)


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_labels_of_the_stored_picture_are_turned_with_it(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.jpg"
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(path, exif=exif)
    stored = Image.fromarray(VALUES)
    stored.getexif()[0x0112] = orientation
    shown = np.asarray(ImageOps.exif_transpose(stored))
    picture = picture_of_labels(path, "a.jpg", VALUES.shape, Path("a.png"))
    assert (picture.height, picture.width) == shown.shape
    # Where both sizes are one, labels are taken to lie on the picture as it is shown.
    expected = shown if orientation > 4 else VALUES
    assert picture.orient_mask(VALUES).tolist() == expected.tolist()
    assert picture_of_labels(path, "a.jpg", shown.shape, Path("a.png")).orientation == 1


def test_labels_of_another_size_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(tmp_path / "a.jpg")
    for shape in ((3, 2), (4, 6)):
        with pytest.raises(UserError, match=r"file b\.png is . x ., but its image .*a\.jpg is 3 x"):
            picture_of_labels(tmp_path / "a.jpg", "a.jpg", shape, Path("b.png"))


def test_shades_of_palettes_and_of_one_bit(tmp_path: Path) -> None:
    """Not their indices, of which none may be above a threshold."""
    image = Image.fromarray(np.array([[0, 1]], np.uint8))
    image.putpalette([0, 0, 0, 9, 200, 3])
    image.save(tmp_path / "a.png")
    assert read_label_shades(tmp_path / "a.png").tolist() == [[0, 200]]
    Image.fromarray(np.array([[False, True]])).save(tmp_path / "b.png")
    assert read_label_shades(tmp_path / "b.png").tolist() == [[0, 255]]
