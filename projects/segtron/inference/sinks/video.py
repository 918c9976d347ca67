"""The sink `video`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from segtron.errors import UserError
from segtron.files import plain_name, replacing
from segtron.inference.overlays import draw_video_frame
from segtron.inference.prediction import Prediction
from segtron.inference.sinks.base import SINKS, WORK_FOLDER, Sink
from segtron.inference.sources.base import USUAL_RATE, Source
from segtron.inference.sources.capture import (
    frame_count,
    open_video,
    open_writer,
    quietly,
)
from segtron.visualization.layout import write_picture

VIDEO_SUFFIX = ".mp4"
# MPEG-4 Part 2: what OpenCV's builds can always write. It has no larger pictures than 8191 pixels.
_CODEC = "mp4v"
_LONGEST_SIDE = 3840
# What the folder of images is called that lie in none, and how their video is.
_TOP, _TOP_VIDEO = ".", "predictions"


@SINKS.register()
class VideoSink(Sink):
    """A video of each folder of images, of each video and camera, as `overlay` draws them.

    It is called after the folder or video, and lies where that lies; images in no folder make
    `predictions.mp4`. Colours of a class are the same in all frames. All frames have the size of
    the first; others are fitted in.

    Until the end, pictures lie as JPEGs in the work folder, so that a run that was killed can go
    on: about 0.3 MB for each picture of 1280 x 720.
    """

    name = "video"
    needs = ("panoptic_seg", "instances", "sem_seg")
    draws = True

    def files_of(self, image_name: str) -> list[Path]:
        """One picture an image, which goes into the video."""
        return [self._picture(image_name)]

    def files_of_all(self, sources: Sequence[Source]) -> list[Path]:
        """One for each folder or video."""
        names = (name for source in sources for name in source.image_names())
        folders = list(dict.fromkeys(map(_folder_of, names)))
        folders += [source.folder for source in sources if source.folder is not None]
        return [self._video(folder) for folder in folders]

    def write(self, prediction: Prediction) -> dict[str, Any]:
        """Draw and write."""
        picture = draw_video_frame(prediction, self.metadata, self.min_score)
        write_picture(self._picture(prediction.file.name), _fitting(picture))
        seconds = getattr(prediction.file, "seconds", None)
        return {"name": prediction.file.name, "rate": prediction.file.rate, "seconds": seconds}

    def finish(self, records: Iterable[dict[str, Any]]) -> None:
        """Make videos of the pictures."""
        frames: dict[str, list[tuple[str, float, float | None]]] = {}
        for record in records:
            frame = (record["name"], record["rate"], record["seconds"])
            frames.setdefault(_folder_of(record["name"]), []).append(frame)
        for folder, of_folder in frames.items():
            rate = of_folder[0][1] or _measured_rate([seconds for *_, seconds in of_folder])
            self._join(self._video(folder), [name for name, *_ in of_folder], rate)

    def _join(self, path: Path, names: Sequence[str], rate: float) -> None:
        """Make one video.

        Raises:
            UserError: it can't be written.
        """
        size = self._read(names[0]).shape[:2]
        with replacing(path) as temporary, quietly():
            with plain_name(temporary) as plain:
                writer = open_writer(plain, _CODEC, rate, size)
            for name in tqdm(names, desc=f"write {path.name!a}", unit=" images", delay=2):
                writer.write(_fit(self._read(name), *size))
            writer.release()
            # OpenCV says nothing of a disk that is full.
            written = frame_count(open_video(temporary))
            if written != len(names):
                raise UserError(
                    f"cannot write {path}: {written} of {len(names)} frames were written; make "
                    "room on the disk, and go on with --resume"
                )

    def _read(self, name: str) -> np.ndarray:
        content = np.fromfile(self._picture(name), np.uint8)
        return cv2.imdecode(content, cv2.IMREAD_COLOR_BGR)

    def _picture(self, image_name: str) -> Path:
        # A suffix more, for names may differ in theirs alone.
        return self.path_of(f"{WORK_FOLDER}/{self.name}/{image_name}.jpg")

    def _video(self, folder: str) -> Path:
        return self.path_of(f"{_TOP_VIDEO if folder == _TOP else folder}{VIDEO_SUFFIX}")


def _folder_of(image_name: str) -> str:
    return PurePosixPath(image_name).parent.as_posix()


def _measured_rate(seconds: Sequence[float]) -> float:
    """Frames a second of a camera, by when they came."""
    gaps = [later - earlier for earlier, later in pairwise(seconds)]
    average = sum(gaps) / len(gaps) if gaps else 0
    return min(max(1 / average, 0.1), 240.0) if average > 0 else USUAL_RATE


def _fitting(picture: np.ndarray) -> np.ndarray:
    """A picture of a size that the codec knows: even, and not too large."""
    scale = min(1.0, _LONGEST_SIDE / max(picture.shape[:2]))
    height, width = (max(2, round(side * scale / 2) * 2) for side in picture.shape[:2])
    if (height, width) == picture.shape[:2]:
        return picture
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def _fit(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture scaled into a frame, with black beside it where the proportions differ."""
    if picture.shape[:2] == (height, width):
        return picture
    scale = min(height / picture.shape[0], width / picture.shape[1])
    inner_height, inner_width = (max(1, int(side * scale)) for side in picture.shape[:2])
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    frame = np.zeros((height, width, 3), np.uint8)
    frame[top : top + inner_height, left : left + inner_width] = cv2.resize(
        picture, (inner_width, inner_height), interpolation=cv2.INTER_AREA
    )
    return frame
