"""The files that a report has of each image: the picture, a thumbnail, and the outlines on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from segtron.data.each_item import for_each
from segtron.errors import UnreadableFileError
from segtron.visualization.colors import Color
from segtron.visualization.layout import shrink
from segtron.visualization.report.layers import ImageLayers, Region, shown_size
from segtron.visualization.report.outlines import UNITS, svg_path

THUMBNAIL_SIDE = 384
_PICTURE_QUALITY, _THUMBNAIL_QUALITY = 88, 75
_LAYERS = ("ground_truth", "prediction", "errors")


def write_images(
    layers_of: Sequence[Callable[[], ImageLayers]], folder: Path
) -> Iterator[dict[str, Any] | UnreadableFileError]:
    """Write the files of images, several at once, and show how far it is.

    For image i they are `folder/00000i.jpg`, `00000i.thumbnail.jpg`, and `00000i.js` with the
    outlines: a page opened from disk may load scripts, but no JSON.

    Threads, not processes: decoding, resizing, following contours and encoding leave Python to the
    others.

    Args:
        layers_of: read and outline an image each.
        folder: exists; its name and number name the outlines to the page.

    Yields:
        What the page says of each image, in their order, see `_describe`; or why it can't be read.
    """

    def write(number: int) -> dict[str, Any] | UnreadableFileError:
        try:
            layers = layers_of[number]()
        except UnreadableFileError as error:
            return error
        return _write_image(layers, folder, f"{number:06d}")

    numbers = range(len(layers_of))
    yield from for_each(write, numbers, unit=" images", desc=f"report {folder.name}")


def _write_image(layers: ImageLayers, folder: Path, stem: str) -> dict[str, Any]:
    height, width = layers.image.shape[:2]
    picture = shrink(layers.image, max(shown_size(height, width)))
    thumbnail = shrink(picture, THUMBNAIL_SIDE)
    for content, name, quality in (
        (picture, f"{stem}.jpg", _PICTURE_QUALITY),
        (thumbnail, f"{stem}.thumbnail.jpg", _THUMBNAIL_QUALITY),
    ):
        Image.fromarray(content).save(folder / name, quality=quality)
    outlines = json.dumps(_outlines(layers, picture.shape[1] / width), separators=(",", ":"))
    (folder / f"{stem}.js").write_text(
        f'addOutlines("{folder.name}/{stem}",{outlines})\n', encoding="utf-8"
    )
    return {"stem": stem} | _describe(layers, picture.shape[1], picture.shape[0])


def _describe(layers: ImageLayers, width: int, height: int) -> dict[str, Any]:
    """What the page knows of an image before its outlines are loaded.

    Returns:
        `size` of the picture; `numbers`; and `tallies`, lists of class, the class that is there if
        it is another, fate, amount and highest score.
    """
    return {
        "size": [width, height],
        "numbers": {name: _rounded(value) for name, value in layers.numbers.items()},
        "tallies": [
            [*key, round(tally.amount, 3), _rounded(tally.highest_score)]
            for key, tally in layers.tallies.items()
        ],
    }


def _outlines(layers: ImageLayers, scale: float) -> dict[str, Any]:
    """The layers as JSON.

    Returns:
        `units` of coordinates to a pixel; `paths`; and for each layer a list of regions: place of
        the path, class, class that is there if it is another, fate, score, IoU, colour.
    """
    places: dict[int, int] = {}
    paths: list[str] = []

    def place(region: Region) -> int:
        # Layers share outlines.
        key = id(region.outline)
        if key not in places:
            places[key] = len(paths)
            paths.append(svg_path(region.outline, scale))
        return places[key]

    regions = {
        name: [
            [
                place(region),
                region.category,
                region.is_category,
                region.fate,
                _rounded(region.score),
                _rounded(region.iou),
                hex_color(region.color),
            ]
            for region in getattr(layers, name)
        ]
        for name in _LAYERS
    }
    return {"units": UNITS, "paths": paths} | regions


def hex_color(color: Color) -> str:
    """A colour as CSS writes it."""
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in color)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
