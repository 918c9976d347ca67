"""Video files as a source, against the shades that were put into their frames."""

from __future__ import annotations

import os
import re
import shutil

import cv2
import numpy as np
import pytest

from segtron.data import image_io
from segtron.inference.sources import FrameChoice, Loaded, Unreadable, Video, video
from segtron.inference.sources.capture import quietly

from .video_files import CODECS, damage, shade, write_video


def read(path, passed=0, **choice):
    return list(Video(path, path.name, FrameChoice(**choice)).read(passed))


def shades(items):
    return [round(shade(item.image)) for item in items if isinstance(item, Loaded)]


def sentences(items):
    return [item.sentence for item in items if isinstance(item, Unreadable)]


@pytest.mark.parametrize("suffix", CODECS)
def test_frames_come_in_order_with_number_and_time(tmp_path, suffix):
    path = write_video(tmp_path / f"a{suffix}", rate=12.5)
    items = read(path)
    assert shades(items) == list(range(20)) and not sentences(items)
    assert [item.file.index for item in items] == list(range(20))
    np.testing.assert_allclose([item.file.seconds for item in items], np.arange(20) / 12.5)
    assert items[3].file.name == f"{path.stem}/000003.jpg" and items[3].file.path == path
    assert {item.file.rate for item in items} == {12.5}
    assert items[0].image.shape == (64, 96, 3)
    assert items[0].image[5, 5, 2] > 200 > 50 > items[0].image[5, 5, 0]  # BGR
    assert Video(path, path.name, FrameChoice()).length == 20


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"every": 7}, [0, 7, 14]),
        ({"start": 0.5}, list(range(5, 20))),
        ({"start": 0.51, "every": 4}, [6, 10, 14, 18]),
        ({"end": 0.3}, [0, 1, 2, 3]),
        ({"end": 0.0}, [0]),
        ({"start": 0.4, "end": 1.1, "every": 3}, [4, 7, 10]),
        ({"most": 2, "every": 5}, [0, 5]),
        ({"most": 100, "start": 1.8}, [18, 19]),
        ({"start": 5.0}, []),
    ],
)
def test_some_frames_can_be_chosen(tmp_path, choice, expected):
    path = write_video(tmp_path / "a.mp4")
    items = read(path, **choice)
    assert shades(items) == [item.file.index for item in items] == expected
    assert Video(path, "a.mp4", FrameChoice(**choice)).length == len(expected)
    for passed in (1, len(expected), len(expected) + 3):
        assert shades(read(path, passed, **choice)) == expected[passed:]
    assert {item.file.rate for item in items} <= {10 / choice.get("every", 1)}


def test_frames_are_upright(tmp_path):
    """By the rotation that a telephone writes into the track's header."""
    path = write_video(tmp_path / "a.mp4", frames=3)
    content = path.read_bytes()

    def matrix(*values):
        return b"".join(int(value * 2**16).to_bytes(4, "big", signed=True) for value in values)

    plain = matrix(1, 0, 0, 0, 1, 0, 0, 0) + (2**30).to_bytes(4, "big")
    turned = matrix(0, 1, 0, -1, 0, 0, 64, 0) + (2**30).to_bytes(4, "big")
    start = content.index(plain, content.index(b"tkhd"))
    path.write_bytes(content[:start] + turned + content[start + len(turned) :])
    image = read(path)[0].image
    assert image.shape == (96, 64, 3)
    # What was at the top left is at the top right after a quarter turn.
    assert image[5, 60, 2] > 200 > 50 > image[5, 5, 2]


