"""Folders of images and label PNGs: pairing, sizes, and what is said before a training starts."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segtron.data.label_folder import load_label_folder
from segtron.data.sem_seg import IdEncoding
from segtron.errors import UserError

ENCODING = IdEncoding(values=(0, 1))


def write(path: Path, height: int = 2, width: int = 3, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((height, width), np.uint8)).save(path, **options)


def test_images_and_labels_are_paired_by_path(tmp_path: Path) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    for name in ("b.jpg", "a/ä 1.PNG", ".hidden.png", ".cache/c.png"):
        write(images / name)
    (images / "notes.txt").write_text("no image")
    for name in ("b.png", "a/ä 1.png", "unused.png"):
        write(labels / name)
    first, second = load_label_folder(images, labels, ENCODING)
    assert first == {
        "file_name": str(images / "a/ä 1.PNG"),
        "image_id": "a/ä 1.PNG",
        "sem_seg_file_name": str(labels / "a/ä 1.png"),
        "sem_seg_encoding": ENCODING,
        "height": 2,
        "width": 3,
    }
    assert second["image_id"] == "b.jpg"


def test_one_folder_holds_both(tmp_path: Path) -> None:
    for name in ("x.png", "x_mask.png", "y.png", "y_mask.png"):
        write(tmp_path / name)
    records = load_label_folder(tmp_path, tmp_path, ENCODING, "_mask.png")
    assert [record["image_id"] for record in records] == ["x.png", "y.png"]
    assert records[0]["sem_seg_file_name"] == str(tmp_path / "x_mask.png")


def test_the_size_is_that_of_the_upright_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    write(tmp_path / "images" / "a.jpg", 2, 3, exif=exif)
    write(tmp_path / "labels" / "a.png", 3, 2)
    (record,) = load_label_folder(tmp_path / "images", tmp_path / "labels", ENCODING)
    assert (record["height"], record["width"]) == (3, 2)


def test_a_label_file_of_another_size_is_named(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.jpg", 2, 3)
    write(tmp_path / "labels" / "a.png", 3, 2)
    with pytest.raises(UserError, match=r"labels/a\.png is 2 x 3, but its image .*a\.jpg is 3 x 2"):
        load_label_folder(tmp_path / "images", tmp_path / "labels", ENCODING)


def test_a_missing_label_file_is_named_with_its_image(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        write(tmp_path / "images" / name)
    write(tmp_path / "labels" / "a.png")
    with pytest.raises(UserError, match=r"2 of 3 images.*b\.jpg, which should have .*b\.png"):
        load_label_folder(tmp_path / "images", tmp_path / "labels", ENCODING)


def test_missing_and_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none does not exist"):
        load_label_folder(tmp_path / "none", tmp_path, ENCODING)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no image"):
        load_label_folder(tmp_path / "empty", tmp_path, ENCODING)
