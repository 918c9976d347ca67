"""Finding pictures, and turning what was drawn on them as they are stored."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from segtron.data.converters.labelled_image import Dropped
from segtron.data.converters.pictures import (
    PictureFolder,
    files_below,
    read_picture,
)
from segtron.errors import UnreadableFileError, UserError


def test_a_picture_is_where_its_name_says(tmp_path: Path, picture) -> None:
    picture(tmp_path / "a ü" / "b c.png")
    for name in ("a ü/b c.png", "a ü\\b c.png", "./a ü/b c.png", "a ü/x/../b c.png"):
        found = PictureFolder(tmp_path).open(name, "here", Dropped())
        assert (found.name, found.height, found.width) == ("a ü/b c.png", 20, 30)


@pytest.mark.parametrize(
    "name",
    ["b.png", "/home/me/data/b.png", "C:\\data\\b.png", "..\\pictures\\b.png", "gone/b.png"],
)
def test_a_picture_from_another_machine_is_found_by_its_last_part(tmp_path, picture, name) -> None:
    picture(tmp_path / "sub" / "b.png")
    assert PictureFolder(tmp_path).find(name, "here") == tmp_path / "sub" / "b.png"


def test_a_name_in_another_spelling_of_unicode(tmp_path: Path, picture) -> None:
    picture(tmp_path / "u\u0308.png")
    assert PictureFolder(tmp_path).find("\u00fc.png", "here").name == "u\u0308.png"


def test_a_missing_picture_is_no_other_of_the_same_name(tmp_path: Path, picture) -> None:
    picture(tmp_path / "val" / "1.png")
    (tmp_path / "train").mkdir()
    with pytest.raises(UnreadableFileError, match=r"train/1\.png"):
        PictureFolder(tmp_path).find("train/1.png", "here")


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="is not in"):
        PictureFolder(tmp_path).find("a" * 300 + "/" + "b" * 300 + ".png", "here")


def test_several_pictures_of_one_name_are_not_guessed_at(tmp_path: Path, picture) -> None:
    for folder in ("x", "y"):
        picture(tmp_path / folder / "1.png")
    with pytest.raises(UnreadableFileError, match="2 pictures"):
        PictureFolder(tmp_path).find("1.png", "here")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "/", "\0", "a\0.png", "\ud800.png", "x" * 5000, "../../etc/passwd"]
)
def test_no_name_leads_out_of_the_folder(tmp_path: Path, picture, name) -> None:
    picture(tmp_path / "pictures" / "a.png")
    dropped = Dropped()
    assert PictureFolder(tmp_path / "pictures").open(name, "here", dropped) is None
    assert dropped.entries[0][0] == "here"


def test_broken_pictures_are_dropped(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    (tmp_path / "huge.pgm").write_bytes(b"P5 60000 60000 255\n")
    dropped = Dropped()
    for name in ("a.png", "huge.pgm"):
        assert PictureFolder(tmp_path).open(name, name, dropped) is None
    assert [where for where, _ in dropped.entries] == ["a.png", "huge.pgm"]
    assert "pixels" in dropped.entries[1][1]


def test_pixels_are_not_decoded_to_find_out_how_a_picture_is_turned(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[:-900])
    dropped = Dropped()
    assert PictureFolder(tmp_path).open("a.png", "here", dropped, (30, 20)) is None
    ((where, why),) = dropped.entries
    assert where == "here" and "a.png has 30 x 20 pixels, but was annotated with 20 x 30" in why


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        PictureFolder(tmp_path / "no")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_was_drawn_on_a_stored_picture_is_turned_with_it(
    tmp_path: Path, orientation: int
) -> None:
    """Against Pillow, which turns the picture itself."""
    drawn = np.zeros((5, 8), np.uint8)
    drawn[1, 6] = 255
    stored = Image.fromarray(drawn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        shown = np.asarray(ImageOps.exif_transpose(image))
    on_its_side = orientation > 4
    found = read_picture(tmp_path / "a.png", "a.png", (5, 8))
    assert (found.height, found.width) == shown.shape == ((8, 5) if on_its_side else (5, 8))
    assert found.annotated_size == (5, 8)
    if not on_its_side:
        # Both have this size: what was drawn, was drawn on the picture as it is shown.
        assert found.orientation == 1
        return
    assert (found.orient_mask(drawn) == shown).all()
    (x, y), (u, v) = found.orient(np.array([[6.0, 1.0], [7.0, 2.0]]))
    (row,), (column,) = np.nonzero(shown)
    assert (min(x, u), min(y, v), max(x, u), max(y, v)) == (column, row, column + 1, row + 1)


def test_a_size_that_fits_neither_way(tmp_path: Path, picture) -> None:
    picture(tmp_path / "a.jpg", 20, 30, orientation=6)
    assert read_picture(tmp_path / "a.jpg", "a.jpg", (30, 20)).orientation == 1
    with pytest.raises(UnreadableFileError, match="20 x 30 pixels, but was annotated with 31 x 20"):
        read_picture(tmp_path / "a.jpg", "a.jpg", (20, 31))
    picture(tmp_path / "b.jpg", 20, 30)
    with pytest.raises(UnreadableFileError, match="annotated with"):
        read_picture(tmp_path / "b.jpg", "b.jpg", (30, 20))


def test_files_without_those_of_editors(tmp_path: Path, save_json) -> None:
    for name in ("b.json", "a/c.json", ".ipynb_checkpoints/b.json", "a/.d.json"):
        save_json(tmp_path / name, {})
    assert files_below(tmp_path, "*.json") == [tmp_path / "a" / "c.json", tmp_path / "b.json"]
