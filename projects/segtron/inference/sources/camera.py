"""Cameras as a source."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from segtron.errors import UserError
from segtron.inference.sources.base import Frame, Loaded, Source, Unreadable
from segtron.inference.sources.capture import FrameChoice, FramePicker, open_camera


class Camera(Source):
    """What a camera sees, until it is stopped or its choice of frames is at an end.

    A model that is slower than the camera misses frames; `seconds` tells what was when.
    """

    is_repeatable = False

    def __init__(self, number: int, choice: FrameChoice) -> None:
        """
        Args:
            number: the operating system's, from 0.
            choice: which frames are taken.
        """
        self.number = number
        self.name = f"camera:{number}"
        self.folder = f"camera-{number}"
        self.path = Path(self.name)
        self.choice = choice
        self._stopped = threading.Event()

    @property
    def length(self) -> int | None:
        """See `Source`."""
        return self.choice.most

    def identity(self) -> Any:
        """See `Source`."""
        return self.name

    def stop(self) -> None:
        """Let `read` come to its end."""
        self._stopped.set()

    def read(self, passed: int = 0) -> Iterator[Loaded | Unreadable]:
        """See `Source`; nothing can be passed over.

        Raises:
            UserError: the camera can't be opened.
        """
        capture = open_camera(self.number)
        try:
            if not capture.isOpened():
                raise UserError(
                    f"{self.name} cannot be opened; is it connected, free and yours to read?"
                )
            picker, began, index = FramePicker(self.choice), time.monotonic(), 0
            while not self._stopped.is_set() and not picker.is_over():
                is_read, image = capture.read()
                seconds = time.monotonic() - began
                if not is_read:
                    yield Unreadable(f"{self.name} gave no more frames after {index}")
                    return
                if picker.is_over(seconds):
                    return
                if picker.takes(index, seconds):
                    # Its rate is that at which frames come, so it isn't known yet.
                    name = Frame.name_in(self.folder, index)
                    yield Loaded(Frame(self.path, name, 0.0, index, seconds), image)
                index += 1
        finally:
            capture.release()


@contextmanager
def ending_by_interrupt(sources: Sequence[Source]) -> Iterator[None]:
    """Let the first Ctrl-C in the block end the cameras and nothing else; a second has its usual
    effect, and so has the first where there is no camera."""
    cameras = [source for source in sources if isinstance(source, Camera)]
    if not cameras or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(*_: object) -> None:
        for camera in cameras:
            camera.stop()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
