"""tools/predict.py as a user runs it, on videos and after kills."""

from __future__ import annotations

import csv
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from segtron import inference
from segtron.inference import SINKS, Predictor

from .conftest import assert_one_sentence

TOOL = Path(__file__).parents[2] / "tools" / "predict.py"
SAVED = ("coco", "csv", "video", "overlay")


@pytest.fixture
def videos(tmp_path):
    """A video of ten frames, one that is cut off, and one that is none."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name, codec in (("a.mp4", "mp4v"), ("cut.avi", "MJPG")):
        path = str(folder / name)
        writer = cv2.VideoWriter(path, cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), 10, (96, 64))
        for i in range(10):
            writer.write(np.random.default_rng(i).integers(0, 255, (64, 96, 3), np.uint8))
        writer.release()
    content = (folder / "cut.avi").read_bytes()
    (folder / "cut.avi").write_bytes(content[: len(content) // 2])
    (folder / "none.mp4").write_bytes((folder / "a.mp4").read_bytes()[:400])
    return folder


def arguments(tiny_run, inputs, out, *more):
    return [
        *("--config-file", tiny_run / "config.yaml", "--input", *inputs, "--output", out),
        *("--save", "coco,csv", *more, "MODEL.DEVICE", "cpu"),
    ]


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_videos_give_frames_and_a_video(tiny_run, videos, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, TOOL, *arguments(tiny_run, [videos], out, "--batch-size", 2)]
    command[command.index("coco,csv")] = ",".join(SAVED)
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.replace("\r", "\n").splitlines()
    cut, none = [line for line in lines if line.startswith("left out: ")]
    assert "cut.avi ends after" in cut and "none.mp4 cannot be read" in none
    # FFmpeg's own words are kept back, and progress has a rate.
    assert not [line for line in lines if "moov" in line or "mjpeg" in line or "WARN" in line]
    assert any("images/s" in line or "s/ images" in line for line in lines)
    overlays = sorted(path.name for path in (out / "a").iterdir())
    assert overlays == [f"{i:06d}.jpg" for i in range(10)]
    capture = cv2.VideoCapture(str(out / "a.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == 10 and capture.get(cv2.CAP_PROP_FRAME_COUNT) == 10
    entries = json.loads((out / "predictions.json").read_text())
    times = {entry["frame"]: entry["seconds"] for entry in entries}
    assert times and all(seconds == pytest.approx(i / 10) for i, seconds in times.items())
    assert {path.name for path in out.iterdir()} == {
        *("a", "a.mp4", "cut", "cut.mp4", "predictions.json", "predictions.csv")
    }


def test_part_of_a_video(tiny_run, videos, tmp_path, run_here):
    part = ["--start", "0.2", "--end", "0.8", "--every", "2", "--max-frames", "3"]
    inputs = [videos / "a.mp4"]
    code, stderr = run_here("predict.py", *arguments(tiny_run, inputs, tmp_path / "out", *part))
    assert code == 0, stderr
    with open(tmp_path / "out" / "predictions.csv", newline="") as file:
        names = {row["file_name"] for row in csv.DictReader(file)}
    assert names == {"a/000002.jpg", "a/000004.jpg", "a/000006.jpg"}


def test_a_killed_run_goes_on(tiny_run, tmp_path, run_here):
    images = tmp_path / "in"
    images.mkdir()
    for i in range(40):
        name = "ab"[i % 2]
        shutil.copy(tiny_run / "images" / f"{name}.png", images / f"{i}.png")
    given = arguments(tiny_run, [images], tmp_path / "killed", "--resume")
    process = subprocess.Popen(
        [sys.executable, str(TOOL), *map(str, given)], stderr=subprocess.DEVNULL
    )
    journal = tmp_path / "killed" / ".segtron-predicting" / "journal"
    deadline = time.monotonic() + 120
    while not (journal.exists() and journal.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert journal.stat().st_size > 0
    without = [a for a in given if a != "--resume"]
    assert_one_sentence(*run_here("predict.py", *without), ["interrupted", "--resume"])
    other = [*given, "TEST.DETECTIONS_PER_IMAGE", "7"]
    assert_one_sentence(*run_here("predict.py", *other), ["begun with a config other than now"])
    code, stderr = run_here("predict.py", *given)
    assert code == 0, stderr
    whole = arguments(tiny_run, [images], tmp_path / "whole")
    assert run_here("predict.py", *whole)[0] == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


@pytest.fixture
def no_model(monkeypatch):
    """What needs a model fails."""

    def fail(*_):
        raise AssertionError("the model is loaded")

    monkeypatch.setattr(inference, "Predictor", fail)


def test_a_run_that_is_over_is_told_without_the_model(
    tiny_run, tmp_path, run_here, monkeypatch, capsys, no_model
):
    images, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(tiny_run / "images", images)
    given = arguments(tiny_run, [images], out)
    given[given.index("coco,csv")] = "overlay,csv"
    with monkeypatch.context() as patched:
        patched.setattr(inference, "Predictor", Predictor)
        assert run_here("predict.py", *given)[0] == 0
    before = contents(out)
    monkeypatch.setattr(sys, "argv", [*map(str, [TOOL, *given, "--resume"])])
    with pytest.raises(SystemExit) as ending:
        runpy.run_path(str(TOOL), run_name="__main__")
    stdout, stderr = capsys.readouterr()
    assert ending.value.code == 0, stderr
    assert stdout.splitlines()[-1] == f"nothing is left to do: all results are in {out} already"
    refused = ["would be overwritten; choose another"]
    assert_one_sentence(*run_here("predict.py", *given), refused)
    # A new image, or another file to be written.
    shutil.copy(images / "a.png", images / "c.png")
    assert_one_sentence(*run_here("predict.py", *given, "--resume"), refused)
    (images / "c.png").unlink()
    given[given.index("overlay,csv")] = "overlay,csv,coco"
    assert_one_sentence(*run_here("predict.py", *given, "--resume"), refused)
    assert contents(out) == before


def test_mistakes_that_need_no_model_are_found_without_it(tiny_run, tmp_path, run_here, no_model):
    def assert_refused(*more, words):
        given = arguments(tiny_run, [tiny_run / "images"], tmp_path / "out", *more)
        assert_one_sentence(*run_here("predict.py", *given), words)

    assert_refused("--start", "2", "--end", "1", words=["--end 1 lies before --start 2"])
    for sink, output in (("panoptic", "panoptic_seg"), ("labels", "sem_seg")):
        sentence = f"predicts instances but no {output}, which --save {sink} is made of; possible"
        assert_refused("--save", f"overlay,{sink}", words=[sentence, "coco, overlay"])
    assert not (tmp_path / "out").exists()


def test_an_interrupt_says_how_to_go_on(tiny_run, tmp_path, run_here, monkeypatch):
    from segtron.inference.sinks import CsvSink

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(CsvSink, "finish", interrupt)
    given = arguments(tiny_run, [tiny_run / "images"], tmp_path / "out")
    code, stderr = run_here("predict.py", *given)
    assert code == 130
    assert "the same command with --resume goes on where this run was" in stderr


def test_own_sinks_are_found(tiny_run, tmp_path, run_here, monkeypatch, no_parts_stay):
    monkeypatch.setattr(SINKS, "_obj_map", dict(SINKS._obj_map))
    (tmp_path / "own.py").write_text(
        "from segtron.inference import SINKS, Sink\n"
        "@SINKS.register()\n"
        "class Own(Sink):\n"
        "    name = 'own'\n"
        "    needs = ('instances',)\n"
        "    def write(self, prediction):\n"
        "        return prediction.number\n"
        "    def finish(self, records):\n"
        "        (self.output_dir / 'own.txt').write_text(str(list(records)))\n"
    )
    given = arguments(tiny_run, [tiny_run / "images"], tmp_path / "out")
    given[given.index("coco,csv")] = "own"
    assert_one_sentence(*run_here("predict.py", *given), ["--save 'own' is unknown; known are"])
    given[given.index("own")] = "own, csv"
    code, stderr = run_here("predict.py", *given, "--parts", tmp_path / "own.py")
    assert code == 0, stderr
    assert (tmp_path / "out" / "own.txt").read_text() == "[1, 2]"


def test_mistakes_are_one_sentence(tiny_run, videos, tmp_path, run_here):
    def assert_refused(inputs, *more, words):
        given = arguments(tiny_run, inputs, tmp_path / "out", *more)
        assert_one_sentence(*run_here("predict.py", *given), words)
        assert not (tmp_path / "out").exists() or not contents(tmp_path / "out")

    assert_refused([videos / "none.mp4"], words=["none.mp4 cannot be read; convert it to MP4"])
    assert_refused(["camera:93"], words=["camera:93 cannot be opened"])
    assert_refused(["camera:0"], "--resume", words=["--resume is not for cameras"])
    assert_refused([videos / "a.mp4"], "--start", "60", words=["a.mp4 has no frame in the part"])
    assert_refused([tmp_path / "absent.mp4"], words=["absent.mp4 does not exist"])
    for option, value in (("--every", "0"), ("--start", "-1"), ("--frame-rate", "0")):
        given = arguments(tiny_run, [videos], tmp_path / "out", option, value)
        code, stderr = run_here("predict.py", *given)
        assert code == 2 and f"argument {option}" in stderr