def test_a_frame_that_is_damaged_costs_itself(tmp_path):
    path = write_video(tmp_path / "a.avi")
    starts = [found.start() for found in re.finditer(b"\xff\xd8\xff", path.read_bytes())]
    assert len(starts) == 20
    for i in (7, 12, 13):
        damage(path, starts[i], 500)
    items = read(path)
    expected = [i for i in range(20) if i not in (7, 12, 13)]
    assert [i.file.index for i in items if isinstance(i, Loaded)] == shades(items) == expected
    assert [round(i.file.seconds * 10) for i in items if isinstance(i, Loaded)] == expected
    one, two = sentences(items)
    assert "a.avi: frame 7 (after 0.60 s) cannot be decoded" in one
    assert "a.avi: frames 12 to 13 (after 1.10 s) cannot be decoded" in two
    # As far as they were wanted.
    assert not sentences(read(path, every=5))
    assert len(sentences(read(path, start=0.8, end=1.5))) == 1
    for passed in range(len(items)):
        assert shades(read(path, passed)) == shades(items[passed:])


def test_noise_in_a_compressed_video_is_survived(tmp_path):
    path = write_video(tmp_path / "a.mp4")
    damage(path, path.stat().st_size // 2, 3000)
    found = [item.file.index for item in read(path) if isinstance(item, Loaded)]
    assert found == sorted(set(found))
    assert {0, 1, 2, 3, 18, 19} <= set(found)


def test_a_video_that_is_cut_off_says_so_in_the_end(tmp_path):
    path = write_video(tmp_path / "a.avi")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    items = read(path)
    number = len(shades(items))
    assert 2 < number < 18
    assert shades(items)[:-1] == list(range(number - 1))  # of the last a part may be there
    assert len(items) == number + 1
    assert f"ends after {number} of the 20 frames that it announces" in items[-1].sentence
    assert not sentences(read(path, end=0.1))


@pytest.mark.parametrize("cut", [0, 10, 500])
@pytest.mark.parametrize("name", ["a.avi", "a.mp4"])
def test_what_is_no_video_is_one_sentence(tmp_path, name, cut):
    path = write_video(tmp_path / name)
    path.write_bytes(path.read_bytes()[:cut])
    (item,) = read(path)
    assert f"{path} cannot be read" in item.sentence and "\n" not in item.sentence
    assert Video(path, name, FrameChoice()).length is None


def test_a_video_that_is_gone_is_one_sentence(tmp_path):
    (item,) = read(tmp_path / "a.mp4")
    assert item.sentence.endswith("a.mp4 does not exist")


def test_huge_frames_are_not_decoded(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", frames=2)
    monkeypatch.setattr(video, "MAX_PIXELS", 96 * 64 - 1)
    (item,) = read(path)
    assert "96 x 64 pixels, more than the 6,143" in item.sentence
    assert image_io.MAX_PIXELS > 2**20


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.avi", "ffconcat version 1.0\nfile secret.avi\n"),
        ("a.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsecret.avi\n#EXT-X-ENDLIST\n"),
    ],
)
def test_what_a_file_names_is_not_opened(tmp_path, name, content):
    write_video(tmp_path / "secret.avi", frames=2)
    (tmp_path / name).write_text(content)
    (item,) = read(tmp_path / name)
    assert "cannot be read" in item.sentence
    # Nor would it be if the link to it lay beside what it names.
    with quietly():
        assert not cv2.VideoCapture(str(tmp_path / name), cv2.CAP_FFMPEG).isOpened()
        assert cv2.VideoCapture(str(tmp_path / "secret.avi"), cv2.CAP_FFMPEG).isOpened()


@pytest.mark.parametrize(
    "name", ["a%02d.avi", "http:x.avi", "line\nbreak 'quote\".avi", "שלום.avi", b"\xff\xfe.avi"]
)
def test_any_name_can_be_opened(tmp_path, monkeypatch, name):
    write_video(tmp_path / "plain.avi", frames=2)
    path = tmp_path / os.fsdecode(name)
    shutil.move(tmp_path / "plain.avi", path)
    assert shades(read(path)) == [0, 1]
    monkeypatch.chdir(tmp_path)
    assert shades(read(path.relative_to(tmp_path))) == [0, 1]
