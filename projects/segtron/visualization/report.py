"""A page that shows a run's results on a data set, image by image."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from segtron.files import replacing

REPORT_FILE = "report.html"
_ENVIRONMENT = Environment(
    loader=PackageLoader("segtron.visualization"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
# Names of files may have any bytes.
_ENVIRONMENT.filters["url"] = lambda path: quote(os.fsencode(path))


@dataclass(frozen=True)
class ReportPicture:
    """A picture on the page.

    Attributes:
        title: stands above it.
        path: of the file, relative to the page.
        width: in pixels.
        height: in pixels.
    """

    title: str
    path: str
    width: int
    height: int


@dataclass(frozen=True)
class ReportImage:
    """What the page shows of one image.

    Attributes:
        name: of the image.
        facts: what there is to say about it, by short names.
        sheet: file with all pictures together, relative to the page.
        pictures: stand side by side.
    """

    name: str
    facts: Mapping[str, str]
    sheet: str
    pictures: Sequence[ReportPicture]


@dataclass(frozen=True)
class Report:
    """A page.

    Attributes:
        data_set: its name.
        kind: what of the predictions is shown.
        scores: a line for each score of the last evaluation.
        num_images: how many images the data set has.
        images: those that are shown, the worst first.
    """

    data_set: str
    kind: str
    scores: Sequence[str]
    num_images: int
    images: Sequence[ReportImage]


def write_report(folder: Path, report: Report) -> Path:
    """Write a page beside the pictures that it shows.

    It needs no other files, no scripts and no network.

    Args:
        folder: gets `REPORT_FILE`.
        report: what is on it. Names may have any characters.

    Returns:
        The page.

    Raises:
        UserError: the file can't be written.
    """
    page = _ENVIRONMENT.get_template(REPORT_FILE).render(report=report)
    path = folder / REPORT_FILE
    with replacing(path) as temporary:
        # What is no text in the name of a file becomes question marks.
        temporary.write_text(page, encoding="utf-8", errors="replace")
    return path
