"""The frames of a video of CVAT, which its XML calls by number."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from segtron.data.converters.pictures import PictureFolder
from segtron.data.picture_names import picture_names
from segtron.errors import UserError

_FRAME = re.compile(r"frame_(\d{1,12})")


def frame_names(folder: PictureFolder) -> dict[int, str]:
    """The pictures of a video by number.

    CVAT exports them as `frame_000012.png`; pictures of other names are counted from 0 in the order
    of their names, as CVAT does when it makes a task of them.

    Returns:
        In the order of the numbers, paths below the folder.

    Raises:
        UserError: there are none, or two of one number.
    """
    names = picture_names(folder.root)
    if not names:
        raise UserError(
            f"{folder.root} holds no frames; export the video with its images, or name their "
            "folder with --images"
        )
    matches = [_FRAME.fullmatch(PurePosixPath(name).stem) for name in names]
    if not all(matches):
        return dict(enumerate(names))
    frames: dict[int, str] = {}
    for match, name in zip(matches, names, strict=True):
        number = int(match[1])
        if number in frames:
            raise UserError(
                f"{folder.root} holds {frames[number]} and {name}, both of frame {number}; name "
                "the folder of one video with --images"
            )
        frames[number] = name
    return dict(sorted(frames.items()))
