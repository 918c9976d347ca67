"""The objects that CVAT's shapes make up."""

from __future__ import annotations

from typing import NamedTuple
from xml.etree.ElementTree import Element

from segtron.data.converters.cvat_shapes import segmentation_of_shape
from segtron.data.converters.cvat_xml import lengths
from segtron.data.converters.labelled_image import Dropped, LabelledObject
from segtron.data.converters.labelme import CROWD_FLAG
from segtron.data.converters.pictures import Picture
from segtron.data.converters.shapes import NoAreaError, Segmentation, union
from segtron.errors import UserError

Attributes = dict[str, str | float | bool]
_TRUTH = {"true": True, "false": False}


class Shape(NamedTuple):
    """A shape in an image.

    Attributes:
        element: what is drawn.
        label: its name.
        group: what other shapes of the same object have, too; "" or "0" for none.
        where: what to call it.
        track: the id of its track; "" for none.
    """

    element: Element
    label: str
    group: str
    where: str
    track: str = ""


class _Part(NamedTuple):
    class_name: str
    segmentation: Segmentation
    attributes: Attributes
    where: str


class ObjectReader:
    """Makes objects of shapes."""

    def __init__(self, class_attribute: str | None, dropped: Dropped) -> None:
        """
        Args:
            class_attribute: the attribute that holds the class; None where the label is it.
            dropped: is told of shapes that are no objects.
        """
        self._class_attribute, self._dropped = class_attribute, dropped

    def read(self, shapes: list[Shape], picture: Picture) -> list[LabelledObject]:
        """The objects of an image, in the order of their first shapes.

        Raises:
            UserError: a shape is malformed.
        """
        parts: dict[object, list[_Part]] = {}
        for number, shape in enumerate(shapes):
            part = self._part(shape, picture)
            if part is not None:
                alone = shape.group in ("", "0")
                key = number if alone else (shape.group, part.class_name)
                parts.setdefault(key, []).append(part)
        return [self._object(of_object, picture) for of_object in parts.values()]

    def _part(self, shape: Shape, picture: Picture) -> _Part | None:
        if not shape.label:
            raise UserError(f"{shape.where} has no 'label'; export it again")
        try:
            segmentation = segmentation_of_shape(shape.element, picture, shape.where)
        except NoAreaError as error:
            self._dropped.add(shape.where, str(error))
            return None
        texts = {e.get("name", ""): e.text or "" for e in shape.element.iter("attribute")}
        class_name = shape.label
        if self._class_attribute is not None:
            class_name = texts.pop(self._class_attribute, "").strip()
            texts["label"] = shape.label
            if not class_name:
                self._dropped.add(shape.where, f"has no attribute {self._class_attribute!r}")
                return None
        return _Part(class_name, segmentation, _attributes(texts, shape), shape.where)

    def _object(self, parts: list[_Part], picture: Picture) -> LabelledObject:
        first = parts[0]
        attributes = dict(first.attributes)
        for part in parts[1:]:
            for name, value in part.attributes.items():
                if attributes.setdefault(name, value) != value:
                    self._dropped.add(
                        f"{part.where}: {name}", "differs in an object's parts; the first's is kept"
                    )
        segmentation = first.segmentation
        if len(parts) > 1:
            segmentations = [part.segmentation for part in parts]
            segmentation = union(segmentations, picture.height, picture.width)
        is_crowd = attributes.pop(CROWD_FLAG, False) is True
        return LabelledObject(first.class_name, segmentation, first.where, is_crowd, attributes)


def _attributes(texts: dict[str, str], shape: Shape) -> Attributes:
    """What CVAT says of a shape besides; boxes to tick become truth values."""
    attributes: Attributes = {name: _TRUTH.get(text, text) for name, text in texts.items()}
    if shape.element.get("occluded") == "1":
        attributes["occluded"] = True
    if shape.element.get("z_order", "0") != "0":
        (attributes["z_order"],) = lengths(shape.element, ("z_order",), shape.where)
    if shape.track:
        attributes["track_id"] = shape.track
    return attributes
