"""Runs that came to their end, told by their results alone."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from segtron.errors import UserError
from segtron.inference import Finished, build_sinks, find_finished, find_sources

from .fake_runs import (
    ALL,
    METADATA,
    contents,
    draw_plainly,
    make_images,
    run,
    run_and_stop,
)
from .video_files import write_video


def look(inputs, out, save=ALL, made_with=()):
    sources = find_sources([str(path) for path in inputs])
    sinks = build_sinks(save, out, METADATA, draw_score=0.3, save_score=0.0)
    return find_finished(sources, sinks, made_with)


def set_time(path: Path, seconds: float) -> None:
    """Let a file have been changed so long after now."""
    then = time.time() + seconds
    os.utime(path, (then, then))


@pytest.fixture(autouse=True)
def plain_drawing(monkeypatch):
    draw_plainly(monkeypatch)


@pytest.fixture
def images(tmp_path):
    """Eight images, one of which can't be read."""
    return make_images(tmp_path / "in", 8, broken=(3,))


@pytest.mark.parametrize(
    "save", [ALL, ("overlay",), ("coco",), ("csv", "video"), ("labels", "panoptic")]
)
def test_a_run_that_is_over_is_known(images, tmp_path, save):
    out = tmp_path / "out"
    assert look([images], out, save) is None
    run([images], out, save=save)
    before = contents(out)
    found = look([images], out, save)
    assert found.images == 8
    # Without files of single images nobody looks which can't be read.
    assert len(found.unreadable) == (save not in (("coco",), ("csv", "video")))
    assert contents(out) == before


def test_a_run_that_is_not_over_is_no_such(images, tmp_path):
    run_and_stop(4, [images], tmp_path / "out")
    assert look([images], tmp_path / "out") is None
    assert look(["camera:0"], tmp_path / "out") is None


def test_videos_and_those_that_cannot_be_read(images, tmp_path):
    write_video(images / "f.avi", frames=3)
    (images / "none.mp4").write_bytes(b"none")
    run([images], tmp_path / "out")
    found = look([images], tmp_path / "out")
    assert found.images is None
    assert [sentence.split()[0] for sentence in found.unreadable] == ["image", "video"]
    shutil.rmtree(tmp_path / "out" / "labels" / "f")
    with pytest.raises(UserError, match=r"but not .*labels/f/000000.png of .*f\.avi; predict what"):
        look([images], tmp_path / "out")


@pytest.mark.parametrize("save", [ALL, ("overlay",)])
def test_new_images_are_refused_however_old(images, tmp_path, save):
    run([images], tmp_path / "out", save=save)
    shutil.copy(images / "a" / "0.png", images / "a" / "99.png")
    set_time(images / "a" / "99.png", -1000)
    with pytest.raises(UserError, match=r"results of an earlier run, but not .*of a/99\.png; pred"):
        look([images], tmp_path / "out", save)
    # One that can't be read is left out.
    (images / "a" / "99.png").write_bytes(b"none")
    set_time(images / "a" / "99.png", -1000)
    assert len(look([images], tmp_path / "out", save).unreadable) == 2


@pytest.mark.parametrize("save", [("coco",), ("csv", "video")])
def test_new_images_show_by_their_folder_where_no_file_is_theirs(images, tmp_path, save):
    run([images], tmp_path / "out", save=save)
    assert look([images], tmp_path / "out", save) == Finished(8)
    for folder in (images / "a", images):
        set_time(folder, 100)
        with pytest.raises(UserError, match=rf"{folder} was changed after the results in .*out"):
            look([images], tmp_path / "out", save)
        set_time(folder, -1000)
    # With files of their own they need no such guess.
    run([images], tmp_path / "more", save=(*save, "overlay"))
    set_time(images, 100)
    assert look([images], tmp_path / "more", (*save, "overlay")).images == 8


def test_what_was_changed_since_is_refused(images, tmp_path):
    weights = tmp_path / "weights.pth"
    weights.touch()
    run([images], tmp_path / "out")
    assert look([images], tmp_path / "out", made_with=[weights, Path("http://absent")])
    for path in (weights, images / "a" / "0.png"):
        set_time(path, 100)
        with pytest.raises(UserError, match=rf"{path.name} was changed after the results in .*out"):
            look([images], tmp_path / "out", made_with=[weights])
        set_time(path, -1000)


def test_other_sinks_than_the_runs_are_refused(images, tmp_path):
    run([images], tmp_path / "out", save=("overlay",))
    with pytest.raises(UserError, match=r"but not .*predictions\.json; predict what is new"):
        look([images], tmp_path / "out", ("overlay", "coco"))
    with pytest.raises(UserError, match=r"but not .*labels/a/0\.png of a/0\.png"):
        look([images], tmp_path / "out", ("overlay", "labels"))
