"""Folders of one mask an object."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_util

from segtron.data.converters.labelled_image import Dropped, LabelledImage
from segtron.data.converters.mask_folders import open_mask_folders
from segtron.errors import UserError

REAL = Path(__file__).parents[4] / "shared" / "data" / "formats" / "masks"
SQUARE = np.zeros((4, 6), np.uint8)
SQUARE[1:3, 2:5] = 1


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def photo(path: Path, height: int = 4, width: int = 6) -> None:
    save(path, np.full((height, width, 3), 90, np.uint8))


def read(src: Path, **options) -> tuple[list[LabelledImage], dict[str, str]]:
    """The images, and what was dropped, by the last part of its path."""
    dropped = Dropped()
    labelling = open_mask_folders(src, dropped, **options)
    images = list(labelling.images)
    assert len(images) <= labelling.number
    return images, {Path(where).name: why for where, why in dropped.entries}


def masks_of(image: LabelledImage) -> list[np.ndarray]:
    return [mask_util.decode(labelled.segmentation).astype(bool) for labelled in image.objects]


def test_folders_of_the_data_science_bowl(tmp_path: Path) -> None:
    for name in ("ä 1", "b"):
        photo(tmp_path / name / "images" / "x.png")
        save(tmp_path / name / "masks" / "m1.png", SQUARE * 255)
        save(tmp_path / name / "masks" / "m2.png", np.flipud(SQUARE) * 255)
    images, dropped = read(tmp_path, class_name="nucleus")
    assert dropped == {}
    # Though both files are called x.png.
    assert [image.name for image in images] == ["b/x.png", "ä 1/x.png"]
    assert {image.group for image in images} == {""}
    first, second = masks_of(images[0])
    np.testing.assert_array_equal(first, SQUARE.astype(bool))
    np.testing.assert_array_equal(second, np.flipud(SQUARE).astype(bool))
    assert {labelled.class_name for labelled in images[0].objects} == {"nucleus"}
    assert images[0].objects[0].where.endswith("b/masks/m1.png")


@pytest.mark.parametrize(
    "mask",
    [
        SQUARE,
        SQUARE * 255,
        SQUARE.astype(bool),
        SQUARE.astype(np.uint16) * 40000,
        np.stack([SQUARE * 200, SQUARE * 0, SQUARE * 9], axis=2),
        np.dstack([np.full((4, 6, 3), 255, np.uint8), SQUARE * 255]),
    ],
    ids=["0 and 1", "0 and 255", "one bit", "16 bits", "colour", "transparent"],
)
def test_masks_of_all_kinds(tmp_path: Path, mask: np.ndarray) -> None:
    photo(tmp_path / "images" / "a.jpg")
    save(tmp_path / "masks" / "1.png", mask)
    (image,), dropped = read(tmp_path)
    np.testing.assert_array_equal(masks_of(image)[0], SQUARE.astype(bool))
    assert (image.name, image.height, image.width, dropped) == ("a.jpg", 4, 6, {})


def test_several_images_have_a_folder_of_masks_each(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "s" / "a.jpg")
    photo(tmp_path / "images" / "s" / "b.jpg")
    photo(tmp_path / "images" / "none.jpg")
    save(tmp_path / "masks" / "s" / "a" / "1.png", SQUARE)
    save(tmp_path / "masks" / "lost.png", SQUARE)
    (tmp_path / "masks" / "s" / "b").mkdir()
    (first, second), dropped = read(tmp_path)
    assert (first.name, first.group, len(first.objects)) == ("s/a.jpg", "s", 1)
    # Its folder is there, and empty.
    assert (second.name, second.objects) == ("s/b.jpg", [])
    assert dropped == {
        "none.jpg": "has no folder 'masks/none'",
        "lost.png": "lies in no folder of the name of an image",
    }


def test_folders_name_classes(tmp_path: Path) -> None:
    photo(tmp_path / "1" / "images" / "a.jpg")
    save(tmp_path / "1" / "masks" / "cell" / "1.png", SQUARE)
    save(tmp_path / "1" / "masks" / "debris" / "big" / "1.png", SQUARE)
    save(tmp_path / "1" / "masks" / "2.png", SQUARE)
    (image,), _ = read(tmp_path)
    assert [o.class_name for o in image.objects] == ["object", "cell", "debris/big"]


def test_empty_and_broken_masks_are_listed(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a.jpg")
    save(tmp_path / "masks" / "empty.png", SQUARE * 0)
    (tmp_path / "masks" / "broken.png").write_text("no image")
    photo(tmp_path / "other" / "b.jpg")
    save(tmp_path / "lost" / "masks" / "m.png", SQUARE)
    (image,), dropped = read(tmp_path)
    assert image.objects == []
    assert dropped["empty.png"] == "is empty"
    assert "cannot be read" in dropped["broken.png"]
    assert dropped["b.jpg"] == "lies neither in a folder 'images' nor in one 'masks'"
    assert dropped["m.png"] == "has no folder 'images' beside its folder of masks"


def test_a_broken_image_is_listed(tmp_path: Path) -> None:
    photo(tmp_path / "1" / "images" / "a.jpg")
    (tmp_path / "1" / "masks").mkdir()
    for name in ("2", "3"):
        (tmp_path / name / "images").mkdir(parents=True)
        (tmp_path / name / "images" / f"{name}.jpg").write_text("no image")
        (tmp_path / name / "masks").mkdir()
    save(tmp_path / "3" / "masks" / "m.png", SQUARE)
    images, dropped = read(tmp_path)
    assert len(images) == 1
    assert "cannot be read" in dropped["2.jpg"]
    assert "cannot be read" in dropped["3.jpg"]


def test_a_mask_with_several_values_needs_a_threshold(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a.jpg", 1, 4)
    save(tmp_path / "masks" / "1.png", np.array([[0, 100, 200, 255]], np.uint8))
    with pytest.raises(UserError, match=r"1\.png has several values besides 0"):
        read(tmp_path)
    (image,), _ = read(tmp_path, threshold=127)
    assert masks_of(image)[0].tolist() == [[False, False, True, True]]


def test_masks_of_another_size_are_refused(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a.jpg")
    save(tmp_path / "masks" / "1.png", SQUARE)
    save(tmp_path / "masks" / "2.png", SQUARE[:3])
    with pytest.raises(UserError, match=r"2\.png is 6 x 3, but its image .*a\.jpg is 6 x 4"):
        read(tmp_path)


def test_masks_lie_on_the_stored_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # is shown turned clockwise
    (tmp_path / "images").mkdir()
    Image.new("RGB", (6, 4)).save(tmp_path / "images" / "a.jpg", exif=exif)
    save(tmp_path / "masks" / "1.png", SQUARE)
    (image,), _ = read(tmp_path)
    assert (image.height, image.width) == (6, 4)
    np.testing.assert_array_equal(masks_of(image)[0], np.rot90(SQUARE, -1).astype(bool))


def test_two_images_with_the_same_masks_are_refused(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a.jpg")
    photo(tmp_path / "images" / "a.png")
    save(tmp_path / "masks" / "a" / "1.png", SQUARE)
    with pytest.raises(UserError, match="would have the same masks"):
        read(tmp_path)


def test_a_folder_without_masks_is_refused(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a.jpg")
    with pytest.raises(UserError, match="has no folder that holds a folder 'images'"):
        read(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        read(tmp_path / "missing")


@pytest.mark.skipif(not REAL.is_dir(), reason="no data in ../shared")
def test_real_nuclei() -> None:
    images, dropped = read(REAL)
    assert [len(image.objects) for image in images] == [27, 36, 70, 86]
    assert dropped == {}
    folder = REAL / "00071198d059" / "masks"
    for labelled, mask in zip(images[0].objects, masks_of(images[0]), strict=True):
        path = folder / Path(labelled.where).name
        np.testing.assert_array_equal(mask, np.asarray(Image.open(path)) > 0)
