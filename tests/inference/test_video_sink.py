"""Videos that are made of predictions, and their colours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detectron2.data.catalog import Metadata
from detectron2.structures import Boxes, Instances

from segtron.errors import UserError
from segtron.inference import Frame, ImageFile, Prediction, build_sinks, refuse_existing
from segtron.inference.overlays import draw_overlay, draw_video_frame
from segtron.inference.sinks import VideoSink, video
from segtron.inference.sources import FrameChoice, Images, Video
from segtron.inference.sources.capture import open_writer

from .fake_runs import METADATA, make_images, run
from .video_files import write_video


@pytest.fixture
def plain_drawing(monkeypatch):
    """Frames as they are."""
    monkeypatch.setattr(video, "draw_video_frame", lambda p, *_: p.image[:, :, ::-1].copy())


def frames_of(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (found := capture.read())[0]:
        frames.append(found[1])
    return frames, capture.get(cv2.CAP_PROP_FPS)


def write(out, shades, names, sizes=None, frames=None):
    """A sink's videos of grey images."""
    sink = VideoSink(out, METADATA, 0.5)
    records = []
    sizes = sizes or [(40, 60)] * len(names)
    for number, (shade, name, size) in enumerate(zip(shades, names, sizes, strict=True), start=1):
        file = frames[number - 1] if frames else ImageFile(Path(name), name)
        image = np.full((*size, 3), shade, np.uint8)
        records.append(sink.write(Prediction(file, number, image, {})))
    sink.finish(records)


def test_each_folder_is_a_video(tmp_path, plain_drawing):
    names = ["1.png", "2.png", "x/1.png", "x/y/1.png", "x/2.png"]
    write(tmp_path, [10, 60, 110, 160, 210], names)
    found = {}
    for path in tmp_path.rglob("*.mp4"):
        frames, rate = frames_of(path)
        assert rate == 25 and frames[0].shape == (40, 60, 3)
        found[path.relative_to(tmp_path).as_posix()] = [round(f.mean(), -1) for f in frames]
    assert found == {"predictions.mp4": [10, 60], "x.mp4": [110, 210], "x/y.mp4": [160]}


def test_a_frame_that_does_not_fit_is_fitted_in(tmp_path, plain_drawing):
    sizes = [(41, 61), (80, 60), (20, 60), (41, 61)]
    write(tmp_path, [200] * 4, [f"{i}.png" for i in range(4)], sizes)
    frames, _ = frames_of(tmp_path / "predictions.mp4")
    assert [frame.shape for frame in frames] == [(40, 60, 3)] * 4
    assert frames[0].mean() > 190
    # A tall one with black beside it, a flat one with black above and below.
    assert (
        frames[1][20, 30].mean() > 190 > 20 > max(frames[1][20, 5].mean(), frames[1][20, 55].mean())
    )
    assert (
        frames[2][20, 5].mean() > 190 > 20 > max(frames[2][3, 30].mean(), frames[2][36, 30].mean())
    )
    assert frames[3].mean() > 190


def test_large_pictures_are_made_smaller(tmp_path, plain_drawing):
    write(tmp_path, [200], ["a.png"], [(9, 9001)])
    frames, _ = frames_of(tmp_path / "predictions.mp4")
    assert frames[0].shape == (4, 3840, 3)


def test_a_cameras_video_is_as_fast_as_it_was(tmp_path, plain_drawing):
    def camera(seconds):
        names = [Frame.name_in("camera-0", i) for i in range(len(seconds))]
        frames = [Frame(Path("camera:0"), name, 0.0, i, seconds[i]) for i, name in enumerate(names)]
        write(tmp_path / str(len(seconds)), [50] * len(seconds), names, frames=frames)
        return frames_of(tmp_path / str(len(seconds)) / "camera-0.mp4")[1]

    assert camera([0.1, 0.4, 0.5, 0.7]) == pytest.approx(5, abs=0.01)
    assert camera([3.0]) == 25


@pytest.mark.parametrize(
    "rate", [0.1234, 24000 / 1001, 30000 / 1001, 59.94, 66.6666, 119.88, 239.761]
)
def test_any_rate_can_be_written(tmp_path, rate):
    writer = open_writer(str(tmp_path / "a.mp4"), "mp4v", rate, (32, 48))
    for shade in (0, 100):
        writer.write(np.full((32, 48, 3), shade, np.uint8))
    writer.release()
    frames, found = frames_of(tmp_path / "a.mp4")
    assert len(frames) == 2 and found == pytest.approx(rate, rel=4e-3)


def test_a_disk_that_is_full_is_a_sentence(tmp_path, plain_drawing, monkeypatch):
    class Full:
        def __init__(self, *_):
            pass

        isOpened = write = release = lambda *_: True

    monkeypatch.setattr(video, "open_writer", Full)
    with pytest.raises(UserError, match=r"predictions\.mp4: 0 of 2 frames were written; make room"):
        write(tmp_path, [1, 2], ["a.png", "b.png"])
    assert [path.name for path in tmp_path.iterdir()] == [".segtron-predicting"]


