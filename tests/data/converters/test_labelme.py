"""LabelMe's files, written as LabelMe writes them."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segtron.data.converters.labelled_image import Dropped
from segtron.data.converters.labelme import open_labelme
from segtron.errors import UserError

LABELME = Path(__file__).parents[4] / "shared" / "data" / "formats" / "labelme"
H, W = 20, 30
SQUARE = [[2, 3], [6, 3], [6, 8], [2, 8]]


def png_text(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def shape(points: Any = SQUARE, label: str = "cat", **more: Any) -> dict[str, Any]:
    whole = {"label": label, "points": points, "group_id": None, "shape_type": "polygon"}
    return whole | {"flags": {}} | more


def content(*shapes: Any, path: str = "a.jpg", **more: Any) -> dict[str, Any]:
    whole = {"version": "5.4.1", "flags": {}, "shapes": list(shapes), "imagePath": path}
    return whole | {"imageData": None, "imageHeight": H, "imageWidth": W} | more


@pytest.fixture
def read(tmp_path: Path, picture, save_json):
    """The image of a JSON file of these shapes, and what was dropped."""

    def read(*shapes: Any, **more: Any):
        picture(tmp_path / "a.jpg", H, W)
        save_json(tmp_path / "a.json", content(*shapes, **more))
        dropped = Dropped()
        (image,) = open_labelme(tmp_path, dropped).images
        return image, dropped.entries

    return read


def test_shapes_with_an_area(read, masks) -> None:
    image, dropped = read(
        shape(),
        shape([[10, 4], [15, 10]], shape_type="rectangle"),
        shape([[15, 10], [10, 4]], shape_type="rectangle"),
        shape([[20, 10], [20, 15]], shape_type="circle"),
        shape([[1, 1], [9, 1], [9, 9], [1, 1]], shape_type="linestrip"),
        shape(shape_type=None),
    )
    square, rect, same, circle, closed, old = masks(image)
    assert square.sum() == 20 and square[3:8, 2:6].all()
    assert rect.sum() == 30 and rect[4:10, 10:15].all() and (rect == same).all()
    assert abs(circle.sum() - np.pi * 25) < 4 and circle[5:15, 15:25].sum() == circle.sum()
    assert 20 < closed.sum() < 44
    assert (old == square).all() and not dropped


def test_shapes_without_are_listed(read) -> None:
    image, dropped = read(
        shape([[1, 1]], shape_type="point"),
        shape([[1, 1], [5, 5]], shape_type="line"),
        shape([[1, 1], [5, 5], [9, 1]], shape_type="linestrip"),
        shape([[1, 1], [5, 5]], shape_type="points"),
        shape(label="__ignore__"),
        shape(label=" "),
        shape([[1, 1], [5, 5]]),
        shape([]),
    )
    assert not image.objects
    assert [why for _, why in dropped] == [
        "is a point, which has no area",
        "is a line, which has no area",
        "is an open line, which has no area",
        "is a set of points, which has no area",
        "is labelled '__ignore__', which is no class",
        "is labelled '', which is no class",
        "has fewer than 3 points",
        "has fewer than 3 points",
    ]
    assert dropped[3][0].endswith("a.json: shapes[3]")


def test_parts_of_a_group_are_one_object(read, masks) -> None:
    other = [[10, 3], [14, 3], [14, 8], [10, 8]]
    image, _ = read(
        shape(group_id=1),
        shape(group_id=1, label="dog"),
        shape(other, group_id=1, flags={"old": True}),
        shape(group_id=0),
        shape(other, group_id=0),
        shape(),
        shape(other),
    )
    assert [o.class_name for o in image.objects] == ["cat", "dog", "cat", "cat", "cat"]
    assert [int(mask.sum()) for mask in masks(image)] == [40, 20, 40, 20, 20]
    assert image.objects[0].attributes == {"old": True}


def test_a_mask_lies_between_its_corners(read, masks) -> None:
    ring = np.full((6, 7), 255, np.uint8)
    ring[2:4, 2:5] = 0
    mask = {"shape_type": "mask", "mask": png_text(ring)}
    image, dropped = read(
        shape([[10, 5], [16, 10]], **mask),
        shape([[27, 16], [33, 21]], **mask),
        shape([[-5, -4], [1, 1]], **mask),
        shape([[40, 40], [46, 45]], **mask),
        shape([[1, 1], [2, 2]], shape_type="mask", mask=png_text(np.ones((2, 2), bool))),
        shape([[12, 7], [14, 8]], group_id=3, label="x"),
        shape([[10, 5], [16, 10]], group_id=3, label="y", **mask),
        shape([[12, 7], [15, 7], [15, 9], [12, 9]], group_id=3, label="y"),
    )
    whole, corner, start, small, filled = masks(image)
    expected = np.zeros((H, W), np.uint8)
    expected[5:11, 10:17] = ring > 0
    assert (whole == expected).all()
    assert (corner[16:, 27:] == (ring > 0)[:4, :3]).all() and corner.sum() == 10
    assert (start[:2, :2] == (ring > 0)[4:, 5:]).all() and start.sum() == 4
    assert small.sum() == 4
    assert filled.sum() == 42
    assert [why for _, why in dropped] == [
        "covers no pixel of the picture",
        "has fewer than 3 points",
    ]


def test_what_is_said_besides(read) -> None:
    image, _ = read(
        shape(flags={"iscrowd": True, "old": False}, description="seen from behind"),
        shape(flags={"iscrowd": False}),
    )
    first, second = image.objects
    assert first.is_crowd and not second.is_crowd
    assert first.attributes == {"old": False, "description": "seen from behind"}


def test_folders_keep_pictures_of_one_name_apart(tmp_path: Path, picture, save_json) -> None:
    for folder in ("x", "ü y"):
        picture(tmp_path / folder / "1.jpg", H, W)
        save_json(tmp_path / folder / "1.json", content(shape(), path="1.jpg"))
    picture(tmp_path / "images" / "b.jpg", H, W)
    save_json(tmp_path / "labels" / "b.json", content(shape(), path="..\\images\\b.jpg"))
    save_json(tmp_path / "other.json", {"images": []})
    dropped = Dropped()
    images = list(open_labelme(tmp_path, dropped).images)
    assert [image.name for image in images] == ["images/b.jpg", "x/1.jpg", "ü y/1.jpg"]
    assert [why for _, why in dropped.entries] == ["is not LabelMe's format: it has no 'shapes'"]


def test_pictures_in_a_folder_of_their_own(tmp_path: Path, picture, save_json) -> None:
    for folder in ("x", "y"):
        picture(tmp_path / "photos" / folder / "1.jpg", H, W)
        file = save_json(
            tmp_path / "json" / folder / "1.json", content(shape(), path="../../photos/1.jpg")
        )
    images = open_labelme(tmp_path / "json", Dropped(), images=tmp_path / "photos").images
    assert [image.name for image in images] == ["x/1.jpg", "y/1.jpg"]
    (image,) = open_labelme(file, Dropped(), images=tmp_path / "photos" / "x").images
    assert image.name == "1.jpg"


def test_an_embedded_picture_stands_in_for_a_missing_one(tmp_path: Path, save_json) -> None:
    pixels = np.arange(H * W, dtype=np.uint32).reshape(H, W).astype(np.uint8)
    data = png_text(pixels)
    save_json(tmp_path / "s" / "a.json", content(shape(), path="C:\\x\\photo.png", imageData=data))
    save_json(tmp_path / "b.json", content(shape(), path="photo.raw", imageData=data))
    b, a = open_labelme(tmp_path, Dropped()).images
    assert (a.name, b.name) == ("s/a.png", "b.png")
    for image in (a, b):
        assert (np.asarray(Image.open(io.BytesIO(image.content))) == pixels).all()
        assert (image.height, image.width) == (H, W)


def test_an_embedded_picture_settles_a_contradiction(tmp_path: Path, picture, save_json) -> None:
    picture(tmp_path / "a.jpg", 2 * H, 2 * W)
    save_json(tmp_path / "a.json", content(shape(), imageData=png_text(np.zeros((H, W), np.uint8))))
    (image,) = open_labelme(tmp_path, Dropped()).images
    assert image.content is not None and (image.height, image.width) == (H, W)
    save_json(tmp_path / "a.json", content(shape()))
    dropped = Dropped()
    assert not list(open_labelme(tmp_path, dropped).images)
    ((where, why),) = dropped.entries
    assert where.endswith("a.json with 1 shape")
    assert "has 60 x 40 pixels, but was annotated with 30 x 20" in why
    save_json(tmp_path / "a.json", content(shape(), imageData=png_text(np.zeros((9, 9), np.uint8))))
    assert not list(open_labelme(tmp_path, dropped).images)
    assert "9 x 9" in dropped.entries[1][1]


def test_an_embedded_picture_on_its_side(tmp_path: Path, picture, save_json, masks) -> None:
    data = picture(tmp_path / "elsewhere" / "x.jpg", H, W, orientation=6).read_bytes()
    text = base64.b64encode(data).decode()
    save_json(tmp_path / "s" / "a.json", content(shape(), imageData=text))
    (image,) = open_labelme(tmp_path / "s", Dropped()).images
    assert image.content == data and (image.height, image.width) == (W, H)
    assert masks(image)[0][2:6, H - 8 : H - 3].all()


def test_an_embedded_picture_is_judged_by_its_header(tmp_path: Path, save_json) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (H, W), np.uint8)
    cut = base64.b64decode(png_text(noise))[:-100]
    text = base64.b64encode(cut).decode()
    save_json(tmp_path / "a.json", content(shape(), imageData=text))
    (image,) = open_labelme(tmp_path, Dropped()).images
    assert image.content == cut


def test_shapes_on_a_picture_as_it_is_stored(tmp_path: Path, picture, save_json, masks) -> None:
    """Orientation 6: the stored picture's left edge is the shown one's top."""
    picture(tmp_path / "a.jpg", H, W, orientation=6)
    mask = {"shape_type": "mask", "mask": png_text(np.full((5, 4), 255, np.uint8))}
    shapes = (shape(), shape([[2, 3], [5, 7]], **mask))
    save_json(tmp_path / "a.json", content(*shapes))
    (image,) = open_labelme(tmp_path, Dropped()).images
    assert (image.height, image.width) == (W, H)
    for found in masks(image):
        assert found.sum() == 20 and found[2:6, H - 8 : H - 3].all()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"shapes": None}, "'shapes' is None"),
        ({"imagePath": 3}, "'imagePath' is no text"),
        ({"imageHeight": "20"}, "'imageHeight' and 'imageWidth'"),
        ({"imageHeight": -1}, "'imageHeight' and 'imageWidth'"),
        ({"shapes": [3]}, r"shapes\[0\] is not an object"),
        ({"shapes": [shape(label=None)]}, "'label' is None"),
        ({"shapes": [shape(group_id=[1])]}, "'group_id'"),
        ({"shapes": [shape(shape_type="blob")]}, "'blob'"),
        ({"shapes": [shape(shape_type=[])]}, None),
        ({"shapes": [shape([[1, "2"], [3, 4], [5, 6]])]}, "no list of pairs"),
        ({"shapes": [shape(shape_type="circle")]}, "two points, not 4"),
        ({"shapes": [shape(shape_type="mask")]}, "not base64"),
        ({"shapes": [shape(shape_type="mask", mask="!")]}, "not base64"),
        ({"shapes": [shape(shape_type="mask", mask="abcd")]}, "no picture"),
        ({"imagePath": "no.jpg", "imageData": "abcd"}, "'imageData' is no picture"),
        ({"imagePath": "no.jpg", "imageData": 3}, "not base64"),
    ],
)
def test_what_is_malformed_is_named(tmp_path: Path, picture, save_json, changed, words) -> None:
    picture(tmp_path / "a.jpg", H, W)
    file = save_json(tmp_path / "a.json", content() | changed)
    if words is None:  # nothing said is said
        assert len(list(open_labelme(file, Dropped()).images)) == 1
        return
    with pytest.raises(UserError, match=words) as error:
        list(open_labelme(file, Dropped()).images)
    assert "a.json" in str(error.value)


def test_masks_that_would_take_much_memory(read) -> None:
    huge = png_text(np.zeros((H + 1, W), np.uint8))
    with pytest.raises(UserError, match="doesn't fit"):
        read(shape([[0, 0], [29, 20]], shape_type="mask", mask=huge))


def test_a_mask_that_ends_too_early(read) -> None:
    random = np.random.default_rng(0)
    data = base64.b64decode(png_text(random.integers(0, 255, (H, W), np.uint8)))
    text = base64.b64encode(data[: len(data) // 2]).decode()
    with pytest.raises(UserError, match="broken picture"):
        read(shape([[0, 0], [29, 19]], shape_type="mask", mask=text))


def test_a_folder_without_json(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no JSON file"):
        open_labelme(tmp_path, Dropped())
    with pytest.raises(UserError, match="does not exist"):
        open_labelme(tmp_path / "no" / "no.json", Dropped())


@pytest.mark.skipif(not LABELME.is_dir(), reason="needs the photographs in ../shared/data")
def test_the_examples_of_labelme(masks) -> None:
    dropped = Dropped()
    images = list(open_labelme(LABELME, dropped).images)
    names = [o.class_name for image in images for o in image.objects]
    # The sofa has four parts, a person two.
    assert (names.count("person"), names.count("sofa"), names.count("bus")) == (6, 1, 2)
    assert len(dropped.entries) == 2 and all("__ignore__" in why for _, why in dropped.entries)
    assert all(mask.any() for image in images for mask in masks(image))
