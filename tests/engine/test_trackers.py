"""TensorBoard, Weights & Biases and MLflow, by stand-ins that keep what they are told."""

from __future__ import annotations

import json
import logging
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.utils.events import EventStorage, EventWriter

from segtron.engine import trackers
from segtron.engine.signals import Interrupted
from segtron.engine.trackers import TRACKERS, Tracker
from segtron.errors import UserError

from .fake_trackers import FAKES, by_step, config, install, training, writers_of
from .resumed_training import TIMES, Killed, Training

SERVICES = ("wandb", "mlflow")


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    return install(monkeypatch)


def build(name: str, folder: Path, cfg: CfgNode | None = None, resumed: bool = False) -> Tracker:
    return TRACKERS[name](cfg or config(name), folder, -1, resumed)


def untimed(steps: dict[int, dict[str, float]]) -> dict[int, dict[str, float]]:
    return {
        step: {name: value for name, value in values.items() if name not in TIMES}
        for step, values in steps.items()
    }


@pytest.mark.parametrize("name", FAKES)
def test_they_get_what_metrics_json_gets(fakes, tmp_path: Path, name: str) -> None:
    training().run(writers_of(tmp_path, name))
    lines = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    written = {line.pop("iteration"): line for line in lines}
    np.testing.assert_equal(by_step(fakes[name].events), written)
    assert list(written) == [6, 9, 13, 19, 20, 27, 29, 34, 39, 41, 44, 45]


@pytest.mark.parametrize("back", [0, 1])
@pytest.mark.parametrize("moment", ["evaluation", "between", "written"])
def test_nothing_is_lost_or_there_twice_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, back: int
) -> None:
    alone = install(monkeypatch)
    training().run(writers_of(tmp_path / "alone", *FAKES))
    for iteration in (9, 17, 19, 20, 23, 29, 41, 44):
        killed, fakes = training(), install(monkeypatch)
        build = writers_of(tmp_path / str(iteration), *FAKES)

        def kill(training: Training, now: str, at: int = iteration) -> None:
            # Not at every iteration there is a checkpoint, or something is written.
            if training.iter == at and now in (moment, "written"):
                raise Killed

        class KillBetween(EventWriter):
            def write(self, training: Training = killed, at: int = iteration) -> None:
                if moment == "between" and training.iter == at:
                    raise Killed

        def with_killer(last: int | None, build=build, killer=KillBetween) -> list[EventWriter]:
            *others, metrics_file = build(last)
            return [*others, killer(), metrics_file]

        with pytest.raises(Killed):
            killed.run(with_killer, kill)
        fakes["tensorboard"].killed()
        killed.run(lambda last, build=build: build(last - back))
        for name, fake in fakes.items():
            found, wanted = (untimed(by_step(f.events)) for f in (fake, alone[name]))
            np.testing.assert_equal(found, wanted, f"{name}, {iteration}")


def test_images_reach_all_of_them_once(fakes, tmp_path: Path) -> None:
    class WithImages(Training):
        def _step(self, since_start: int) -> None:
            super()._step(since_start)
            if self.iter in (4, 9):
                # channels, height, width: (3, 2, 4)
                coded = np.arange(24, dtype=np.uint8).reshape(3, 2, 4)
                self.storage.put_image("pictures/1", coded + self.iter)
                self.storage.put_image("pictures/2", torch.tensor([1.5, -1, 0.5]).view(3, 1, 1))

    run = WithImages(max_iter=20, checkpoints=6, evaluations=0, writes=10)
    run.run(writers_of(tmp_path, *FAKES))
    for name, fake in fakes.items():
        steps = by_step(fake.events)
        for step in (4, 9):
            first, second = (steps[step][f"pictures/{i}"] for i in (1, 2))
            if name == "wandb":
                (kind, first), (_, second) = first, second
                assert kind == "Image"
            assert first.shape == (2, 4, 3)
            assert first.dtype == np.uint8
            # row 1, column 2 of each channel
            assert first[1, 2].tolist() == [6 + step, 14 + step, 22 + step]
            assert second.tolist() == [[[255, 0, 128]]]
        assert list(steps) == [4, 9, 19, 20]
    assert not run.storage._vis_data


@pytest.mark.parametrize(("resumed", "purge_step"), [(True, 20), (False, None)])
def test_tensorboard_is_told_what_is_written_again(
    fakes, tmp_path: Path, resumed: bool, purge_step: int | None
) -> None:
    tracker = TRACKERS["tensorboard"](config("tensorboard"), tmp_path, 19, resumed)
    with EventStorage(20) as storage:
        storage.put_scalar("total_loss", 1.0)
        tracker.write()
    assert fakes["tensorboard"].purge_step == purge_step
    assert fakes["tensorboard"].log_dir == str(tmp_path / "tensorboard")


