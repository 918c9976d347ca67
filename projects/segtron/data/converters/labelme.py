"""LabelMe (wkentaro's): a JSON file a picture, beside it or in a folder of its own.

    {"imagePath": "a.jpg", "imageData": null, "imageHeight": 480, "imageWidth": 640,
     "shapes": [{"label": "cat", "shape_type": "polygon", "points": [[x, y], ...],
                 "group_id": null, "flags": {}, "mask": null}]}

Shapes of one label and one `group_id` in a picture are parts of one object. See
https://github.com/wkentaro/labelme.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segtron.data.converters.labelled_image import (
    Dropped,
    LabelledImage,
    LabelledObject,
    Labelling,
)
from segtron.data.converters.pictures import (
    Picture,
    PictureFolder,
    files_below,
    fit_picture,
)
from segtron.data.converters.shapes import (
    NoAreaError,
    Segmentation,
    ellipse,
    is_closed,
    polygon,
    rectangle,
    segmentation_of,
    union,
)
from segtron.data.image_io import IMAGE_SUFFIXES, MAX_PIXELS, orientation_of, upright_size
from segtron.data.json_file import Fields, check_fields, read_json
from segtron.data.masks import encode_mask
from segtron.errors import UnreadableFileError, UserError
from segtron.wording import count_of

FORMAT = "LabelMe's format"
CROWD_FLAG = "iscrowd"
_FILE: Fields = {"shapes": list}
_SHAPE: Fields = {"label": str, "points": list}
# LabelMe's own labels for what is no object.
_NO_CLASSES = ("__ignore__", "_background_")
_NO_AREA = {"point": "point", "points": "set of points", "line": "line"}


def open_labelme(src: Path, dropped: Dropped, *, images: Path | None = None) -> Labelling:
    """Open a folder of LabelMe's JSON files.

    Args:
        src: the folder, searched to any depth; or one such file.
        dropped: is told of points, lines, shapes without a label or an area, what is labelled
            `__ignore__` or `_background_`, pictures that are missing and not embedded, and files
            that are not LabelMe's.
        images: the folder of the pictures; default: each is where its JSON says, within `src`.

    Raises:
        UserError: there is no JSON file of LabelMe's; while reading: one is faulty.
    """
    if not src.exists():
        raise UserError(f"{src} does not exist; name the folder that LabelMe saved to")
    root = src if src.is_dir() else src.parent
    files = files_below(src, "*.json") if src.is_dir() else [src]
    if not files:
        raise UserError(f"{src} holds no JSON file; name the folder that LabelMe saved to")
    folder = PictureFolder(images or root)

    def read() -> Iterator[LabelledImage]:
        for file in files:
            content = read_json(file, "annotations")
            if not isinstance(content, dict) or "shapes" not in content:
                dropped.add(str(file), f"is not {FORMAT}: it has no 'shapes'")
                continue
            relative = file.relative_to(root)
            image = _read_image(file, relative, content, folder, images is not None, dropped)
            if image is not None:
                yield image

    return Labelling(read(), len(files))


def _read_image(
    file: Path,
    relative: Path,
    content: Mapping[str, Any],
    folder: PictureFolder,
    is_elsewhere: bool,
    dropped: Dropped,
) -> LabelledImage | None:
    """Read a file, which lies at `relative` below the source."""
    check_fields(content, _FILE, str(file), FORMAT)
    found = _find_picture(file, relative, content, folder, is_elsewhere, dropped)
    if found is None:
        return None
    picture, embedded = found
    objects = list(_read_objects(file, content["shapes"], picture, dropped))
    return LabelledImage(
        picture.path, picture.name, picture.height, picture.width, objects, content=embedded
    )


def _find_picture(
    file: Path,
    relative: Path,
    content: Mapping[str, Any],
    folder: PictureFolder,
    is_elsewhere: bool,
    dropped: Dropped,
) -> tuple[Picture, bytes | None] | None:
    """The picture of a file, and its bytes if it is the embedded one: the file's word is taken for
    the picture that has the size it says."""
    size = _stated_size(content, file)
    name = content.get("imagePath") or f"{file.stem}.jpg"
    if not isinstance(name, str):
        raise UserError(f"{file}: 'imagePath' is no text; save the file again")
    name = name.replace("\\", "/")
    if not posixpath.isabs(name):
        # In another folder of pictures, folders are as in the source, or as they like.
        last = posixpath.basename(name) if is_elsewhere else name
        name = posixpath.normpath(posixpath.join(relative.parent.as_posix(), last))
    missing = Dropped()
    where = f"{file} with {count_of(len(content['shapes']), 'shape')}"
    picture = folder.open(name, where, missing, size)
    if picture is not None:
        return picture, None
    if content.get("imageData"):
        return _embedded(file, relative, content, name, size, where, dropped)
    dropped.entries += missing.entries
    return None


def _stated_size(content: Mapping[str, Any], file: Path) -> tuple[int, int] | None:
    sides = (content.get("imageHeight"), content.get("imageWidth"))
    if sides == (None, None):
        return None
    if not all(isinstance(side, int) and 0 < side <= MAX_PIXELS for side in sides):
        raise UserError(
            f"{file}: 'imageHeight' and 'imageWidth' are {repr(sides)[:80]}; they must be whole "
            "numbers of pixels"
        )
    return sides


def _embedded(
    file: Path,
    relative: Path,
    content: Mapping[str, Any],
    name: str,
    size: tuple[int, int] | None,
    where: str,
    dropped: Dropped,
) -> tuple[Picture, bytes] | None:
    """The picture that a file holds; LabelMe turns it upright before, others don't."""
    data = _decode(content["imageData"], f"{file}: 'imageData'")
    header = _open_embedded(data, f"{file}: 'imageData'")
    suffix = posixpath.splitext(name)[1].lower()
    suffix = suffix if suffix in IMAGE_SUFFIXES else f".{(header.format or 'png').lower()}"
    target = relative.with_suffix(suffix).as_posix()
    try:
        shown = upright_size(header)
        return fit_picture(file, target, shown, size, lambda: orientation_of(header)), data
    except UnreadableFileError as error:
        dropped.add(where, str(error))
        return None


