"""A COCO JSON with all put right that has one right answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segtron.data.checks.changes import Change
from segtron.data.checks.check import Check, check
from segtron.data.checks.coco_file import CocoFile, is_panoptic
from segtron.data.checks.images import find_image_dir
from segtron.data.checks.mend_entries import mend_crowds, mend_ids, mend_sizes
from segtron.data.checks.mend_instances import mend_boxes, mend_masks, number_annotations
from segtron.data.checks.mend_panoptic import mend_segments
from segtron.data.checks.pictures import Picture
from segtron.data.checks.problems import Problems
from segtron.data.checks.structure import load, read_images
from segtron.errors import UserError
from segtron.files import replacing
from segtron.memory import garbage_kept


@dataclass(frozen=True)
class Mended:
    """A file that was put right.

    Attributes:
        content: of the new file.
        changes: what is different in it.
        image_dir: the folder of its images; None where it was not found.
    """

    content: dict[str, Any]
    changes: list[Change]
    image_dir: Path | None


def mend(source: CocoFile, pictures: Mapping[Path, Picture]) -> Mended:
    """Put right what has one right answer; all else stays as it is.

    Args:
        source: the file, which is left alone.
        pictures: by path, what its images are (`Check.pictures`); sizes are taken from them.

    Raises:
        UserError: there is no JSON object in the file.
    """
    with garbage_kept():
        content = load(source.json_file, Problems())
        if content is None:
            raise UserError(f"{source.json_file} is no JSON object, so nothing of it can be mended")
        scratch = Problems()
        changes: list[Change] = []
        mend_ids(content, changes)
        images = read_images(content, source.json_file, scratch)
        image_dir = source.image_dir or find_image_dir(source.json_file, images)
        if image_dir is not None:
            by_entry = _pictures_of(content, image_dir, pictures)
            mend_sizes(content, by_entry, changes)
        if is_panoptic(content):
            if source.png_dir.is_dir():
                mend_segments(content, source.json_file, source.png_dir, changes)
        else:
            mend_crowds(content, changes)
            number_annotations(content, source.json_file, changes)
            while mend_masks(content, source.json_file, changes):
                pass  # what is clipped may turn out to be empty
            mend_boxes(content, source.json_file, changes)
    return Mended(content, changes, image_dir)


def mend_and_check(
    source: CocoFile, pictures: Mapping[Path, Picture], path: Path, *, with_pixels: bool = True
) -> tuple[Check, list[Change]]:
    """Write a mended copy of a file, and check that.

    Args:
        source: see `mend`.
        pictures: see `mend`.
        path: the file to write.
        with_pixels: see `check`.

    Returns:
        What is left in the new file, and what is different in it.

    Raises:
        UserError: see `mend` and `write_mended`.
    """
    mended = mend(source, pictures)
    write_mended(path, mended)
    new = replace(source, json_file=path, image_dir=mended.image_dir, panoptic_dir=source.png_dir)
    return check([new], with_pixels=with_pixels), mended.changes


def _pictures_of(
    content: dict[str, Any], image_dir: Path, pictures: Mapping[Path, Picture]
) -> dict[int, Picture]:
    """By place in the list of images: those that can be read."""
    found = {}
    images = content.get("images")
    for number, entry in enumerate(images if isinstance(images, list) else []):
        name = entry.get("file_name") if isinstance(entry, dict) else None
        picture = pictures.get(image_dir / name) if isinstance(name, str) else None
        if picture is not None and not picture.error:
            found[number] = picture
    return found


def write_mended(path: Path, mended: Mended) -> None:
    """Write the new file.

    Raises:
        UserError: it can't be written.
    """
    # What was not mended is written as it was read, even if it is no text or no number.
    text = json.dumps(mended.content, separators=(",", ":"))
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="ascii")
