"""Names of files as nobody would choose them."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from segtron.errors import UserError
from segtron.inference import ImageFile, Images, build_sinks, overlays, predict_files

from .fake_runs import ALL, METADATA, contents, predict, run, run_and_stop
from .video_files import write_video

NAMES = [
    "line\nbreak.png",
    "return\rtab\t.png",
    "quote\"'`,;.png",
    "שלום \u202eexe.png",
    "%d {0} $x \\n.png",
    "-rf.png",
    "=1+1.png",
    "😀" * 40 + ".png",
    os.fsdecode(b"latin \xe9\xff.png"),
    os.fsdecode(b"folder \xe9/a b.png"),
]


@pytest.fixture(autouse=True)
def plain_drawing(monkeypatch):
    monkeypatch.setattr(overlays, "_draw", lambda style, p, *_: p.image[:, :, ::-1].copy())


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "in"
    for i, name in enumerate(NAMES):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            Image.fromarray(np.full((20, 30, 3), 10 * i, np.uint8)).save(file, "PNG")
    write_video(tmp_path / "a.avi", frames=3)
    shutil.move(tmp_path / "a.avi", folder / os.fsdecode(b"film \xe9\n.avi"))
    return folder


def test_results_go_by_any_name(images, tmp_path):
    out = tmp_path / "out"
    summary = run([images], out)
    assert summary.predicted == len(NAMES) + 3 and not summary.unreadable
    frames = [os.fsdecode(b"film \xe9\n/00000%d.jpg" % i) for i in range(3)]
    content = json.loads((out / "predictions.json").read_text(encoding="utf-8"))
    assert {entry["file_name"] for entry in content} == {*NAMES, *frames}
    content = json.loads((out / "panoptic.json").read_text(encoding="utf-8"))
    assert {entry["file_name"] for entry in content["images"]} == {*NAMES, *frames}
    for entry in content["annotations"]:
        assert (out / "panoptic" / entry["file_name"]).stat().st_size > 0
    # A table has no escapes of its own: a byte that is no text stands there as Python calls it.
    text = (out / "predictions.csv").read_bytes().decode("utf-8")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    expected = {name.encode("utf-8", "backslashreplace").decode() for name in [*NAMES, *frames]}
    assert {row["file_name"] for row in rows} == expected
    for name in [*NAMES, *frames]:
        assert (out / name).stat().st_size > 0
        assert (out / "labels" / name).with_suffix(".png").stat().st_size > 0
    assert (out / os.fsdecode(b"film \xe9\n.mp4")).stat().st_size > 0
    assert (out / os.fsdecode(b"folder \xe9.mp4")).stat().st_size > 0


def test_a_run_with_such_names_goes_on(images, tmp_path):
    run([images], tmp_path / "whole", batch_size=1)
    for stop in (4, 9, 12):
        out = tmp_path / f"{stop}"
        run_and_stop(stop, [images], out, batch_size=1)
        run([images], out, batch_size=1, resume=True)
        assert contents(out) == contents(tmp_path / "whole")


def test_an_output_folder_may_have_such_a_name(images, tmp_path):
    out = tmp_path / os.fsdecode(b"out\n\xff%d")
    assert run([images], out).predicted == len(NAMES) + 3


@pytest.mark.parametrize("save", ALL)
@pytest.mark.parametrize("name", ["../a.png", "x/../../a.png", "/tmp/segtron-escaped/a.png"])
def test_results_stay_in_their_folder(tmp_path, save, name):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "a.png"
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(path)
    source = Images([ImageFile(path, name)])
    sinks = build_sinks([save], tmp_path / "in" / "out", METADATA, draw_score=0, save_score=0)
    if save in ("coco", "csv"):
        predict_files(predict, [source], sinks)  # a name, and no file's
    else:
        with pytest.raises(UserError, match="would (lie|be saved) outside of"):
            predict_files(predict, [source], sinks)
    assert {p.name for p in tmp_path.iterdir()} == {"in"}
