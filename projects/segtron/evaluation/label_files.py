"""Predicted classes as label PNGs: which values are in them, what they are called, how they are
written."""

from __future__ import annotations

import functools
import os
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from detectron2.data import DatasetCatalog
from detectron2.data.catalog import Metadata

from segtron.data.image_io import IMAGE_SUFFIXES
from segtron.errors import UserError
from segtron.files import replacing

LABELS_FOLDER = "labels"


def label_values(metadata: Metadata, num_classes: int) -> np.ndarray:
    """The values by which a data set's own label files call its classes, in the model's order.

    They are the ids in `stuff_dataset_id_to_contiguous_id`, where these stand one to one for
    classes from 0 on, at least K of them. Else they count as unknown, and the values are the
    classes themselves: 0 to K - 1.

    Args:
        metadata: of the data set, see `segtron.data.classes.class_metadata`.
        num_classes: K.

    Returns:
        (K,) uint8, or uint16 where a value is above 255: at i the value of the class that the model
        calls i.

    Raises:
        UserError: an id is none that a PNG of 16 bits can hold.
    """
    to_contiguous = metadata.get("stuff_dataset_id_to_contiguous_id") or {}
    values = sorted(to_contiguous, key=to_contiguous.get)
    is_known = sorted(to_contiguous.values()) == list(range(len(values)))
    if not is_known or len(values) < num_classes:
        values = range(num_classes)
    values = np.array(values[:num_classes], dtype=np.int64)
    if values.size and not 0 <= values.min() <= values.max() < 2**16:
        strange = values[(values < 0) | (values >= 2**16)][0]
        raise UserError(
            f"a class has the id {strange}, which label PNGs of 16 bits can't hold; give the "
            "classes ids from 0 to 65535"
        )
    return values.astype(np.uint8 if values.max(initial=0) < 256 else np.uint16)


def label_file(output_dir: str | Path, image_id: Hashable) -> Path:
    """Where the classes that were predicted in an image are saved.

    Args:
        output_dir: the folder that the evaluator was given.
        image_id: see `png_of_image`.

    Raises:
        UserError: the id leads out of the folder.

    Example:
        >>> label_file("out", "aachen/frame_1.jpg")
        PosixPath('out/labels/aachen/frame_1.png')
    """
    return png_of_image(Path(output_dir) / LABELS_FOLDER, image_id)


def png_of_image(folder: Path, image_id: Hashable) -> Path:
    """The PNG that holds what was predicted in an image.

    Args:
        folder: where it lies.
        image_id: the image's id; if it ends like the name of an image file, without that.

    Raises:
        UserError: the id leads out of the folder.
    """
    name = PurePosixPath(str(image_id))
    if name.is_absolute() or ".." in name.parts or not name.name:
        raise UserError(
            f"what is predicted in the image with the id {str(image_id)!r} would be saved outside "
            f"of {folder}; let ids be relative paths or plain names"
        )
    if name.suffix.lower() in IMAGE_SUFFIXES:
        name = name.with_suffix("")
    return folder / name.with_name(f"{name.name}.png")


def check_pngs_of_images(folder: Path, image_ids: Iterable[Hashable]) -> None:
    """Make sure, before anything is predicted, that each image's prediction can have its own PNG.

    Args:
        folder: where they will lie.
        image_ids: of the images.

    Raises:
        UserError: an id leads out of the folder, or two images would have one file.
    """
    image_of: dict[Path, Hashable] = {}
    for image_id in image_ids:
        path = png_of_image(folder, image_id)
        other = image_of.setdefault(path, image_id)
        if other != image_id:
            raise UserError(
                f"the predictions of the images {other!r} and {image_id!r} would both be saved as "
                f"{path}; let their ids differ before the suffix"
            )


class LabelFiles:
    """The label files of a data set's images.

    An image without an id, as in Detectron2's own dicts with label files, goes by its path below
    the folder that all such images of the set share; so equal names in several folders stay apart.

    Example:
        >>> LabelFiles("out", "ade20k_sem_seg_val").of({"file_name": "validation/1.jpg", ...})
        PosixPath('out/labels/1.png')
    """

    def __init__(self, output_dir: str | Path, dataset_name: str) -> None:
        """
        Args:
            output_dir: the folder that the evaluator is given.
            dataset_name: a registered set; it is read only where images have no ids.
        """
        self._output_dir = output_dir
        self._dataset_name = dataset_name

    def of(self, record: Mapping[str, Any]) -> Path:
        """The label file of an image.

        Args:
            record: its standard dict.

        Raises:
            UserError: see `label_file`.
        """
        image_id = record.get("image_id")
        if image_id is None:
            image_id = Path(os.path.relpath(record["file_name"], self._images_folder)).as_posix()
        return label_file(self._output_dir, image_id)

    @functools.cached_property
    def _images_folder(self) -> str:
        records = DatasetCatalog.get(self._dataset_name)
        return os.path.commonpath(
            os.path.dirname(os.path.abspath(record["file_name"]))
            for record in records
            if record.get("image_id") is None
        )


def write_labels(path: Path, labels: np.ndarray) -> None:
    """Write a label PNG, of one channel.

    Args:
        path: the file; its folder is made.
        labels: (H, W) uint8 or uint16, `label_values` of the classes.

    Raises:
        UserError: the file can't be written.
    """
    _, content = cv2.imencode(".png", labels)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
