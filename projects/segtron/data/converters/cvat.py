"""CVAT's own formats, "CVAT for images 1.1" and "CVAT for video 1.1".

    <annotations><meta>...</meta>
      <image name="a.jpg" width="640" height="480" subset="train">
        <polygon label="car" points="1,2;3,4;5,6" group_id="1" occluded="0" z_order="0">
          <attribute name="colour">red</attribute>
      <track id="0" label="car"><box frame="7" outside="0" xtl="1" ytl="2" xbr="3" ybr="4">

Shapes of one image, label and `group_id` are parts of one object. What tracks have at a frame is
taken as it stands there, also between key frames, where CVAT has written what it interpolated.

See https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/ and
https://docs.cvat.ai/docs/dataset_management/formats/xml_format/.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element

from segtron.data.converters.cvat_frames import frame_names
from segtron.data.converters.cvat_objects import ObjectReader, Shape
from segtron.data.converters.cvat_xml import NoCvatError, read_children, whole_number
from segtron.data.converters.labelled_image import Dropped, LabelledImage, Labelling
from segtron.data.converters.paired_folders import group_of
from segtron.data.converters.pictures import Picture, PictureFolder, files_below
from segtron.errors import UserError
from segtron.wording import count_of


@dataclass
class _Task:
    """What an XML has, without its shapes.

    Attributes:
        path: the file.
        labels: the names of its labels, in their order.
        images: how many there are.
        has_tracks: whether it is one for video.
        size: height and width of a video's frames; None if it doesn't say so.
    """

    path: Path
    labels: list[str] = field(default_factory=list)
    images: int = 0
    has_tracks: bool = False
    size: tuple[int, int] | None = None


def open_cvat(
    src: Path, dropped: Dropped, *, class_attribute: str | None = None, images: Path | None = None
) -> Labelling:
    """Open exports of CVAT.

    An export for video must come with its frames (`images/frame_000000.png`); all are read, those
    without shapes as images without objects. All of its tracks are held in memory.

    Args:
        src: an XML file, or a folder with such files at any depth, each beside its pictures or
            their folder `images`.
        dropped: is told of points, lines, cuboids, skeletons and tags, of shapes without an area,
            of pictures and frames that are missing, and of XML files that are not CVAT's.
        class_attribute: the attribute of shapes that holds the class; default: their label is it.
        images: the folder of the pictures; default: that of each XML file.

    Raises:
        UserError: there is no XML of CVAT, or it is broken; while reading: a shape is malformed.
    """
    root = src if src.is_dir() else src.parent
    tasks = _find_tasks(src, dropped)
    reader = ObjectReader(class_attribute, dropped)
    folders = [PictureFolder(images or task.path.parent) for task in tasks]
    frames = [
        frame_names(folder) if task.has_tracks else {}
        for task, folder in zip(tasks, folders, strict=True)
    ]

    def read() -> Iterator[LabelledImage]:
        for task, folder, names in zip(tasks, folders, frames, strict=True):
            prefix = PurePosixPath() if images else task.path.parent.relative_to(root)
            context = _Context(task, folder, PurePosixPath(prefix))
            if task.has_tracks:
                yield from _read_video(context, names, reader, dropped)
            else:
                yield from _read_images(context, reader, dropped)

    labels = dict.fromkeys(label for task in tasks for label in task.labels)
    knows_classes = class_attribute is None and all(task.labels for task in tasks)
    number = sum(task.images for task in tasks) + sum(map(len, frames))
    return Labelling(read(), number, tuple(labels) if knows_classes else None)


def _find_tasks(src: Path, dropped: Dropped) -> list[_Task]:
    if not src.is_dir():
        return [_survey(src)]
    tasks = []
    for path in files_below(src, "*.xml"):
        try:
            tasks.append(_survey(path))
        except NoCvatError as error:
            dropped.add(str(path), str(error))
    if not tasks:
        raise UserError(
            f"{src} holds no XML of CVAT; export it as 'CVAT for images 1.1' and unpack it there"
        )
    return tasks


def _survey(path: Path) -> _Task:
    task = _Task(path)
    for element in read_children(path):
        if element.tag == "meta":
            # Those of a skeleton's points have a parent.
            labels = [label for label in element.iter("label") if label.find("parent") is None]
            task.labels = [name for label in labels if (name := label.findtext("name"))]
            size = element.find(".//original_size")
            if size is not None:
                sides = (size.findtext("height", ""), size.findtext("width", ""))
                is_size = all(side.isdecimal() and len(side) < 10 for side in sides)
                task.size = tuple(map(int, sides)) if is_size else None
        task.images += element.tag == "image"
        task.has_tracks = task.has_tracks or element.tag == "track"
    if task.has_tracks and task.images:
        raise UserError(f"{path} has images and tracks; export it in one of CVAT's formats")
    return task


@dataclass(frozen=True)
class _Context:
    """A task being read, with the folder of its pictures, and what goes before their names."""

    task: _Task
    folder: PictureFolder
    prefix: PurePosixPath

    def image(self, picture: Picture, shapes: list[Shape], reader: ObjectReader) -> LabelledImage:
        name = str(self.prefix / picture.name.removeprefix("images/"))
        objects = reader.read(shapes, picture)
        return LabelledImage(
            picture.path, name, picture.height, picture.width, objects, group_of(name)
        )


def _read_images(
    context: _Context, reader: ObjectReader, dropped: Dropped
) -> Iterator[LabelledImage]:
    number = 0
    for element in read_children(context.task.path):
        if element.tag != "image":
            continue
        where = f"{context.task.path}: image {element.get('name', number)!r}"
        number += 1
        size = (whole_number(element, "height", where), whole_number(element, "width", where))
        name = _picture_name(element, context.folder.root, where)
        whole = f"{where} with {count_of(len(element), 'shape')}"
        picture = context.folder.open(name, whole, dropped, size)
        if picture is None:
            continue
        shapes = [
            Shape(
                shape,
                shape.get("label", ""),
                shape.get("group_id", ""),
                f"{where}, {shape.tag} {i}",
            )
            for i, shape in enumerate(element)
        ]
        yield context.image(picture, shapes, reader)


def _picture_name(element: Element, root: Path, where: str) -> str:
    """The name by which a picture can be found below a folder."""
    name, subset = element.get("name", ""), element.get("subset", "")
    if not name:
        raise UserError(f"{where} has no 'name'; export it again")
    for candidate in (f"images/{subset}/{name}", f"images/{name}", f"{subset}/{name}"):
        normal = os.path.normpath(candidate)
        if not normal.startswith(("..", "/")) and os.path.isfile(root / normal):
            return normal
    return name


def _read_video(
    context: _Context, names: dict[int, str], reader: ObjectReader, dropped: Dropped
) -> Iterator[LabelledImage]:
    by_frame: dict[int, list[Shape]] = {}
    path = context.task.path
    for number, track in enumerate(e for e in read_children(path) if e.tag == "track"):
        track_id = track.get("id", str(number))
        for shape in track:
            where = f"{path}: track {track_id}, {shape.tag}"
            frame = whole_number(shape, "frame", where)
            where = f"{path}: track {track_id}, frame {frame}"
            if shape.get("outside") != "1":  # out of sight
                group = track.get("group_id", "")
                new = Shape(shape, track.get("label", ""), group, where, track_id)
                by_frame.setdefault(frame, []).append(new)
    for frame, name in names.items():
        shapes = by_frame.pop(frame, [])
        where = f"{path}: frame {frame} with {count_of(len(shapes), 'shape')}"
        picture = context.folder.open(name, where, dropped, context.task.size)
        if picture is not None:
            yield context.image(picture, shapes, reader)
    for shape in (shape for shapes in by_frame.values() for shape in shapes):
        dropped.add(shape.where, f"the picture of its frame is not in {context.folder.root}")
