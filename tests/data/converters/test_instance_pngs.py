"""Maps of instance ids."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_util

from segtron.data.converters.instance_pngs import open_instance_pngs
from segtron.data.converters.labelled_image import Dropped, LabelledImage
from segtron.errors import UserError

# The object 300 has two parts.
IDS = np.array([[0, 1, 1, 300], [0, 1, 0, 0], [2, 2, 0, 300]], np.uint16)


def save(path: Path, pixels: np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def photo(path: Path, shape: tuple[int, ...] = IDS.shape, **options) -> None:
    save(path, np.full((*shape, 3), 90, np.uint8), **options)


def read(src: Path, **options) -> tuple[list[LabelledImage], list[tuple[str, str]]]:
    dropped = Dropped()
    return list(open_instance_pngs(src, dropped, **options).images), dropped.entries


def masks_of(image: LabelledImage) -> list[list]:
    return [mask_util.decode(labelled.segmentation).tolist() for labelled in image.objects]


def expected(*ids: int) -> list[list]:
    return [(i == IDS).astype(int).tolist() for i in ids]


def test_an_id_is_an_object(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "ä 1.jpg")
    save(tmp_path / "masks" / "ä 1.png", IDS)
    (image,), dropped = read(tmp_path, class_name="cell")
    assert masks_of(image) == expected(1, 2, 300)
    assert {labelled.class_name for labelled in image.objects} == {"cell"}
    assert image.objects[2].where == f"{tmp_path / 'masks' / 'ä 1.png'}: id 300"
    assert (image.name, image.height, image.width, dropped) == ("ä 1.jpg", 3, 4, [])


def test_palettes_colours_and_other_backgrounds(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        photo(tmp_path / "images" / f"{name}.jpg")
    small = IDS.astype(np.uint8)  # 300 becomes 44
    palette = Image.fromarray(small)
    palette.putpalette([9] * 768)
    (tmp_path / "masks").mkdir()
    palette.save(tmp_path / "masks" / "a.png")
    save(tmp_path / "masks" / "b.png", np.stack([small, small * 5, small], axis=2))
    save(tmp_path / "masks" / "c.png", small)
    images, _ = read(tmp_path)
    for image in images:
        assert masks_of(image) == expected(1, 2, 300)
    images, _ = read(tmp_path, background=[0, 2])
    assert masks_of(images[2]) == expected(1, 300)


def test_ids_tell_classes(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a.jpg", (1, 6))
    save(tmp_path / "masks" / "a.png", np.array([[0, 26000, 26001, 26, 7, 33005]], np.uint16))
    (tmp_path / "classes.yaml").write_text("{26: car, 33: bicycle}")
    (image,), _ = read(tmp_path, label_divisor=1000)
    assert [(o.class_name, o.is_crowd) for o in image.objects] == [
        ("7", True), ("26", True), ("26", False), ("26", False), ("33", False)
    ]  # fmt: skip
    options = {"label_divisor": 1000, "classes": tmp_path / "classes.yaml"}
    (image,), dropped = read(tmp_path, **options)
    assert [o.class_name for o in image.objects] == ["car", "car", "car", "bicycle"]
    assert len(dropped) == 1
    assert dropped[0][0].endswith("a.png: id 7")
    labelling = open_instance_pngs(tmp_path, Dropped(), **options)
    assert (labelling.classes, labelling.number) == (("car", "bicycle"), 1)
    with pytest.raises(UserError, match="only with --label-divisor"):
        read(tmp_path, classes=tmp_path / "classes.yaml")


def test_ids_on_the_stored_picture_are_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    photo(tmp_path / "images" / "a.jpg", exif=exif)
    save(tmp_path / "masks" / "a.png", IDS)
    (image,), _ = read(tmp_path)
    assert (image.height, image.width) == (4, 3)
    assert masks_of(image)[0] == np.rot90(IDS == 1).astype(int).tolist()


def test_empty_maps_are_images_without_objects(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a.jpg")
    save(tmp_path / "masks" / "a.png", IDS * 0)
    (image,), dropped = read(tmp_path)
    assert (image.objects, dropped) == ([], [])


def test_broken_files_are_listed(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a.jpg")
    photo(tmp_path / "images" / "b.jpg")
    (tmp_path / "images" / "c.jpg").write_text("no image")
    save(tmp_path / "masks" / "a.png", IDS)
    save(tmp_path / "masks" / "c.png", IDS)
    (tmp_path / "masks" / "b.png").write_text("no image")
    images, dropped = read(tmp_path)
    assert [image.name for image in images] == ["a.jpg"]
    assert [Path(where).name for where, _ in dropped] == ["b.jpg", "c.jpg"]


def test_a_photograph_is_no_map(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a.jpg", (200, 200))
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3)).astype(np.uint8)
    save(tmp_path / "masks" / "a.png", noise)
    with pytest.raises(UserError, match=r"a\.png has .* different values"):
        read(tmp_path)


def test_maps_of_another_size_are_refused(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a.jpg", (5, 5))
    save(tmp_path / "masks" / "a.png", IDS)
    with pytest.raises(UserError, match=r"a\.png is 4 x 3, but its image .*a\.jpg is 5 x 5"):
        read(tmp_path)


@pytest.mark.parametrize("divisor", [0, -5])
def test_a_divisor_is_a_number_from_1(tmp_path: Path, divisor: int) -> None:
    with pytest.raises(UserError, match=f"--label-divisor is {divisor}"):
        read(tmp_path, label_divisor=divisor)
