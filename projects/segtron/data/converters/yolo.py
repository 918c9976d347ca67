"""YOLO's segmentation labels, as Ultralytics' tools read them.

    data.yaml                  names: [cat, dog] or {0: cat, 1: dog}; train: images/train; val: ...
    images/train/<image>.jpg
    labels/train/<image>.txt   a line an object: class x1 y1 x2 y2 ... as shares of width and height

The label file of an image lies where `images` in its path, the last one, is `labels`; or else
beside it. Instead of data.yaml there may be a file with a class a line, such as `classes.txt`.

A line has room for one outline. An object of several parts has them joined by lines there and back;
these enclose nothing, so the parts come apart again.

See https://docs.ultralytics.com/datasets/segment/.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from segtron.data.converters.class_files import find_class_file, names_by_value, read_class_file
from segtron.data.converters.labelled_image import (
    Dropped,
    LabelledImage,
    LabelledObject,
    Labelling,
)
from segtron.data.converters.paired_folders import group_of
from segtron.data.converters.pictures import Picture, PictureFolder
from segtron.data.converters.shapes import NoAreaError, rectangle, segmentation_of
from segtron.data.converters.text_files import read_text
from segtron.data.converters.yolo_files import (
    find_yaml,
    label_name,
    listed_pictures,
    read_data_yaml,
)
from segtron.errors import UserError
from segtron.wording import count_of

_MOST_BYTES = 2**26  # of a label file
_BOX = 4  # numbers of a line that has a box: its centre, width, height


def open_yolo(
    src: Path, dropped: Dropped, *, classes: Path | None = None, boxes: bool = False
) -> Labelling:
    """Open a data set with YOLO's labels.

    Images without a label file, or with an empty one, have no objects.

    Args:
        src: data.yaml, or the folder that it is in; or a folder with a class file.
        dropped: is told of lines with a box only, of outlines without an area, of label files
            without an image, of folders and pictures that data.yaml names and that don't exist, and
            of what can't be read.
        classes: names the classes, see `class_files`; default: data.yaml, or a class file of a
            usual name.
        boxes: whether a line with a box only is an object that fills it.

    Raises:
        UserError: there are no class names, no images or no labels, or data.yaml is broken; while
            reading: a line is no label: names file and line.
    """
    yaml_file = find_yaml(src)
    root = src if src.is_dir() else src.parent
    if classes is None and yaml_file is None:
        classes = find_class_file(root)
    if classes is None and yaml_file is None:
        raise UserError(
            f"{src} has neither a data.yaml nor a classes.txt; name a file with the names of the "
            "classes, one a line, with --classes"
        )
    data = None if yaml_file is None else read_data_yaml(yaml_file)
    names = (
        names_by_value(data["names"], f"{yaml_file}: names")
        if classes is None
        else read_class_file(classes).names
    )
    folder = PictureFolder(root)
    pictures = listed_pictures(folder, data, dropped)
    if not any((root / label_name(picture)).is_file() for picture in pictures):
        raise UserError(
            f"none of the {len(pictures)} images of {src} has a label file; that of "
            f"{root / pictures[0]} would be {root / label_name(pictures[0])}"
        )
    _drop_labels_without_image(root, pictures, dropped)
    place = {value: place for place, value in enumerate(names)}
    order = tuple(names.values())

    def read() -> Iterator[LabelledImage]:
        for name in pictures:
            label_file = root / label_name(name)
            lines = _read_lines(label_file)
            where = f"{root / name} with {count_of(len(lines), 'line')}"
            picture = folder.open(name, where, dropped)
            if picture is None:
                continue
            objects = list(_read_objects(lines, picture, place, order, boxes, dropped))
            output = _output_name(name)
            yield LabelledImage(
                picture.path, output, picture.height, picture.width, objects, group_of(output)
            )

    return Labelling(read(), len(pictures), order)


def _read_lines(label_file: Path) -> dict[str, str]:
    """The lines of a label file that have something in them, by what to call them."""
    if not label_file.is_file():
        return {}
    lines = read_text(label_file, "labels", _MOST_BYTES).splitlines()
    return {f"{label_file}:{number}": line for number, line in enumerate(lines, 1) if line.strip()}


def _read_objects(
    lines: Mapping[str, str],
    picture: Picture,
    place: Mapping[int, int],
    names: tuple[str, ...],
    boxes: bool,
    dropped: Dropped,
) -> Iterator[LabelledObject]:
    size = np.array([picture.width, picture.height])
    for where, line in lines.items():
        value, numbers = _parse(line, where)
        if value not in place:
            raise UserError(
                f"{where} has the class {value}, but the classes have the values "
                f"{', '.join(map(str, list(place)[:20]))}; correct the line, or name the class"
            )
        if len(numbers) == _BOX and not boxes:
            dropped.add(where, "is a box without an outline; --boxes takes boxes for outlines")
            continue
        outline = _box(numbers) if len(numbers) == _BOX else numbers.reshape(-1, 2)
        try:
            segmentation = segmentation_of([outline * size], picture.height, picture.width)
        except NoAreaError as error:
            dropped.add(where, str(error))
            continue
        yield LabelledObject(names[place[value]], segmentation, where)


def _parse(line: str, where: str) -> tuple[int, np.ndarray]:
    """Class and coordinates of a line.

    Returns:
        The class's value; and four numbers of a box, or x and y in turn, as shares of the sides.
    """
    try:
        value, *numbers = map(float, line.split())
    except ValueError as error:
        raise UserError(
            f"{where} has something else than numbers; a line is: class x1 y1 x2 y2 x3 y3 ..."
        ) from error
    coordinates = np.array(numbers)
    if value != value or value not in range(2**16):
        raise UserError(f"{where} begins with {line.split()[0][:40]}, which is no class's number")
    if len(numbers) < _BOX or len(numbers) % 2:
        raise UserError(
            f"{where} has {len(numbers)} numbers after the class; an outline has an x and a y for "
            "each of three points or more"
        )
    if not (np.abs(coordinates - 0.5) <= 1.5).all():
        raise UserError(
            f"{where} has the coordinate {coordinates[np.abs(coordinates - 0.5).argmax()]:g}; "
            "coordinates are shares of the image's width and height, from 0 to 1"
        )
    return int(value), coordinates


def _box(numbers: np.ndarray) -> np.ndarray:
    """Corners of a box of centre, width and height, (4, 2)."""
    (x, y), (width, height) = numbers[:2], numbers[2:] / 2
    return rectangle(x - width, y - height, x + width, y + height)


def _output_name(name: str) -> str:
    """A picture's name without the folder that is called `images`."""
    *folders, last = PurePosixPath(name).parts
    if "images" in folders:
        place = len(folders) - 1 - folders[::-1].index("images")
        folders = folders[:place] + folders[place + 1 :]
    return "/".join([*folders, last])


def _drop_labels_without_image(root: Path, pictures: list[str], dropped: Dropped) -> None:
    used = {root / label_name(picture) for picture in pictures}
    # Beside images lie texts of other kinds, too.
    for folder in sorted({path.parent for path in used}):
        if folder.is_dir() and "labels" in folder.relative_to(root).parts:
            for path in sorted(folder.glob("*.txt")):
                if path not in used and path.name != "classes.txt":
                    dropped.add(str(path), "has no image")
