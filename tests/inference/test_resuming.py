"""Runs that are interrupted, killed and gone on with, against runs that nothing happened to."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from segtron.config.defaults import get_default_config
from segtron.errors import UserError
from segtron.inference import (
    build_sinks,
    find_sources,
    is_finished,
    is_unfinished,
    run_folder,
)
from segtron.inference.run_folder import describe_model, open_run

from .fake_runs import (
    ALL,
    METADATA,
    contents,
    draw_plainly,
    make_images,
    predict,
    run,
    run_and_stop,
)
from .video_files import write_video


@pytest.fixture(autouse=True)
def plain_drawing(monkeypatch):
    draw_plainly(monkeypatch)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_run_goes_on_where_it_was(tmp_path, batch_size):
    images = make_images(tmp_path / "in", 22, broken=(0, 3, 11))
    whole = run([images], tmp_path / "whole", batch_size=batch_size)
    assert (whole.images, whole.predicted, len(whole.unreadable)) == (22, 19, 3)
    again = tmp_path / "again"
    run_and_stop(9, [images], again, batch_size=batch_size)
    assert is_unfinished(again)
    assert not (again / "predictions.json").exists()
    seen = []

    def predictor(batch):
        seen.extend(batch)
        return predict(batch)

    keys = {"batch_size": batch_size, "resume": True}
    resumed = run([images], again, predictor=predictor, **keys)
    # What was under way is done again, and nothing else.
    assert 10 <= len(seen) <= 19 - (9 if batch_size == 1 else 2)
    assert resumed == whole
    assert contents(again) == contents(tmp_path / "whole")
    assert not is_unfinished(again)


def test_the_order_of_results_is_that_of_the_images(tmp_path):
    images = make_images(tmp_path / "in", 20)
    for batch_size in (1, 3):
        out = tmp_path / str(batch_size)
        run([images], out, batch_size=batch_size, save=("coco", "csv", "panoptic"))
        entries = json.loads((out / "predictions.json").read_text())
        numbers = [entry["image_id"] for entry in entries]
        assert numbers == sorted(numbers) and set(numbers) == set(range(1, 21))
        names = [entry["file_name"] for entry in entries]
        assert list(dict.fromkeys(names)) == [
            f"{folder}/{i}.png" for folder in "ab" for i in range("ab".index(folder), 20, 2)
        ]
        content = json.loads((out / "panoptic.json").read_text())
        assert [image["id"] for image in content["images"]] == list(range(1, 21))


@pytest.mark.parametrize("stop", [1, 8, 20, 29])
def test_videos_go_on_in_their_middle(tmp_path, stop):
    films = tmp_path / "in"
    make_images(films, 6)
    write_video(films / "f.avi", frames=12)
    write_video(films / "g.mp4", frames=12)
    (films / "e.mp4").write_bytes(b"none")
    whole = run([films], tmp_path / "whole", batch_size=1)
    assert (whole.images, whole.predicted) == (31, 30)
    run_and_stop(stop, [films], tmp_path / "again", batch_size=1)
    assert run([films], tmp_path / "again", batch_size=1, resume=True) == whole
    assert contents(tmp_path / "again") == contents(tmp_path / "whole")


def test_a_run_can_be_killed_at_any_moment(tmp_path):
    """Three times in a row, in processes of their own."""
    folder = make_images(tmp_path / "in", 60, broken=(5, 40))
    write_video(folder / "f.avi", frames=30)
    whole = run([folder], tmp_path / "whole")
    killed = tmp_path / "killed"
    journal = killed / ".segtron-predicting" / "journal"
    randomness = random.Random(0)

    def slowly(images):
        time.sleep(0.02)
        return predict(images)

    def size():
        return journal.stat().st_size if journal.exists() else 0

    for _ in range(3):
        before = size()
        child = os.fork()
        if child == 0:
            torch.set_num_threads(1)
            run([folder], killed, predictor=slowly, resume=True)
            os._exit(0)
        deadline = time.monotonic() + 30
        while size() <= before and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(randomness.uniform(0, 0.1))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status)
        assert size() > before
    assert run([folder], killed, resume=True) == whole
    assert (whole.images, whole.predicted) == (90, 88)
    assert contents(killed) == contents(tmp_path / "whole")


def test_a_kill_while_results_are_put_together_costs_nothing(tmp_path, monkeypatch):
    images = make_images(tmp_path / "in", 8)
    run([images], tmp_path / "whole")
    from segtron.inference.sinks import PanopticSink

    with monkeypatch.context() as patched:

        def stop(*_):
            raise KeyboardInterrupt

        patched.setattr(PanopticSink, "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            run([images], tmp_path / "again")
    assert (tmp_path / "again" / "predictions.json").exists()

    def never(images):
        raise AssertionError("all is predicted")

    run([images], tmp_path / "again", predictor=never, resume=True)
    assert contents(tmp_path / "again") == contents(tmp_path / "whole")


def test_files_that_went_missing_meanwhile_are_made_again(tmp_path):
    images = make_images(tmp_path / "in", 12)
    run([images], tmp_path / "whole", batch_size=1)
    run_and_stop(9, [images], tmp_path / "again", batch_size=1)
    (tmp_path / "again" / "labels" / "a" / "8.png").unlink()
    (tmp_path / "again" / "a" / "10.png").write_bytes(b"")
    run([images], tmp_path / "again", batch_size=1, resume=True)
    assert contents(tmp_path / "again") == contents(tmp_path / "whole")


def test_leftovers_of_a_kill_are_removed(tmp_path):
    images = make_images(tmp_path / "in", 6)
    (images / "sub").mkdir()
    write_video(images / "sub" / "f.avi", frames=3)
    run_and_stop(2, [images], tmp_path / "out", batch_size=1)
    for name in (
        ".predictions-0123456789ab.json",
        "b/.1-0123456789ab.png",
        "sub/.f-0123456789ab.mp4",
    ):
        (tmp_path / "out" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "out" / name).write_bytes(b"half")
    run([images], tmp_path / "out", batch_size=1, resume=True)
    assert not [name for name in contents(tmp_path / "out") if "0123456789ab" in name]


def test_a_changed_run_is_refused_in_one_sentence(tmp_path):
    images = make_images(tmp_path / "in", 6)
    out = tmp_path / "out"
    run_and_stop(3, [images], out, batch_size=1, description={"weights": "1"})
    before = contents(out)

    def refused(match, **keys):
        keys = {"batch_size": 1, "description": {"weights": "1"}, "resume": True} | keys
        with pytest.raises(UserError, match=match):
            run([images], out, **keys)
        assert contents(out) == before

    refused("interrupted; go on with it with --resume, choose another", resume=False)
    refused("was begun with weights other than now", description={"weights": "2"})
    refused("was begun with weights other than now", description={})
    more = {"weights": "1", "--tile": "9"}
    refused("was begun with --tile other than now", description=more)
    refused("was begun with --batch-size other than now", batch_size=2)
    refused("begun with --save and --score-threshold other", save=("coco",))
    (images / "a" / "99.png").write_bytes((images / "a" / "0.png").read_bytes())
    refused("begun with inputs other than now; go on with what it was begun with, or choose")
    (images / "a" / "99.png").unlink()
    run([images], out, batch_size=1, description={"weights": "1"}, resume=True)


def test_a_run_that_is_over_is_not_resumed(tmp_path):
    images = make_images(tmp_path / "in", 2)
    run([images], tmp_path / "out", resume=True)  # there is nothing yet, so it begins
    with pytest.raises(UserError, match="would be overwritten"):
        run([images], tmp_path / "out", resume=True)


def test_two_runs_at_once_are_refused(tmp_path):
    images = make_images(tmp_path / "in", 3)
    met = []

    def predictor(batch):
        with pytest.raises(UserError, match="another process is predicting into .*out; wait"):
            run([images], tmp_path / "out", batch_size=1, resume=True)
        met.append(1)
        return predict(batch)

    run([images], tmp_path / "out", predictor=predictor, batch_size=1)
    assert len(met) == 3


def test_a_run_that_predicted_nothing_leaves_nothing(tmp_path):
    images = make_images(tmp_path / "in", 3)
    run_and_stop(0, [images], tmp_path / "out")
    assert contents(tmp_path / "out") == {}
    assert not is_unfinished(tmp_path / "out")


def test_a_run_that_wrote_something_goes_on(tmp_path):
    """Though no window of images was complete."""
    images = make_images(tmp_path / "in", 10)
    run([images], tmp_path / "whole", batch_size=2)
    run_and_stop(4, [images], tmp_path / "again", batch_size=2)
    assert (tmp_path / "again" / "a").exists()
    run([images], tmp_path / "again", batch_size=2, resume=True)
    assert contents(tmp_path / "again") == contents(tmp_path / "whole")


def test_cameras_are_not_resumed(tmp_path):
    with pytest.raises(UserError, match="--resume is not for cameras"):
        run(["camera:0"], tmp_path / "out", resume=True)


def test_what_a_models_predictions_depend_on(tmp_path):
    weights, parts = tmp_path / "weights.pth", tmp_path / "parts.py"
    weights.write_bytes(b"1")
    parts.write_bytes(b"# \xe4\n")
    cfg = get_default_config()
    cfg.MODEL.WEIGHTS = str(weights)
    first = describe_model(cfg, [parts])
    assert describe_model(cfg, [parts]) == first
    parts.write_bytes(b"# other\n")
    weights.write_bytes(b"2")
    second = describe_model(cfg, [parts])
    assert {name for name in first if first[name] != second[name]} == {"--parts", "weights"}
    cfg.INPUT.FORMAT = "RGB"
    third = describe_model(cfg, [parts])
    assert {name for name in second if second[name] != third[name]} == {"a config"}


def test_of_two_runs_begun_at_once_one_goes_on(tmp_path, monkeypatch):
    """The other comes between the first one's look and its first file."""
    real, others = run_folder.is_unfinished, []

    def look(output_dir):
        if not others:
            others.append(None)
            with (
                pytest.raises(UserError, match="another process is predicting into"),
                open_run(output_dir, {}, bool, resume=False),
            ):
                pass
        return real(output_dir)

    monkeypatch.setattr(run_folder, "is_unfinished", look)
    with open_run(tmp_path / "out", {}, bool, resume=False) as journal:
        assert others and journal.position.number == 0
    assert not is_unfinished(tmp_path / "out")