class TestFailures:
    """A server that doesn't answer."""

    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        now = [1000.0]
        monkeypatch.setattr(trackers.time, "monotonic", lambda: now[0])
        return now

    def test_a_training_goes_on_and_the_server_gets_all_of_it_later(
        self, fakes, tmp_path: Path, clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Unlucky(Training):
            def _step(self, since_start: int) -> None:
                super()._step(since_start)
                clock[0] += 1000
                fakes["mlflow"].is_down = self.iter == 0 or 15 < self.iter < 35
                if self.iter in (9, 19):
                    self.storage.put_image("picture", np.zeros((3, 2, 2), np.uint8))

        with caplog.at_level(logging.WARNING):
            run = Unlucky(max_iter=45, checkpoints=6, evaluations=7, writes=10)
            run.run(writers_of(tmp_path, "mlflow"))
        [warning] = caplog.messages
        assert warning.startswith("MLflow fails (no route to host [...]). The training goes on")
        steps = by_step(fakes["mlflow"].events)
        assert list(steps) == [6, 9, 13, 19, 20, 27, 29, 34, 39, 41, 44, 45]
        # Numbers are kept, pictures would fill the memory.
        assert [step for step in steps if "picture" in steps[step]] == [9]
        # in the order of the iterations
        assert [step for name, step, _ in fakes["mlflow"].events if name == "total_loss"] == [
            6, 9, 13, 19, 20, 27, 29, 34, 39, 41, 44,
        ]  # fmt: skip

    def test_after_a_failure_it_waits_twenty_times_as_long(
        self, fakes, tmp_path: Path, clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = fakes["mlflow"]
        server.is_down = True

        def answer(original=server._answer) -> None:
            clock[0] += 3  # seconds until it gives up
            original()

        monkeypatch.setattr(server, "_answer", answer)
        tracker = build("mlflow", tmp_path)
        with EventStorage(0) as storage:
            for storage.iter in range(8):
                storage.put_scalar("total_loss", 1.0)
                tracker.write()
                clock[0] += 10
        # At 0 s, and from 63 s on, at 73 s.
        assert server.num_calls == 2

    def test_a_server_that_is_never_there(self, fakes, tmp_path: Path, caplog) -> None:
        fakes["mlflow"].is_down = True
        training().run(writers_of(tmp_path, "mlflow"))
        assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == 1
        assert not (tmp_path / "mlflow_run.json").exists()
        assert len((tmp_path / "metrics.json").read_text().splitlines()) == 12

    def test_numbers_are_not_sent_again_for_an_image_that_fails(
        self, fakes, tmp_path: Path, caplog
    ) -> None:
        class WithImages(Training):
            def _step(self, since_start: int) -> None:
                super()._step(since_start)
                self.storage.put_image("picture", np.zeros((3, 2, 2), np.uint8))

        def fail(*_: Any, **__: Any) -> None:
            raise PermissionError("the store of artifacts")

        fakes["mlflow"].log_image = fail
        run = WithImages(max_iter=45, checkpoints=6, evaluations=7, writes=10)
        run.run(writers_of(tmp_path, "mlflow"))
        assert "MLflow fails (the store of artifacts)" in caplog.text
        assert list(by_step(fakes["mlflow"].events)) == [
            6,
            9,
            13,
            19,
            20,
            27,
            29,
            34,
            39,
            41,
            44,
            45,
        ]

    def test_whatever_it_raises_at_the_end(self, fakes, tmp_path: Path, caplog) -> None:
        def fail(**_: Any) -> None:
            raise BrokenPipeError

        fakes["wandb"].finish = fail
        training().run(writers_of(tmp_path, "wandb"))
        assert "Weights & Biases fails (BrokenPipeError)" in caplog.text

    def test_a_disk_that_is_full(self, fakes, tmp_path: Path, caplog) -> None:
        def fail(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        sys.modules["torch.utils.tensorboard"].SummaryWriter.add_scalar = fail
        training().run(writers_of(tmp_path, "tensorboard"))
        assert "TensorBoard fails ([Errno 28] No space left on device)" in caplog.text


class TestEnds:
    """How a service is told that a training ended."""

    def test_well(self, fakes, tmp_path: Path) -> None:
        training().run(writers_of(tmp_path, *SERVICES))
        assert fakes["wandb"].exit_codes == [0]
        assert fakes["mlflow"].runs["run0"].status == ["RUNNING", "FINISHED"]

    @pytest.mark.parametrize(
        ("error", "exit_code", "state", "status"),
        [
            (RuntimeError("a bug"), 1, "crashed", "FAILED"),
            (SystemExit(75), 1, "crashed", "FAILED"),  # whoever raised it, there is no checkpoint
            (Interrupted(), 75, "preempted", "KILLED"),
        ],
    )
    def test_by_an_exception_and_then_well(
        self,
        fakes,
        tmp_path: Path,
        error: BaseException,
        exit_code: int,
        state: str,
        status: str,
    ) -> None:
        def fail(training: Training, now: str) -> None:
            if training.iter == 23:
                raise error

        run = training()
        with pytest.raises(type(error)):
            run.run(writers_of(tmp_path, *SERVICES), fail)
        run.run(writers_of(tmp_path, *SERVICES))
        assert fakes["wandb"].exit_codes == [exit_code, 0]
        assert fakes["wandb"].states == [state, "finished"]
        [only] = fakes["mlflow"].runs.values()
        assert only.status == ["RUNNING", status, "RUNNING", "FINISHED"]
        assert len({arguments["id"] for arguments in fakes["wandb"].inits}) == 1


class TestRuns:
    """What a service knows of a run."""

    def test_wandb(self, fakes, tmp_path: Path) -> None:
        cfg = config("wandb")
        cfg.LOG.WANDB_PROJECT = "team/streets"
        build("wandb", tmp_path / "first_try", cfg)
        [arguments] = fakes["wandb"].inits
        record = json.loads((tmp_path / "first_try" / "wandb_run.json").read_text())
        assert arguments == {
            "entity": "team",
            "project": "streets",
            "name": "first_try",
            "dir": str(tmp_path / "first_try"),
            "id": record["run_id"],
            "resume": "allow",
        }
        assert fakes["wandb"].configs[0]["SOLVER"]["MAX_ITER"] == 45
        build("wandb", tmp_path / "first_try")
        assert fakes["wandb"].inits[1]["entity"] is None
        # a new training is a new run
        assert fakes["wandb"].inits[1]["id"] != record["run_id"]

    def test_mlflow(self, fakes, tmp_path: Path) -> None:
        cfg = config("mlflow")
        cfg.LOG.MLFLOW_EXPERIMENT = "streets"
        cfg.DATASETS.STUFF_CLASSES = ["class" * 20] * 10
        server = fakes["mlflow"]
        for _ in range(2):
            tracker = build("mlflow", tmp_path / "first_try", cfg)
            with EventStorage(0) as storage:
                name = "segm/AP-straße (nass): 5"
                storage.put_scalar(name, 2.0, smoothing_hint=False)
                tracker.write()
        assert server.experiments == {"streets": "experiment 0"}
        assert [(run.name, run.experiment) for run in server.runs.values()] == [
            ("first_try", "experiment 0")
        ] * 2
        assert server.runs["run0"].params["SOLVER.MAX_ITER"] == "45"
        assert len(server.runs["run0"].params["DATASETS.STUFF_CLASSES"]) == 500
        assert server.runs["run0"].events == [("segm/AP-stra_e _nass__ 5", 0, 2.0)]

    def test_a_run_file_that_is_broken_begins_a_new_run(self, fakes, tmp_path: Path, caplog):
        for content in ("{", "[]", '{"run_id": "a"}', '{"run_id": "a", "last_iteration": "x"}'):
            (tmp_path / "wandb_run.json").write_text(content)
            build("wandb", tmp_path, resumed=True)
            assert "wandb_run.json can't be read" in caplog.messages[-1]
        assert len({arguments["id"] for arguments in fakes["wandb"].inits}) == 4

    def test_a_tracker_that_joins_later_gets_what_comes(self, fakes, tmp_path: Path) -> None:
        def kill(training: Training, now: str) -> None:
            if training.iter == 20:
                raise Killed

        run = training()
        with pytest.raises(Killed):
            run.run(writers_of(tmp_path), kill)
        run.run(writers_of(tmp_path, *FAKES))
        for fake in fakes.values():
            assert list(by_step(fake.events)) == [19, 20, 27, 29, 34, 39, 41, 44, 45]


class TestStartOfWandb:
    """When its server can't be reached, or refuses."""

    def test_a_server_that_does_not_answer_leaves_the_run_offline(
        self, fakes, tmp_path: Path, caplog
    ) -> None:
        wandb = fakes["wandb"]
        wandb.fails_with = wandb.errors.CommError("timed out")
        training().run(writers_of(tmp_path, "wandb"))
        assert "Weights & Biases can't be reached (timed out). The run is kept in" in caplog.text
        first, second = wandb.inits
        assert second == first | {"mode": "offline"}
        assert len(by_step(wandb.events)) == 12

    @pytest.mark.parametrize("kind", ["UsageError", "AuthenticationError"])
    @pytest.mark.parametrize("reason", ["No API key configured.", ""])
    def test_nobody_is_logged_in(self, fakes, tmp_path: Path, kind: str, reason: str) -> None:
        wandb = fakes["wandb"]
        wandb.fails_with = getattr(wandb.errors, kind)(reason)
        said = re.escape(f"({reason or kind}); log in with `wandb login`")
        with pytest.raises(UserError, match=said):
            build("wandb", tmp_path)


def test_the_real_tensorboard(tmp_path: Path) -> None:
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    training().run(writers_of(tmp_path, "tensorboard"))
    events = reading.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("segm/AP")] == [6, 13, 20, 27, 34, 41, 45]
