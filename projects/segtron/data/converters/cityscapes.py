"""Data in Cityscapes' on-disk layout, toytown among them: see `segtron.data.cityscapes`.

Whoever trains on Cityscapes' own classes needs no conversion: `cityscapes_fine_*` and `toytown_*`
are data sets by name. This is for other programs, and for mixing with data of one's own.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from cityscapesscripts.helpers.labels import id2label

from segtron.data.cityscapes import (
    FIRST_INSTANCE_ID,
    IMAGE_SUFFIX,
    INSTANCE_IDS,
    INSTANCE_IDS_SUFFIX,
    LABEL_IDS,
    LABEL_IDS_SUFFIX,
    SEM_SEG_LABELS,
    THING_ID_TO_CONTIGUOUS,
    THING_LABELS,
    Frame,
    find_frames,
    label_ids_of,
    panoptic_segments,
)
from segtron.data.converters.label_pictures import picture_of_labels
from segtron.data.converters.labelled_image import (
    Dropped,
    LabelledImage,
    LabelledObject,
    Labelling,
    Segments,
)
from segtron.data.converters.mask_shapes import id_segmentations
from segtron.data.converters.pictures import Picture
from segtron.data.image_io import read_ids
from segtron.data.sem_seg import check_label_size
from segtron.errors import UnreadableFileError, UserError

_CLASSES = tuple(label.name for label in SEM_SEG_LABELS)
_STUFF = frozenset(_CLASSES) - {label.name for label in THING_LABELS}


def open_cityscapes(
    src: Path, dropped: Dropped, *, splits: Sequence[str] = ("train", "val")
) -> Labelling:
    """Open data in Cityscapes' layout.

    Classes are the 19 that the benchmark scores. Groups (cargroup) are crowds. Pictures keep split
    and city in their names, and frames of one sequence are a group.

    Args:
        src: the folder that holds `leftImg8bit` and `gtFine`.
        dropped: is told of instances of other classes (caravan, trailer), and of what can't be
            read.
        splits: those of them that exist are read. The labels of Cityscapes' test split are dummies.

    Raises:
        UserError: no such split exists, or a label file is missing; while reading: a label file has
            an id that is none of Cityscapes, or another size than its image.
    """
    existing = [split for split in splits if (src / "leftImg8bit" / split).is_dir()]
    if not existing:
        raise UserError(
            f"{src} has no folder leftImg8bit/{splits[0]}; name the folder that holds leftImg8bit "
            "and gtFine, and which of their folders to read with --splits"
        )
    frames = [(s, frame) for s in existing for frame in find_frames(src, s, INSTANCE_IDS_SUFFIX)]

    def read() -> Iterator[LabelledImage]:
        for split, frame in frames:
            try:
                image = _read_frame(split, frame, dropped)
            except UnreadableFileError as error:
                dropped.add(str(frame.image_file), str(error))
                continue
            if image is not None:
                yield image

    return Labelling(read(), len(frames), _CLASSES, _STUFF)


def _read_frame(split: str, frame: Frame, dropped: Dropped) -> LabelledImage | None:
    ids_file = frame.label_file(INSTANCE_IDS_SUFFIX)
    if ids_file is None:
        dropped.add(str(frame.image_file), "has no labels")
        return None
    city, stem = frame.image_file.parent.name, frame.image_file.name.removesuffix(IMAGE_SUFFIX)
    ids = read_ids(ids_file)
    INSTANCE_IDS.decode(ids, ids_file)  # refuses what is no id of Cityscapes
    name = f"{split}/{city}/{frame.image_file.name}"
    picture = picture_of_labels(frame.image_file, name, ids.shape, ids_file)
    objects = []
    for instance_id, segmentation in id_segmentations(picture.orient_mask(ids), _no_instances()):
        label = id2label[int(label_ids_of(instance_id))]
        where = f"{ids_file}: {label.name} {instance_id}"
        if label.id not in THING_ID_TO_CONTIGUOUS:
            dropped.add(where, "is of a class that Cityscapes does not score")
            continue
        is_crowd = instance_id < FIRST_INSTANCE_ID
        objects.append(LabelledObject(label.name, segmentation, where, is_crowd))
    has_labels = frame.label_file(LABEL_IDS_SUFFIX).is_file()
    return LabelledImage(
        frame.image_file,
        name,
        picture.height,
        picture.width,
        objects,
        # <city>_<sequence>_<frame>
        f"{city}/{stem.rsplit('_', 1)[0]}",
        functools.partial(_read_labels, frame, picture) if has_labels else None,
        functools.partial(_read_segments, ids_file, picture),
    )


@functools.cache
def _no_instances() -> tuple[int, ...]:
    """The instance ids that are no instances, nor groups of them."""
    return tuple(
        label.id for label in id2label.values() if label.id >= 0 and not label.hasInstances
    )


def _read_labels(frame: Frame, picture: Picture) -> np.ndarray:
    path = frame.label_file(LABEL_IDS_SUFFIX)
    labels = np.ascontiguousarray(picture.orient_mask(LABEL_IDS.read(path)))
    record = {"file_name": str(frame.image_file), "height": picture.height, "width": picture.width}
    check_label_size(path, labels.shape, record)
    return labels


def _read_segments(ids_file: Path, picture: Picture) -> Segments:
    ids = np.ascontiguousarray(picture.orient_mask(INSTANCE_IDS.read(ids_file)))
    segments = panoptic_segments(ids)
    return Segments(
        ids,
        {segment["id"]: _CLASSES[segment["category_id"]] for segment in segments},
        frozenset(segment["id"] for segment in segments if segment["iscrowd"]),
    )
