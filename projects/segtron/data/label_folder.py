"""Semantic segmentation as people keep it: a folder of images and a folder of label PNGs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from segtron.data.image_io import IMAGE_SUFFIXES, read_image_size
from segtron.data.sem_seg import LabelEncoding, check_label_size
from segtron.errors import UserError

LABEL_SUFFIX = ".png"


def load_label_folder(
    image_dir: Path, label_dir: Path, encoding: LabelEncoding, label_suffix: str = LABEL_SUFFIX
) -> list[dict[str, Any]]:
    """Pair images with label files and read both headers.

    The label file of `<image_dir>/a/b.jpg` is `<label_dir>/a/b<label_suffix>`. Both folders may be
    the same one, if label files can be told from images by `label_suffix`.

    Args:
        image_dir: searched to any depth, without hidden files and folders.
        label_dir: holds the label files.
        encoding: what their values stand for.
        label_suffix: what takes the place of an image's suffix, such as "_mask.png".

    Returns:
        One dict an image, by name: `file_name`, `image_id` (its path below `image_dir`, with
        forward slashes), `height`, `width`, `sem_seg_file_name`, `sem_seg_encoding`.

    Raises:
        UserError: a folder is missing or has no images, an image has no label file or one of
            another size, or a file can't be read.
    """
    for folder in (image_dir, label_dir):
        if not folder.is_dir():
            raise UserError(f"folder {folder} does not exist; correct the path in the config")
    names = sorted(_find_images(image_dir))
    if image_dir.resolve() == label_dir.resolve():
        names = [name for name in names if not name.endswith(label_suffix)]
    if not names:
        raise UserError(f"{image_dir} holds no image; known suffixes: {', '.join(IMAGE_SUFFIXES)}")
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
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        progress = tqdm(
            pool.map(_add_size, records), total=len(records), desc=f"reading {image_dir}", delay=2
        )
        return list(progress)


def _find_images(folder: Path) -> Iterator[str]:
    for parent, subfolders, files in os.walk(folder):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in files:
            if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith("."):
                yield Path(parent, name).relative_to(folder).as_posix()


def _add_size(record: dict[str, Any]) -> dict[str, Any]:
    record["height"], record["width"] = read_image_size(record["file_name"])
    # Now, from the header, and not when its turn comes in the middle of a training.
    label_file = record["sem_seg_file_name"]
    check_label_size(label_file, read_image_size(label_file), record)
    return record
