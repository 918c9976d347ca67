"""Pascal VOC's segmentation, and what other tools call by its name."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_util

from segtron.data.converters.labelled_image import Dropped, LabelledImage
from segtron.data.converters.pascal_voc import open_pascal_voc, voc_colours
from segtron.errors import UserError

# Two dogs (class 12) and a cat (8), with void between them.
CLASSES = np.array(
    [
        [0, 12, 255, 12, 0],
        [0, 12, 255, 12, 0],
        [8, 8, 0, 0, 255],
    ],
    np.uint8,
)
OBJECTS = np.array(
    [
        [0, 1, 255, 2, 0],
        [0, 1, 255, 2, 0],
        [5, 5, 0, 0, 255],
    ],
    np.uint8,
)
COLOURS = np.zeros((256, 3), np.uint8)
COLOURS[:255] = list(voc_colours().values())
COLOURS[255] = (224, 224, 192)


def save(path: Path, values: np.ndarray, colours: np.ndarray | None = COLOURS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    if colours is not None:
        image.putpalette(colours.ravel().tolist())
    image.save(path)


def add(root: Path, name: str, classes: np.ndarray, objects: np.ndarray) -> None:
    photo = root / "JPEGImages" / f"{name}.jpg"
    photo.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", classes.shape[1::-1]).save(photo)
    save(root / "SegmentationClass" / f"{name}.png", classes)
    save(root / "SegmentationObject" / f"{name}.png", objects)


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    root = tmp_path / "VOCdevkit" / "VOC2012"
    add(root, "2007_000032", CLASSES, OBJECTS)
    return root


def read(src: Path, **options) -> tuple[list[LabelledImage], list[tuple[str, str]]]:
    dropped = Dropped()
    return list(open_pascal_voc(src, dropped, **options).images), dropped.entries


def check(image: LabelledImage, dog: str = "dog", cat: str = "cat") -> None:
    """That an image has the objects drawn above."""
    found = [(o.class_name, mask_util.decode(o.segmentation).tolist()) for o in image.objects]
    assert found == [
        (name, (i == OBJECTS).astype(int).tolist()) for i, name in ((1, dog), (2, dog), (5, cat))
    ]


def test_the_colours_are_those_of_the_development_kit() -> None:
    colours = voc_colours()
    assert len(colours) == 255
    # As its documentation lists them: aeroplane, bicycle, bird, potted plant, tv.
    assert [colours[i] for i in (0, 1, 2, 3, 16, 20)] == [
        (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 64, 0), (0, 64, 128)
    ]  # fmt: skip


@pytest.mark.parametrize("above", [0, 1, 2])
def test_objects_labels_and_segments(voc: Path, above: int) -> None:
    src = [voc, *voc.parents][above]
    labelling = open_pascal_voc(src, Dropped())
    assert len(labelling.classes) == 21
    assert (labelling.stuff, labelling.number) == ({"background"}, 1)
    (image,) = labelling.images
    assert (image.name, image.height, image.width) == ("2007_000032.jpg", 3, 5)
    check(image)
    np.testing.assert_array_equal(image.read_labels(), CLASSES)
    segments = image.read_segments()
    assert segments.ids.dtype == np.int32
    assert segments.ids.tolist() == [[4, 1, 0, 2, 4], [4, 1, 0, 2, 4], [3, 3, 4, 4, 0]]
    assert segments.class_names == {1: "dog", 2: "dog", 3: "cat", 4: "background"}


def test_maps_in_colours(voc: Path) -> None:
    for kind, values in (("Class", CLASSES), ("Object", OBJECTS)):
        path = voc / f"Segmentation{kind}" / "2007_000032.png"
        Image.fromarray(COLOURS[values]).save(path)
    (image,), dropped = read(voc)
    # The ids of objects are other numbers then, in the order of their colours.
    assert sorted(o.class_name for o in image.objects) == ["cat", "dog", "dog"]
    masks = sorted(mask_util.decode(o.segmentation).tolist() for o in image.objects)
    assert masks == sorted((i == OBJECTS).astype(int).tolist() for i in (1, 2, 5))
    np.testing.assert_array_equal(image.read_labels(), CLASSES)
    assert dropped == []


def test_a_labelmap_names_other_classes(voc: Path) -> None:
    lines = ["# label:color_rgb:parts:actions", "background:0,0,0::", "Kätzchen:64,0,0::"]
    lines.append("old dog:64,0,128::")
    (voc / "labelmap.txt").write_text("\n".join(lines), encoding="utf-8")
    (image,), _ = read(voc)  # palettes whose indices are not the file's
    check(image, "old dog", "Kätzchen")
    assert image.read_labels()[2].tolist() == [1, 1, 0, 0, 255]


def test_class_names_of_labelme(voc: Path) -> None:
    for kind in ("Class", "Object"):
        (voc / f"Segmentation{kind}").rename(voc / f"Segmentation{kind}PNG")
    names = ["_background_", *(f"class {i}" for i in range(1, 13))]
    (voc / "class_names.txt").write_text("\n".join(names))
    labelling = open_pascal_voc(voc, Dropped())
    assert labelling.stuff == {"_background_"}
    check(next(iter(labelling.images)), "class 12", "class 8")


def test_an_object_is_of_the_class_of_most_of_its_pixels(voc: Path) -> None:
    classes = CLASSES.copy()
    classes[0, 1], classes[2, 0] = 255, 0  # void and background count nothing
    classes[:2, 3] = 3, 8  # a tie: the lower one
    objects = OBJECTS.copy()
    objects[0, 2] = 1  # so that it has two pixels of void, and one of a dog
    objects[0, 4] = 9  # whose pixels are background
    add(voc, "2007_000032", classes, objects)
    (image,), dropped = read(voc)
    assert [o.class_name for o in image.objects] == ["dog", "bird", "cat"]
    path = voc / "SegmentationObject" / "2007_000032.png"
    assert [where for where, _ in dropped] == [f"{path}: object 9"]
    segments = image.read_segments()
    assert segments.ids[0].tolist() == [5, 1, 1, 2, 0]
    assert segments.class_names[5] == "background"


def test_classes_without_an_object_are_listed(voc: Path) -> None:
    add(voc, "2007_000032", CLASSES, np.where(OBJECTS == 5, 0, OBJECTS))
    (image,), dropped = read(voc)
    assert len(image.objects) == 2
    path = voc / "SegmentationClass" / "2007_000032.png"
    assert dropped == [(f"{path}: cat", "2 pixels of no object in 2007_000032.png")]
    assert image.read_segments().ids[2].tolist() == [0, 0, 3, 3, 0]


def test_lists_choose_images(voc: Path) -> None:
    for name in ("b c", "ä", "sub/d"):
        (voc / "JPEGImages" / name).parent.mkdir(exist_ok=True)
        add(voc, name, CLASSES, OBJECTS)
    Image.new("RGB", (5, 3)).save(voc / "JPEGImages" / "boxes_only.jpg")
    save(voc / "SegmentationClass" / "lost.png", CLASSES)
    lists = voc / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("b c\nä\nmissing\n", encoding="utf-8")
    (lists / "val.txt").write_text("sub/d\r\nb c\r\n\r\n")
    images, dropped = read(voc, lists=["train", "val.txt"])
    assert [image.name for image in images] == ["b c.jpg", "ä.jpg", "sub/d.jpg"]
    assert [image.group for image in images] == ["", "", "sub"]
    missing = str(voc / "JPEGImages" / "missing")
    assert dropped == [(missing, "is in a list, but does not exist")]
    images, dropped = read(voc)
    assert len(images) == 4
    assert [Path(where).name for where, _ in dropped] == ["JPEGImages", "lost.png"]
    assert "1 image, such as boxes_only.jpg" in dropped[0][1]
    with pytest.raises(UserError, match=r"cannot read the list of images .*test\.txt"):
        read(voc, lists=["test"])


def test_maps_of_two_sizes_are_refused(voc: Path) -> None:
    save(voc / "SegmentationObject" / "2007_000032.png", OBJECTS[:2])
    with pytest.raises(UserError, match=r"SegmentationClass/.* is 5 x 3, but .* is 5 x 2"):
        read(voc)
    save(voc / "SegmentationClass" / "2007_000032.png", CLASSES[:2])
    with pytest.raises(UserError, match=r"is 5 x 2, but its image .* is 5 x 3"):
        read(voc)


def test_broken_maps_are_listed(voc: Path) -> None:
    add(voc, "b", CLASSES, OBJECTS)
    (voc / "SegmentationClass" / "b.png").write_text("no image")
    images, dropped = read(voc)
    assert len(images) == 1
    assert [Path(where).name for where, _ in dropped] == ["b.jpg"]


def test_unknown_classes_are_named(voc: Path) -> None:
    add(voc, "2007_000032", CLASSES + 20, OBJECTS)
    with pytest.raises(UserError, match=r"2007_000032\.png has the value 32"):
        read(voc)


def test_no_such_layout(voc: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no folder JPEGImages"):
        read(tmp_path / "missing")
    (voc.parent / "VOC2007" / "JPEGImages").mkdir(parents=True)
    with pytest.raises(UserError, match="has VOC20.. and VOC20.."):
        read(tmp_path)
    with pytest.raises(UserError, match="has no folder SegmentationClass"):
        read(voc.parent / "VOC2007")
    (voc.parent / "VOC2007" / "SegmentationClass").mkdir()
    with pytest.raises(UserError, match="label-pngs"):
        read(voc.parent / "VOC2007")
    (voc.parent / "VOC2007" / "SegmentationObject").mkdir()
    with pytest.raises(UserError, match="boxes in Annotations alone"):
        read(voc.parent / "VOC2007")
