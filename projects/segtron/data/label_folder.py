"""Semantic segmentation as people keep it: a folder of images and a folder of label PNGs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segtron.data.each_item import for_each, num_readers
from segtron.data.image_io import IMAGE_SUFFIXES, read_image_size
from segtron.data.picture_names import picture_names
from segtron.data.sem_seg import IGNORED, LabelEncoding, check_label_size, read_sem_seg
from segtron.errors import UserError

LABEL_SUFFIX = ".png"
# How many label files are enough to tell binary masks by.
_SAMPLE_SIZE = 20


def load_label_folder(
    image_dir: Path, label_dir: Path, encoding: LabelEncoding, label_suffix: str = LABEL_SUFFIX
) -> list[dict[str, Any]]:
    """Pair images with label files and read both headers.

    The label file of `<image_dir>/a/b.jpg` is `<label_dir>/a/b<label_suffix>`. Both folders may be
    the same one, if label files can be told from images by `label_suffix`; and `label_dir` may lie
    below `image_dir`, which is then searched without it.

    Args:
        image_dir: searched to any depth, through links too, without hidden files and folders.
        label_dir: holds the label files.
        encoding: what their values stand for.
        label_suffix: what takes the place of an image's suffix, such as "_mask.png".

    Returns:
        One dict an image, by name: `file_name`, `image_id` (its path below `image_dir`, with
        forward slashes), `height`, `width`, `sem_seg_file_name`, `sem_seg_encoding`.

    Raises:
        UserError: a folder is missing or has no images, two images have one label file, an image
            has none or one of another size, or a file can't be read.
    """
    for folder in (image_dir, label_dir):
        if not folder.is_dir():
            raise UserError(f"folder {folder} does not exist; correct the path in the config")
    one_folder = image_dir.resolve() == label_dir.resolve()
    names = picture_names(image_dir, () if one_folder else (label_dir.resolve(),))
    if one_folder:
        names = [name for name in names if not name.endswith(label_suffix)]
    if not names:
        raise UserError(f"{image_dir} holds no image; known suffixes: {', '.join(IMAGE_SUFFIXES)}")
    _check_unique(image_dir, names)
    labels = [label_dir / (os.path.splitext(name)[0] + label_suffix) for name in names]
    missing = [i for i, label in enumerate(labels) if not label.is_file()]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(names)} images have no label file; the first is "
            f"{image_dir / names[missing[0]]}, which should have {labels[missing[0]]}; add them, "
            "take the images out, or set 'label_suffix' to how label files end"
        )
    records = [
        {
            "file_name": str(image_dir / name),
            "image_id": name,
            "sem_seg_file_name": str(label),
            "sem_seg_encoding": encoding,
        }
        for name, label in zip(names, labels, strict=True)
    ]
    description = f"reading {image_dir}"
    return list(for_each(_add_size, records, workers=num_readers(), desc=description, delay=2))


def check_no_binary_masks(label_dir: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Refuse masks of 0 and 255 whose 255 is ignored only because nobody said otherwise.

    A model would learn from them that all is class 0, and be told that it is perfect. A few label
    files are read, spread over the data set, and fewer where another class turns up.

    Args:
        label_dir: the folder to name.
        records: as `load_label_folder` gives them, with 0 for class 0 and 255 ignored.

    Raises:
        UserError: the label files hold 255, and no class but that of 0; or one can't be read.
    """
    found: set[int] = set()
    for record in records[:: -(-len(records) // _SAMPLE_SIZE)]:
        found.update(np.unique(read_sem_seg(record)).tolist())
        if not found <= {0, IGNORED}:
            return
    if IGNORED in found:
        raise UserError(
            f"the label files in {label_dir} seem to be masks of 0 and 255, but 255 is ignored, "
            "which leaves one class to learn; name both values as in 'classes: {0: background, "
            "255: object}', or, if 255 is meant to be ignored, say 'ignore: 255'"
        )


def _check_unique(image_dir: Path, names: Sequence[str]) -> None:
    """Make sure that images differ in more than their suffixes, as label files have others."""
    by_stem: dict[str, str] = {}
    for name in names:
        other = by_stem.setdefault(os.path.splitext(name)[0], name)
        if other != name:
            raise UserError(
                f"the images {image_dir / other} and {image_dir / name} would have the same label "
                "file, and the same file of predictions; rename or remove one"
            )


def _add_size(record: dict[str, Any]) -> dict[str, Any]:
    record["height"], record["width"] = read_image_size(record["file_name"])
    # Now, from the header, and not when its turn comes in the middle of a training.
    label_file = record["sem_seg_file_name"]
    check_label_size(label_file, read_image_size(label_file, "label file"), record)
    return record
