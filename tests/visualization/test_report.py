from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from segtron.config import load_config
from segtron.visualization.report import Report, ReportImage, ReportPicture, write_report
from segtron.visualization.results import visualize_results

VOID_ELEMENTS = {"meta", "img", "link", "br"}


class Page(HTMLParser):
    """What is on a page: elements with their attributes, and text; every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.open = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data.strip())

    def attributes(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


HOSTILE = """<script>alert("1")</script> & ' " {{ 7 * 7 }} #?%41 <img src=x onerror=alert(1)>"""


def test_names_are_data(tmp_path):
    picture = ReportPicture(HOSTILE, f"panels/{HOSTILE}.jpg", 30, 20)
    image = ReportImage(HOSTILE, {HOSTILE: HOSTILE}, f"{HOSTILE}.png", [picture])
    report = Report(HOSTILE, HOSTILE, [HOSTILE], 5, [image])
    page = Page(write_report(tmp_path, report).read_text(encoding="utf-8"))
    assert "script" not in {tag for tag, _ in page.elements}
    (shown,) = page.attributes("img")
    assert unquote(shown["src"]) == f"panels/{HOSTILE}.jpg"
    assert set(shown) == {"src", "width", "height", "loading", "alt"}
    assert shown["alt"] == f"{HOSTILE}, {HOSTILE}"
    assert page.texts.count(HOSTILE) == 5
    assert not {'"', "'", "<", "#", "?"} & set(shown["src"])
    assert not [key for _, given in page.elements for key in given if key.startswith("on")]


def test_names_of_files_may_be_no_text(tmp_path):
    name = b"\xff\xe4.jpg".decode("utf-8", "surrogateescape")
    picture = ReportPicture("image", f"panels/{name}", 30, 20)
    report = Report("set", "classes", [], 1, [ReportImage(name, {}, name, [picture])])
    page = Page(write_report(tmp_path, report).read_text(encoding="utf-8"))
    assert page.attributes("img")[0]["src"] == "panels/%FF%E4.jpg"


@pytest.mark.parametrize(("num_images", "said"), [(1, "All 1 images"), (7, "The worst 1 of 7")])
def test_the_page_says_how_much_it_shows(tmp_path, num_images, said):
    report = Report("set", "classes", [], num_images, [ReportImage("a.png", {}, "a.png", [])])
    assert said in write_report(tmp_path, report).read_text()


def test_the_page_of_a_run_shows_what_lies_beside_it(panoptic_run):
    (panoptic_run / "metrics.json").write_text(
        '{"iteration": 1, "town/panoptic_seg/PQ": 51.23, "other/panoptic_seg/PQ": 1.0}\n'
    )
    cfg = load_config(panoptic_run / "config.yaml")
    (folder,) = visualize_results(cfg, panoptic_run, number=2, min_score=0.5)
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert page.texts.count("town: panoptic") == 2  # title and heading
    assert [text for text in page.texts if "PQ 51.2" in text]
    assert not [text for text in page.texts if "other/" in text]
    images = page.attributes("img")
    assert len(images) == 8
    assert {image["loading"] for image in images} == {"lazy"}
    links = [image["src"] for image in images] + [a["href"] for a in page.attributes("a")]
    for link in links:
        assert (folder / unquote(link)).is_file()
    # The worst first.
    assert images[0]["src"].startswith("panels/001_") and images[4]["src"].startswith("panels/002_")
    text = " ".join(page.texts)
    for fact in ("PQ 38.0 %", "found 2", "missed 1", "invented 1", "wrong class 1", "poor mask 1"):
        assert fact in text
    # Nothing is fetched from anywhere.
    style = (folder / "report.html").read_text()
    assert "://" not in style and "url(" not in style and not page.attributes("link")
    assert "prefers-color-scheme: dark" in style
