"""A labelling as "CVAT for images 1.1", to correct it there: `annotations.xml` and the pictures.

Objects of several parts share a `group_id`; those with holes are masks. All that an object has
besides are its attributes, which its label declares.

See https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO
from xml.etree import ElementTree

import numpy as np

from segtron.data.converters.coco_files import IMAGES
from segtron.data.converters.labelled_image import Dropped, LabelledImage, Labelling
from segtron.data.converters.labelme import CROWD_FLAG
from segtron.data.converters.output_folder import new_folder, placed, write_dropped
from segtron.data.converters.traced_objects import TracedObject, traced

ANNOTATIONS = "annotations.xml"
_COMMON = {"source": "file", "occluded": "0", "z_order": "0"}
# What XML can't hold.
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_cvat(
    labelling: Labelling,
    out: Path,
    dropped: Dropped,
    *,
    tolerance: float = 0.0,
    link: bool = False,
) -> tuple[int, int]:
    """Write a folder whose pictures make a task of CVAT, and whose XML is uploaded to it.

    Args:
        labelling: what to write.
        out: a folder that doesn't exist yet, or is empty. It gets `images`, `annotations.xml` and
            `dropped.csv`.
        dropped: as of the labelling's reader; objects that cover no pixel are added.
        tolerance: by how many pixels polygons may leave masks, for fewer corners.
        link: make links to the pictures instead of copies.

    Returns:
        How many images and how many objects were written.

    Raises:
        UserError: `out` holds something or can't be written, or the source is faulty.
    """
    # The labels and their attributes come first, but are known last.
    labels: dict[str, dict[str, None]] = {name: {} for name in labelling.classes or ()}
    number_of_images = number = 0
    with new_folder(out) as folder:
        body = folder / "images.xml"
        with body.open("w", encoding="utf-8") as file:
            for image in placed(labelling, folder / IMAGES, link):
                element, count = _image(image, number_of_images, tolerance, labels, dropped)
                number_of_images += 1
                number += count
                _write(element, file)
        with (folder / ANNOTATIONS).open("w", encoding="utf-8") as file:
            file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n')
            file.write("<version>1.1</version>\n")
            _write(_meta(labels, number_of_images), file)
            with body.open(encoding="utf-8") as images:
                file.writelines(images)
            file.write("</annotations>\n")
        body.unlink()
        write_dropped(folder, dropped)
    return number_of_images, number


def _write(element: ElementTree.Element, file: TextIO) -> None:
    ElementTree.indent(element)
    file.write(ElementTree.tostring(element, encoding="unicode") + "\n")


def _meta(labels: Mapping[str, Iterable[str]], number: int) -> ElementTree.Element:
    """The task: its size, its labels and their attributes."""
    meta = ElementTree.Element("meta")
    task = ElementTree.SubElement(meta, "task")
    _text(task, "size", number)
    _text(task, "mode", "annotation")
    parent = ElementTree.SubElement(task, "labels")
    for name, attributes in labels.items():
        label = ElementTree.SubElement(parent, "label")
        _text(label, "name", name)
        declared = ElementTree.SubElement(label, "attributes")
        for attribute in attributes:
            entry = ElementTree.SubElement(declared, "attribute")
            is_flag = attribute == CROWD_FLAG
            for field, value in {
                "name": attribute,
                "mutable": "False",
                "input_type": "checkbox" if is_flag else "text",
                "default_value": "false" if is_flag else "",
                "values": "false" if is_flag else "",
            }.items():
                _text(entry, field, value)
    return meta


def _image(
    image: LabelledImage,
    number: int,
    tolerance: float,
    labels: dict[str, dict[str, None]],
    dropped: Dropped,
) -> tuple[ElementTree.Element, int]:
    """An image's element, and of how many objects it is."""
    size = {"width": str(image.width), "height": str(image.height)}
    parent = ElementTree.Element("image", {"id": str(number), "name": _clean(image.name)} | size)
    count = 0
    for labelled in image.objects:
        drawn = traced(labelled, image, tolerance)
        if drawn is None:
            dropped.add(labelled.where, "covers no pixel")
            continue
        count += 1
        attributes = dict(labelled.attributes) | ({CROWD_FLAG: True} if labelled.is_crowd else {})
        labels.setdefault(labelled.class_name, {}).update(dict.fromkeys(attributes))
        group = {"group_id": str(count)} if len(drawn.polygons) > 1 else {}
        for tag, geometry in _geometries(drawn):
            shape = ElementTree.SubElement(
                parent, tag, {"label": _clean(labelled.class_name)} | _COMMON | geometry | group
            )
            for name, value in attributes.items():
                text = str(value).lower() if isinstance(value, bool) else value
                _text(shape, "attribute", text).set("name", _clean(name))
    return parent, count


def _geometries(drawn: TracedObject) -> list[tuple[str, dict[str, str]]]:
    """Tags and attributes of an object's shapes."""
    if drawn.mask is None:
        return [
            ("polygon", {"points": ";".join(f"{x:.2f},{y:.2f}" for x, y in points)})
            for points in drawn.polygons
        ]
    # Runs row by row within the mask's box, of pixels outside and inside by turns.
    pixels = drawn.mask.ravel()
    changes = np.flatnonzero(np.diff(pixels, prepend=False))
    runs = np.diff(changes, prepend=0, append=pixels.size)
    box = {"left": drawn.left, "top": drawn.top}
    box |= {"width": drawn.mask.shape[1], "height": drawn.mask.shape[0]}
    text = ", ".join(map(str, runs.tolist()))
    return [("mask", {"rle": text} | {name: str(value) for name, value in box.items()})]


def _text(parent: ElementTree.Element, tag: str, value: Any) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, tag)
    element.text = _clean(str(value))
    return element


def _clean(text: str) -> str:
    """A text that XML can hold."""
    return _NO_XML.sub("?", text)
