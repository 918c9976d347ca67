"""metrics.json, whenever a training is killed, and when it can't be written."""

from __future__ import annotations

import errno
import json
import math
import os
import statistics
from pathlib import Path

import pytest
from detectron2.utils.events import EventStorage, JSONWriter

from segtron.engine.metrics_file import MetricsFile
from segtron.errors import UserError

from .resumed_training import Killed, Training, without_times


def training() -> Training:
    # Evaluations between writes and checkpoints, and at them.
    return Training(max_iter=45, checkpoints=6, evaluations=7, writes=10)


def writer_of(path: Path, back: int = 0):
    return lambda last: [MetricsFile(path, None if last is None else last - back)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("alone") / "metrics.json"
    training().run(writer_of(path))
    return path


def test_lines_are_those_of_detectron2(uninterrupted: Path, tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    training().run(lambda last_iteration: [JSONWriter(str(path))])
    assert uninterrupted.read_bytes() == path.read_bytes()


def test_values_by_hand(uninterrupted: Path) -> None:
    lines = [json.loads(line) for line in uninterrupted.read_text().splitlines()]
    # Each tenth, each evaluation (each seventh), the last, whose evaluation stands after it.
    assert [line["iteration"] for line in lines] == [6, 9, 13, 19, 20, 27, 29, 34, 39, 41, 44, 45]
    assert [line["iteration"] for line in lines if "segm/AP" in line] == [6, 13, 20, 27, 34, 41, 45]
    last = [math.sin(7 * i) for i in range(25, 45)]
    assert lines[-2]["loss_mask"] == statistics.median(last)
    assert lines[-2]["lr"] == 1 / 45
    assert lines[-1]["segm/AP"] == 40 + 10 * math.sin(44)


# What comes after a checkpoint in its iteration is done again: its line may stay, or be cut.
@pytest.mark.parametrize(
    ("moment", "back"), [("step", 0), ("evaluation", 0), ("written", 0), ("written", 1)]
)
def test_killed_at_any_iteration_and_resumed(
    uninterrupted: Path, tmp_path: Path, moment: str, back: int
) -> None:
    for iteration in range(5, 45, 2):
        path = tmp_path / f"{iteration}.json"
        killed = training()

        def kill(training: Training, now: str, at: int = iteration) -> None:
            if training.iter == at and now == moment:
                raise Killed

        try:
            killed.run(writer_of(path), kill)
        except Killed:
            # in the middle of a line
            with path.open("a") as file:
                file.write('{"iteration": 4')
        if killed.checkpoint is None:
            continue  # it starts anew, in an empty folder
        killed.run(writer_of(path, back))
        assert without_times(path) == without_times(uninterrupted), iteration


def test_killed_again_and_again(uninterrupted: Path, tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    killed = training()
    for at in (7, 8, 14, 19, 19, 33, 30, 44):

        def kill(training: Training, now: str, at: int = at) -> None:
            if training.iter == at and now == "written":
                raise Killed

        with pytest.raises(Killed):
            killed.run(writer_of(path), kill)
    killed.run(writer_of(path))
    assert without_times(path) == without_times(uninterrupted)


def test_an_exception_leaves_no_line_that_a_resumed_training_would_not_have(
    uninterrupted: Path, tmp_path: Path
) -> None:
    path = tmp_path / "metrics.json"
    failing = training()

    def fail(training: Training, now: str) -> None:
        if training.iter == 23 and now == "evaluation":  # right after a checkpoint
            raise SystemExit(75)

    with pytest.raises(SystemExit):
        failing.run(writer_of(path), fail)
    assert json.loads(path.read_text().splitlines()[-1])["iteration"] == 20
    failing.run(writer_of(path))
    assert without_times(path) == without_times(uninterrupted)


def test_what_stays_and_what_goes(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    stays = b'{"iteration": 9, "a": NaN}\n{"segm/AP": 31.5}\n{"iteration": 19}\n'
    goes = b'{"iteration": 20, "a": 1}\n[1]\n\xff\xfe\n\n{"iteration": "x"}\n{"segm/AP": 3'
    path.write_bytes(stays + goes)
    file = MetricsFile(path, 19)
    assert path.read_bytes() == stays
    assert file.last_written == 19
    assert file.earlier[1:] == [{"segm/AP": 31.5}, {"iteration": 19}]


def test_a_whole_last_line_without_its_end_stays(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_bytes(b'{"iteration": 9}')
    MetricsFile(path, 9)
    assert path.read_bytes() == b'{"iteration": 9}\n'


def test_a_file_in_order_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_bytes(b'{"iteration": 9}\n')
    before = path.stat().st_ino, path.stat().st_mtime_ns
    MetricsFile(path, 9)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == before


def test_nothing_there(tmp_path: Path) -> None:
    assert MetricsFile(tmp_path / "metrics.json", 19).last_written == -1
    # for those who read it when a training fails before its first line
    assert (tmp_path / "metrics.json").read_bytes() == b""


def test_a_new_training_adds(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_bytes(b'{"segm/AP": 31.5}\n')
    with EventStorage(4) as storage:
        storage.put_scalar("total_loss", 1.0)
        MetricsFile(path, None).write()
    assert path.read_bytes() == b'{"segm/AP": 31.5}\n{"iteration": 4, "total_loss": 1.0}\n'


def test_older_scalars_have_lines_of_their_own_in_order(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    with EventStorage(0) as storage:
        storage.put_scalar("total_loss", 1.0, cur_iter=9)
        storage.put_scalar("segm/AP", 3.0, smoothing_hint=False, cur_iter=6)
        # a process that has measured no time yet has that of the one before
        storage.put_scalar("time", 0.5, cur_iter=7)
        file = MetricsFile(path, None)
        file.write()
        file.write()
        # what came after the last step
        storage.put_scalar("ema/segm/AP", 4.0, smoothing_hint=False, cur_iter=10)
        file.write()
    assert path.read_text().splitlines() == [
        '{"iteration": 6, "segm/AP": 3.0}',
        '{"iteration": 9, "time": 0.5, "total_loss": 1.0}',
        '{"ema/segm/AP": 4.0, "iteration": 10}',
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_a_sentence() -> None:
    with (
        EventStorage(4) as storage,
        pytest.raises(UserError, match="cannot write /dev/full: No space left on device; make"),
    ):
        storage.put_scalar("total_loss", 1.0)
        file = MetricsFile.__new__(MetricsFile)
        file._path, file.last_written = Path("/dev/full"), -1
        file.write()


def test_half_a_line_is_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class HalfFull:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def write(self, content):
            return len(content) // 2

    file = MetricsFile(tmp_path / "metrics.json", None)
    monkeypatch.setattr(Path, "open", lambda *_, **__: HalfFull())
    with EventStorage(4) as storage:
        storage.put_scalar("total_loss", 1.0)
        with pytest.raises(UserError, match=os.strerror(errno.ENOSPC)):
            file.write()
    assert file.last_written == -1


def test_a_folder_in_its_place_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").mkdir()
    with pytest.raises(UserError, match=r"cannot write .*metrics\.json: Is a directory"):
        MetricsFile(tmp_path / "metrics.json", 3)
