"""VGG Image Annotator, versions 1 and 2: projects and exports in JSON.

    {"<file name><file size>": {"filename": "a.jpg", "size": 1234, "file_attributes": {},
                                "regions": [{"shape_attributes": {"name": "polygon", ...},
                                             "region_attributes": {"class": "balloon"}}]}}

Version 1 has the regions in an object {"0": region, ...}, and a project of version 2 has all this
under `_via_img_metadata`.

See https://www.robots.ox.ac.uk/~vgg/software/via/.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segtron.data.converters.labelled_image import (
    Dropped,
    LabelledImage,
    LabelledObject,
    Labelling,
)
from segtron.data.converters.pictures import PictureFolder, files_below
from segtron.data.converters.shapes import (
    NoAreaError,
    ellipse,
    is_closed,
    numbers,
    polygon,
    rectangle,
    segmentation_of,
)
from segtron.data.converters.via_classes import ClassReader
from segtron.data.json_file import Fields, check_fields, read_json
from segtron.errors import UserError
from segtron.wording import count_of

logger = logging.getLogger(__name__)

FORMAT = "VIA's format"
_PROJECT = "_via_img_metadata"
_ENTRY: Fields = {"filename": str}
_REGION: Fields = {"shape_attributes": dict}


@dataclass(frozen=True)
class _Entry:
    """A picture's entry.

    Attributes:
        where: what to call it.
        content: with a `filename`.
        regions: with `shape_attributes` and `region_attributes`; by what to call them.
    """

    where: str
    content: Mapping[str, Any]
    regions: Mapping[str, Mapping[str, Any]]


def open_via(
    src: Path,
    dropped: Dropped,
    *,
    class_attribute: str | None = None,
    class_name: str | None = None,
    images: Path | None = None,
) -> Labelling:
    """Open projects or exports of VIA.

    Args:
        src: the JSON file, or a folder with such files at any depth.
        dropped: is told of points, open lines, regions without a class or an area, pictures that
            are missing, and files that are not VIA's.
        class_attribute: the attribute of regions (or else of files) that holds the class; default:
            the only one that regions have, or one of a usual name.
        class_name: the class of regions that have none; default: they are dropped, or, where no
            region has an attribute, "object".
        images: the folder of the pictures; default: that of each JSON file.

    Raises:
        UserError: a file isn't VIA's or is faulty, or no attribute is clearly that of the class.
    """
    root = src if src.is_dir() else src.parent
    files = _find_files(src, dropped)
    entries = [(file, _read_entries(file, content)) for file, content in files]
    attributes = [_attributes_of(content) for _, content in files]
    regions = (
        (r, e.content) for _, in_file in entries for e in in_file for r in e.regions.values()
    )
    classes = ClassReader(regions, attributes, class_attribute, class_name, str(src))
    number = sum(len(in_file) for _, in_file in entries)

    def read() -> Iterator[LabelledImage]:
        changed: list[str] = []
        folder = PictureFolder(images or root)
        for file, in_file in entries:
            # Names are relative to the JSON's folder, unless another is named.
            prefix = "" if images else _prefix(file, root)
            for entry in in_file:
                image = _read_image(entry, folder, prefix, classes, dropped, changed)
                if image is not None:
                    yield image
        if changed:
            logger.warning(
                "%s changed since it was labelled, such as %s; look whether its polygons still lie "
                "on the objects",
                count_of(len(changed), "picture"),
                changed[0],
            )

    return Labelling(read(), number)


def _prefix(file: Path, root: Path) -> str:
    folder = file.parent.relative_to(root).as_posix()
    return "" if folder == "." else f"{folder}/"


def _find_files(src: Path, dropped: Dropped) -> list[tuple[Path, dict[str, Any]]]:
    """VIA's files and what is in them."""
    if not src.is_dir():
        content = read_json(src, "annotations")
        if not _is_via(content):
            raise UserError(f"{src} is not {FORMAT}{_hint(content)}; save the project as JSON")
        return [(src, content)]
    found = []
    paths = files_below(src, "*.json")
    for path in paths:
        content = read_json(path, "annotations")
        if _is_via(content):
            found.append((path, content))
        else:
            dropped.add(str(path), f"is not {FORMAT}{_hint(content)}")
    if not found:
        why = f"{paths[0].name} is not {FORMAT}" if paths else "it has no JSON file"
        raise UserError(f"{src} holds nothing of VIA's: {why}; save the project as JSON there")
    return found


def _is_via(content: Any) -> bool:
    if not isinstance(content, dict):
        return False
    if _PROJECT in content:
        return True
    return bool(content) and all(isinstance(e, dict) and "regions" in e for e in content.values())


def _hint(content: Any) -> str:
    is_version_3 = isinstance(content, dict) and {"project", "view", "metadata"} <= set(content)
    return " of version 1 or 2 but of version 3" if is_version_3 else ""


