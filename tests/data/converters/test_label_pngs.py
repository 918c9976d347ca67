"""Semantic label maps."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_util

from segtron.data.converters.label_pngs import open_label_pngs
from segtron.data.converters.labelled_image import Dropped, Labelling
from segtron.errors import UserError

LABELS = np.array([[0, 0, 2, 2], [1, 0, 0, 255], [1, 0, 2, 2]], np.uint8)
COLOURS = np.zeros((256, 3), np.uint8)
COLOURS[[1, 2, 255]] = (9, 8, 7), (0, 200, 0), (224, 224, 192)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def src(tmp_path: Path) -> Path:
    """An image with labels of background, tree and car."""
    save(tmp_path / "images" / "a b.jpg", np.full((3, 4, 3), 90, np.uint8))
    save(tmp_path / "labels" / "a b.png", LABELS)
    (tmp_path / "classes.txt").write_text("background\ntree\ncar\n")
    return tmp_path


def opened(src: Path, **options) -> Labelling:
    return open_label_pngs(src, Dropped(), **options)


def objects_of(labelling: Labelling) -> list[tuple[str, list]]:
    (image,) = labelling.images
    return [(o.class_name, mask_util.decode(o.segmentation).tolist()) for o in image.objects]


def test_labels_are_carried_over_and_regions_are_objects(src: Path) -> None:
    labelling = opened(src)
    assert labelling.classes == ("background", "tree", "car")
    assert labelling.stuff == {"background"}
    (image,) = labelling.images
    assert image.read_labels().dtype == np.uint8
    np.testing.assert_array_equal(image.read_labels(), LABELS)
    assert (image.name, image.read_segments) == ("a b.jpg", None)
    assert objects_of(opened(src)) == [
        ("tree", [[0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]),
        ("car", [[0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]),
        ("car", [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1]]),
    ]


def test_stuff_has_no_objects(src: Path) -> None:
    for stuff, names in ((["tree", "car"], ["background"]), (["car"], ["background", "tree"])):
        assert [name for name, _ in objects_of(opened(src, stuff=stuff))] == names
    with pytest.raises(UserError, match="--stuff bush is no class"):
        opened(src, stuff=["bush"])
    labelling = opened(src, objects=False)
    assert labelling.stuff == {"background", "tree", "car"}
    assert objects_of(labelling) == []


def test_values_need_not_be_contiguous(src: Path) -> None:
    save(src / "labels" / "a b.png", LABELS.astype(np.uint16) * 100)
    (src / "c.yaml").write_text("{200: car, 0: sky, 100: tree}")
    labelling = opened(src, classes=src / "c.yaml", ignore=["25500"])
    assert labelling.classes == ("sky", "tree", "car")
    (image,) = labelling.images
    np.testing.assert_array_equal(image.read_labels(), LABELS)


def test_colours_of_pictures_and_palettes(src: Path) -> None:
    (src / "map.txt").write_text("background:0,0,0::\ntree:9,8,7::\ncar:0,200,0::")
    palette = Image.fromarray(255 - LABELS)  # whose indices mean nothing
    palette.putpalette(COLOURS[::-1].ravel().tolist())
    for image in (Image.fromarray(COLOURS[LABELS]), palette):
        image.save(src / "labels" / "a b.png")
        labelling = opened(src, classes=src / "map.txt", ignore=["224,224,192"])
        (read,) = labelling.images
        np.testing.assert_array_equal(read.read_labels(), LABELS)
    with pytest.raises(UserError, match=r"the colour \[224, 224, 192\]"):
        list(opened(src, classes=src / "map.txt").images)
    save(src / "labels" / "a b.png", COLOURS[LABELS])
    with pytest.raises(UserError, match=r"shows classes by colours.*--classes"):
        list(opened(src).images)


def test_indices_of_a_palette(src: Path) -> None:
    palette = Image.fromarray(LABELS)
    palette.putpalette(COLOURS.ravel().tolist())
    palette.save(src / "labels" / "a b.png")
    (image,) = opened(src).images
    np.testing.assert_array_equal(image.read_labels(), LABELS)


def test_a_file_with_colours_reads_values_too(src: Path) -> None:
    (src / "map.txt").write_text("background:0,0,0::\ntree:9,8,7::\ncar:0,200,0::")
    (image,) = opened(src, classes=src / "map.txt").images
    np.testing.assert_array_equal(image.read_labels(), LABELS)


@pytest.mark.parametrize("text", ["1,2", "-1", "300,0,0", "x", "70000", ""])
def test_what_is_ignored_must_be_a_value_or_a_colour(src: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"--ignore .*neither a value"):
        opened(src, ignore=[text])


def test_unknown_values_are_named(src: Path) -> None:
    with pytest.raises(UserError, match=r"a b\.png has the value 255, which is no class"):
        list(opened(src, ignore=["7"]).images)


def test_binary_masks_are_refused(src: Path) -> None:
    save(src / "labels" / "a b.png", (LABELS > 0).astype(np.uint8) * 255)
    with pytest.raises(UserError, match=r"seem to be masks of 0 and 255"):
        list(opened(src).images)
    # Unless somebody says that 255 is meant, or what it is.
    assert len(list(opened(src, ignore=["255"]).images)) == 1
    (src / "c.yaml").write_text("{0: background, 255: object}")
    (image,) = opened(src, classes=src / "c.yaml").images
    np.testing.assert_array_equal(image.read_labels(), LABELS > 0)


def test_labels_on_the_stored_picture_are_turned(src: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (4, 3)).save(src / "images" / "a b.jpg", exif=exif)
    (image,) = opened(src).images
    assert (image.height, image.width) == (4, 3)
    np.testing.assert_array_equal(image.read_labels(), np.rot90(LABELS, -1))
    tree = mask_util.decode(image.objects[0].segmentation)
    np.testing.assert_array_equal(tree, np.rot90(LABELS == 1, -1))


def test_noise_is_refused_but_for_its_labels(src: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 3, (500, 500)).astype(np.uint8)
    noise[1::2] = noise[:, 1::2] = 0
    save(src / "images" / "a b.jpg", np.full((500, 500, 3), 90, np.uint8))
    save(src / "labels" / "a b.png", noise)
    with pytest.raises(UserError, match=r"regions, more than .*--no-objects"):
        list(opened(src).images)
    assert len(list(opened(src, objects=False).images)) == 1


def test_broken_files_are_listed(src: Path) -> None:
    save(src / "images" / "c.jpg", np.full((3, 4, 3), 90, np.uint8))
    (src / "labels" / "c.png").write_text("no image")
    dropped = Dropped()
    assert len(list(open_label_pngs(src, dropped).images)) == 1
    assert [Path(where).name for where, _ in dropped.entries] == ["c.jpg"]


def test_classes_must_be_named(src: Path) -> None:
    (src / "classes.txt").unlink()
    with pytest.raises(UserError, match="no file that names the classes.*--classes"):
        opened(src)
    (src / "classes.txt").write_text("\n".join(map(str, range(256))))
    with pytest.raises(UserError, match="names 256 classes"):
        opened(src)
