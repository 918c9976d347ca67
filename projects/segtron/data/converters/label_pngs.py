"""Semantic label maps, one an image: PNGs of values, with a palette, or in colours.

The map itself is carried over. As objects count the connected regions of each class, which is what
such a map can tell of them: two objects of a class that touch are one.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from segtron.data.converters.class_files import (
    USUAL_NAMES,
    find_class_file,
    is_background,
    read_class_file,
)
from segtron.data.converters.class_maps import ClassMaps
from segtron.data.converters.label_pictures import picture_of_labels
from segtron.data.converters.labelled_image import (
    Dropped,
    LabelledImage,
    LabelledObject,
    Labelling,
)
from segtron.data.converters.mask_shapes import MOST_OBJECTS, connected_regions, id_segmentations
from segtron.data.converters.paired_folders import Pair, find_pairs
from segtron.data.converters.pictures import Picture
from segtron.data.sem_seg import IGNORED, Color
from segtron.errors import UnreadableFileError, UserError


def open_label_pngs(
    src: Path,
    dropped: Dropped,
    *,
    classes: Path | None = None,
    images: Path | None = None,
    labels: Path | None = None,
    label_suffix: str | None = None,
    ignore: Sequence[str] | None = None,
    stuff: Sequence[str] | None = None,
    objects: bool = True,
) -> Labelling:
    """Open a folder of images and one of label maps.

    Args:
        src: the folder that has both.
        dropped: is told of images without a map, of maps without an image, and of what can't be
            read.
        classes: names the classes, and their colours where maps are coloured, see `class_files`;
            default: a file in `src` under one of the usual names.
        images, labels, label_suffix: see `find_pairs`.
        ignore: values ("255") and colours ("224,224,192") of pixels without a class; default: 255,
            unless it is a class.
        stuff: classes whose regions are no objects; default: the one that is called background.
        objects: whether regions are objects at all; if not, all classes are stuff.

    Raises:
        UserError: there is no class file, or it is broken; see `find_pairs`; while reading: a map
            has a value that is no class, or another size than its image, or masks of 0 and 255
            whose 255 nobody named.
    """
    class_file = classes or find_class_file(src)
    if class_file is None:
        raise UserError(
            f"{src} has no file that names the classes of its label values "
            f"({', '.join(USUAL_NAMES[:3])}, ...); name one with --classes, a name a line"
        )
    class_file = read_class_file(class_file)
    names = list(class_file.names.values())
    marks = _marks([] if ignore is None else ignore)
    if ignore is None and IGNORED not in class_file.names:
        marks = [IGNORED]
    maps = ClassMaps.of(class_file, marks)
    stuff_classes = _stuff(names, stuff, str(class_file.path)) if objects else frozenset(names)
    no_objects = {IGNORED, *(names.index(name) for name in stuff_classes)}
    pairs = find_pairs(src, dropped, images, labels, label_suffix)

    def read() -> Iterator[LabelledImage]:
        found = np.zeros(2**8, np.int64)
        for pair in pairs:
            try:
                class_map = maps.read(pair.labels)
                picture = picture_of_labels(pair.image, pair.name, class_map.shape, pair.labels)
            except UnreadableFileError as error:
                dropped.add(str(pair.image), str(error))
                continue
            found += np.bincount(class_map.ravel(), minlength=2**8)
            yield LabelledImage(
                pair.image,
                pair.name,
                picture.height,
                picture.width,
                _regions(picture.orient_mask(class_map), names, no_objects, pair),
                pair.group,
                functools.partial(_read_labels, maps, pair, picture),
            )
        if ignore is None and found[IGNORED] and found[0] and not found[1:IGNORED].any():
            raise UserError(
                f"the label files in {src} seem to be masks of 0 and 255, but 255 is ignored, "
                "which leaves one class; name both values in a YAML file, '{0: background, "
                "255: object}', and give it with --classes; or, if 255 is meant to be ignored, say "
                "--ignore 255"
            )

    return Labelling(read(), len(pairs), tuple(names), stuff_classes)


def _read_labels(maps: ClassMaps, pair: Pair, picture: Picture) -> np.ndarray:
    return np.ascontiguousarray(picture.orient_mask(maps.read(pair.labels)))


def _regions(
    class_map: np.ndarray, names: Sequence[str], no_objects: set[int], pair: Pair
) -> list[LabelledObject]:
    regions, classes = connected_regions(class_map, no_objects)
    if len(classes) - 1 > MOST_OBJECTS:
        raise UserError(
            f"label file {pair.labels} has {len(classes) - 1:,} regions, more than the "
            f"{MOST_OBJECTS:,} objects that an image may have; leave them out with --no-objects"
        )
    return [
        LabelledObject(names[classes[number]], segmentation, f"{pair.labels}: region {number}")
        for number, segmentation in id_segmentations(regions)
    ]


def _marks(texts: Sequence[str]) -> list[int | Color]:
    """What is ignored: values, and colours of three numbers."""
    marks: list[int | Color] = []
    for text in texts:
        try:
            numbers = tuple(int(part) for part in text.split(","))
        except ValueError:
            numbers = ()
        if len(numbers) == 1 and 0 <= numbers[0] < 2**16:
            marks.append(numbers[0])
        elif len(numbers) == 3 and all(0 <= number < 2**8 for number in numbers):
            marks.append(numbers)
        else:
            raise UserError(
                f"--ignore {text} is neither a value from 0 to 65535 nor a colour such as "
                "224,224,192"
            )
    return marks


def _stuff(names: Sequence[str], given: Sequence[str] | None, where: str) -> frozenset[str]:
    if given is None:
        return frozenset(name for name in names if is_background(name))
    for name in given:
        if name not in names:
            raise UserError(f"--stuff {name} is no class; {where} has {', '.join(names[:20])}")
    return frozenset(given)
