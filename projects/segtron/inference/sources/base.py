"""What every source of images gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from segtron.data.large_image import LargeImage

# Frames a second, where nobody says how many there are.
USUAL_RATE = 25.0


@dataclass(frozen=True)
class ImageFile:
    """An image to be predicted.

    Attributes:
        path: the file.
        name: its path below the folder that the user gave, with forward slashes; the name alone for
            a file given by itself. Results go by this name.
        rate: how many such images a second a video of them shows; 0 where only the times of
            `Frame`s tell.
    """

    path: Path
    name: str
    rate: float = USUAL_RATE


@dataclass(frozen=True)
class Frame(ImageFile):
    """An image of a video or a camera.

    Its name is that of the video without its suffix, and as a file in it the frame's number.

    Attributes:
        index: its number in the video, from 0; frames that are left out count.
        seconds: from the video's beginning.
    """

    index: int = 0
    seconds: float = 0.0

    @staticmethod
    def name_in(folder: str, index: int) -> str:
        """What a frame is called.

        Args:
            folder: the video's name, without its suffix.
            index: the frame's number.

        Example:
            >>> Frame.name_in("street", 12)
            'street/000012.jpg'
        """
        return f"{folder}/{index:06d}.jpg"


class Loaded(NamedTuple):
    """An image that could be read."""

    file: ImageFile
    image: np.ndarray | LargeImage  # (H, W, 3) uint8, BGR


class Unreadable(NamedTuple):
    """What stands in an image's place where it couldn't."""

    sentence: str


class Source(ABC):
    """Images in an order that never changes.

    Attributes:
        name: what it is called in messages.
        folder: what its frames' names begin with; None of image files, which have their own.
    """

    name: str
    folder: str | None = None
    # Whether a run that was killed can go on where it was.
    is_repeatable = True

    @property
    @abstractmethod
    def length(self) -> int | None:
        """How many images there will be, as far as that is known."""

    @abstractmethod
    def identity(self) -> Any:
        """What tells it from others and from what it was before it was changed, ready for JSON."""

    @abstractmethod
    def read(self, passed: int = 0) -> Iterator[Loaded | Unreadable]:
        """Read the images one by one.

        Args:
            passed: how many to leave out at the beginning, unreadable ones included.
        """

    def image_names(self) -> Iterator[str]:
        """The names of its image files; none of frames, whose number isn't known before."""
        return iter(())


def file_identity(path: Path) -> list[int]:
    """Size and time of a file, by which a change of it shows; -1 where it can't be found."""
    try:
        found = path.stat()
    except OSError:
        return [-1, -1]
    return [found.st_size, found.st_mtime_ns]