def test_a_run_that_ends_as_another_begins(tmp_path, monkeypatch):
    """Its lock goes with its folder; a lock on what is no more keeps nobody out."""
    real = run_folder.fcntl.flock
    locked = []

    def lock(file, operation):
        real(file, operation)
        locked.append(Path(file.name))
        if len(locked) == 1:
            shutil.rmtree(locked[0].parent)

    monkeypatch.setattr(run_folder.fcntl, "flock", lock)
    with open_run(tmp_path, {}, bool, resume=False):
        assert len(locked) == 2 and locked[1].exists()


def test_an_output_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match="cannot write"),
        open_run(tmp_path / "file" / "out", {}, bool, resume=False),
    ):
        pass


@pytest.mark.parametrize("save", [ALL, ("coco",), ("csv", "video")])
def test_a_run_that_is_over_is_known(tmp_path, save):
    images = make_images(tmp_path / "in", 5)
    write_video(images / "f.avi", frames=3)
    out = tmp_path / "out"

    def is_over():
        sinks = build_sinks(save, out, METADATA, draw_score=0.3, save_score=0.0)
        return is_finished(find_sources([str(images)]), sinks)

    assert not is_over()
    run([images], out, save=save)
    assert is_over()
    if "labels" in save:
        shutil.rmtree(out / "labels" / "f")
        assert not is_over()


def test_a_run_that_is_not_over_is_no_such(tmp_path):
    images = make_images(tmp_path / "in", 8)
    run_and_stop(4, [images], tmp_path / "out")
    sinks = build_sinks(("overlay",), tmp_path / "out", METADATA, draw_score=0.3, save_score=0.0)
    assert not is_finished(find_sources([str(images)]), sinks)
    assert not is_finished(find_sources(["camera:0"]), sinks)
