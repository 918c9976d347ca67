from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segtron.config import load_config
from segtron.errors import UnreadableFileError, UserError
from segtron.visualization.report.layers import ImageLayers
from segtron.visualization.report.page import Gallery, GalleryImage, Report, write_report
from segtron.visualization.results import visualize_results

HOSTILE = (
    """</script><!--<script>alert("1")</script> & ' " {{ 7 * 7 }} <img src=x onerror=alert(1)>"""
)


class Page(HTMLParser):
    """The elements of a page, with their attributes and text."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.elements, self.texts = [], []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.texts.append("")

    def handle_data(self, data):
        if self.texts:
            self.texts[-1] += data

    @property
    def content(self):
        places = [i for i, (_, given) in enumerate(self.elements) if given.get("id") == "content"]
        (place,) = places
        assert self.elements[place][1]["type"] == "application/json"
        return json.loads(self.texts[place])


def report(*galleries: Gallery, title: str = "run", **parts) -> Report:
    empty = {"facts": {}, "scores": [], "curves": [], "analyses": {}}
    return Report(title=title, galleries=galleries, **empty | parts)


def gallery(*names: str, data_set: str = "set", size=(20, 30)) -> Gallery:
    layers = ImageLayers(np.zeros((*size, 3), np.uint8), [], [], [], {"PQ": None}, {})
    images = [GalleryImage(name, lambda: layers) for name in names]
    return Gallery(data_set, "panoptic", [HOSTILE], None, 9, images)


def test_names_are_data(tmp_path: Path) -> None:
    hostile = report(gallery(HOSTILE, data_set=HOSTILE), title=HOSTILE, facts={HOSTILE: HOSTILE})
    path = write_report(tmp_path / "report", hostile)
    page = Page(path)
    plain = Page(write_report(tmp_path / "plain", report(gallery("a"))))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    content = page.content
    assert content["title"] == HOSTILE and content["facts"] == {HOSTILE: HOSTILE}
    (shown,) = content["galleries"]
    assert shown["images"][0]["name"] == shown["data_set"] == shown["classes"][0] == HOSTILE
    # Files have numbers for names.
    assert sorted(p.name for p in (tmp_path / "report" / "pictures" / "1").iterdir()) == [
        "000000.jpg",
        "000000.js",
        "000000.thumbnail.jpg",
    ]


def test_names_of_files_may_be_no_text(tmp_path: Path) -> None:
    name = b"\xff\xe4.jpg".decode("utf-8", "surrogateescape")
    page = Page(write_report(tmp_path / "report", report(gallery(name), title=name)))
    assert page.content["galleries"][0]["images"][0]["name"] == name


def test_only_scripts_of_the_page_may_run(tmp_path: Path) -> None:
    pages = [Page(write_report(tmp_path / name, report())) for name in "ab"]
    nonces = set()
    for page in pages:
        (policy,) = [a["content"] for _, a in page.elements if "http-equiv" in a]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        (nonce,) = set(re.findall(r"'nonce-([^']+)'", policy))
        scripts = [a for tag, a in page.elements if tag in ("script", "style") and "id" not in a]
        assert {a["nonce"] for a in scripts} == {nonce}
        nonces.add(nonce)
        assert not [a for _, a in page.elements if "src" in a or "href" in a]
    assert len(nonces) == 2


def test_large_pictures_are_shrunk_and_small_ones_kept(tmp_path: Path) -> None:
    large = gallery("a", size=(1000, 4000))
    page = Page(write_report(tmp_path / "report", report(gallery("b"), large)))
    sizes = [g["images"][0]["size"] for g in page.content["galleries"]]
    assert sizes == [[30, 20], [1280, 320]]
    for number, size in enumerate(sizes, start=1):
        folder = tmp_path / "report" / "pictures" / str(number)
        with Image.open(folder / "000000.jpg") as picture:
            assert list(picture.size) == size
        with Image.open(folder / "000000.thumbnail.jpg") as picture:
            assert max(picture.size) == min(384, max(size))


def test_somebody_else_s_folder_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    write_report(folder, report())
    write_report(folder, report(title="again"))
    (folder / "report.html").rename(folder / "mine.html")
    with pytest.raises(UserError, match="is no report and would be overwritten"):
        write_report(folder, report())
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="would be overwritten"):
        write_report(tmp_path / "file", report())
    assert (tmp_path / "file").read_text() == "mine"


def test_an_image_that_cannot_be_read_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> ImageLayers:
        raise UnreadableFileError("b.png is broken; replace it")

    good = gallery("a.png", "c.png")
    first, last = good.images
    images = [first, GalleryImage("seq/b.png", fail), last]
    page = write_report(tmp_path / "report", report(replace(good, images=images)))
    assert "seq/b.png is left out of the report: b.png is broken" in caplog.text
    shown = Page(page).content["galleries"][0]["images"]
    assert [image["name"] for image in shown] == ["a.png", "c.png"]
    for image in shown:
        assert (page.parent / "pictures" / "1" / f"{image['stem']}.thumbnail.jpg").is_file()


def test_a_failure_leaves_the_older_report(tmp_path: Path) -> None:
    page = write_report(tmp_path / "report", report(title="older"))

    def fail() -> ImageLayers:
        raise UnreadableFileError("a.png is broken; replace it")

    broken = Gallery("set", "panoptic", [], None, 1, [GalleryImage("a.png", fail)])
    with pytest.raises(UserError, match="broken"):
        write_report(tmp_path / "report", report(broken))
    assert Page(page).content["title"] == "older"
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


@pytest.mark.parametrize(("number", "shown"), [(1, 1), (None, 2)])
def test_the_page_of_a_run(panoptic_run: Path, number: int | None, shown: int) -> None:
    (panoptic_run / "metrics.json").write_text('{"iteration": 1, "panoptic_seg/PQ": 51.23}\n')
    cfg = load_config(panoptic_run / "config.yaml")
    visualize_results(cfg, panoptic_run, number=number, min_score=0.5)
    content = Page(panoptic_run / "report" / "report.html").content
    assert content["title"] == "panoptic_run"
    assert content["scores"][0]["overall"] == {"PQ": 51.23}
    (town,) = content["galleries"]
    assert (town["data_set"], town["kind"], town["total"]) == ("town", "panoptic", 2)
    assert town["classes"] == ["car", "bus & $", "road"]
    # The worst first.
    assert [image["name"] for image in town["images"]] == ["a.png", "b.png"][:shown]
    assert town["images"][0]["numbers"]["PQ"] == pytest.approx(38, abs=0.1)
    assert [1, 0, "wrong class", 1, 0.8] in town["images"][0]["tallies"]
    script = (panoptic_run / "report" / town["folder"] / "000000.js").read_text()
    key, outlines = re.fullmatch(r'addOutlines\("([^"]+)",(.*)\)\n', script).groups()
    assert key == "1/000000"
    outlines = json.loads(outlines)
    # The errors refer to the outlines of the ground truth and of the prediction.
    used = {entry[0] for layer in ("ground_truth", "prediction") for entry in outlines[layer]}
    assert used == set(range(len(outlines["paths"])))
    assert {entry[0] for entry in outlines["errors"]} <= used
