"""Small videos in which each frame can be told by its shade."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

STEP = 8
CODECS = {
    ".avi": "MJPG",
    ".mp4": "mp4v",
    ".mov": "mp4v",
    ".mkv": "FFV1",
    ".webm": "VP90",
    ".vp8.webm": "VP80",
}


def write_video(path: Path, frames: int = 20, rate: float = 10, size=(64, 96)) -> Path:
    """A video whose frame i has the shade STEP * i, a red corner at the top left, and noise at the
    top right, for frames to take some bytes."""
    codec = cv2.VideoWriter_fourcc(*CODECS["".join(path.suffixes)])
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, rate, size[::-1])
    assert writer.isOpened()
    height, width = size[0] // 2, size[1] // 2
    noise = np.random.default_rng(0).integers(0, 255, (frames, height, width, 3), np.uint8)
    for i in range(frames):
        image = np.full((*size, 3), STEP * i, np.uint8)
        image[:height, width:] = noise[i]
        image[:height, : width // 2] = (0, 0, 255)
        writer.write(image)
    writer.release()
    return path


def shade(image: np.ndarray) -> float:
    """The number of the frame that an image is, from its shade."""
    return float(image[-20:, -20:].mean()) / STEP


def damage(path: Path, start: int, length: int) -> None:
    """Overwrite some bytes with noise."""
    content = bytearray(path.read_bytes())
    noise = np.random.default_rng(0).integers(0, 255, length, np.uint8).tobytes()
    content[start : start + length] = noise
    path.write_bytes(content)
