"""Numbers of a set by hand, charts, mosaics and the page."""

from __future__ import annotations

import base64
import io
import json
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from segtron.data.checks.checked_set import CheckedSet, Objects
from segtron.errors import UserError
from segtron.visualization.data_statistics.charts import draw_charts, most_frequent
from segtron.visualization.data_statistics.numbers import count
from segtron.visualization.data_statistics.page import write_statistics
from segtron.visualization.mosaic import TILE, choose_examples, draw_mosaics, draw_tile

HOSTILE = """<script>alert("1")</script> & ' " {{ 7 * 7 }} #?%41 <img src=x onerror=alert(1)>"""
HEIGHT, WIDTH = 60, 80


class Page(HTMLParser):
    """The elements of a page with their attributes, and its texts."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data.strip())

    def attributes(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


class Squares:
    """Masks that fill their boxes."""

    def __init__(self, boxes):
        self.boxes = boxes

    def read(self, row):
        x0, y0, x1, y1 = self.boxes[row].astype(int)
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[y0:y1, x0:x1] = True
        return mask


def make_set(rows, names=("dog", "cat"), num_images=3, paths=None, kind="instances"):
    """A set with objects (image, class, box, is_crowd) that fill their boxes."""
    image, category, boxes, crowd = zip(*rows, strict=True) if rows else ((), (), (), ())
    boxes = np.array(boxes, np.float64).reshape(-1, 4)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    objects = Objects(
        np.array(image, np.int64),
        np.array(category, np.int64),
        areas,
        boxes,
        np.array(crowd, bool),
        list(names),
        np.array([[HEIGHT, WIDTH]] * num_images),
        paths or [None] * num_images,
        Squares(boxes),
    )
    return CheckedSet("mine", kind, "", objects=objects)


ROWS = [
    (0, 0, [0, 0, 10, 10], False),
    (0, 0, [10, 10, 42, 42], False),  # 32 x 32 is medium
    (0, 1, [0, 0, 80, 20], True),
    (1, 0, [0, 0, 40, 20], False),
]


def test_numbers():
    numbers = count(make_set(ROWS))
    assert numbers.objects.tolist() == [3, 1] and numbers.images.tolist() == [2, 1]
    assert numbers.pixels.tolist() == [100 + 1024 + 800, 1600]
    assert numbers.by_size == {"small": 2, "medium": 2, "large": 0}
    assert numbers.per_image == {3: 1, 1: 1, 0: 1}
    assert numbers.together.tolist() == [[2, 1], [1, 1]]
    assert numbers.image_sizes == {(WIDTH, HEIGHT): 3} and numbers.crowds == 1
    areas = dict(zip([2.0**i for i in range(26)], numbers.areas, strict=True))
    assert {edge for edge, n in areas.items() if n} == {64, 512, 1024}
    assert areas[1024] == 2
    aspects = numbers.aspects.tolist()
    # 1:1 in the middle, then 2:1 and 4:1 two and four bars on.
    assert aspects[10] == 2 and aspects[12] == 1 and aspects[14] == 1 and sum(aspects) == 4
    content = json.loads(json.dumps(numbers.as_json()))
    assert content["classes"][1] == {"name": "cat", "objects": 1, "images": 1, "pixels": 1600}


def test_objects_of_every_size_are_in_the_histograms():
    rows = [(0, 0, [0, 0, 0.5, 0.5], False), (0, 0, [0, 0, 1e5, 1], False)]
    rows += [(0, 0, [0, 0, 1e6, 1e6], False), (0, 1, [5, 5, 5, 9], False)]
    numbers = count(make_set(rows))
    assert numbers.areas.sum() == 4 and numbers.aspects.sum() == 3


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        (ROWS, ("dog", "cat")),
        (ROWS[:1], ("$x^", "no object")),
        (ROWS, ["dog", "cat"] + [f"class {i}" for i in range(200)]),
        (
            [(i % 3, i, [0, 0, 5, 9], False) for i in range(60)],
            [f"{'long ' * 9}{i}" for i in range(60)],
        ),
        ([(0, 0, [0, 0, 5, 9], False)] * 700, ["nucleus"]),
    ],
)  # fmt: skip
def test_charts_of_few_and_many_classes(rows, names):
    charts = draw_charts(count(make_set(rows, names)))
    assert ("classes that come together" in charts) == (len(names) > 1)
    for png in charts.values():
        picture = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
        assert min(picture.shape) > 200 and picture.std() > 5


def test_the_most_frequent_classes():
    rows = [(0, c, [0, 0, 5, 5], False) for c in (2, 2, 0, 3, 3, 3)]
    numbers = count(make_set(rows, "abcd"))
    assert most_frequent(numbers, 9).tolist() == [3, 2, 0]
    assert most_frequent(numbers, 2).tolist() == [3, 2]


def test_examples_are_spread_over_sizes_and_no_crowds():
    rows = [(0, 0, [0, 0, n + 1, 10], False) for n in range(50)]
    rows += [(0, 0, [0, 0, 70, 50], True), (0, 1, [0, 0, 9, 9], True)]
    objects = make_set(rows).objects
    assert choose_examples(objects, 0, 8) == [0, 7, 14, 21, 28, 35, 42, 49]
    assert choose_examples(objects, 1, 8) == [51]
    assert choose_examples(make_set(ROWS[:1]).objects, 1, 8) == []


@pytest.mark.parametrize("side", [3, 12, 40, 400, 3000])
def test_a_tile_shows_the_object_in_its_middle(side):
    start = side + 10
    picture = np.full((start * 2 + side,) * 2 + (3,), 200, np.uint8)
    mask = np.zeros(picture.shape[:2], bool)
    mask[start : start + side, start : start + side] = True
    tile = draw_tile(picture, mask, (1.0, 0.0, 0.0)).astype(int)
    assert tile.shape == (TILE, TILE, 3)
    # Bright inside, dim around, a red line between.
    assert tile[TILE // 2, TILE // 2].tolist() == [200] * 3
    half = side / 2 + max(0.2 * side, 6)
    edge = TILE / 2 * (1 - side / 2 / half)
    line = np.flatnonzero(tile[TILE // 2, :, 0] > tile[TILE // 2, :, 1] + 60)
    assert abs(line.min() - edge) <= 2.5 and abs(line.max() - (TILE - edge)) <= 2.5


def test_a_tile_of_a_picture_that_is_much_longer_than_high():
    mask = np.zeros((60, 12000), bool)
    mask[:, 100:11900] = True
    tile = draw_tile(np.full((60, 12000, 3), 200, np.uint8), mask, (1.0, 0.0, 0.0))
    assert (tile.max(axis=(0, 2)) > 0).mean() > 0.8  # it reaches from side to side


def test_a_tile_stays_in_its_image_as_far_as_it_goes():
    picture = np.full((30, 60, 3), 200, np.uint8)
    mask = np.zeros((30, 60), bool)
    mask[:10, :10] = True
    # 22 x 22 pixels from the corner; the object takes 10 of them.
    tile = draw_tile(picture, mask, (1.0, 0.0, 0.0)).astype(int)
    assert (tile[5:-5, 5:-5].sum(axis=2) > 100).all()
    bright = (tile == 200).all(axis=2)
    # Less what is mixed with the outline and the border.
    assert abs(bright[TILE // 4].sum() - TILE * 10 / 22) <= 7
    # All of the image, above and below it nothing.
    tile = draw_tile(picture, np.ones((30, 60), bool), (1.0, 0.0, 0.0)).astype(int)
    assert tile[TILE // 2, TILE // 2].tolist() == [200] * 3 and tile[4].sum() == 0


def test_mosaics_leave_out_what_cannot_be_read(tmp_path):
    rng = np.random.default_rng(0)
    for name, size in (("a.png", (HEIGHT, WIDTH)), ("other size.png", (30, 40))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(tmp_path / name)
    paths = [tmp_path / "a.png", tmp_path / "other size.png", None]
    rows = [*ROWS, (2, 1, [0, 0, 9, 9], False)]
    mosaics = draw_mosaics(make_set(rows, paths=paths).objects, [0, 1])
    # Of the first class two squares are in a.png; the second has but its crowd there, and an
    # object that comes before it in an image without a file.
    assert mosaics[0].shape == (TILE, 2 * TILE + 4, 3)
    assert set(mosaics) == {0}


def test_masks_of_a_size_that_is_not_the_pictures_are_not_drawn(tmp_path):
    # Drawing one of 10^12 pixels would end the program.
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "a.png")
    objects = make_set(ROWS[:1], paths=[tmp_path / "a.png", None, None]).objects
    objects.sizes[0] = 10**6

    def read(row):
        raise AssertionError

    objects.masks.read = read
    assert draw_mosaics(objects, [0]) == {}


def test_the_page_needs_no_other_file(tmp_path):
    Image.new("RGB", (WIDTH, HEIGHT), (9, 99, 200)).save(tmp_path / "a.png")
    sets = [make_set(ROWS, (HOSTILE, "cat"), paths=[tmp_path / "a.png", None, None])]
    sets += [CheckedSet("not readable", "instances", "val"), make_set([])]
    sets[0].name = HOSTILE
    path = write_statistics(tmp_path / "pages", sets)
    page = Page(path.read_text(encoding="utf-8"))
    assert {p.name for p in (tmp_path / "pages").iterdir()} == {
        "statistics.html",
        "statistics.json",
    }
    assert "script" not in {tag for tag, _ in page.elements} and "{{" in HOSTILE
    images = page.attributes("img")
    assert len(images) == 6 + 2
    for image in images:
        kind, _, content = image["src"].partition(";base64,")
        with Image.open(io.BytesIO(base64.b64decode(content))) as picture:
            assert kind == f"data:image/{picture.format.lower()}"
    assert "://" not in path.read_text() and "url(" not in path.read_text()
    (of_set,) = json.loads((tmp_path / "pages" / "statistics.json").read_text())["sets"]
    assert of_set["name"] == HOSTILE and of_set["objects"] == 4


def test_labels_have_no_shapes(tmp_path):
    of_labels = make_set(ROWS, kind="labels")
    charts = draw_charts(count(of_labels))
    assert "aspect ratios of objects" not in charts and "sizes of objects" not in charts
    page = Page(write_statistics(tmp_path, [of_labels]).read_text(encoding="utf-8"))
    assert "crowds" not in page.texts


def test_no_objects_at_all(tmp_path):
    with pytest.raises(UserError, match="no set has objects"):
        write_statistics(tmp_path, [make_set([])])