def test_videos_that_would_be_overwritten_or_meet_are_refused(tmp_path):
    sinks = build_sinks(["video"], tmp_path, METADATA, draw_score=0, save_score=0)
    film = Video(Path("in/x.avi"), "x.avi", FrameChoice())
    images = Images([ImageFile(Path("in/1.png"), "1.png")])
    refuse_existing([film, images], sinks)
    (tmp_path / "x.mp4").touch()
    with pytest.raises(UserError, match=r"x\.mp4 would be overwritten"):
        refuse_existing([film, images], sinks)
    called_so = Video(Path("in/predictions.avi"), "predictions.avi", FrameChoice())
    with pytest.raises(UserError, match=r"have the same name .*predictions\.mp4"):
        refuse_existing([called_so, images], sinks)


def test_overlays_and_video_of_a_video(tmp_path):
    film = write_video(tmp_path / "a.mp4", frames=6, rate=12)
    summary = run([film], tmp_path / "out", save=("overlay", "video", "labels", "coco"))
    assert summary.predicted == 6
    names = sorted(
        p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")
    )
    assert names == sorted(
        ["a.mp4", "predictions.json"]
        + [f"a/00000{i}.jpg" for i in range(6)]
        + [f"labels/a/00000{i}.png" for i in range(6)]
    )
    frames, rate = frames_of(tmp_path / "out" / "a.mp4")
    assert (len(frames), rate) == (6, 12)
    for i, frame in enumerate(frames):
        still = cv2.imread(str(tmp_path / "out" / "a" / f"00000{i}.jpg"))
        assert frame.shape == still.shape
        assert np.abs(frame.astype(int) - still).mean() < 6


def test_every_nth_frame_plays_in_the_time_that_it_took(tmp_path):
    film = write_video(tmp_path / "a.mp4", frames=9, rate=12)
    run([film], tmp_path / "out", save=("video",), choice=FrameChoice(every=3))
    frames, rate = frames_of(tmp_path / "out" / "a.mp4")
    assert (len(frames), rate) == (3, 4)


def test_images_are_as_fast_as_is_asked_for(tmp_path):
    images = make_images(tmp_path / "in", 3)
    run([images / "b"], tmp_path / "out", save=("video",), rate=7.5)
    assert frames_of(tmp_path / "out" / "predictions.mp4")[1] == 7.5


def prediction(order, file, kind):
    """Three instances of two classes, or as many segments, in some order. They never move."""
    height, width = 512, 512
    boxes = [(50, 50, 150, 150), (200, 200, 300, 300), (350, 350, 450, 450)]
    classes = [0, 1, 0]
    masks = torch.zeros(3, height, width, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    image = np.full((height, width, 3), 128, np.uint8)
    if kind == "instances":
        instances = Instances((height, width))
        instances.pred_masks = masks[order]
        instances.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32)[order])
        instances.pred_classes = torch.tensor(classes)[order]
        instances.scores = torch.full((3,), 0.9)
        return Prediction(file, 1, image, {"instances": instances})
    ids = torch.zeros(height, width, dtype=torch.int32)
    segments = []
    for number, i in enumerate(order, start=1):
        ids[masks[i]] = number
        segments.append({"id": number, "category_id": classes[i], "isthing": True})
    return Prediction(file, 1, image, {"panoptic_seg": (ids, segments)})


@pytest.mark.parametrize("kind", ["instances", "panoptic_seg"])
@pytest.mark.parametrize("own", [None, [(0, 0, 142), (220, 20, 60)]])
def test_classes_keep_their_colours_over_frames(kind, own):
    metadata = Metadata(
        name="two",
        thing_classes=["fig", "date"],
        **({} if own is None else {"thing_colors": own}),
    )
    image, frame = ImageFile(Path("a.png"), "a.png"), Frame(Path("a.mp4"), "a/000001.jpg")
    inside = [(70, 140), (220, 290), (370, 440)]  # below the labels

    def colors(order, file, draw):
        picture = draw(prediction(order, file, kind), metadata, 0.5)
        return [tuple(picture[y, x].tolist()) for x, y in inside]

    first = colors([0, 1, 2], frame, draw_overlay)
    assert first[0] == first[2] != first[1]
    assert colors([2, 0, 1], frame, draw_overlay) == first
    assert colors([1, 2, 0], image, draw_video_frame) == first
    # Pictures that stand alone tell instances apart.
    alone = colors([0, 1, 2], image, draw_overlay)
    assert alone[0] != alone[2]


def test_weak_instances_are_not_drawn():
    weak = prediction([0, 1, 2], Frame(Path("a.mp4"), "a/1.jpg"), "instances")
    weak.output["instances"].scores[:] = 0.4
    assert (draw_video_frame(weak, METADATA, 0.5) == 128).all()
    assert not (draw_video_frame(replace(weak), METADATA, 0.3) == 128).all()
