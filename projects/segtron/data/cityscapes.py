"""Data in Cityscapes' on-disk layout: where its files are, what its ids mean, its annotations.

Layout below a root (https://github.com/mcordts/cityscapesScripts):

    leftImg8bit/<split>/<city>/<frame>_leftImg8bit.png
    gtFine/<split>/<city>/<frame>_gtFine_instanceIds.png    16 bit
    gtFine/<split>/<city>/<frame>_gtFine_labelIds.png       8 bit

An instance id below 1000 is a label id: stuff, or a group of things that nobody told apart. One
from 1000 on is label id * 1000 + number of the instance.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from cityscapesscripts.helpers.labels import labels as LABELS
from detectron2.structures import BoxMode

from segtron.data.each_item import for_each, num_readers
from segtron.data.id_map import encode_segments, measure_segments
from segtron.data.image_io import IDS, Decoder, read_ids, read_image_size
from segtron.data.panoptic import VOID, PanSegEncoding, segment_classes
from segtron.data.record_cache import remember
from segtron.data.sem_seg import IGNORED, IdEncoding
from segtron.errors import UserError
from segtron.memory import garbage_kept

IMAGE_SUFFIX = "_leftImg8bit.png"
INSTANCE_IDS_SUFFIX = "_gtFine_instanceIds.png"
LABEL_IDS_SUFFIX = "_gtFine_labelIds.png"
PANOPTIC_SUFFIX = "_gtFine_panoptic.png"
# Made from the label ids by the official preparation script, if somebody ran it.
TRAIN_IDS_SUFFIX = "_gtFine_labelTrainIds.png"
FIRST_INSTANCE_ID = 1000  # ids below are label ids

# The classes whose instances are scored, in the official order.
THING_LABELS = tuple(label for label in LABELS if label.hasInstances and not label.ignoreInEval)
THING_ID_TO_CONTIGUOUS = {label.id: i for i, label in enumerate(THING_LABELS)}

# The classes of semantic segmentation, in the order of their train ids.
SEM_SEG_LABELS = tuple(
    sorted((label for label in LABELS if not label.ignoreInEval), key=lambda label: label.trainId)
)
SEM_SEG_ID_TO_CONTIGUOUS = {label.id: i for i, label in enumerate(SEM_SEG_LABELS)}
LABEL_IDS = IdEncoding(
    values=tuple(SEM_SEG_ID_TO_CONTIGUOUS),
    ignored=tuple(label.id for label in LABELS if label.ignoreInEval and label.id >= 0),
)
TRAIN_IDS = IdEncoding(values=tuple(range(len(SEM_SEG_LABELS))), ignored=(IGNORED,))


@dataclass(frozen=True)
class InstanceIds(PanSegEncoding):
    """`*_instanceIds.png` as maps of segments (`segtron.data.panoptic.PanSegEncoding`): an id is
    that of a segment, but for the labels that are not scored, which are void."""

    @property
    def decoder(self) -> Decoder:
        """See `FileEncoding`."""
        return IDS

    def decode(self, pixels: np.ndarray, path: str | Path) -> np.ndarray:
        """See `PanSegEncoding`."""
        segments = _segment_of_id().take(pixels)
        if segments.min(initial=0) < 0:
            raise UserError(
                f"label file {path} has the id {pixels[segments < 0][0]}, whose label is none of "
                "Cityscapes; correct the file"
            )
        return segments


INSTANCE_IDS = InstanceIds()


@functools.cache
def _segment_of_id() -> np.ndarray:
    """(2**16,) int32, for each instance id that of its segment: void where the label is not scored,
    -1 where there is no such label."""
    ids = np.arange(2**16, dtype=np.int32)
    label_ids = label_ids_of(ids)
    segments = np.where(np.isin(label_ids, list(SEM_SEG_ID_TO_CONTIGUOUS)), ids, VOID)
    segments[~np.isin(label_ids, [label.id for label in LABELS])] = -1
    return segments


@dataclass(frozen=True)
class Frame:
    """One frame's files. `labels_stem` is None where a split has no labels.

    Attributes:
        image_file: the image.
        labels_stem: path of the label files without their suffixes (`INSTANCE_IDS_SUFFIX`, …).
    """

    image_file: Path
    labels_stem: Path | None

    def label_file(self, suffix: str) -> Path | None:
        """The label file of a suffix, None where there are no labels. It may be missing."""
        stem = self.labels_stem
        return None if stem is None else stem.with_name(stem.name + suffix)


def find_frames(root: Path, split: str, label_suffix: str) -> list[Frame]:
    """List a split's frames, by city and name.

    Args:
        root: the folder that holds `leftImg8bit` and `gtFine`.
        split: "train", "val" or "test". Only "test" may lack labels.
        label_suffix: of the label files that are needed.

    Raises:
        UserError: the folder, its images or a label file is missing.
    """
    image_dir, label_dir = root / "leftImg8bit" / split, root / "gtFine" / split
    images = sorted(image_dir.glob(f"*/*{IMAGE_SUFFIX}"))
    if not images:
        variable = os.environ.get("DETECTRON2_DATASETS")
        raise UserError(
            f"no images {image_dir}/<city>/*{IMAGE_SUFFIX}: "
            f"expected the tree {root}/{{leftImg8bit,gtFine}}/{split}/<city>/, "
            f"where {root.parent} is the folder that the variable DETECTRON2_DATASETS names "
            + (f"(now {variable})" if variable else "(not set now, so 'datasets')")
        )
    frames, missing = [], []
    for image in images:
        stem = image.name.removesuffix(IMAGE_SUFFIX)
        frame = Frame(image, label_dir / image.parent.name / stem)
        label_file = frame.label_file(label_suffix)
        if not label_file.is_file():
            missing.append(label_file)
            frame = Frame(image, None)
        frames.append(frame)
    if missing and split != "test":
        raise UserError(
            f"{len(missing)} of {len(images)} label files are missing, first of them {missing[0]}"
        )
    return frames


def find_label_files(root: Path, split: str, suffix: str) -> list[Path]:
    """List a split's label files of one kind, by city and name; images need not be there.

    Raises:
        UserError: there are none.
    """
    folder = root / "gtFine" / split
    files = sorted(folder.glob(f"*/*{suffix}"))
    if not files:
        raise UserError(
            f"no label files {folder}/<city>/*{suffix}; name the folder that holds gtFine, with "
            "Cityscapes' gtFine_trainvaltest.zip unpacked in it"
        )
    return files


def load_instances(root: Path, split: str) -> list[dict[str, Any]]:
    """Read a split's instances as Detectron2's standard dicts.

    Groups become crowd annotations. Classes that the benchmark does not score (caravan, trailer)
    are left out, as are all other labels.

    Args:
        root: the folder that holds `leftImg8bit` and `gtFine`.
        split: "train", "val" or "test".

    Returns:
        One dict a frame: `file_name`, `image_id` (the image's name), `height`, `width`,
        `instance_ids_file_name` (where there is one), and `annotations` with `bbox` (XYXY_ABS,
        tight), `area` in pixels, `category_id` (0 to 7), `iscrowd` and `segmentation` (compressed
        RLE).

    Raises:
        UserError: a folder or file is missing or cannot be read.
    """
    return load_frames(root, split, INSTANCE_READER)


def load_sem_seg(root: Path, split: str) -> list[dict[str, Any]]:
    """Read a split's semantic segmentation as Detectron2's standard dicts.

    Args:
        root: the folder that holds `leftImg8bit` and `gtFine`.
        split: "train", "val" or "test".

    Returns:
        One dict a frame: `file_name`, `image_id` (the image's name), `height`, `width`; and where
        there are labels, `sem_seg_file_name` with `sem_seg_encoding`, which makes train ids of it,
        and `instance_ids_file_name`, which iIoU is computed from. `sem_seg_file_name` is
        `*_labelTrainIds.png` where somebody made these, as for Detectron2's own mapper; else
        `*_labelIds.png`.

    Raises:
        UserError: a folder or file is missing or cannot be read.
    """
    return load_frames(root, split, _SEM_SEG)


def load_panoptic(root: Path, split: str) -> list[dict[str, Any]]:
    """Read a split's panoptic segmentation as Detectron2's standard dicts, from its instance ids.

    Segments, crowds and void are those of the official converter
    (`cityscapesscripts.preparation.createPanopticImgs`), which need not have been run: a segment's
    id is its instance id, groups are crowds, labels that are not scored are void.

    Args:
        root: the folder that holds `leftImg8bit` and `gtFine`.
        split: "train" or "val".

    Returns:
        One dict a frame: `file_name`, `image_id` (<city>_<sequence>_<frame>), `height`, `width`,
        `instance_ids_file_name`, and what `segtron.data.panoptic` lists. `pan_seg_file_name` is the
        official panoptic PNG where somebody made these, as Detectron2's own mappers read them, else
        the instance ids; so `sem_seg_file_name` is `*_labelTrainIds.png`, else the instance ids.

    Raises:
        UserError: a folder or file is missing or cannot be read.
    """
    return load_frames(root, split, _PANOPTIC)


def panoptic_folder(root: Path, split: str) -> Path:
    """Where the official converter writes a split's panoptic PNGs; their JSON lies beside it."""
    return root / "gtFine" / f"cityscapes_panoptic_{split}"


class Reader(NamedTuple):
    """A way to make standard dicts of frames. What takes long, looking into files, is apart from
    the rest, so that it has to be done once only.

    Attributes:
        name: of what is found.
        label_suffix: of the label files that are needed.
        find: looks into a frame's files; gives what JSON can hold.
        build: makes the dict of a frame, of what was found.
    """

    name: str
    label_suffix: str
    find: Callable[[Frame], Any]
    build: Callable[[Frame, Any], dict[str, Any]]


def load_frames(root: Path, split: str, reader: Reader) -> list[dict[str, Any]]:
    """Make standard dicts of a split's frames; of what was looked into before only the states are
    looked at (`segtron.data.record_cache`).

    Raises:
        UserError: a folder or file is missing or cannot be read.
    """
    frames = find_frames(root, split, reader.label_suffix)
    # Looked into are label files, or the sizes of images without any.
    looked_into = [
        frame.image_file
        if reader is _SEM_SEG or frame.labels_stem is None
        else frame.label_file(reader.label_suffix)
        for frame in frames
    ]

    def find() -> list[Any]:
        description = f"reading {root.name} {split}"
        return list(for_each(reader.find, frames, workers=num_readers(), desc=description, delay=2))

    name = f"{root.name}-{split}-{reader.name}"
    with garbage_kept():
        found = remember(name, root, looked_into, find)
        return [reader.build(frame, facts) for frame, facts in zip(frames, found, strict=True)]


def _find_instances(frame: Frame) -> dict[str, Any]:
    """Size and things of a frame; of a thing id, area, box and run lengths."""
    ids_file = frame.label_file(INSTANCE_IDS_SUFFIX)
    if ids_file is None:
        return {"size": read_image_size(frame.image_file), "things": []}
    ids = read_ids(ids_file)
    things = [
        (segment.id, segment.area, segment.box, segment.rle["counts"].decode("ascii"))
        for segment in encode_segments(ids, _is_thing)
    ]
    return {"size": ids.shape, "things": things}


def _build_instances(frame: Frame, facts: Mapping[str, Any]) -> dict[str, Any]:
    height, width = facts["size"]
    record = _image_record(frame) | {"height": height, "width": width}
    if frame.labels_stem is not None:
        record["instance_ids_file_name"] = str(frame.label_file(INSTANCE_IDS_SUFFIX))
    record["annotations"] = [
        {
            "bbox": list(box),
            "bbox_mode": BoxMode.XYXY_ABS,
            "area": area,
            "category_id": _thing_of_id(instance_id),
            "iscrowd": int(instance_id < FIRST_INSTANCE_ID),
            "segmentation": {"size": [height, width], "counts": counts.encode("ascii")},
        }
        for instance_id, area, box, counts in facts["things"]
    ]
    return record


def _find_segments(frame: Frame) -> dict[str, Any]:
    """Size and segments of a frame."""
    ids = INSTANCE_IDS.read(frame.label_file(INSTANCE_IDS_SUFFIX))
    return {"size": ids.shape, "segments_info": panoptic_segments(ids)}


def _build_panoptic(frame: Frame, facts: Mapping[str, Any]) -> dict[str, Any]:
    ids_file = frame.label_file(INSTANCE_IDS_SUFFIX)
    height, width = facts["size"]
    segments_info = facts["segments_info"]
    record = {
        "file_name": str(frame.image_file),
        "image_id": frame.image_file.name.removesuffix(IMAGE_SUFFIX),
        "height": height,
        "width": width,
        "instance_ids_file_name": str(ids_file),
        "segments_info": segments_info,
    }
    split_folder = frame.labels_stem.parent.parent
    panoptic = panoptic_folder(split_folder.parent.parent, split_folder.name)
    panoptic_file = panoptic / f"{frame.labels_stem.name}{PANOPTIC_SUFFIX}"
    if panoptic_file.is_file():
        record["pan_seg_file_name"] = str(panoptic_file)
    else:
        record["pan_seg_file_name"], record["pan_seg_encoding"] = str(ids_file), INSTANCE_IDS
    train_ids = frame.label_file(TRAIN_IDS_SUFFIX)
    if train_ids.is_file():
        record["sem_seg_file_name"], record["sem_seg_encoding"] = str(train_ids), TRAIN_IDS
    else:
        record["sem_seg_file_name"] = str(ids_file)
        record["sem_seg_encoding"] = segment_classes(segments_info, INSTANCE_IDS)
    return record


def panoptic_segments(ids: np.ndarray) -> list[dict[str, Any]]:
    """The segments of a map of instance ids.

    Args:
        ids: (H, W), as `InstanceIds` reads them.

    Returns:
        `segments_info`, see `segtron.data.panoptic`.
    """
    measures = measure_segments(ids)
    segments = []
    for segment_id, area, (x0, y0, x1, y1) in zip(*(m.tolist() for m in measures), strict=True):
        if segment_id == VOID:
            continue
        label_id = int(label_ids_of(segment_id))
        thing = THING_ID_TO_CONTIGUOUS.get(label_id)
        segment = {
            "id": segment_id,
            "category_id": SEM_SEG_ID_TO_CONTIGUOUS[label_id],
            "isthing": thing is not None,
            "iscrowd": int(thing is not None and segment_id < FIRST_INSTANCE_ID),
            "area": area,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
        }
        segments.append(segment if thing is None else segment | {"thing_category_id": thing})
    return segments


def _find_size(frame: Frame) -> tuple[int, int]:
    return read_image_size(frame.image_file)


def _build_sem_seg(frame: Frame, facts: Sequence[int]) -> dict[str, Any]:
    record = _image_record(frame)
    record["height"], record["width"] = facts
    if frame.labels_stem is None:
        return record
    train_ids = frame.label_file(TRAIN_IDS_SUFFIX)
    label_file, encoding = (
        (train_ids, TRAIN_IDS)
        if train_ids.is_file()
        else (frame.label_file(LABEL_IDS_SUFFIX), LABEL_IDS)
    )
    record["sem_seg_file_name"], record["sem_seg_encoding"] = str(label_file), encoding
    instance_ids = frame.label_file(INSTANCE_IDS_SUFFIX)
    if instance_ids.is_file():
        record["instance_ids_file_name"] = str(instance_ids)
    return record


def _image_record(frame: Frame) -> dict[str, Any]:
    return {"file_name": str(frame.image_file), "image_id": frame.image_file.name}


INSTANCE_READER = Reader("instances", INSTANCE_IDS_SUFFIX, _find_instances, _build_instances)
_SEM_SEG = Reader("sizes", LABEL_IDS_SUFFIX, _find_size, _build_sem_seg)
_PANOPTIC = Reader("segments", INSTANCE_IDS_SUFFIX, _find_segments, _build_panoptic)


def label_ids_of(instance_ids: np.ndarray) -> np.ndarray:
    """The label ids that instance ids stand for.

    Args:
        instance_ids: integers of any shape and type.

    Returns:
        int64 of the same shape.

    Example:
        >>> label_ids_of(np.array([26003, 26, 7]))
        array([26, 26,  7])
    """
    ids = np.asarray(instance_ids, dtype=np.int64)  # 1000 is too much for uint8
    return np.where(ids < FIRST_INSTANCE_ID, ids, ids // FIRST_INSTANCE_ID)


@functools.cache
def _thing_of_id(instance_id: int) -> int:
    """The class of a thing, or of a group of them."""
    return THING_ID_TO_CONTIGUOUS[int(label_ids_of(instance_id))]


def _is_thing(instance_ids: np.ndarray) -> np.ndarray:
    return np.isin(label_ids_of(instance_ids), list(THING_ID_TO_CONTIGUOUS))
