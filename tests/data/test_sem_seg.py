"""Label files of every encoding, read as classes; what can be wrong with them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segtron.data.image_io import read_image_size
from segtron.data.sem_seg import ColorEncoding, IdEncoding, read_sem_seg
from segtron.errors import UserError

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def write(path: Path, pixels: list, dtype=np.uint8, palette: list | None = None) -> Path:
    image = Image.fromarray(np.array(pixels, dtype))
    if palette is not None:
        image = image.convert("P")
        image.putpalette([channel for color in palette for channel in color])
    image.save(path)
    return path


def test_ids_become_places_and_ignored_ids_255(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", [[7, 8, 3], [11, 7, 255]])
    classes = IdEncoding(values=(7, 8, 11), ignored=(3, 255)).read(path)
    assert classes.dtype == np.uint8
    assert classes.tolist() == [[0, 1, 255], [2, 0, 255]]


def test_ids_of_16_bits_and_of_one_bit(tmp_path: Path) -> None:
    deep = write(tmp_path / "deep.png", [[1000, 65535]], np.uint16)
    assert IdEncoding(values=(65535, 1000), ignored=()).read(deep).tolist() == [[1, 0]]
    flat = tmp_path / "flat.png"
    Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1").save(flat)
    assert IdEncoding(values=(0, 1)).read(flat).tolist() == [[0, 1]]


def test_labels_stand_upright_as_images_do(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    for name, dtype in (("flat", np.uint8), ("deep", np.uint16)):
        path = tmp_path / f"{name}.png"
        Image.fromarray(np.array([[0, 1, 2], [3, 4, 5]], dtype)).save(path, exif=exif)
        classes = IdEncoding(values=tuple(range(6))).read(path)
        assert classes.tolist() == [[3, 0], [4, 1], [5, 2]]
        assert read_image_size(path) == (3, 2)
    picture = tmp_path / "picture.png"
    Image.fromarray(np.array([[RED, GREEN]], np.uint8)).save(picture, exif=exif)
    assert ColorEncoding(colors=(RED, GREEN)).read(picture).tolist() == [[0], [1]]


def test_255_is_a_class_where_it_is_named_as_one(tmp_path: Path) -> None:
    path = write(tmp_path / "mask.png", [[0, 255]])
    assert IdEncoding(values=(0, 255), ignored=()).read(path).tolist() == [[0, 1]]


def test_a_value_outside_the_classes_is_named_with_its_file(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.png", [[0, 1, 2, 37]])
    with pytest.raises(UserError, match=r"bad\.png has the value 37.*\(0 to 2\).*ignored \(255\)"):
        IdEncoding(values=(0, 1, 2)).read(path)


def test_a_palette_png_is_refused_unless_its_indices_are_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "p.png", [[0, 1], [1, 255]], palette=[RED, GREEN] * 128)
    with pytest.raises(UserError, match=r"p\.png is a palette PNG where ids were expected"):
        IdEncoding(values=(0, 1)).read(path)
    assert IdEncoding(values=(0, 1), indexed=True).read(path).tolist() == [[0, 1], [1, 255]]


def test_a_colour_picture_is_refused_where_ids_were_expected(tmp_path: Path) -> None:
    path = write(tmp_path / "c.png", [[RED, GREEN]])
    for indexed in (False, True):
        with pytest.raises(UserError, match=r"c\.png has Pillow mode RGB"):
            IdEncoding(values=(0, 1), indexed=indexed).read(path)


@pytest.mark.parametrize("palette", [None, [GREEN, RED, WHITE]])
def test_colours_become_places(tmp_path: Path, palette: list | None) -> None:
    pixels = [[RED, GREEN, WHITE]] if palette is None else [[1, 0, 2]]
    path = write(tmp_path / "c.png", pixels, palette=palette)
    encoding = ColorEncoding(colors=(RED, GREEN), ignored=(WHITE,))
    assert encoding.read(path).tolist() == [[0, 1, 255]]


def test_an_unknown_colour_is_named_with_its_file(tmp_path: Path) -> None:
    path = write(tmp_path / "c.png", [[RED, (1, 2, 3)]])
    with pytest.raises(UserError, match=r"c\.png has the colour \[1, 2, 3\]"):
        ColorEncoding(colors=(RED, GREEN)).read(path)


def test_without_an_encoding_values_are_classes_as_in_detectron2(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", [[0, 53, 255]])
    record = {"file_name": "a.jpg", "sem_seg_file_name": str(path), "height": 1, "width": 3}
    assert read_sem_seg(record).tolist() == [[0, 53, 255]]


def test_another_size_than_the_image_names_both(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", [[0, 1, 255]])
    record = {"file_name": "a.jpg", "sem_seg_file_name": str(path), "height": 3, "width": 1}
    with pytest.raises(UserError, match=r"a\.png is 3 x 1, but its image a\.jpg is 1 x 3"):
        read_sem_seg(record)


def test_broken_and_missing_files_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", np.arange(10_000).reshape(100, 100) % 251)
    path.write_bytes(path.read_bytes()[:-200])
    for broken in (path, tmp_path / "none.png"):
        with pytest.raises(UserError, match=f"label file .*{broken.name}"):
            IdEncoding(values=(0,)).read(broken)
        with pytest.raises(UserError, match=f"label file .*{broken.name}"):
            ColorEncoding(colors=(RED,)).read(broken)
