"""Video files as a source."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2

from segtron.data.image_io import MAX_PIXELS
from segtron.inference.sources.base import Frame, Loaded, Source, Unreadable, file_identity
from segtron.inference.sources.capture import (
    FrameChoice,
    FramePicker,
    frame_count,
    frame_rate,
    open_video,
)

# What is looked for in folders.
VIDEO_SUFFIXES = (
    ".mp4",
    ".m4v",
    ".mov",
    ".avi",
    ".mkv",
    ".webm",
    ".mpg",
    ".mpeg",
    ".ts",
    ".wmv",
    ".flv",
    ".ogv",
)
# Frames in a row that can't be decoded, after which a video counts as over.
_MOST_LOST = 1000
# Share of the announced frames below which a video counts as cut off; many containers only
# estimate.
_LEAST_SHARE = 0.98


class _About(NamedTuple):
    """What a video says of itself."""

    frames: int  # 0 where it doesn't know
    rate: float


class Video(Source):
    """Frames of a video file, in order.

    Frames that can't be decoded cost themselves, and a gap of them gives one `Unreadable`; so does
    an end that comes long before the one announced.
    """

    def __init__(self, path: Path, name: str, choice: FrameChoice) -> None:
        """
        Args:
            path: the file.
            name: as `ImageFile.name`.
            choice: which frames are taken.
        """
        self.path = path
        self.name = str(path)
        self.folder = str(Path(name).with_suffix("").as_posix())
        self.choice = choice

    @functools.cached_property
    def _about(self) -> _About:
        capture = open_video(self.path)
        about = _about(capture)
        capture.release()
        return about

    @property
    def length(self) -> int | None:
        """See `Source`; None where the video doesn't say how long it is."""
        frames, rate = self._about
        if not frames:
            return None
        first = math.ceil(_rounded(max(self.choice.start, 0) * rate))
        last = frames
        if self.choice.end is not None:
            last = min(frames, int(_rounded(self.choice.end * rate)) + 1)
        number = max(0, math.ceil((last - first) / self.choice.every))
        return number if self.choice.most is None else min(number, self.choice.most)

    def identity(self) -> Any:
        """See `Source`."""
        choice = [self.choice.every, self.choice.start, self.choice.end, self.choice.most]
        return [self.folder, *file_identity(self.path), *choice]

    def read(self, passed: int = 0) -> Iterator[Loaded | Unreadable]:
        """See `Source`. Frames before the first one wanted are decoded, too: videos can't be
        entered in the middle without losing count."""
        capture = open_video(self.path)
        try:
            for number, item in enumerate(self._items(capture)):
                if number >= passed:
                    yield self._load(capture, item) if isinstance(item, Frame) else item
        finally:
            capture.release()

    def _load(self, capture: cv2.VideoCapture, frame: Frame) -> Loaded | Unreadable:
        is_decoded, image = capture.retrieve()
        if is_decoded:
            return Loaded(frame, image)
        return Unreadable(f"video {self.path}: frame {frame.index} cannot be decoded")

    def _items(self, capture: cv2.VideoCapture) -> Iterator[Frame | Unreadable]:
        """The frames that are taken, each when OpenCV has it at hand."""
        refusal = self._refusal(capture)
        if refusal is not None:
            yield refusal
            return
        announced, rate = _about(capture)
        picker = FramePicker(self.choice)
        index, lost, seconds = 0, 0, 0.0
        while lost <= _MOST_LOST and (not lost or index < announced):
            if not capture.grab():
                lost += 1
            else:
                if lost and any(map(picker.would_take, range(index - lost, index))):
                    yield self._gap(index - lost, index - 1, seconds)
                lost = 0
                seconds = _rounded(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 or index / rate)
                if picker.is_over(seconds):
                    return
                if picker.takes(index, seconds):
                    yield self._frame(index, seconds, rate)
                    if picker.is_over():
                        return
            index += 1
        seen = index - lost
        if not seen:
            yield Unreadable(
                f"video {self.path} has no frame that can be decoded; convert it, for example to "
                "H.264, if it is whole"
            )
        elif seen < _LEAST_SHARE * announced - 1:
            yield Unreadable(
                f"video {self.path} ends after {seen} of the {announced} frames that it announces "
                f"({seconds:.2f} s); it may be cut off"
            )

    def _refusal(self, capture: cv2.VideoCapture) -> Unreadable | None:
        if not capture.isOpened():
            if not self.path.exists():
                return Unreadable(f"video {self.path} does not exist")
            return Unreadable(
                f"video {self.path} cannot be read; convert it to MP4 if it is whole, and a video"
            )
        # Before the first frame is decoded.
        width, height = (
            int(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        if width * height > MAX_PIXELS:
            return Unreadable(
                f"video {self.path} has frames of {width} x {height} pixels, more than the "
                f"{MAX_PIXELS:,} that are read at most"
            )
        return None

    def _frame(self, index: int, seconds: float, rate: float) -> Frame:
        name = Frame.name_in(self.folder, index)
        return Frame(self.path, name, rate / self.choice.every, index, seconds)

    def _gap(self, first: int, last: int, seconds: float) -> Unreadable:
        what = f"frame {first}" if first == last else f"frames {first} to {last}"
        return Unreadable(
            f"video {self.path}: {what} (after {seconds:.2f} s) cannot be decoded; the file is "
            "damaged there"
        )


def _rounded(number: float) -> float:
    """Without what computing with fractions adds: a frame at 0.3 s is no later than 0.3."""
    return round(number, 6)


def _about(capture: cv2.VideoCapture) -> _About:
    """Of a video that is open, or couldn't be opened."""
    return _About(frame_count(capture), frame_rate(capture))
