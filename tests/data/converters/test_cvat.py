"""CVAT's XML for images and for video."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_util

from segtron.data.converters.cvat import open_cvat
from segtron.data.converters.labelled_image import Dropped, LabelledImage, LabelledObject
from segtron.errors import UserError

LABELS = """<labels>
  <label><name>Straße</name><attributes><attribute><name>x</name></attribute></attributes></label>
  <label><name>car</name></label>
  <label><name>nose</name><parent>face</parent></label>
</labels>"""
META = f"<version>1.1</version><meta><task><size>1</size>{LABELS}</task></meta>"
SQUARE = 'points="2,3;6,3;6,7;2,7"'
HEIGHT, WIDTH = 20, 30


def photo(path: Path, size: tuple[int, int] = (HEIGHT, WIDTH), **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size[::-1]).save(path, **options)


def xml(*shapes: str, name: str = "a.jpg", attributes: str = "", meta: str = META) -> str:
    """An export of one image."""
    size = f'width="{WIDTH}" height="{HEIGHT}"'
    image = f'<image id="0" name="{name}" {size} {attributes}>{"".join(shapes)}</image>'
    return f'<?xml version="1.0" encoding="utf-8"?><annotations>{meta}{image}</annotations>'


def write(src: Path, content: str, name: str = "annotations.xml") -> None:
    path = src / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


@pytest.fixture
def src(tmp_path: Path) -> Path:
    """A folder with a picture."""
    photo(tmp_path / "images" / "a.jpg")
    return tmp_path


def read(src: Path, **options) -> tuple[list[LabelledImage], list[tuple[str, str]]]:
    dropped = Dropped()
    return list(open_cvat(src, dropped, **options).images), dropped.entries


def objects(src: Path, *shapes: str, **options) -> list[LabelledObject]:
    write(src, xml(*shapes))
    (image,), _ = read(src, **options)
    return list(image.objects)


def mask_of(labelled: LabelledObject, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    segmentation = labelled.segmentation
    if isinstance(segmentation, list):
        segmentation = mask_util.merge(mask_util.frPyObjects(segmentation, *size))
    return mask_util.decode(segmentation).astype(bool)


def drawn(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_a_polygon_with_attributes(src: Path) -> None:
    write(
        src,
        xml(
            f'<polygon label="Straße" source="manual" occluded="1" {SQUARE} z_order="2">'
            '<attribute name="colour">dark &amp; red</attribute>'
            '<attribute name="parked">true</attribute><attribute name="empty"></attribute>'
            "</polygon>"
        ),
    )
    for path in (src, src / "annotations.xml"):
        labelling = open_cvat(path, Dropped())
        assert (labelling.classes, labelling.number) == (("Straße", "car"), 1)
        (image,) = labelling.images
        assert (image.name, image.group, image.height, image.width) == ("a.jpg", "", 20, 30)
        (labelled,) = image.objects
        assert labelled.class_name == "Straße"
        assert labelled.segmentation == [[2, 3, 6, 3, 6, 7, 2, 7]]
        assert labelled.attributes == {
            "colour": "dark & red", "parked": True, "empty": "", "occluded": True, "z_order": 2
        }  # fmt: skip
        assert labelled.where == f"{src / 'annotations.xml'}: image 'a.jpg', polygon 0"


def test_boxes_and_ellipses_are_turned_clockwise(src: Path) -> None:
    box = 'xtl="10" ytl="4" xbr="20" ybr="8"'
    upright, quarter, oval, turned = objects(
        src,
        f'<box label="car" {box}/>',
        f'<box label="car" {box} rotation="90.00"/>',
        '<ellipse label="car" cx="15" cy="10" rx="8" ry="3"/>',
        '<ellipse label="car" cx="15" cy="10" rx="8" ry="3" rotation="90"/>',
    )
    np.testing.assert_array_equal(mask_of(upright), drawn(4, 8, 10, 20))
    np.testing.assert_array_equal(mask_of(quarter), drawn(1, 11, 13, 17))
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    for labelled, rx, ry in ((oval, 8, 3), (turned, 3, 8)):
        expected = ((x - 15) / rx) ** 2 + ((y - 10) / ry) ** 2 <= 1
        assert (mask_of(labelled) ^ expected).sum() <= 0.1 * expected.sum()
    # Not the other way round.
    (tilted,) = objects(src, '<ellipse label="car" cx="15" cy="10" rx="8" ry="1" rotation="45"/>')
    assert mask_of(tilted)[14, 19]
    assert not mask_of(tilted)[5, 19]
    (tilted,) = objects(
        src, '<box label="car" xtl="5" ytl="9" xbr="25" ybr="11" rotation="30"/>'
    )  # fmt: skip
    assert mask_of(tilted)[13, 21]
    assert not mask_of(tilted)[6, 21]


def test_a_mask_has_runs_row_by_row(src: Path) -> None:
    # .##
    # #.#
    runs = 'rle="1, 3, 1, 1" left="4" top="5" width="3" height="2"'
    (labelled,) = objects(src, f'<mask label="car" {runs}/>')
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[5, 5:7] = expected[6, [4, 6]] = True
    assert labelled.segmentation["size"] == [HEIGHT, WIDTH]
    np.testing.assert_array_equal(mask_of(labelled), expected)


@pytest.mark.parametrize(("left", "top"), [(-1, -1), (28, 19), (27, 18)])
def test_a_mask_is_cut_off_at_the_borders(src: Path, left: int, top: int) -> None:
    runs = f'rle="0,6" left="{left}" top="{top}" width="3" height="2"'
    (labelled,) = objects(src, f'<mask label="car" {runs}/>')
    expected = drawn(max(top, 0), min(top + 2, HEIGHT), max(left, 0), min(left + 3, WIDTH))
    np.testing.assert_array_equal(mask_of(labelled), expected)


def test_what_has_no_area_is_listed(src: Path) -> None:
    shapes = [
        '<polyline label="car" points="1,1;5,5"/>',
        '<points label="car" points="1,1"/>',
        '<cuboid label="car" xtl1="1"/>',
        '<skeleton label="car"><points label="nose" points="1,1"/></skeleton>',
        '<tag label="car"/>',
        '<polygon label="car" points="1,1;2,2;3,3"/>',
        '<box label="car" xtl="50" ytl="4" xbr="60" ybr="8"/>',
        '<mask label="car" rle="6" left="4" top="5" width="3" height="2"/>',
        '<mask label="car" rle="0,6" left="40" top="50" width="3" height="2"/>',
    ]
    write(src, xml(*shapes))
    (image,), dropped = read(src)
    assert image.objects == []
    where = f"{src / 'annotations.xml'}: image 'a.jpg', "
    assert dropped == [
        (f"{where}polyline 0", "is of the kind polyline, which covers no area"),
        (f"{where}points 1", "is of the kind points, which covers no area"),
        (f"{where}cuboid 2", "is of the kind cuboid, which covers no area"),
        (f"{where}skeleton 3", "is of the kind skeleton, which covers no area"),
        (f"{where}tag 4", "is of the kind tag, which covers no area"),
        (f"{where}polygon 5", "has no area"),
        (f"{where}box 6", "lies outside of the image"),
        (f"{where}mask 7", "covers no pixel of the image"),
        (f"{where}mask 8", "covers no pixel of the image"),
    ]


def test_a_group_is_one_object_of_several_parts(src: Path) -> None:
    write(
        src,
        xml(
            f'<polygon label="car" {SQUARE} group_id="3">'
            '<attribute name="a">1</attribute></polygon>',
            f'<polygon label="Straße" {SQUARE} group_id="3"/>',
            '<box label="car" xtl="10" ytl="10" xbr="12" ybr="12" group_id="3">'
            '<attribute name="a">2</attribute><attribute name="b">x</attribute></box>',
            f'<polygon label="car" {SQUARE} group_id="0"/>',
            f'<polygon label="car" {SQUARE} group_id="0"/>',
            f'<polygon label="car" {SQUARE}/>',
            '<mask label="car" rle="0,6" left="20" top="1" width="3" height="2" group_id="4"/>',
            f'<polygon label="car" {SQUARE} group_id="4"/>',
        ),
    )
    (image,), dropped = read(src)
    assert [o.class_name for o in image.objects] == ["car", "Straße", *["car"] * 4]
    first, *_, mixed = image.objects
    assert len(first.segmentation) == 2
    np.testing.assert_array_equal(mask_of(first), drawn(3, 7, 2, 6) | drawn(10, 12, 10, 12))
    np.testing.assert_array_equal(mask_of(mixed), drawn(3, 7, 2, 6) | drawn(1, 3, 20, 23))
    assert first.attributes == {"a": "1", "b": "x"}
    ((where, why),) = dropped
    assert where.endswith("image 'a.jpg', box 2: a")
    assert why.startswith("differs")


def test_an_attribute_is_the_class(src: Path) -> None:
    shapes = [
        f'<polygon label="thing" {SQUARE}><attribute name="kind"> true </attribute></polygon>',
        f'<polygon label="thing" {SQUARE}><attribute name="kind"></attribute></polygon>',
        f'<polygon label="thing" {SQUARE}/>',
    ]
    write(src, xml(*shapes))
    dropped = Dropped()
    labelling = open_cvat(src, dropped, class_attribute="kind")
    assert labelling.classes is None
    ((labelled,),) = [image.objects for image in labelling.images]
    assert (labelled.class_name, labelled.attributes) == ("true", {"label": "thing"})
    assert [why for _, why in dropped.entries] == ["has no attribute 'kind'"] * 2


def test_crowds_that_segtron_wrote_are_crowds(src: Path) -> None:
    flag = '<attribute name="iscrowd">true</attribute>'
    (labelled,) = objects(src, f'<polygon label="car" {SQUARE}>{flag}</polygon>')
    assert labelled.is_crowd
    assert labelled.attributes == {}


def test_pictures_of_subsets_and_folders(tmp_path: Path) -> None:
    for name in ("images/train/x.jpg", "images/val/x.jpg", "images/ä b/c.jpg"):
        photo(tmp_path / name)
    size = f'width="{WIDTH}" height="{HEIGHT}"'
    images = f'<image name="x.jpg" subset="train" {size}/><image name="x.jpg" subset="val" {size}/>'
    images += f'<image name="ä b/c.jpg" {size}/><image name="no.jpg" {size}/>'
    write(tmp_path, f"<annotations>{META}{images}</annotations>")
    found, dropped = read(tmp_path)
    assert [(i.name, i.group) for i in found] == [
        ("train/x.jpg", "train"), ("val/x.jpg", "val"), ("ä b/c.jpg", "ä b")
    ]  # fmt: skip
    assert found[0].path == tmp_path / "images/train/x.jpg"
    ((where, why),) = dropped
    assert where.endswith("image 'no.jpg' with 0 shapes")
    assert "is not in" in why


def test_several_tasks(tmp_path: Path) -> None:
    for task in ("one", "two"):
        photo(tmp_path / task / "images" / "a.jpg")
        write(tmp_path / task, xml(f'<polygon label="car" {SQUARE}/>'))
    write(tmp_path, "<annotation><object/></annotation>", "voc.xml")
    labelling = open_cvat(tmp_path, dropped := Dropped())
    assert labelling.classes == ("Straße", "car")
    assert [(i.name, i.group) for i in labelling.images] == [
        ("one/a.jpg", "one"), ("two/a.jpg", "two")
    ]  # fmt: skip
    assert [Path(where).name for where, _ in dropped.entries] == ["voc.xml"]


def test_pictures_may_lie_elsewhere(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "a.jpg")
    write(tmp_path / "export", xml(f'<polygon label="car" {SQUARE}/>'))
    images, _ = read(tmp_path / "export", images=tmp_path / "photos")
    assert [image.name for image in images] == ["a.jpg"]


def test_nothing_outside_is_read(tmp_path: Path) -> None:
    photo(tmp_path / "secret.jpg")
    for name in ("../secret.jpg", "../../secret.jpg", str(tmp_path / "secret.jpg")):
        write(tmp_path / "export", xml(name=name, attributes='subset=".."'))
        images, dropped = read(tmp_path / "export")
        assert images == []
        assert len(dropped) == 1


def test_shapes_on_the_stored_picture_are_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # is shown turned clockwise
    photo(tmp_path / "a.jpg", exif=exif)
    mask = 'rle="0,6" left="2" top="3" width="3" height="2"'
    write(tmp_path, xml(f'<polygon label="car" {SQUARE}/>', f'<mask label="car" {mask}/>'))
    (image,), _ = read(tmp_path)
    assert (image.height, image.width) == (WIDTH, HEIGHT)
    polygon, mask = (mask_of(labelled, (WIDTH, HEIGHT)) for labelled in image.objects)
    np.testing.assert_array_equal(polygon, np.rot90(drawn(3, 7, 2, 6), -1))
    np.testing.assert_array_equal(mask, np.rot90(drawn(3, 5, 2, 5), -1))


def track(*shapes: str, number: int = 0, label: str = "car", attributes: str = "") -> str:
    return f'<track id="{number}" label="{label}" {attributes}>{"".join(shapes)}</track>'


def at(frame: int, outside: int = 0, x: int = 0, content: str = "") -> str:
    box = f'xtl="{x}" ytl="1" xbr="{x + 2}" ybr="3"'
    return f'<box frame="{frame}" keyframe="0" outside="{outside}" {box}>{content}</box>'


def video(*tracks: str, size: tuple[int, int] = (HEIGHT, WIDTH)) -> str:
    sides = f"<width>{size[1]}</width><height>{size[0]}</height>"
    meta = META.replace("</task>", f"<original_size>{sides}</original_size></task>")
    return f"<annotations>{meta}{''.join(tracks)}</annotations>"


def test_tracks_of_a_video(tmp_path: Path) -> None:
    for frame in (3, 4, 5):
        photo(tmp_path / "images" / f"frame_{frame:06}.PNG")
    write(
        tmp_path,
        video(
            track(at(3), at(4, x=5), at(5, outside=1), number=7, attributes='group_id="1"'),
            track(
                at(4, x=9, content='<attribute name="a">b</attribute>'),
                at(99),
                number=8,
                attributes='group_id="1"',
            ),
            track(f'<polygon frame="3" outside="0" {SQUARE}/>', number=9, label="Straße"),
        ),
    )
    labelling = open_cvat(tmp_path, dropped := Dropped())
    assert (labelling.classes, labelling.number) == (("Straße", "car"), 3)
    first, second, third = labelling.images
    assert [i.name for i in (first, second, third)] == [
        "frame_000003.PNG", "frame_000004.PNG", "frame_000005.PNG"
    ]  # fmt: skip
    assert [o.class_name for o in first.objects] == ["car", "Straße"]
    assert first.objects[0].attributes == {"track_id": "7"}
    assert first.objects[0].where.endswith("annotations.xml: track 7, frame 3")
    (grouped,) = second.objects
    np.testing.assert_array_equal(mask_of(grouped), drawn(1, 3, 5, 7) | drawn(1, 3, 9, 11))
    assert grouped.attributes == {"track_id": "7", "a": "b"}
    assert third.objects == []
    assert [where.split(": ")[1] for where, _ in dropped.entries] == [
        "track 8, frame 4",
        "track 8, frame 99",
    ]


def test_frames_of_other_names_are_counted(tmp_path: Path) -> None:
    for name in ("b.jpg", "frame_000007.jpg", "a.jpg"):
        photo(tmp_path / name)
    write(tmp_path, video(track(at(0), at(2))))
    images, dropped = read(tmp_path)
    assert [(i.name, len(i.objects)) for i in images] == [
        ("a.jpg", 1), ("b.jpg", 0), ("frame_000007.jpg", 1)
    ]  # fmt: skip
    assert dropped == []


def test_faulty_videos(tmp_path: Path) -> None:
    write(tmp_path, video(track(at(0))))
    with pytest.raises(UserError, match="holds no frames"):
        read(tmp_path)
    photo(tmp_path / "a" / "frame_000000.jpg")
    photo(tmp_path / "b" / "frame_0.jpg")
    with pytest.raises(UserError, match="both of frame 0"):
        read(tmp_path)
    images, dropped = read(tmp_path, images=tmp_path / "a")
    assert (len(images), dropped) == (1, [])
    write(tmp_path, video(track(at(0)), size=(7, 7)))
    images, dropped = read(tmp_path, images=tmp_path / "a")
    assert images == []
    ((where, why),) = dropped
    assert where == f"{tmp_path / 'annotations.xml'}: frame 0 with 1 shape"
    assert "was annotated with 7 x 7" in why
    write(tmp_path, video(track(at(0)), '<image name="a.jpg" width="1" height="1"/>'))
    with pytest.raises(UserError, match="has images and tracks"):
        read(tmp_path)
    write(tmp_path, video(track('<box frame="x"/>')))
    with pytest.raises(UserError, match="track 0, box has 'frame' 'x', which is no number"):
        read(tmp_path, images=tmp_path / "a")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ('<polygon label="car"/>', "'points' are no list"),
        ('<polygon label="car" points="1,1;2"/>', "'points' are no list"),
        ('<polygon label="car" points="1,1;2,x;3,3"/>', "'points' are no list"),
        ('<polygon label="car" points="1,1,2;2;3,3"/>', "'points' are no list"),
        ('<polygon label="car" points="1,1;2,nan;3,3"/>', "nan is no coordinate"),
        ('<polygon label="car" points="1,1;2,1e300;3,3"/>', "is no coordinate"),
        (f"<polygon {SQUARE}/>", "has no 'label'"),
        ('<box label="car" xtl="1" ytl="1" xbr="2"/>', "has no 'ybr'"),
        ('<box label="car" xtl="1" ytl="1" xbr="2" ybr="a"/>', "has 'ybr' 'a', which is no number"),
        ('<mask label="car" rle="3" left="4" top="5" width="3" height="2"/>', "do not add up"),
        ('<mask label="car" rle="-1,7" left="4" top="5" width="3" height="2"/>', "do not add up"),
        ('<mask label="car" rle="a" left="4" top="5" width="3" height="2"/>', "do not add up"),
        ('<mask label="car" left="4" top="5" width="3" height="2"/>', "do not add up"),
        ('<mask label="car" rle="1" left="4" top="5" width="0" height="0"/>', "0 x 0 pixels"),
        ('<mask label="car" rle="1" left="4" top="5" width="99999" height="99999"/>', "99999 pix"),
        ('<mask label="car" rle="1" top="5" width="1" height="1"/>', "has no 'left'"),
        (f'<polygon label="car" {SQUARE} z_order="x"/>', "'z_order' 'x'"),
    ],
)  # fmt: skip
def test_malformed_shapes_are_named(src: Path, shape: str, message: str) -> None:
    write(src, xml(shape))
    with pytest.raises(UserError, match=rf"annotations\.xml: image 'a\.jpg', \w+ 0.*{message}"):
        read(src)


BOMB = """<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>
<annotations>&c;</annotations>"""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BOMB, "defines a document type or entities"),
        (
            '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotations>&x;</annotations>',
            "defines a document type or entities",
        ),
        ("<!DOCTYPE annotations><annotations/>", "defines a document type or entities"),
        ("<annotations>\n<image", r"annotations\.xml:2 is broken XML"),
        ("", "is broken XML"),
        ("no xml", "is broken XML"),
        ("<annotations>&undefined;</annotations>", "is broken XML"),
        ('<?xml version="1.0" encoding="klingon"?><annotations/>', "is broken XML"),
        (f"<annotations>{'<a>' * 10**5}", "nests deeper"),
        ("<annotation/>", "is no XML of CVAT: it holds <annotation>"),
        ("<annotations><image width='1' height='1'/></annotations>", "has no 'name'"),
        ("<annotations><image name='a.jpg' width='1'/></annotations>", "has no 'height'"),
    ],
)
def test_faulty_files(src: Path, content: str, message: str) -> None:
    write(src, content)
    with pytest.raises(UserError, match=message):
        read(src / "annotations.xml")


def test_a_missing_picture_is_listed_with_its_number_of_shapes(src: Path) -> None:
    shape = f'<polygon label="car" {SQUARE}/>'
    write(src, xml(shape, shape, name="lost.jpg"))
    images, ((where, why),) = read(src)
    assert images == []
    assert where == f"{src / 'annotations.xml'}: image 'lost.jpg' with 2 shapes"
    assert "is not in" in why


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no XML of CVAT"):
        read(tmp_path)
    with pytest.raises(UserError, match=r"cannot read the annotations .*missing\.xml"):
        read(tmp_path / "missing.xml")


def test_memory_holds_one_image_at_a_time(tmp_path: Path) -> None:
    names = [f"{i}.jpg" for i in range(120)]
    for name in names:
        photo(tmp_path / name, (HEIGHT, WIDTH))
    polygon = f'<polygon label="car" {SQUARE} occluded="0" z_order="0"/>'
    size = f'width="{WIDTH}" height="{HEIGHT}"'
    images = (f'<image name="{name}" {size}>{polygon * 30}</image>' for name in names)
    write(tmp_path, f"<annotations>{META}{''.join(images)}</annotations>")
    labelling = open_cvat(tmp_path, Dropped())
    next(images_read := iter(labelling.images))
    tracemalloc.start()
    number = sum(len(image.objects) for image in images_read)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert number == 119 * 30
    # All elements at once would take some 3 MB.
    assert most < 8e5


def test_hidden_copies_are_not_read(src: Path) -> None:
    write(src, xml(f'<polygon label="car" {SQUARE}/>'))
    write(src / ".old", xml(f'<polygon label="car" {SQUARE}/>'))
    (image,), dropped = read(src)
    assert (image.name, dropped) == ("a.jpg", [])


def test_a_size_of_many_digits_is_none(tmp_path: Path) -> None:
    """Python doesn't convert them."""
    photo(tmp_path / "frame_000000.png")
    size = f"<original_size><width>{'9' * 5000}</width><height>20</height></original_size>"
    content = f"<annotations><meta>{size}</meta>{track(at(0))}</annotations>"
    write(tmp_path, content)
    (image,), _ = read(tmp_path)
    assert len(image.objects) == 1