def _attributes_of(content: Mapping[str, Any]) -> Any:
    """What a project of version 2 says of its regions' attributes; for others {}."""
    described = content.get("_via_attributes")
    return described.get("region") if isinstance(described, dict) else {}


def _read_entries(file: Path, content: Mapping[str, Any]) -> list[_Entry]:
    listed = content.get(_PROJECT, content)
    if not isinstance(listed, dict):
        raise UserError(f"{file}: {_PROJECT!r} is no object; save the project again")
    entries = []
    for key, entry in listed.items():
        where = f"{file}: {key!r}"
        check_fields(entry, _ENTRY, where, FORMAT)
        regions = entry.get("regions") or {}
        if isinstance(regions, list):
            regions = {str(place): region for place, region in enumerate(regions)}
        if not isinstance(regions, dict):
            raise UserError(f"{where}: 'regions' is neither a list nor an object; save it again")
        for place, region in regions.items():
            name = f"{where}: regions[{place}]"
            check_fields(region, _REGION, name, FORMAT)
            if not isinstance(region.get("region_attributes") or {}, dict):
                raise UserError(f"{name}: 'region_attributes' is no object; save it again")
        named = {f"{where}: regions[{place}]": region for place, region in regions.items()}
        entries.append(_Entry(where, entry, named))
    return entries


def _read_image(
    entry: _Entry,
    folder: PictureFolder,
    prefix: str,
    classes: ClassReader,
    dropped: Dropped,
    changed: list[str],
) -> LabelledImage | None:
    where = f"{entry.where} with {count_of(len(entry.regions), 'region')}"
    picture = folder.open(prefix + entry.content["filename"], where, dropped)
    if picture is None:
        return None
    # VIA's own check of whether it is the picture that was labelled: its size in bytes.
    size = entry.content.get("size")
    if isinstance(size, int) and size > 0 and size != picture.path.stat().st_size:
        changed.append(picture.name)
    objects = []
    for name, region in entry.regions.items():
        class_name, problem = classes.read(region, entry.content)
        if class_name is None:
            dropped.add(name, problem)
            continue
        try:
            outline = _outline(region["shape_attributes"], name)
            segmentation = segmentation_of([outline], picture.height, picture.width)
        except NoAreaError as error:
            dropped.add(name, str(error))
            continue
        objects.append(
            LabelledObject(class_name, segmentation, name, attributes=classes.others(region))
        )
    return LabelledImage(picture.path, picture.name, picture.height, picture.width, objects)


def _outline(shape: Mapping[str, Any], where: str) -> np.ndarray:
    """The corners (N, 2) of a region."""
    kind = shape.get("name")
    if kind == "point":
        raise NoAreaError("is a point, which has no area")
    if not isinstance(kind, str) or kind not in _OUTLINES:
        raise UserError(
            f"{where}: the shape {repr(kind)[:40]} is unknown; known are point, "
            f"{', '.join(_OUTLINES)}"
        )
    return _OUTLINES[kind](shape, where)


def _corners(shape: Mapping[str, Any], where: str) -> np.ndarray:
    xs, ys = shape.get("all_points_x"), shape.get("all_points_y")
    if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys):
        raise UserError(
            f"{where}: 'all_points_x' and 'all_points_y' are not two lists of one length; save the "
            "project again"
        )
    return polygon(list(zip(xs, ys, strict=True)), where)


def _line(shape: Mapping[str, Any], where: str) -> np.ndarray:
    points = _corners(shape, where)
    if not is_closed(points):
        raise NoAreaError("is an open line, which has no area")
    return points


def _lengths(shape: Mapping[str, Any], names: Sequence[str], where: str) -> list[float]:
    return numbers((shape.get(name) for name in names), where)


def _rectangle(shape: Mapping[str, Any], where: str) -> np.ndarray:
    x, y, width, height = _lengths(shape, ("x", "y", "width", "height"), where)
    return rectangle(x, y, x + width, y + height)


def _circle(shape: Mapping[str, Any], where: str) -> np.ndarray:
    x, y, radius = _lengths(shape, ("cx", "cy", "r"), where)
    return ellipse(x, y, radius, radius)


def _ellipse(shape: Mapping[str, Any], where: str) -> np.ndarray:
    x, y, rx, ry = _lengths(shape, ("cx", "cy", "rx", "ry"), where)
    (angle,) = numbers([shape.get("theta", 0)], where)
    return ellipse(x, y, rx, ry, math.remainder(angle, 2 * math.pi))


_OUTLINES: dict[str, Callable[[Mapping[str, Any], str], np.ndarray]] = {
    "polygon": _corners,
    "polyline": _line,
    "rect": _rectangle,
    "circle": _circle,
    "ellipse": _ellipse,
}
