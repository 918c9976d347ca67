"""Pascal VOC's segmentation, also as CVAT and labelme write it.

    JPEGImages/<image>.jpg
    SegmentationClass/<image>.png           indices of a palette, or colours: classes
    SegmentationObject/<image>.png          the same: objects, 255 (or a light beige) between them
    ImageSets/Segmentation/{train,val}.txt  names of images without suffix
    labelmap.txt or class_names.txt         classes other than VOC's 20

What lies in `Annotations` are boxes, from which no mask can be had; they are not read.

See http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segtron.data.converters.class_files import (
    ClassFile,
    find_class_file,
    is_background,
    read_class_file,
)
from segtron.data.converters.class_maps import ClassMaps
from segtron.data.converters.label_pictures import (
    picture_of_labels,
    read_label_values,
)
from segtron.data.converters.labelled_image import (
    Dropped,
    LabelledImage,
    LabelledObject,
    Labelling,
    Segments,
)
from segtron.data.converters.mask_shapes import id_segmentations
from segtron.data.converters.paired_folders import group_of
from segtron.data.converters.pascal_voc_files import VocFiles, find_files, find_root
from segtron.data.converters.pictures import Picture
from segtron.data.id_map import measure_segments, replace_ids
from segtron.data.sem_seg import IGNORED, Color
from segtron.errors import UnreadableFileError, UserError
from segtron.wording import count_of

_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip
# Of the border between objects, by its index, its colour, and the number of that.
_VOID, _VOID_COLOUR, _VOID_NUMBER = 255, (224, 224, 192), 0xE0E0C0


class _Source(NamedTuple):
    """What all images share.

    Attributes:
        maps: reads classes.
        names: of the classes.
        background: its place in them; None where there is none.
    """

    maps: ClassMaps
    names: list[str]
    background: int | None


class _Content(NamedTuple):
    """What an image's files hold, as the photograph is shown.

    Attributes:
        picture: the photograph.
        classes: (H, W) uint8, places of classes, 255 for none.
        objects: (H, W) int32, numbers of objects from 1, 0 for none.
        ids: (N,) the ids that the file calls the objects by.
        class_of: (N,) the class of each object; 255 where none of its pixels has one.
    """

    picture: Picture
    classes: np.ndarray
    objects: np.ndarray
    ids: np.ndarray
    class_of: np.ndarray


def open_pascal_voc(
    src: Path, dropped: Dropped, *, lists: Sequence[str] = (), classes: Path | None = None
) -> Labelling:
    """Open a data set in Pascal VOC's layout.

    An object is of the class that most of its pixels have. Label maps hold all classes, with
    background; panoptic maps the objects, and what is background as one segment.

    Args:
        src: the folder that holds `JPEGImages`, or one above.
        dropped: is told of images without segmentation, of objects without a class, of classes'
            pixels that are of no object, and of what can't be read.
        lists: the images are those of these files of `ImageSets/Segmentation`, such as "train";
            default: all that have objects.
        classes: names the classes, see `class_files`; default: `labelmap.txt` or
            `class_names.txt` beside `JPEGImages`, else VOC's.

    Raises:
        UserError: there is no such layout, or a list or class file is missing or broken; while
            reading: a map has another size than its image, or a value that is no class.
    """
    root = find_root(src)
    class_path = classes or find_class_file(root)
    class_file = (
        ClassFile(root, dict(enumerate(_CLASSES)), {})
        if class_path is None
        else read_class_file(class_path)
    )
    maps = ClassMaps.of(class_file, [_VOID, _VOID_COLOUR], voc_colours())
    names = list(class_file.names.values())
    background = next((i for i, name in enumerate(names) if is_background(name)), None)
    source = _Source(maps, names, background)
    files = find_files(root, lists, dropped)

    def read() -> Iterator[LabelledImage]:
        for of_image in files:
            try:
                content = _read(of_image, source)
            except UnreadableFileError as error:
                dropped.add(str(of_image.image), str(error))
                continue
            yield LabelledImage(
                of_image.image,
                of_image.name,
                content.picture.height,
                content.picture.width,
                _objects(content, of_image, source, dropped),
                group_of(of_image.name),
                functools.partial(_read_labels, of_image, source),
                functools.partial(_read_segments, of_image, source),
            )

    stuff = frozenset() if background is None else frozenset([names[background]])
    return Labelling(read(), len(files), tuple(names), stuff)


def voc_colours() -> dict[int, Color]:
    """VOC's colours of the values 0 to 254: a value's bits, the highest of each channel first."""
    value = np.arange(IGNORED)
    colours = np.zeros((IGNORED, 3), int)
    for place in range(8):
        for channel in range(3):
            colours[:, channel] |= (value >> (3 * place + channel) & 1) << (7 - place)
    return {i: (int(r), int(g), int(b)) for i, (r, g, b) in enumerate(colours)}


def _read(files: VocFiles, source: _Source) -> _Content:
    classes, objects = source.maps.read(files.classes), read_label_values(files.objects)
    if classes.shape != objects.shape:
        raise UserError(
            f"label file {files.classes} is {classes.shape[1]} x {classes.shape[0]}, but "
            f"{files.objects} is {objects.shape[1]} x {objects.shape[0]}; export them again"
        )
    picture = picture_of_labels(files.image, files.name, objects.shape, files.objects)
    classes, objects = picture.orient_mask(classes), picture.orient_mask(objects)
    # Numbers as colours have them are int32.
    void = {np.dtype(np.uint8): _VOID, np.dtype(np.int32): _VOID_NUMBER}.get(objects.dtype, 0)
    ids = measure_segments(objects).ids
    ids = ids[(ids != 0) & (ids != void)]
    numbered = replace_ids(objects, ids, np.arange(1, len(ids) + 1, dtype=np.int32), 0)
    pairs = numbered.astype(np.int64) * 2**8 + classes
    counts = np.bincount(pairs.ravel(), minlength=(len(ids) + 1) * 2**8).reshape(-1, 2**8)[1:]
    counts[:, IGNORED] = 0
    if source.background is not None:
        counts[:, source.background] = 0
    class_of = np.where(counts.any(axis=1), counts.argmax(axis=1), IGNORED)
    return _Content(picture, classes, numbered, ids, class_of)


def _objects(
    content: _Content, files: VocFiles, source: _Source, dropped: Dropped
) -> list[LabelledObject]:
    objects = []
    for number, segmentation in id_segmentations(content.objects):
        where = f"{files.objects}: object {content.ids[number - 1]}"
        place = content.class_of[number - 1]
        if place == IGNORED:
            dropped.add(where, f"has no pixel of a class in {files.classes}")
        else:
            objects.append(LabelledObject(source.names[place], segmentation, where))
    loose = np.bincount(content.classes[content.objects == 0], minlength=2**8)[:IGNORED]
    for place in np.flatnonzero(loose):
        if place != source.background:
            dropped.add(
                f"{files.classes}: {source.names[place]}",
                f"{count_of(int(loose[place]), 'pixel')} of no object in {files.objects.name}",
            )
    return objects


def _read_labels(files: VocFiles, source: _Source) -> np.ndarray:
    return np.ascontiguousarray(_read(files, source).classes)


def _read_segments(files: VocFiles, source: _Source) -> Segments:
    content = _read(files, source)
    has_class = np.append(False, content.class_of != IGNORED)
    ids = np.where(has_class[content.objects], content.objects, 0).astype(np.int32)
    names = {
        number: source.names[place]
        for number, place in enumerate(content.class_of.tolist(), 1)
        if place != IGNORED
    }
    if source.background is not None:
        background = len(content.ids) + 1
        ids[(content.objects == 0) & (content.classes == source.background)] = background
        names[background] = source.names[source.background]
    return Segments(ids, names)
