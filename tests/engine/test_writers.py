"""When a training writes, and whether it can write what its config names."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from detectron2.utils.events import EventWriter, get_event_storage

from segtron.engine.metrics_file import MetricsFile
from segtron.engine.progress import ProgressWriter
from segtron.engine.trackers import MlflowTracker, WandbTracker
from segtron.engine.writers import build_writers, check_writers
from segtron.errors import UserError

from .fake_trackers import FAKES, config, install, training, writers_of
from .resumed_training import Killed, Training


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    return install(monkeypatch)


class TestPackages:
    """Before a training."""

    def test_unknown(self) -> None:
        with pytest.raises(UserError, match="'comet'; known: tensorboard, wandb, mlflow$"):
            check_writers(["comet"])

    @pytest.mark.parametrize("name", FAKES)
    def test_missing(self, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setitem(sys.modules, name, None)
        for call in (
            lambda: check_writers([name]),
            lambda: build_writers(config(name), tmp_path, last_iteration=None),
        ):
            with pytest.raises(
                UserError, match=rf"LOG\.WRITERS names {name}.*; pip install {name},"
            ):
                call()
        assert not list(tmp_path.iterdir())

    def test_a_folder_of_that_name_is_no_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = ModuleType("wandb")
        folder.__file__ = None
        monkeypatch.setitem(sys.modules, "wandb", folder)
        with pytest.raises(UserError, match="names wandb, whose package is missing; pip install"):
            check_writers(["wandb"])

    def test_none_is_needed(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in FAKES:
            monkeypatch.setitem(sys.modules, name, None)
        training().run(writers_of(tmp_path))

    def test_a_writer_named_twice_writes_once(self, fakes, tmp_path: Path) -> None:
        training().run(writers_of(tmp_path, "mlflow", "mlflow"))
        assert len(fakes["mlflow"].runs) == 1

    def test_servers_that_are_slow_are_given_up_early_unless_told_otherwise(
        self, fakes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT")
        training().run(writers_of(tmp_path, "mlflow"))
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "30"
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "7"


class Recorder(EventWriter):
    """Keeps when it is called, and how many images there are then."""

    def __init__(self) -> None:
        self.writes: list[tuple[int, int]] = []
        self.num_closed = 0

    def write(self) -> None:
        storage = get_event_storage()
        self.writes.append((storage.iter, len(storage._vis_data)))

    def close(self) -> None:
        self.num_closed += 1


class WithImages(Training):
    def _step(self, since_start: int) -> None:
        super()._step(since_start)
        if self.iter in (3, 8, 9):
            self.storage.put_image("picture", np.zeros((3, 2, 2), np.uint8))


def test_it_writes_every_so_often_at_evaluations_and_at_the_end() -> None:
    writers = [Recorder(), Recorder()]
    WithImages(max_iter=25, checkpoints=6, evaluations=7, writes=10).run(lambda _: writers)
    for writer in writers:
        # All see the images, and each image is there once.
        assert writer.writes == [(6, 1), (9, 2), (13, 0), (19, 0), (20, 0), (25, 0)]
        assert writer.num_closed == 1


def test_what_comes_at_the_very_end_stands_with_the_last_evaluation(tmp_path: Path) -> None:
    class Averaging(Training):
        def after_train(self) -> None:
            self.storage.put_scalar("average/segm/AP", 50.0, smoothing_hint=False, cur_iter=20)
            super().after_train()

    run = Averaging(max_iter=20, checkpoints=6, evaluations=7, writes=10)
    run.run(writers_of(tmp_path))
    last = json.loads((tmp_path / "metrics.json").read_text().splitlines()[-1])
    assert last["iteration"] == 20
    assert {"segm/AP", "average/segm/AP"} < set(last)


def test_after_an_exception_it_only_closes() -> None:
    def fail(training: Training, now: str) -> None:
        if training.iter == 8:
            raise ValueError

    writer = Recorder()
    with pytest.raises(ValueError):
        training().run(lambda _: [writer], fail)
    assert writer.writes == [(6, 0)]
    assert writer.num_closed == 1


def test_metrics_json_comes_last(fakes, tmp_path: Path) -> None:
    built = build_writers(config("mlflow", "wandb"), tmp_path, last_iteration=None)
    assert [type(writer) for writer in built] == [
        ProgressWriter,
        MlflowTracker,
        WandbTracker,
        MetricsFile,
    ]


def test_the_live_line_knows_the_best_from_before_a_kill(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def kill(training: Training, now: str) -> None:
        if training.iter == 38:
            raise Killed

    run = training()
    with pytest.raises(Killed):
        run.run(writers_of(tmp_path), kill)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        run.run(writers_of(tmp_path))
    lines = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    values = {line["iteration"]: line["segm/AP"] for line in lines if "segm/AP" in line}
    assert max(values, key=values.get) == 27
    first, *_, last = [message for message in caplog.messages if message.startswith("iteration")]
    assert first.endswith(f"segm/AP {values[34]:.3g}, best {values[27]:.3g}")
    assert last.endswith(f"segm/AP {values[45]:.3g}, best {values[27]:.3g}")


def test_the_live_line_shows_what_the_best_checkpoint_is_chosen_by(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class WithLoss(Training):
        def evaluate(self) -> dict[str, Any]:
            return super().evaluate() | {"validation": {"total_loss": 2.0 + self.iter}}

    def build(last_iteration: int | None) -> list[EventWriter]:
        cfg = config()
        cfg.TEST.BEST.METRIC, cfg.TEST.EVAL_PERIOD = "validation/total_loss", 7
        return build_writers(cfg, tmp_path, last_iteration=last_iteration)

    with caplog.at_level(logging.INFO):
        WithLoss(max_iter=45, checkpoints=6, evaluations=7, writes=10).run(build)
    assert caplog.messages[-1].endswith("validation/total_loss 46, best 8")