def _decode(text: Any, where: str) -> bytes:
    try:
        if isinstance(text, str):
            return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise UserError(f"{where} is not base64, as LabelMe writes it; save the file again")


def _open_embedded(data: bytes, where: str) -> Image.Image:
    """A picture whose header was read; the pixels are not decoded yet."""
    try:
        return Image.open(io.BytesIO(data))
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise UserError(f"{where} is no picture; save the file again") from error


def _read_objects(
    file: Path, shapes: list[Any], picture: Picture, dropped: Dropped
) -> Iterator[LabelledObject]:
    groups: dict[Any, list[tuple[str, Mapping[str, Any], Segmentation]]] = {}
    for number, shape in enumerate(shapes):
        where = f"{file}: shapes[{number}]"
        check_fields(shape, _SHAPE, where, FORMAT)
        group = shape.get("group_id")
        if not isinstance(group, int | str | None):
            raise UserError(f"{where}: 'group_id' is neither a number nor null; save it again")
        label = shape["label"].strip()
        if not label or label in _NO_CLASSES:
            dropped.add(where, f"is labelled {label!r}, which is no class")
            continue
        try:
            segmentation = _segmentation(shape, picture, where)
        except NoAreaError as error:
            dropped.add(where, str(error))
            continue
        key = (label, number, None) if group is None else (label, None, group)
        groups.setdefault(key, []).append((where, shape, segmentation))
    for (label, *_), parts in groups.items():
        attributes = _attributes([shape for _, shape, _ in parts])
        yield LabelledObject(
            label,
            union([part for _, _, part in parts], picture.height, picture.width),
            parts[0][0],
            is_crowd=attributes.pop(CROWD_FLAG, False) is True,
            attributes=attributes,
        )


def _attributes(shapes: list[Mapping[str, Any]]) -> dict[str, str | float | bool]:
    """Flags and descriptions of an object's shapes."""
    attributes: dict[str, str | float | bool] = {}
    for shape in shapes:
        flags, description = shape.get("flags"), shape.get("description")
        if isinstance(flags, dict):
            attributes |= {k: v for k, v in flags.items() if isinstance(v, bool)}
        if isinstance(description, str) and description:
            attributes["description"] = description
    return attributes


def _segmentation(shape: Mapping[str, Any], picture: Picture, where: str) -> Segmentation:
    kind = shape.get("shape_type") or "polygon"  # old versions know nothing else
    points = polygon(shape["points"], where)
    if kind == "mask":
        return _mask(shape, points, picture, where)
    outline = picture.orient(_outline(kind, points, where))
    return segmentation_of([outline], picture.height, picture.width)


def _outline(kind: Any, points: np.ndarray, where: str) -> np.ndarray:
    """The corners (N, 2) of a shape, as annotated."""
    if kind in ("polygon", "rotation", "quadrilateral"):
        return points
    if kind == "rectangle":
        return rectangle(*points.ravel()) if len(points) == 2 else points
    if kind == "circle":
        if len(points) != 2:
            raise UserError(f"{where}: a circle has two points, not {len(points)}; draw it again")
        (x, y), (u, v) = points
        radius = math.hypot(u - x, v - y)
        return ellipse(x, y, radius, radius)
    if kind == "linestrip":
        if is_closed(points):
            return points
        raise NoAreaError("is an open line, which has no area")
    if isinstance(kind, str) and kind in _NO_AREA:
        raise NoAreaError(f"is a {_NO_AREA[kind]}, which has no area")
    raise UserError(f"{where}: 'shape_type' is {repr(kind)[:40]}, which is none of LabelMe's")


def _mask(
    shape: Mapping[str, Any], points: np.ndarray, picture: Picture, where: str
) -> Segmentation:
    """A mask shape: a PNG of the pixels between two corners, both within."""
    data = _decode(shape.get("mask"), f"{where}: 'mask'")
    header = _open_embedded(data, f"{where}: 'mask'")
    height, width = picture.annotated_size
    if len(points) != 2 or header.width > width or header.height > height:
        raise UserError(f"{where}: its mask doesn't fit its two corners and the picture; redraw it")
    try:
        pixels = np.asarray(header.convert("L")) > 0
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise UserError(f"{where}: 'mask' is a broken picture; draw it again") from error
    left, top = np.floor(points.min(axis=0)).astype(int).tolist()
    # What lies outside of the picture is cut off.
    mask = np.zeros((height, width), bool)
    x0, y0 = max(left, 0), max(top, 0)
    inside = pixels[y0 - top : max(height - top, 0), x0 - left : max(width - left, 0)]
    mask[y0 : y0 + inside.shape[0], x0 : x0 + inside.shape[1]] = inside
    if not inside.any():
        raise NoAreaError("covers no pixel of the picture")
    return encode_mask(picture.orient_mask(mask))
