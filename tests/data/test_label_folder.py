"""Folders of images and label PNGs: pairing, sizes, and what is said before a training starts."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segtron.data.label_folder import check_no_binary_masks, load_label_folder
from segtron.data.sem_seg import IdEncoding, read_sem_seg
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


def test_a_label_folder_below_the_images_holds_no_images(tmp_path: Path) -> None:
    for name in ("a.jpg", "b/c.jpg", "masks/a.png", "masks/b/c.png"):
        write(tmp_path / name)
    records = load_label_folder(tmp_path, tmp_path / "masks", ENCODING)
    assert [record["image_id"] for record in records] == ["a.jpg", "b/c.jpg"]


def test_linked_folders_are_searched_and_loops_are_not(tmp_path: Path) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    write(tmp_path / "elsewhere" / "a.jpg")
    write(images / "b.jpg")
    for name in ("first", "second"):
        (images / name).symlink_to(tmp_path / "elsewhere")
        write(labels / name / "a.png")
    write(labels / "b.png")
    (tmp_path / "elsewhere" / "back").symlink_to(images)
    (images / "self").symlink_to(images)
    records = load_label_folder(images, labels, ENCODING)
    assert [record["image_id"] for record in records] == ["b.jpg", "first/a.jpg", "second/a.jpg"]


def test_images_with_one_label_file_are_refused(tmp_path: Path) -> None:
    for name in ("b/a.jpg", "b/a.png", "a.jpg"):
        write(tmp_path / "images" / name)
        write(tmp_path / "labels" / Path(name).with_suffix(".png"))
    with pytest.raises(UserError, match=r"b/a\.jpg and .*b/a\.png would have the same label file"):
        load_label_folder(tmp_path / "images", tmp_path / "labels", ENCODING)


def test_a_label_file_that_is_no_image_is_called_one(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.jpg")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.png").write_text("no image")
    with pytest.raises(UserError, match=r"^label file .*labels/a\.png cannot be read"):
        load_label_folder(tmp_path / "images", tmp_path / "labels", ENCODING)


def masks(folder: Path, *values: list[int]) -> list[dict]:
    """Records of an image and a label file for each list of values."""
    for i, row in enumerate(values):
        write(folder / "images" / f"{i:02}.png", 1, len(row))
        (folder / "labels").mkdir(exist_ok=True)
        Image.fromarray(np.array([row], np.uint8)).save(folder / "labels" / f"{i:02}.png")
    return load_label_folder(folder / "images", folder / "labels", ENCODING)


def test_binary_masks_are_refused(tmp_path: Path) -> None:
    # 255 is in one file only, and not in the first.
    records = masks(tmp_path, *[[0, 0]] * 30, [0, 255], *[[0, 0]] * 9)
    with pytest.raises(UserError, match=r"in labels seem .*\{0: background, 255: object\}"):
        check_no_binary_masks(Path("labels"), records)


@pytest.mark.parametrize("values", [[[0, 1], [0, 255]], [[0, 255], [1, 255]], [[0, 0], [0, 0]]])
def test_labels_of_two_classes_or_of_nothing_but_0_pass(tmp_path: Path, values: list) -> None:
    check_no_binary_masks(tmp_path, masks(tmp_path, *values))


def test_the_size_is_that_of_the_upright_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    write(tmp_path / "images" / "a.jpg", 2, 3, exif=exif)
    write(tmp_path / "labels" / "a.png", 3, 2)
    write(tmp_path / "images" / "b.jpg", 3, 2)
    write(tmp_path / "labels" / "b.png", 2, 3, exif=exif)
    record, other = load_label_folder(tmp_path / "images", tmp_path / "labels", ENCODING)
    assert (record["height"], record["width"]) == (3, 2)
    assert read_sem_seg(record).shape == read_sem_seg(other).shape == (3, 2)


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
