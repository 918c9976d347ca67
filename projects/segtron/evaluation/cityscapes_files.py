"""Where saved results of Cityscapes lie: found by the names of the ground truth's frames, as the
official scripts do."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from segtron.errors import UserError


class Pairing(NamedTuple):
    """Frames with their predictions.

    Attributes:
        predictions: frame -> its file, in the order of the frames.
        num_missing: frames that have none.
    """

    predictions: dict[str, Path]
    num_missing: int


def find_ground_truth(split_folder: Path, suffix: str) -> dict[str, Path]:
    """The label files of a split.

    Args:
        split_folder: such as gtFine/val; the files are in it by city.
        suffix: how their names end, see `segtron.data.cityscapes`.

    Returns:
        Frame (`<city>_<sequence>_<number>`) -> file, by city and name.

    Raises:
        UserError: there are none, or two are of one frame.
    """
    files: dict[str, Path] = {}
    # `os.path`, for a `Path` raises for a name that is too long.
    paths = split_folder.glob(f"*/*{suffix}") if os.path.isdir(split_folder) else []
    for path in sorted(paths):
        frame = path.name.removesuffix(suffix)
        if frame in files:
            raise UserError(
                f"{files[frame]} and {path} are both of the frame {frame}; leave one of them"
            )
        files[frame] = path
    if not files:
        raise UserError(
            f"no ground truth {split_folder}/<city>/*{suffix}; name the folder of a split, such as "
            "gtFine/val"
        )
    return files


def find_predictions(
    folder: Path, suffix: str, frames: Iterable[str], *, allow_missing: bool = False
) -> Pairing:
    """Find the predictions of frames by the official rule: the file of a frame is the one whose
    name begins with the frame's and has the suffix, however deep in the folder.

    Files of other frames are left alone, as they are officially.

    Args:
        folder: is searched, without links to folders.
        suffix: ".txt" or ".png".
        frames: those of the ground truth.
        allow_missing: whether frames may lack a prediction.

    Raises:
        UserError: the folder is missing, a frame has two files, or one (or, if that is allowed,
            all) has none.
    """
    if not os.path.isdir(folder):
        raise UserError(f"the folder {folder} of predictions does not exist")
    frames = list(frames)
    found = _by_frame(folder, suffix, set(frames))
    missing = [frame for frame in frames if frame not in found]
    if missing and (len(found) == 0 or not allow_missing):
        raise UserError(
            f"{folder} has no prediction for {len(missing)} of {len(frames)} images, first of them "
            f"{missing[0]}, whose file would be called {missing[0]}*{suffix}"
            + ("; --allow-missing scores the others" if found else "")
        )
    return Pairing({frame: found[frame] for frame in frames if frame in found}, len(missing))


def _by_frame(folder: Path, suffix: str, frames: set[str]) -> Mapping[str, Path]:
    # Names of frames differ in length by their city at most.
    lengths = sorted({len(frame) for frame in frames}, reverse=True)
    found: dict[str, Path] = {}
    for parent, subfolders, names in os.walk(folder):
        subfolders.sort()
        for name in sorted(names):
            if not name.endswith(suffix):
                continue
            # The longest, in case that a frame's name begins like another's.
            frame = next((name[:n] for n in lengths if name[:n] in frames), None)
            if frame is None:
                continue
            path = Path(parent, name)
            if frame in found:
                raise UserError(
                    f"{found[frame]} and {path} are both predictions for the image {frame}; leave "
                    "one of them"
                )
            found[frame] = path
    return found
