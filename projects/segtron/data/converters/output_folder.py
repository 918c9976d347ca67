"""The folder that a conversion makes: whole or not at all, with pictures and what was dropped."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from segtron.data.coco import path_below
from segtron.data.converters.labelled_image import Dropped, LabelledImage, Labelling
from segtron.errors import UserError
from segtron.files import refuse_full_folder, replacing_folder

DROPPED = "dropped.csv"


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes `out` at the end.

    Raises:
        UserError: `out` holds something, or a file can't be read or written.
    """
    refuse_full_folder(out)
    try:
        with replacing_folder(out.resolve()) as folder:
            yield folder
    except OSError as error:
        # Temporary names would tell nothing.
        name = "" if error.filename is None else f" ({Path(error.filename).name})"
        raise UserError(
            f"the conversion to {out} failed: {error.strerror or error}{name}; mend that and "
            "start again"
        ) from error


def placed(labelling: Labelling, folder: Path, link: bool) -> Iterator[LabelledImage]:
    """The images of a labelling, one by one, with progress; each one's picture is put into a
    folder first.

    Args:
        labelling: its images are read.
        folder: of pictures.
        link: see `place_picture`.
    """
    for image in tqdm(
        labelling.images, total=labelling.number, unit=" images", desc="converting", delay=2
    ):
        place_picture(image, folder, link)
        yield image


def place_picture(image: LabelledImage, folder: Path, link: bool) -> None:
    """Put an image's picture into a folder, under its name.

    Args:
        image: whose name leads to nowhere else.
        folder: of pictures.
        link: make a link, not a copy: a hard one, which stays when the source moves, or a symbolic
            one to another file system.

    Raises:
        UserError: the name leads out of the folder, or is taken.
    """
    target = path_below(folder, image.name, str(image.path))
    target.parent.mkdir(parents=True, exist_ok=True)
    # Also where the file system makes no difference between A.jpg and a.jpg.
    if os.path.lexists(target):
        raise UserError(
            f"{image.path}: there are two images {image.name!r}; remove or rename one of them"
        )
    if image.content is not None:
        target.write_bytes(image.content)
    elif not link:
        shutil.copyfile(image.path, target)
    else:
        source = image.path.resolve()
        try:
            os.link(source, target)
        except OSError:
            target.symlink_to(source)


def write_dropped(folder: Path, dropped: Dropped) -> None:
    """Write `dropped.csv`, with a line for each entry."""
    with (folder / DROPPED).open(
        "w", encoding="utf-8", errors="backslashreplace", newline=""
    ) as file:
        writer = csv.writer(file)
        writer.writerow(["where", "why"])
        writer.writerows(dropped.entries)
