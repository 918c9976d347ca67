"""The report page in a real browser: headless Chromium over its debugging pipe."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segtron.visualization.colors import IGNORED_COLOR
from segtron.visualization.fates import FATES, NOT_SCORED
from segtron.visualization.outlines import mask_outline
from segtron.visualization.report.layers import ImageLayers, Region, count_regions
from segtron.visualization.report.page import Gallery, GalleryImage, Report, write_report
from segtron.visualization.report.pictures import hex_color

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("CHROME_BIN") or next(filter(None, map(shutil.which, PROGRAMS)), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
OPTIONS += ("--disable-background-networking", "--disable-component-update", "--disable-sync")
ATTACK = """<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>"""
HOSTILE = (
    ATTACK,
    """</script></title>"><script>window.hacked=1</script><!--<script>""",
    """' onclick='window.hacked=1' "quoted" & &lt;b&gt; \\ / ../../etc/passwd""",
    "\u202e\u05d3\u05d2\u202c \u0633\u0645\u0643.png",
    "two\nlines\tand 🦆 {{ 7 * 7 }} ${7 * 7} %41",
    "\u2028line\u2029paragraph\x01\ud800",
)
CLASSES = ("square", ATTACK, "cost in $")


class Browser:
    """A page in Chromium, driven by the DevTools protocol (messages end with a zero byte)."""

    def __init__(self, profile: Path) -> None:
        (read_commands, write_commands), (read_answers, write_answers) = os.pipe(), os.pipe()
        # Chromium takes commands from file 3 and answers to file 4.
        redirected = f'exec "$@" 3</dev/fd/{read_commands} 4>/dev/fd/{write_answers}'
        self._process = subprocess.Popen(
            ["sh", "-c", redirected, "sh", CHROMIUM, *OPTIONS, f"--user-data-dir={profile}"]
            + ["--remote-debugging-pipe", "about:blank"],
            pass_fds=(read_commands, write_answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_commands)
        os.close(write_answers)
        self._commands, self._answers = write_commands, read_answers
        self._buffer, self._number, self._session = b"", 0, None
        self.complaints: list[Any] = []
        self.fetched: list[str] = []
        targets = self.call("Target.getTargets")["targetInfos"]
        (page,) = [target for target in targets if target["type"] == "page"]
        attached = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.resize(1200, 800)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._buffer:
                received = os.read(self._answers, 2**20)
                assert received, "Chromium has ended"
                self._buffer += received
            text, _, self._buffer = self._buffer.partition(b"\0")
            answer = json.loads(text)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            if answer.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.complaints.append(answer["params"])
            elif answer.get("method") == "Network.requestWillBeSent":
                self.fetched.append(answer["params"]["request"]["url"])

    def run(self, script: str) -> Any:
        """The value of an expression on the page."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        limit = time.monotonic() + 60
        while not self.run(condition):
            assert time.monotonic() < limit, condition
            time.sleep(0.02)

    def open(self, page: Path, fragment: str = "") -> None:
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=page.as_uri() + fragment)
        self.wait_for("document.readyState === 'complete' && typeof state === 'object'")

    def press(self, *keys: str) -> None:
        for key in keys:
            text = (
                {"text": key if key != "Enter" else "\r"} if key in "Enter" or len(key) == 1 else {}
            )
            for kind in ("keyDown", "keyUp"):
                pressed = text if kind == "keyDown" else {}
                code = {"Enter": 13, "Escape": 27}.get(key, 0)
                self.call(
                    "Input.dispatchKeyEvent",
                    **{"type": kind, "key": key, "windowsVirtualKeyCode": code, **pressed},
                )

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def prefer(self, scheme: str) -> None:
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
        os.close(self._commands)
        os.close(self._answers)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def square(x: int, y: int, side: int = 20) -> Any:
    mask = np.zeros((64, 96), bool)
    mask[y : y + side, x : x + side] = True
    return mask_outline(mask)


def region(fate: str, category: int, x: int, score: float | None = None) -> Region:
    is_category = 2 if fate == "wrong class" else None
    color = FATES.get(fate, IGNORED_COLOR)
    return Region(square(x, 20), category, color, fate, is_category, score)


# Quality in percent, and what is found, missed or invented in each image.
IMAGES = (
    (10.0, [region("missed", 0, 5)]),
    (20.0, [region("missed", 0, 5), region("missed", 1, 35), region("found", 0, 65, 0.95)]),
    (30.0, [region("invented", 1, 5, 0.9), region("invented", 1, 35, 0.3)]),
    (40.0, [region("wrong class", 0, 5, 0.6)]),
    (50.0, [region("found", 2, 5, 0.7), region(NOT_SCORED, 1, 35)]),
    (None, []),
)


def layers(number: int) -> ImageLayers:
    quality, errors = IMAGES[number]
    prediction = [r for r in errors if r.score is not None]
    truth = [r for r in errors if r.fate in ("missed", "found")]
    numbers = {"quality": quality} | {
        fate: sum(r.fate == fate for r in errors)
        for fate in ("found", "missed", "invented", "wrong class")
    }
    image = np.full((64, 96, 3), 40 * number, np.uint8)
    return ImageLayers(image, truth, prediction, errors, numbers, count_regions(errors))


def gallery(names: tuple[str, ...], data_set: str = "plain") -> Gallery:
    images = [
        GalleryImage(name, lambda i=i: layers(i % len(IMAGES))) for i, name in enumerate(names)
    ]
    return Gallery(data_set, "instances", CLASSES, 0.25, len(names), images)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scores = {"task": ATTACK, "protocol": ATTACK, "overall": {"AP": 41.5, ATTACK: None}}
    scores["classes"] = {ATTACK: {"AP": 10.0}, "best": {"AP": 90.0}, "none": {"AP": None}}
    scores["classes"] |= {"low": {"AP": 5.0, "AP50": 70.0}}
    curve = {"title": ATTACK, "lines": [{"name": ATTACK, "points": [[1, 2.0], [2, 3.0]]}]}
    best = {"F1": 50.0, "precision": 60.0, "recall": 40.0, "score": 0.5}
    analysis = {
        "confusion": {"names": [ATTACK, "b"], "absent": [1], "shares": [[0, 0, 97.5], [0, 1, 2.5]]},
        "precision_recall": [
            {
                "title": ATTACK,
                "lines": [
                    {"name": ATTACK, "points": [[0, 100.0], [60, 50.0]], "best": best},
                    {"name": "never found", "points": [], "best": best},
                ],
            }
        ],
        "error_types": [{"title": ATTACK, "AP50": 50.0, "rows": [["missed", 12.5, 7]]}],
        "sizes": [{"title": ATTACK, "rows": [["small", None, 0, 3], ["large", 40.0, 5, 6]]}],
    }
    report = Report(
        title=ATTACK,
        facts={"folder": ATTACK},
        scores=[scores],
        curves=[curve],
        analyses={ATTACK: analysis},
        galleries=[gallery(tuple("fcbade")), gallery(HOSTILE, ATTACK)],
    )
    return write_report(tmp_path_factory.mktemp("run") / "report", report)


NAMES = "state.shown.map(image => image.name)"


def names(browser: Browser) -> str:
    return "".join(browser.run(NAMES))


def shapes(browser: Browser, host: str = "#stage") -> list[str]:
    """Layer and fate of what is drawn."""
    path = "path.parentNode.classList[1] + ' ' + path.region.fate"
    return browser.run(f"[...document.querySelectorAll('{host} path')].map(path => {path})")


def test_names_are_text(browser: Browser, page: Path) -> None:
    browser.complaints.clear()
    browser.open(page, "#images")
    browser.run("showGallery(1)")
    browser.wait_for(f"document.querySelectorAll('#grid .card').length === {len(HOSTILE)}")
    shown = browser.run("[...document.querySelectorAll('#grid .name')].map(n => n.textContent)")
    assert shown == list(HOSTILE)
    options = browser.run("[...$('category').options].map(option => option.textContent)")
    assert options == ["all classes", *CLASSES]
    assert browser.run("$('gallery').options[1].textContent") == f"{ATTACK}: instances"
    for place, name in enumerate(HOSTILE):
        browser.run(f"openViewer({place})")
        assert browser.run("$('image-name').textContent") == name
        browser.wait_for("view.outlines !== null")
    assert browser.run("$('regions').textContent.includes('<img')") is False
    browser.run("openViewer(1)")
    browser.wait_for("view.outlines !== null")
    assert ATTACK in browser.run("$('regions').textContent")
    assert browser.run("document.title") == f"{ATTACK}: report"
    assert browser.run("document.querySelector('h1').textContent") == ATTACK
    # Two pictures of the viewer and the thumbnails are all that there is, and nothing ran.
    assert browser.run("[...document.images].every(i => i.src.endsWith('.thumbnail.jpg'))")
    assert browser.run("document.querySelectorAll('[onclick], [onerror]').length") == 0
    assert browser.run("window.hacked === undefined")
    assert browser.complaints == []


def test_nothing_is_fetched_from_elsewhere_and_only_the_page_s_scripts_run(
    browser: Browser, page: Path
) -> None:
    browser.fetched.clear()
    browser.open(page, "#image/1/1")
    browser.wait_for("view.outlines !== null")
    fetched = set(browser.fetched) - {"about:blank"}
    assert len(fetched) > 3 and all(url.startswith(page.parent.as_uri()) for url in fetched)
    browser.run(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x: onerror=\"window.hacked=1\">');"
        "const s = document.createElement('div'); s.innerHTML = '<a onclick=\"window.hacked=1\">';"
        "document.body.append(s); s.firstChild.click()"
    )
    assert browser.run("new Promise(r => setTimeout(() => r(window.hacked), 100))") is None


def test_images_are_sorted(browser: Browser, page: Path) -> None:
    browser.open(page, "#images")
    assert names(browser) == "fcbade"

    def sort_by(name: str) -> str:
        browser.run(f"$('sort').value = '{name}'; $('sort').onchange({{target: $('sort')}})")
        return names(browser)

    assert sort_by("name") == "abcdef"
    assert sort_by("missed") == "cfbade"
    assert sort_by("matching") == "cbfade"
    # What has no quality stays last.
    assert sort_by("quality") == "fcbade"
    browser.press("r")
    assert names(browser) == "dabcfe"


def test_qualities_are_percents(browser: Browser, page: Path) -> None:
    browser.open(page, "#images")
    shown = browser.run(
        "[...document.querySelectorAll('#grid .numbers b')].map(b => b.textContent)"
    )
    assert shown == ["10.0 %", "20.0 %", "30.0 %", "40.0 %", "50.0 %", "none"]


def test_images_are_filtered(browser: Browser, page: Path) -> None:
    browser.open(page, "#images")

    def choose(**filters: str) -> str:
        browser.press("c")
        for name, value in filters.items():
            if name == "fate":
                browser.run(f"document.querySelector('[data-fate=\"{value}\"]').click()")
            else:
                handler = "onchange" if name == "category" else "oninput"
                host = "$('score')" if name == "score" else f"$('{name}')"
                browser.run(f"{host}.{handler}({{target: {{value: '{value}'}}}})")
        return names(browser)

    assert choose(query="B") == "b"
    assert choose(category="0") == "fca"
    # One that was taken for another one counts for both.
    assert choose(category="2") == "ad"
    assert choose(fate="missed") == "fc"
    assert choose(fate="invented") == "b"
    assert choose(fate="found", category="0") == "c"
    assert choose(fate="invented", score="0.9") == "b"
    assert choose(fate="invented", score="0.95") == ""
    assert browser.run("$('nothing').hidden") is False
    # What has no score, such as a missed instance, has none that is too low.
    assert choose(score="0.8") == "fcb"
    browser.press("c")
    assert names(browser) == "fcbade"
    assert browser.run("$('count').textContent") == "6 of 6 images"


def test_folders_tell_images_of_one_name_apart(browser: Browser, tmp_path: Path) -> None:
    deep = f"{'a folder with a long name/' * 9}000002.png"
    paths = ("seq1/000001.png", "seq2/000001.png", deep)
    report = Report("folders", {}, [], [], {}, [gallery(paths)])
    browser.open(write_report(tmp_path / "report", report), "#images")
    browser.run("$('query').oninput({target: {value: 'Seq2'}})")
    assert browser.run(NAMES) == ["seq2/000001.png"]
    browser.press("c")
    # Where there is no room for all of it, the file's own name stays.
    room = "(([folder, name]) => [folder, name].map(n => n.scrollWidth > n.clientWidth))"
    assert browser.run(f"{room}(cards.get(2).querySelectorAll('.name bdi'))") == [True, False]
    browser.run("openViewer(2)")
    assert browser.run("$('image-name').textContent") == deep
    assert browser.run(f"{room}($('image-name').children)") == [True, False]


def test_layers_are_switched(browser: Browser, page: Path) -> None:
    browser.open(page, "#image/1/2")
    browser.wait_for("view.outlines !== null")
    errors = ["errors missed", "errors missed", "errors found"]
    assert shapes(browser) == errors
    browser.run("window.picture = document.querySelector('#stage image')")
    browser.press("p")
    assert shapes(browser) == ["prediction found", *errors]
    # The picture stays, and needn't be decoded again.
    assert browser.run("window.picture === document.querySelector('#stage image')")
    browser.press("e", "g", "p")
    assert shapes(browser) == ["ground_truth missed", "ground_truth missed", "ground_truth found"]
    boxes = "[...document.querySelectorAll('#toolbar [data-layer]')].map(box => box.checked)"
    assert browser.run(boxes) == [True, False, False]
    browser.press("g")
    assert shapes(browser) == []
    browser.press("Escape", "e")
    browser.wait_for("document.querySelectorAll('#grid canvas').length === 6")
    color = "[...document.querySelectorAll('#grid canvas')[0].getContext('2d').getImageData"
    color += "({}, 60, 1, 1).data]"
    scale = browser.run("document.querySelectorAll('#grid canvas')[0].width / 96")
    # Amid the missed square of the first image, and beside it.
    red, green, blue, opacity = browser.run(color.format(int(15 * scale)))
    assert red > 200 and green < 80 and blue < 80 and 40 < opacity < 110
    assert browser.run(color.format(int(50 * scale)))[3] == 0


def test_colours_are_those_of_fates_where_errors_lie_over_other_layers(
    browser: Browser, page: Path
) -> None:
    browser.open(page, "#image/1/2")
    browser.wait_for("view.outlines !== null")
    browser.press("g", "p")
    looks = (
        "Object.fromEntries(Object.keys(LAYERS).map(layer => [layer, [...$('stage')"
        ".querySelectorAll(`.${layer} path`)].map(path => ['stroke', 'fill-opacity']"
        ".map(name => path.getAttribute(name)).join(' ')).at(-1)]))"
    )
    green = hex_color(FATES["found"])
    over = {"ground_truth": "#fff 0", "prediction": "#000 0", "errors": f"{green} 0.12"}
    assert browser.run(looks) == over
    # Nor are these lines filled where the list points at a region.
    browser.run("mark(asRegion(view.outlines.errors.at(-1)))")
    filled = (
        "Object.fromEntries(Object.keys(LAYERS).map(layer => [layer, Math.max(...[...$('stage')"
        ".querySelectorAll(`.${layer} path.marked`)]"
        ".map(path => +getComputedStyle(path).fillOpacity))]))"
    )
    assert browser.run(filled) == {"ground_truth": 0, "prediction": 0, "errors": 0.8}
    # Side by side, and without errors, each has its own.
    alone = {"ground_truth": f"{green} 0.42", "prediction": f"{green} 0.42"}
    browser.press("s")
    assert browser.run(looks) == over | alone
    browser.press("s", "e")
    assert browser.run(looks) == alone


def test_predictions_below_the_score_are_not_drawn(browser: Browser, page: Path) -> None:
    browser.open(page, "#images")
    browser.run("$('score').oninput({target: {value: '0.5'}})")
    browser.run("openViewer(state.shown.findIndex(image => image.name === 'b'))")
    browser.wait_for("view.outlines !== null")
    assert shapes(browser) == ["errors invented"]
    assert browser.run("document.querySelectorAll('#regions li').length") == 1


def test_outlines_lie_on_the_picture(browser: Browser, page: Path) -> None:
    browser.open(page, "#image/1/1")
    browser.wait_for("view.outlines !== null")
    # The square's corners are at 5, 20 and 25, 40 of 96 x 64 pixels.
    box = browser.run(
        "(() => { const [i, p] = ['image', 'path']"
        ".map(name => document.querySelector(`#stage ${name}`).getBoundingClientRect());"
        "return [p.left - i.left, p.top - i.top, p.width, p.height]"
        ".map(side => side / i.width * 96); })()"
    )
    assert box == pytest.approx([5, 20, 20, 20], abs=0.6)


def hover(browser: Browser, fate: str) -> None:
    """Point at the last region of a fate."""
    x, y = browser.run(
        f"(() => {{ const path = [...$('stage').querySelectorAll('path')]"
        f".findLast(path => path.region?.fate === '{fate}');"
        "const {left, top, width, height} = path.getBoundingClientRect();"
        "return [left + width / 2, top + height / 2]; })()"
    )
    browser.mouse("mouseMoved", x, y)


def test_the_tip_goes_with_what_it_was_about(browser: Browser, page: Path) -> None:
    browser.open(page, "#image/1/2")
    for keys in (["ArrowRight"], ["e"]):
        browser.run("openViewer(1)")
        browser.wait_for("view.outlines !== null")
        hover(browser, "found")
        browser.wait_for("!tip.hidden && tip.textContent === 'square 0.95errors, found'")
        # The next image has nothing there.
        browser.press(*keys)
        assert browser.run("tip.hidden") is True


def test_the_list_counts_errors_apart_from_what_is_right(browser: Browser, page: Path) -> None:
    browser.open(page, "#images")

    def heading(image: str) -> str:
        browser.run(f"openViewer(state.shown.findIndex(image => image.name === '{image}'))")
        browser.wait_for("view.outlines !== null")
        return browser.run("document.querySelector('#regions h3').textContent")

    assert heading("c") == "2 errors, 1 found"
    assert heading("f") == "1 error"
    assert heading("d") == "0 errors, 1 found, 1 not scored"
    browser.press("e", "p")
    assert heading("d") == "Prediction: 1"


def test_images_are_walked_through_by_keys(browser: Browser, page: Path) -> None:
    browser.open(page, "#images")
    # The first arrow goes to the first card, and switching a layer loses no place.
    browser.press("ArrowRight", "p", "ArrowRight", "p", "Enter")
    assert browser.run("[$('viewer').open, $('image-name').textContent]") == [True, "c"]
    browser.press("ArrowRight", "ArrowRight")
    assert browser.run("[$('place').textContent, location.hash]") == ["4 of 6", "#image/1/4"]
    browser.press(*["ArrowRight"] * 5)
    assert browser.run("[$('image-name').textContent, $('next').disabled]") == ["e", True]
    browser.press("Escape")
    browser.wait_for("!$('viewer').open && document.activeElement.dataset.place === '5'")
    browser.press("?")
    assert browser.run("$('help').open") is True
    browser.press("Escape", "/")
    browser.press("d")
    assert browser.run("[$('help').open, document.activeElement.id]") == [False, "query"]
    assert names(browser) == "d"


def test_keys_of_the_viewer_do_nothing_in_the_grid(browser: Browser, page: Path) -> None:
    browser.open(page, "#images")
    browser.press("s", "f", "d")
    assert browser.run("[state.beside, state.fill, state.dim]") == [False, True, False]
    browser.run("openViewer(0)")
    browser.press("s", "f", "d")
    assert browser.run("[state.beside, state.fill, state.dim]") == [True, False, True]


def test_a_slider_keeps_only_its_arrows(browser: Browser, page: Path) -> None:
    browser.open(page, "#images")
    browser.run("$('score').querySelector('input').focus()")
    browser.press("p", "ArrowRight")
    assert browser.run("[state.layers.has('prediction'), state.focus]") == [True, 0]
    assert browser.run("document.activeElement.type") == "range"
    browser.press("/")
    assert browser.run("document.activeElement.id") == "query"


def test_a_row_of_the_list_switches_its_layer_on(browser: Browser, page: Path) -> None:
    browser.open(page, "#image/1/2")
    browser.wait_for("view.outlines !== null")
    browser.press("e")
    assert shapes(browser) == []
    browser.run("document.querySelector('#regions li').click()")
    assert len(shapes(browser)) == 3 and browser.run("view.zoom") > 1


def test_the_wheel_zooms_at_the_pointer_and_all_panes_together(
    browser: Browser, page: Path
) -> None:
    browser.open(page, "#image/1/2")
    browser.wait_for("view.outlines !== null")
    browser.press("g", "p", "s")
    assert browser.run("panes().length") == 3
    x, y = browser.run(
        "(() => { const box = panes()[1].querySelector('image').getBoundingClientRect();"
        "return [box.left + .25 * box.width, box.top + .5 * box.height]; })()"
    )
    point = f"Object.values(pointOn(panes()[1], {x}, {y}))"
    before = browser.run(point)
    assert before == pytest.approx([24, 32], abs=0.5)
    browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=-500)
    browser.wait_for("view.zoom > 2")
    assert browser.run(point) == pytest.approx(before, abs=0.5)
    assert browser.run("new Set(panes().map(pane => pane.getAttribute('viewBox'))).size") == 1
    browser.mouse("mousePressed", x, y, button="left", clickCount=1)
    browser.mouse("mouseMoved", x - 30, y, button="left", buttons=1)
    browser.mouse("mouseReleased", x - 30, y, button="left", clickCount=1)
    assert browser.run(f"Object.values(pointOn(panes()[1], {x - 30}, {y}))") == pytest.approx(
        before, abs=0.5
    )
    browser.press("0")
    assert browser.run("view.zoom") == 1


def test_classes_are_sorted_by_their_bars(browser: Browser, page: Path) -> None:
    browser.open(page)
    rows = "[...document.querySelectorAll('.classes tbody th')].map(row => row.textContent)"
    assert browser.run(rows) == ["low", ATTACK, "best", "none"]
    browser.run("document.querySelectorAll('.classes thead button')[1].click()")
    assert browser.run(rows) == ["best", ATTACK, "low", "none"]
    lengths = "[...document.querySelectorAll('.classes td:nth-child(2) .length')]"
    assert browser.run(f"{lengths}.map(bar => bar.style.width)") == ["90%", "10%", "5%", "0%"]
    # Of AP50 three classes say nothing.
    for _ in range(2):
        browser.run("document.querySelectorAll('.classes thead button')[2].click()")
        assert browser.run(rows)[0] == "low"
    # A curve, precision and recall, error types, sizes, the confusion matrix.
    assert browser.run("document.querySelectorAll('#charts figure').length") == 5
    matrix = browser.run("document.querySelector('.matrix').closest('figure').innerText")
    assert matrix.startswith("Confusion matrix\n\nPixels of each class (rows)")
    assert browser.run("window.hacked === undefined")


def test_the_main_score_s_column_comes_first(browser: Browser, tmp_path: Path) -> None:
    # In metrics.json names are in the alphabet's order.
    classes = {"a": {"ACC": 1.0, "IoU": 2.0}, "b": {"ACC": 2.0, "IoU": 1.0}}
    score = {"task": "sem_seg", "protocol": "", "overall": {"mIoU": 1.5}, "classes": classes}
    report = Report("main", {}, [score], [], {}, [gallery(("a",))])
    browser.open(write_report(tmp_path / "report", report))
    heads = "[...document.querySelectorAll('.classes thead th')]"
    assert browser.run(f"{heads}.map(th => th.textContent)") == ["class", "IoU", "ACC"]
    rows = "[...document.querySelectorAll('.classes tbody th')].map(row => row.textContent)"
    assert browser.run(rows) == ["b", "a"]
    # All of the heading sorts, not only its words.
    corner = f"(box => [box.right - 3, box.top + 3])({heads}[2].getBoundingClientRect())"
    x, y = browser.run(corner)
    for kind in ("mousePressed", "mouseReleased"):
        browser.mouse(kind, x, y, button="left", clickCount=1)
    assert browser.run(rows) == ["a", "b"]


def test_a_long_table_ends_amid_a_row(browser: Browser, tmp_path: Path) -> None:
    def cut_row(count: int) -> list[float]:
        """The place of the first row that can't be seen whole, and the part that can."""
        classes = {f"{i:02d}": {"AP": float(i)} for i in range(count)}
        score = {"task": "segm", "protocol": "", "overall": {"AP": 1.0}, "classes": classes}
        report = Report("long", {}, [score], [], {}, [gallery(("a",))])
        browser.open(write_report(tmp_path / f"report {count}", report))
        return browser.run(
            "(() => { const {bottom} = document.querySelector('.scroll').getBoundingClientRect();"
            "const boxes = [...document.querySelectorAll('.classes tbody tr')]"
            ".map(row => row.getBoundingClientRect());"
            "const at = boxes.findIndex(box => box.bottom > bottom + 1);"
            "return at < 0 ? [] : [at, (bottom - boxes[at].top) / boxes[at].height]; })()"
        )

    assert cut_row(19) == []
    assert cut_row(40) == [20, pytest.approx(0.5, abs=0.25)]


def test_bars_of_scores_end_at_100(browser: Browser, page: Path) -> None:
    browser.open(page)
    lengths = "[...document.querySelectorAll('.bars .length')].map(bar => bar.style.width)"
    # Of error types, the longest fills the row.
    assert browser.run(lengths) == ["100%", "0%", "40%"]


def test_charts_of_a_kind_lie_side_by_side(browser: Browser, tmp_path: Path) -> None:
    curve = {"name": "a", "points": [[1, 2.0], [2, 3.0]]}
    curves = [{"title": title, "lines": [curve]} for title in "xyz"]
    best = {"F1": 50.0, "precision": 60.0, "recall": 40.0, "score": 0.5}
    line = {"name": "a", "points": [[0, 100.0], [60, 50.0]], "best": best}
    pairs = [{"title": title, "lines": [line]} for title in ("bbox", "segm")]
    report = Report("pairs", {}, [], curves, {"a": {"precision_recall": pairs}}, [gallery(("a",))])
    browser.open(write_report(tmp_path / "report", report))
    boxes = browser.run(
        "[...document.querySelectorAll('#charts figure')].map(f => f.getBoundingClientRect())"
        ".map(({left, top}) => [left, top])"
    )
    (left, top), (next_left, next_top) = boxes[3:]
    assert top == next_top and left < next_left


def told_at(browser: Browser, chart: int) -> str:
    """What is told below the pointer, amid a chart."""
    browser.run(
        f"(() => {{ const chart = document.querySelectorAll('#charts svg')[{chart}];"
        "const {left, width} = chart.getBoundingClientRect();"
        "chart.dispatchEvent(new PointerEvent('pointermove', {clientX: left + width / 2})); })()"
    )
    return browser.run("$('tip').textContent")


def test_a_class_that_was_never_found_has_no_points(browser: Browser, page: Path) -> None:
    browser.complaints.clear()
    browser.open(page)
    assert "never found" in browser.run("document.querySelectorAll('#charts figure')[1].innerText")
    assert told_at(browser, 1) == f"recall, % 46{ATTACK} 50"
    assert browser.complaints == []


def test_charts_take_more_points_than_a_function_takes_arguments(
    browser: Browser, tmp_path: Path
) -> None:
    points = [[i, i % 7 + 1.0] for i in range(200_000)]
    curves = [
        {"title": title, "lines": [{"name": "class", "points": points}]}
        for title in ("Losses", "Mean IoU")
    ]
    report = Report("many", {}, [], curves, {}, [gallery(("a",))])
    browser.complaints.clear()
    browser.open(write_report(tmp_path / "report", report))
    assert "NaN" not in browser.run("$('charts').innerHTML")
    assert told_at(browser, 1).startswith("iteration ")
    assert browser.complaints == []


def test_a_part_that_fails_does_not_take_the_others_along(browser: Browser, tmp_path: Path) -> None:
    curves = [{"title": "not as described", "lines": [{"name": "a", "points": []}]}]
    report = Report("broken", {}, [], curves, {}, [gallery(("a", "b"))])
    browser.complaints.clear()
    browser.open(write_report(tmp_path / "report", report), "#image/1/2")
    assert browser.run("[$('viewer').open, $('image-name').textContent]") == [True, "b"]
    browser.press("ArrowLeft")
    assert browser.run("$('image-name').textContent") == "a"
    assert len(browser.complaints) == 1
    browser.complaints.clear()


def test_a_name_takes_the_free_room_of_the_bar(browser: Browser, tmp_path: Path) -> None:
    name = f"{'a' * 29}/{'b' * 20}.png"
    report = Report("wide", {}, [], [], {}, [gallery((name,))])
    browser.resize(1400, 700)
    try:
        browser.open(write_report(tmp_path / "report", report), "#image/1/1")
        cut = "[...$('image-name').children].some(part => part.scrollWidth > part.clientWidth)"
        assert browser.run(cut) is False
        # In one line with the buttons.
        assert browser.run("document.querySelector('#viewer .bar').clientHeight") < 60
    finally:
        browser.resize(1200, 800)


@pytest.mark.parametrize("tab", ["scores", "images"])
def test_the_header_covers_nothing_of_a_tab(browser: Browser, tmp_path: Path, tab: str) -> None:
    curve = {"title": "x", "lines": [{"name": "a", "points": [[1, 2.0], [2, 3.0]]}]}
    report = Report("tall", {"a": "b"}, [], [curve] * 6, {}, [gallery(tuple("abcdef") * 5)])
    browser.resize(800, 600)
    try:
        browser.open(write_report(tmp_path / "report", report), f"#{tab}")
        browser.wait_for("document.documentElement.scrollHeight > innerHeight + 200")
        browser.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        below = "document.querySelector('header').getBoundingClientRect().bottom"
        first = {"scores": "$('facts')", "images": "$('grid')"}[tab]
        limit = {"scores": below, "images": "$('toolbar').getBoundingClientRect().bottom"}[tab]
        assert browser.run(f"{first}.getBoundingClientRect().top - {limit}") >= 0
    finally:
        browser.resize(1200, 800)


def test_keys_do_not_touch_what_they_do(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.press("?")
    gaps = browser.run(
        "[...document.querySelectorAll('#keys div')].map(row => [...row.querySelectorAll('kbd,dd')]"
        ".map(part => part.getBoundingClientRect())).map(([key, text]) => text.left - key.right)"
    )
    assert min(gaps) > 8
    browser.press("Escape")


@pytest.mark.parametrize("width", [320, 390, 1200])
def test_it_fits_the_screen(browser: Browser, page: Path, width: int) -> None:
    browser.resize(width, 700)
    try:
        browser.open(page)
        overhang = "document.documentElement.scrollWidth - innerWidth"
        assert browser.run(overhang) <= 0
        browser.run("showTab('images')")
        assert browser.run(overhang) <= 0
        browser.run("openViewer(1)")
        assert browser.run("$('viewer').scrollWidth - $('viewer').clientWidth") <= 0
        assert browser.run("$('stage').clientHeight") > 200
    finally:
        browser.resize(1200, 800)


def test_it_is_light_or_dark(browser: Browser, page: Path) -> None:
    browser.open(page)
    color = "getComputedStyle(document.body).backgroundColor"
    try:
        browser.prefer("dark")
        dark = browser.run(color)
        browser.prefer("light")
        light = browser.run(color)
        assert light == "rgb(245, 246, 248)" and dark == "rgb(20, 22, 27)"
        browser.press("t", "t")
        assert browser.run(color) == dark
        browser.press("t")
        assert browser.run(color) == light
    finally:
        browser.prefer("light")


def test_of_many_images_only_those_on_the_screen_exist(
    browser: Browser, page: Path, tmp_path: Path
) -> None:
    # The pictures are missing, which is what the page must bear as well.
    before, content, after = page.read_text().partition('id="content">')
    text, end, rest = after.partition("</script>")
    report = json.loads(text)
    (first, *_) = report["galleries"][0]["images"]
    report["galleries"] = [
        report["galleries"][0] | {"images": [first | {"name": f"{i:05d}"} for i in range(5000)]}
    ]
    many = tmp_path / "many.html"
    many.write_text(before + content + json.dumps(report).replace("<", r"\u003c") + end + rest)
    browser.open(many, "#images")
    count = "document.querySelectorAll('#grid .card').length"
    browser.wait_for(f"{count} > 0")
    assert browser.run(count) < 100
    browser.run("scrollTo(0, document.documentElement.scrollHeight)")
    last = (
        "[...document.querySelectorAll('#grid .name')].some(name => name.textContent === '04999')"
    )
    browser.wait_for(last)
    assert browser.run(count) < 100
    browser.run("$('query').oninput({target: {value: '0123'}})")
    assert browser.run("state.shown.length") == 10 + 1
    assert browser.run(count) == 11


@pytest.mark.parametrize("width", [700, 1200, 1800])
def test_rows_of_charts_have_no_gap(browser: Browser, page: Path, width: int) -> None:
    """However many charts are in the last one."""
    browser.resize(width, 900)
    browser.open(page)
    rows = browser.run(
        "(() => { const host = document.querySelector('#charts .columns');"
        " const one = host.firstElementChild, rows = [];"
        " for (let count = 1; count <= 5; count++) {"
        "  host.replaceChildren(...Array.from({length: count}, () => one.cloneNode(true)));"
        "  const box = host.getBoundingClientRect();"
        "  const last = host.lastElementChild.getBoundingClientRect();"
        "  const chart = host.lastElementChild.querySelector('svg').getBoundingClientRect();"
        "  rows.push([box.right - last.right, chart.width]); }"
        " return rows; })()"
    )
    browser.resize(1200, 800)
    assert len(rows) == 5
    for gap, chart in rows:
        assert abs(gap) < 1
        assert chart <= 704  # 44rem
