"""OpenCV's way into video files and cameras, made safe for names and contents from outside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2

from segtron.errors import UserError
from segtron.files import plain_name
from segtron.inference.sources.base import USUAL_RATE

# FFmpeg goes by a file's content, whatever its name says; and playlists, which it would follow too,
# name other files. So only what holds its frames itself is opened.
_CONTAINERS = "mov,avi,matroska,webm,mpeg,mpegts,asf,flv,ogg"
_ENVIRONMENT = {
    "OPENCV_FFMPEG_CAPTURE_OPTIONS": f"format_whitelist;{_CONTAINERS}",
    "OPENCV_FFMPEG_LOGLEVEL": "-8",  # damage is told in a sentence of our own
}
_MOST_FRAMES_A_SECOND = 1000


@dataclass(frozen=True)
class FrameChoice:
    """Which frames of a video or camera are taken.

    Attributes:
        every: each so many-th, from the first one at or after `start`.
        start: seconds from the beginning.
        end: likewise; the frame at this time is the last. None: to the video's end.
        most: how many at most.
    """

    every: int = 1
    start: float = 0.0
    end: float | None = None
    most: int | None = None

    def __post_init__(self) -> None:
        """
        Raises:
            UserError: nothing lies between `start` and `end`.
        """
        if self.end is not None and self.end < self.start:
            raise UserError(
                f"--end {self.end:g} lies before --start {self.start:g}, with no frame between; "
                "both count from the beginning"
            )


class FramePicker:
    """Takes from frames, told in order, those of a choice."""

    def __init__(self, choice: FrameChoice) -> None:
        self._choice = choice
        self._first: int | None = 0 if choice.start <= 0 else None
        self._taken = 0

    def is_over(self, seconds: float = 0.0) -> bool:
        """Whether neither the frame at this time nor a later one is taken."""
        end, most = self._choice.end, self._choice.most
        return (end is not None and seconds > end) or (most is not None and self._taken >= most)

    def takes(self, index: int, seconds: float) -> bool:
        """Whether a frame is taken. Each is asked for once."""
        if self._first is None and seconds >= self._choice.start:
            self._first = index
        taken = self.would_take(index)
        self._taken += taken
        return taken

    def would_take(self, index: int) -> bool:
        """Whether it is one of those to be taken, of a frame whose time isn't known."""
        return self._first is not None and (index - self._first) % self._choice.every == 0


def open_video(path: Path) -> cv2.VideoCapture:
    """Open a video file; see `isOpened` of what is returned.

    Frames come upright, as the file's rotation says.
    """
    with plain_name(path) as name, quietly():
        return cv2.VideoCapture(name, cv2.CAP_FFMPEG)


def open_camera(number: int) -> cv2.VideoCapture:
    """Open a camera; see `isOpened` of what is returned."""
    with quietly():
        return cv2.VideoCapture(number)


def open_writer(name: str, codec: str, rate: float, size: tuple[int, int]) -> cv2.VideoWriter:
    """Begin a video file; see `isOpened` of what is returned.

    Args:
        name: of the file, see `plain_name`.
        codec: of four letters.
        rate: frames a second.
        size: height and width.
    """
    # MPEG-4's clock has at most 65535 ticks a second, and OpenCV counts in thousandths of a frame.
    rate = round(rate, 3 if rate < 65 else 2)
    with quietly():
        code = cv2.VideoWriter_fourcc(*codec)
        return cv2.VideoWriter(name, cv2.CAP_FFMPEG, code, rate, size[::-1])


def frame_count(capture: cv2.VideoCapture) -> int:
    """How many frames a video says that it has; 0 where it doesn't."""
    return max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))


def frame_rate(capture: cv2.VideoCapture) -> float:
    """Frames a second, or `USUAL_RATE` where nothing sensible is told."""
    rate = capture.get(cv2.CAP_PROP_FPS)
    return rate if 0 < rate <= _MOST_FRAMES_A_SECOND else USUAL_RATE


@contextmanager
def quietly() -> Iterator[None]:
    """OpenCV set up by `_ENVIRONMENT`, and without warnings."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    level = cv2.utils.logging.getLogLevel()
    os.environ.update(_ENVIRONMENT)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
