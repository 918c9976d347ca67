"""One page that shows how good a run is: its scores, and its images with what is wrong on them."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtron.errors import UnreadableFileError, UserError
from segtron.files import replacing_folder
from segtron.visualization.fates import FATES
from segtron.visualization.pages import render_page
from segtron.visualization.report.layers import ImageLayers
from segtron.visualization.report.pictures import hex_color, write_images

logger = logging.getLogger(__name__)

REPORT_FOLDER = "report"
REPORT_FILE = "report.html"
# Of the galleries, numbered from 1.
PICTURES_FOLDER = "pictures"


@dataclass(frozen=True)
class GalleryImage:
    """An image of a gallery.

    Attributes:
        name: for people; any characters.
        read: reads and outlines it; raises UnreadableFileError if a file of it is broken.
    """

    name: str
    read: Callable[[], ImageLayers]


@dataclass(frozen=True)
class Gallery:
    """The images of one data set with one kind of predictions.

    Attributes:
        data_set: its name.
        kind: what of the predictions is shown.
        classes: names of the classes that regions refer to.
        min_score: predicted instances below it were left out; None where all is shown.
        total: how many images the data set has.
        images: those that are shown, the worst first.
    """

    data_set: str
    kind: str
    classes: Sequence[str]
    min_score: float | None
    total: int
    images: Sequence[GalleryImage]


@dataclass(frozen=True)
class Report:
    """What is on a page; the parts in the form of `segtron.visualization.report.scores`.

    Attributes:
        title: of the run.
        facts: what there is to say about the run, by short names.
        scores: of the last evaluation, see `describe_scores`.
        curves: see `describe_curves`.
        analyses: data set -> see `describe_analysis`.
        galleries: what is there to look at.
    """

    title: str
    facts: Mapping[str, str]
    scores: Sequence[Mapping[str, Any]]
    curves: Sequence[Mapping[str, Any]]
    analyses: Mapping[str, Mapping[str, Any]]
    galleries: Sequence[Gallery]


def write_report(folder: Path, report: Report) -> Path:
    """Write a page and the pictures that it shows, in the place of an older one.

    The page is opened from disk and needs no server and no network; the folder can be moved and
    sent as it is.

    Args:
        folder: gets `REPORT_FILE` and `PICTURES_FOLDER`.
        report: what is on it. Names may have any characters.

    Returns:
        The page.

    Raises:
        UserError: the folder is somebody else's or can't be written, or no image of a gallery can
            be read. If some can't, a warning tells which, and the others are shown.
    """
    page = folder / REPORT_FILE
    if folder.exists() and not is_report(folder) and not _is_empty(folder):
        raise UserError(f"{folder} is no report and would be overwritten; move it away")
    with replacing_folder(folder) as temporary:
        galleries = [
            _write_gallery(gallery, temporary / PICTURES_FOLDER / str(number))
            for number, gallery in enumerate(report.galleries, start=1)
        ]
        content = {
            "title": report.title,
            "facts": dict(report.facts),
            "scores": list(report.scores),
            "curves": list(report.curves),
            "analyses": dict(report.analyses),
            "fates": {name: hex_color(color) for name, color in FATES.items()},
            "galleries": galleries,
        }
        text = render_page(
            "report/page.html",
            title=report.title,
            content=_json_text(content),
            nonce=secrets.token_urlsafe(16),
        )
        # What is no text in a name becomes question marks.
        (temporary / REPORT_FILE).write_text(text, encoding="utf-8", errors="replace")
    return page


def is_report(folder: Path) -> bool:
    """Whether a folder is one that `write_report` has written."""
    return (folder / REPORT_FILE).is_file()


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _write_gallery(gallery: Gallery, folder: Path) -> dict[str, Any]:
    folder.mkdir(parents=True)
    images, failure = [], None
    written = write_images([image.read for image in gallery.images], folder)
    for image, facts in zip(gallery.images, written, strict=True):
        if isinstance(facts, UnreadableFileError):
            failure = facts
            logger.warning("%s is left out of the report: %s", image.name, facts)
        else:
            images.append({"name": image.name} | facts)
    if failure and not images:
        raise failure
    return {
        "folder": f"{PICTURES_FOLDER}/{folder.name}",
        "data_set": gallery.data_set,
        "kind": gallery.kind,
        "classes": list(gallery.classes),
        "min_score": gallery.min_score,
        "total": gallery.total,
        "images": images,
    }


def _json_text(content: Any) -> str:
    """JSON that can stand in a <script>: nothing in it ends the element or opens a comment."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
