"""Cameras, with one that isn't there."""

from __future__ import annotations

import os
import signal

import cv2
import numpy as np
import pytest

from segtron.errors import UserError
from segtron.inference.sources import Camera, FrameChoice, Loaded
from segtron.inference.sources import camera as camera_module
from segtron.inference.sources.camera import ending_by_interrupt


class FakeCapture:
    """Gives as many frames as it is told, and remembers how many."""

    def __init__(self, frames=1000, is_open=True):
        self.frames, self.is_open, self.given = frames, is_open, 0

    def isOpened(self):
        return self.is_open

    def read(self):
        self.given += 1
        if self.given > self.frames:
            return False, None
        return True, np.full((8, 8, 3), self.given, np.uint8)

    def release(self):
        self.is_open = False


@pytest.fixture
def capture(monkeypatch):
    fake = FakeCapture()
    monkeypatch.setattr(camera_module, "open_camera", lambda number: fake)
    return fake


def test_frames_come_until_there_are_enough(capture):
    camera = Camera(3, FrameChoice(every=2, most=4))
    items = list(camera.read())
    assert [item.file.name for item in items] == [f"camera-3/00000{i}.jpg" for i in (0, 2, 4, 6)]
    assert [int(item.image[0, 0, 0]) for item in items] == [1, 3, 5, 7]
    times = [item.file.seconds for item in items]
    assert times == sorted(times)
    assert camera.length == 4 and not camera.is_repeatable
    assert not capture.is_open


def test_a_camera_that_is_pulled_out_ends_with_a_sentence(capture):
    capture.frames = 2
    *items, last = Camera(0, FrameChoice()).read()
    assert len(items) == 2 and all(isinstance(item, Loaded) for item in items)
    assert last.sentence == "camera:0 gave no more frames after 2"


def test_an_interrupt_ends_cameras_alone(capture):
    camera = Camera(0, FrameChoice())
    before = signal.getsignal(signal.SIGINT)
    with ending_by_interrupt([camera]):
        seen = 0
        for seen, _ in enumerate(camera.read(), start=1):
            if seen == 3:
                os.kill(os.getpid(), signal.SIGINT)
        assert seen == 3
        # A second one has its usual effect.
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            signal.sigtimedwait([], 1)
    assert signal.getsignal(signal.SIGINT) is before


def test_without_a_camera_an_interrupt_is_one():
    with ending_by_interrupt([]), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        signal.sigtimedwait([], 1)


def test_no_camera_is_a_mistake(capfd, monkeypatch):
    monkeypatch.setattr(camera_module, "open_camera", lambda number: cv2.VideoCapture())
    with pytest.raises(UserError, match="camera:77 cannot be opened; is it connected"):
        list(Camera(77, FrameChoice()).read())
