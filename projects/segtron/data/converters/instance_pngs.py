"""One map of instance ids an image: PNGs of 8 or 16 bits, with a palette, or in colours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from segtron.data.converters.class_files import read_class_file
from segtron.data.converters.label_pictures import picture_of_labels, read_label_values
from segtron.data.converters.labelled_image import (
    Dropped,
    LabelledImage,
    LabelledObject,
    Labelling,
)
from segtron.data.converters.mask_shapes import MOST_OBJECTS, count_ids, id_segmentations
from segtron.data.converters.paired_folders import Pair, find_pairs
from segtron.errors import UnreadableFileError, UserError


def open_instance_pngs(
    src: Path,
    dropped: Dropped,
    *,
    images: Path | None = None,
    labels: Path | None = None,
    label_suffix: str | None = None,
    class_name: str = "object",
    label_divisor: int | None = None,
    classes: Path | None = None,
    background: Sequence[int] = (0,),
) -> Labelling:
    """Open a folder of images and one of id maps.

    Args:
        src: the folder that has both.
        dropped: is told of images without a map and maps without an image, of what can't be read,
            and of objects whose class has no name.
        images, labels, label_suffix: see `find_pairs`.
        class_name: of all objects, unless their ids tell it.
        label_divisor: ids tell classes, as in Cityscapes: id // label_divisor is the value of the
            class; an id below is a value itself, of a group of objects that are not told apart.
        classes: names the values, see `class_files`; default: their names are their numbers. Taken
            with `label_divisor` only.
        background: ids of no object.

    Raises:
        UserError: see `find_pairs`; `label_divisor` is below 1; while reading: a map has another
            size than its image, or more ids than an image has objects.
    """
    if label_divisor is not None and label_divisor < 1:
        raise UserError(f"--label-divisor is {label_divisor}; it must be 1 or more, such as 1000")
    names: Mapping[int, str] | None = None
    if classes is not None:
        if label_divisor is None:
            raise UserError(
                "--classes names the values of classes, which ids tell only with --label-divisor; "
                "add it, or give all objects one --class-name"
            )
        names = read_class_file(classes).names
    pairs = find_pairs(src, dropped, images, labels, label_suffix)

    def class_of(object_id: int) -> str | None:
        if label_divisor is None:
            return class_name
        value = object_id // label_divisor if object_id >= label_divisor else object_id
        return str(value) if names is None else names.get(value)

    def read() -> Iterator[LabelledImage]:
        for pair in pairs:
            try:
                yield _read_image(pair)
            except UnreadableFileError as error:
                dropped.add(str(pair.image), str(error))

    def _read_image(pair: Pair) -> LabelledImage:
        ids = read_label_values(pair.labels)
        picture = picture_of_labels(pair.image, pair.name, ids.shape, pair.labels)
        ids = picture.orient_mask(ids)
        number = count_ids(ids)
        if number > MOST_OBJECTS:
            raise UserError(
                f"label file {pair.labels} has {number:,} different values, more than the "
                f"{MOST_OBJECTS:,} objects that an image may have; is it a photograph, or was it "
                "saved with loss?"
            )
        objects = []
        for object_id, segmentation in id_segmentations(ids, background):
            where = f"{pair.labels}: id {object_id}"
            name = class_of(object_id)
            if name is None:
                dropped.add(where, f"is of a class that {classes} does not name")
                continue
            is_crowd = label_divisor is not None and object_id < label_divisor
            objects.append(LabelledObject(name, segmentation, where, is_crowd))
        return LabelledImage(
            pair.image, pair.name, picture.height, picture.width, objects, pair.group
        )

    order = None if names is None else tuple(names.values())
    return Labelling(read(), len(pairs), order)
