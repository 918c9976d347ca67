"""A page of what is in data sets: numbers, charts and examples of each class."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from segtron.data.checks.checked_set import CheckedSet
from segtron.errors import UserError
from segtron.files import replacing, write_json
from segtron.visualization.data_statistics.charts import draw_charts, most_frequent
from segtron.visualization.data_statistics.numbers import SetStatistics, count
from segtron.visualization.mosaic import draw_mosaics
from segtron.visualization.pages import render_page
from segtron.wording import count_of

PAGE, NUMBERS = "statistics.html", "statistics.json"
_TEMPLATE = "data_statistics.html"
# Examples are shown of the most frequent classes.
MOST_CLASSES = 40
_JPEG_QUALITY = 88


@dataclass(frozen=True)
class _Picture:
    """A picture on the page: its title and its file as a `data:` address."""

    title: str
    source: str


@dataclass(frozen=True)
class _Section:
    """What the page shows of one set."""

    name: str
    facts: dict[str, str]
    charts: Sequence[_Picture]
    examples: Sequence[_Picture]


def write_statistics(folder: Path, sets: Sequence[CheckedSet]) -> Path:
    """Write `statistics.html`, which needs no other file, and `statistics.json`.

    Args:
        folder: gets them; what has their names is replaced.
        sets: those that have objects are shown.

    Returns:
        The page.

    Raises:
        UserError: no set has objects, or a file can't be written.
    """
    known = [one for one in sets if one.objects is not None and len(one.objects.image)]
    if not known:
        raise UserError(
            "no set has objects to make statistics of; mend the errors above, or leave out "
            "--statistics"
        )
    statistics = [count(one) for one in known]
    sections = [_section(one, of_set) for one, of_set in zip(known, statistics, strict=True)]
    write_json(folder / NUMBERS, {"sets": [of_set.as_json() for of_set in statistics]}, indent=1)
    page = render_page(_TEMPLATE, sections=sections)
    with replacing(folder / PAGE) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")
    return folder / PAGE


def _section(checked: CheckedSet, statistics: SetStatistics) -> _Section:
    charts = [
        _Picture(title, _address(png, "png")) for title, png in draw_charts(statistics).items()
    ]
    shown = most_frequent(statistics, MOST_CLASSES).tolist()
    mosaics = draw_mosaics(checked.objects, shown)
    examples = [
        _Picture(_caption(statistics, category), _address(_as_jpeg(mosaic), "jpeg"))
        for category, mosaic in mosaics.items()
    ]
    return _Section(statistics.name, _facts(statistics), charts, examples)


def _caption(statistics: SetStatistics, category: int) -> str:
    number, images = int(statistics.objects[category]), int(statistics.images[category])
    # Of labels, a class is one object in each image.
    objects = "" if statistics.kind == "labels" else f"{count_of(number, 'object')} "
    return f"{statistics.class_names[category]}: {objects}in {count_of(images, 'image')}"


def _facts(statistics: SetStatistics) -> dict[str, str]:
    facts = {
        "images": f"{statistics.num_images:,}",
        "classes": f"{len(statistics.class_names):,}",
    }
    if statistics.kind != "labels":
        mean = statistics.num_objects / max(statistics.num_images, 1)
        facts |= {
            "objects": f"{statistics.num_objects:,}",
            "objects an image": f"{mean:.1f}",
            "crowds": f"{statistics.crowds:,}",
            **{size: f"{number:,}" for size, number in statistics.by_size.items()},
        }
    without = statistics.per_image.get(0, 0)
    return facts | {"images without an object": f"{without:,}"}


def _as_jpeg(picture: np.ndarray) -> bytes:
    _, content = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    )
    return content.tobytes()


def _address(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
