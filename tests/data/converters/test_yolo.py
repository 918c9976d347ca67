"""YOLO's segmentation labels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_util

from segtron.data.converters.labelled_image import Dropped, LabelledImage, Labelling
from segtron.data.converters.yolo import open_yolo
from segtron.errors import UserError

REAL = Path(__file__).parents[4] / "shared" / "data" / "formats" / "yolo"
NAMES = "names: [cat, big dog]\n"
TRIANGLE = "1 0.1 0.2 0.5 0.2 0.1 0.6"


def photo(path: Path, width: int = 100, height: int = 50, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height)).save(path, **options)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def src(tmp_path: Path) -> Path:
    """A data set of one image, with one object."""
    write(tmp_path / "data.yaml", f"{NAMES}train: images/train\n")
    photo(tmp_path / "images" / "train" / "ä 1.jpg")
    write(tmp_path / "labels" / "train" / "ä 1.txt", TRIANGLE)
    return tmp_path


def read(src: Path, **options) -> tuple[list[LabelledImage], list[tuple[str, str]]]:
    dropped = Dropped()
    return list(open_yolo(src, dropped, **options).images), dropped.entries


def names_of(src: Path) -> list[str]:
    return [image.name for image in read(src)[0]]


def label(src: Path, text: str) -> Path:
    path = src / "labels" / "train" / "ä 1.txt"
    write(path, text)
    return path


def test_shares_become_pixels(src: Path) -> None:
    labelling: Labelling = open_yolo(src, Dropped())
    (image,) = labelling.images
    assert (labelling.classes, labelling.number) == (("cat", "big dog"), 1)
    assert (image.name, image.group, image.height, image.width) == (
        "train/ä 1.jpg", "train", 50, 100
    )  # fmt: skip
    (labelled,) = image.objects
    assert labelled.class_name == "big dog"
    assert labelled.segmentation == [[10, 10, 50, 10, 10, 30]]
    assert labelled.where == f"{src / 'labels' / 'train' / 'ä 1.txt'}:1"


def test_the_yaml_itself_is_a_source(src: Path) -> None:
    (src / "data.yaml").rename(src / "my set.yml")
    assert len(read(src / "my set.yml")[0]) == 1
    write(src / "other.yaml", NAMES)
    write(src / "unrelated.yaml", "lr: 0.1")
    with pytest.raises(UserError, match=r"has my set\.yml and other\.yaml; name one"):
        read(src)


def test_empty_and_missing_label_files_mean_no_objects(src: Path) -> None:
    photo(src / "images" / "train" / "b.png")
    photo(src / "images" / "train" / "c.png")
    write(src / "labels" / "train" / "c.txt", " \n\n")
    write(src / "labels" / "train" / "lost.txt", TRIANGLE)
    images, dropped = read(src)
    assert [(i.name, len(i.objects)) for i in images] == [
        ("train/b.png", 0), ("train/c.png", 0), ("train/ä 1.jpg", 1)
    ]  # fmt: skip
    assert dropped == [(str(src / "labels" / "train" / "lost.txt"), "has no image")]


def test_a_broken_picture_is_listed_with_its_number_of_objects(src: Path) -> None:
    label(src, f"\n{TRIANGLE}\n\n{TRIANGLE}\n")
    (src / "images" / "train" / "ä 1.jpg").write_text("no picture")
    images, ((where, why),) = read(src)
    assert images == []
    assert where == f"{src / 'images' / 'train' / 'ä 1.jpg'} with 2 lines"
    assert "cannot be read" in why


def test_boxes_are_dropped_unless_they_are_asked_for(src: Path) -> None:
    path = label(src, f"0 0.5 0.5 0.2 0.4\n{TRIANGLE}\n")
    (image,), dropped = read(src)
    assert len(image.objects) == 1
    assert [where for where, _ in dropped] == [f"{path}:1"]
    (image,), dropped = read(src, boxes=True)
    assert dropped == []
    assert image.objects[0].class_name == "cat"
    mask = mask_util.decode(mask_util.frPyObjects(image.objects[0].segmentation, 50, 100)[0])
    expected = np.zeros((50, 100))
    expected[15:35, 40:60] = 1
    np.testing.assert_array_equal(mask, expected)


def test_an_object_of_two_parts_joined_by_a_bridge(src: Path) -> None:
    label(src, "0 .1 .1 .3 .1 .3 .5 .7 .5 .7 .9 .9 .9 .9 .5 .7 .5 .3 .5 .1 .5")
    (image,), _ = read(src)
    (labelled,) = image.objects
    rles = mask_util.frPyObjects(labelled.segmentation, 50, 100)
    expected = np.zeros((50, 100))
    expected[5:25, 10:30] = expected[25:45, 70:90] = 1
    np.testing.assert_array_equal(mask_util.decode(mask_util.merge(rles)), expected)


def test_outlines_are_clipped_and_those_without_area_dropped(src: Path) -> None:
    path = label(src, "0 -0.1 0 0.5 0 0.5 1.1 -0.1 1.1\n1 .1 .1 .5 .5 .9 .9\n1 1.2 0 1.3 0 1.3 1")
    (image,), dropped = read(src)
    (labelled,) = image.objects
    xs, ys = labelled.segmentation[0][::2], labelled.segmentation[0][1::2]
    assert (min(xs), max(xs), min(ys), max(ys)) == (0, 50, 0, 50)
    assert dropped == [(f"{path}:2", "has no area"), (f"{path}:3", "lies outside of the image")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 0.1 x 0.5 0.2 0.1 0.6", "has something else than numbers"),
        ("cat 0.1 0.2 0.5 0.2 0.1 0.6", "has something else than numbers"),
        ("1.5 0.1 0.2 0.5 0.2 0.1 0.6", "begins with 1.5, which is no class"),
        ("nan 0.1 0.2 0.5 0.2 0.1 0.6", "begins with nan"),
        ("-1 0.1 0.2 0.5 0.2 0.1 0.6", "begins with -1"),
        ("2 0.1 0.2 0.5 0.2 0.1 0.6", "has the class 2, but the classes have the values 0, 1"),
        ("1 0.1 0.2 0.5 0.2 0.1", "has 5 numbers after the class"),
        ("1", "has 0 numbers after the class"),
        ("1 0.1 0.2", "has 2 numbers after the class"),
        ("1 10 20 50 20 10 60", "has the coordinate 60; coordinates are shares"),
        ("1 nan 0.2 0.5 0.2 0.1 0.6", "has the coordinate nan"),
        ("1 inf 0.2 0.5 0.2 0.1 0.6", "has the coordinate inf"),
    ],
)
def test_malformed_lines_are_named(src: Path, line: str, message: str) -> None:
    label(src, f"{TRIANGLE}\n\n{line}\n")
    with pytest.raises(UserError, match=rf"ä 1\.txt:3 {message}"):
        read(src)


def test_ids_with_gaps_are_a_mapping(src: Path) -> None:
    write(src / "data.yaml", "names: {7: dog, 1: cat}\npath: .\ntrain: images\n")
    labelling = open_yolo(src, Dropped())
    assert labelling.classes == ("cat", "dog")
    label(src, "7 .1 .1 .5 .5 .1 .5\n1 .1 .1 .5 .5 .1 .5")
    (image,), _ = read(src)
    assert [o.class_name for o in image.objects] == ["dog", "cat"]


@pytest.mark.parametrize(
    "text",
    [
        "train: images/train\nval: images/train",
        "train: [images/train, images/train]",
        "path: ../somewhere/else\ntrain: ../images/train",
        "path: /data/set\ntrain: images/train",
        "path: images\ntrain: train\ntest:",
        "train: .",
        "train: lists/train.txt",
        "val: 7\ntrain: images/train",
        "",
    ],
)
def test_where_the_pictures_are(src: Path, text: str) -> None:
    # Each line leads there: beside the list, from the root, on another machine.
    lines = "../images/train/ä 1.jpg\n./images/train/ä 1.jpg\n\n/home/me/ä 1.jpg\n"
    write(src / "lists" / "train.txt", lines)
    write(src / "data.yaml", NAMES + text)
    assert names_of(src) == ["train/ä 1.jpg"]


def test_nothing_outside_is_read(src: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    photo(outside / "images" / "secret.jpg")
    write(outside / "labels" / "secret.txt", TRIANGLE)
    way = f"../{outside.name}/images"
    write(src / "train.txt", f"{outside}/images/secret.jpg\n{way}/secret.jpg\nimages/train/ä 1.jpg")
    for text in (f"train: {outside}/images", f"train: {way}", f"path: {outside}\ntrain: images"):
        write(src / "data.yaml", f"{NAMES}{text}")
        assert names_of(src) == ["train/ä 1.jpg"]
    write(src / "data.yaml", f"{NAMES}train: train.txt")
    images, dropped = read(src)
    assert len(images) == 1
    assert [where for where, _ in dropped] == [f"{src / 'train.txt'}:{n}" for n in (1, 2)]


def test_missing_folders_are_listed(src: Path) -> None:
    write(src / "data.yaml", f"{NAMES}train: images/train\nval: images/val\n")
    images, dropped = read(src)
    assert len(images) == 1
    assert dropped == [("data.yaml: val", f"names 'images/val', which is not in {src}")]


def test_images_of_one_name_in_several_folders(src: Path) -> None:
    photo(src / "images" / "val" / "ä 1.jpg", 10, 10)
    write(src / "labels" / "val" / "ä 1.txt", "0 0 0 1 0 0 1")
    write(src / "data.yaml", f"{NAMES}train: images/train\nval: images/val\n")
    first, second = read(src)[0]
    assert (first.name, second.name) == ("train/ä 1.jpg", "val/ä 1.jpg")
    assert second.objects[0].segmentation == [[0, 0, 10, 0, 0, 10]]


def test_splits_above_images(tmp_path: Path) -> None:
    write(tmp_path / "data.yaml", f"{NAMES}train: ../train/images\nval: ../valid/images\n")
    for split in ("train", "valid"):
        photo(tmp_path / split / "images" / "a.jpg")
        write(tmp_path / split / "labels" / "a.txt", TRIANGLE)
    assert names_of(tmp_path) == ["train/a.jpg", "valid/a.jpg"]


def test_one_flat_folder_with_a_list_of_classes(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    write(tmp_path / "a.txt", TRIANGLE)
    with pytest.raises(UserError, match="has neither a data.yaml nor a classes.txt"):
        read(tmp_path)
    write(tmp_path / "classes.txt", "cat\ndog\n")
    (image,), dropped = read(tmp_path)
    assert (image.name, image.objects[0].class_name, dropped) == ("a.jpg", "dog", [])
    write(tmp_path / "mine.txt", "x\ny\n")
    (image,), _ = read(tmp_path, classes=tmp_path / "mine.txt")
    assert image.objects[0].class_name == "y"


def test_shares_are_of_the_picture_as_it_is_shown(src: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(src / "images" / "train" / "ä 1.jpg", 50, 100, exif=exif)
    (image,), _ = read(src)
    assert (image.height, image.width) == (50, 100)
    assert image.objects[0].segmentation == [[10, 10, 50, 10, 10, 30]]


def test_broken_pictures_are_listed(src: Path) -> None:
    write(src / "images" / "train" / "b.jpg", "no image")
    images, dropped = read(src)
    assert len(images) == 1
    assert [Path(where).name for where, _ in dropped] == ["b.jpg with 0 lines"]


def test_faulty_sources(src: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read(src / "missing")
    write(src / "data.yaml", "train: images")
    with pytest.raises(UserError, match="has no 'names'"):
        read(src / "data.yaml")
    write(src / "data.yaml", "names: [cat, cat]")
    with pytest.raises(UserError, match="data.yaml: names: 'cat' is the class of value 0 and of 1"):
        read(src)
    write(src / "data.yaml", NAMES)
    (src / "labels").rename(src / "lables")
    with pytest.raises(UserError, match=r"none of the 1 images .*labels/train/ä 1\.txt"):
        read(src)
    (src / "images" / "train" / "ä 1.jpg").unlink()
    with pytest.raises(UserError, match="holds no image"):
        read(src)
    write(src / "labels" / "train" / "ä 1.txt", TRIANGLE)


@pytest.mark.skipif(not REAL.is_dir(), reason="no data in ../shared")
def test_real_labels() -> None:
    images, dropped = read(REAL)
    assert [len(image.objects) for image in images] == [20, 1, 18, 4, 4, 2]
    assert images[0].objects[7].class_name == "potted plant"
    # Its folders are not as its data.yaml says.
    assert [where for where, _ in dropped] == ["data.yaml: train", "data.yaml: val"]
    for image in images:
        for labelled in image.objects:
            path, number = labelled.where.rsplit(":", 1)
            line = Path(path).read_text().splitlines()[int(number) - 1].split()[1:]
            outline = np.array(line, float).reshape(-1, 2) * (image.width, image.height)
            size = (image.height, image.width)
            given = mask_util.frPyObjects([outline.ravel().tolist()], *size)
            rle = mask_util.merge(mask_util.frPyObjects(labelled.segmentation, *size))
            assert mask_util.iou([rle], given, [0])[0, 0] > 0.997
