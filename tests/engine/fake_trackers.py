"""Stand-ins for the packages of trackers, which keep what they are told.

As TensorBoard 2.21, wandb 0.31 and MLflow 3.17 take it.
"""

from __future__ import annotations

import sys
from collections import defaultdict, namedtuple
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from detectron2.config import CfgNode

from segtron.config import get_default_config
from segtron.engine import trackers
from segtron.engine.writers import build_writers

from .resumed_training import Training


def module(name: str, **content: Any) -> ModuleType:
    """A module that looks installed."""
    made = ModuleType(name)
    made.__file__ = f"/packages/{name}.py"
    vars(made).update(content)
    return made


class FakeTensorBoard:
    """Event files, and what TensorBoard makes of them."""

    def __init__(self) -> None:
        # (tag, step, value or image)
        self.events: list[tuple[str, int, Any]] = []
        self.num_flushed = 0
        tensorboard = self

        class SummaryWriter:
            def __init__(self, log_dir: str, purge_step: int | None = None) -> None:
                tensorboard.log_dir, tensorboard.purge_step = log_dir, purge_step
                if purge_step is not None:
                    tensorboard.events = [e for e in tensorboard.events if e[1] < purge_step]

            def add_scalar(self, tag: str, value: float, step: int) -> None:
                tensorboard.events.append((tag, step, value))

            def add_image(self, tag: str, image: np.ndarray, step: int, dataformats: str) -> None:
                assert dataformats == "HWC"
                tensorboard.events.append((tag, step, image))

            def flush(self) -> None:
                tensorboard.num_flushed = len(tensorboard.events)

            def close(self) -> None:
                self.flush()

        self.modules = {
            "tensorboard": module("tensorboard"),
            "torch.utils.tensorboard": module(
                "torch.utils.tensorboard", SummaryWriter=SummaryWriter
            ),
        }

    def killed(self) -> None:
        """What was not flushed is lost."""
        del self.events[self.num_flushed :]


class FakeWandb:
    """The service; keeps runs by their id."""

    def __init__(self) -> None:
        self.inits: list[dict[str, Any]] = []
        self.configs: list[dict[str, Any]] = []
        self.events: list[tuple[str, int, Any]] = []
        self.exit_codes: list[int] = []
        self.states: list[str] = []
        self.fails_with: Exception | None = None
        self._in_use = False

        class Error(Exception):
            pass

        class CommError(Error):
            pass

        self.errors = SimpleNamespace(
            Error=Error,
            CommError=CommError,
            UsageError=type("UsageError", (Error,), {}),
            AuthenticationError=type("AuthenticationError", (CommError,), {}),
        )
        self.modules = {
            "wandb": module(
                "wandb",
                errors=self.errors,
                init=self._init,
                Image=lambda picture: ("Image", picture),
                teardown=self._teardown,
            )
        }

    def _init(self, **arguments: Any) -> FakeWandb:
        self.inits.append(arguments)
        if self.fails_with is not None and arguments.get("mode") != "offline":
            self._in_use = True
            raise self.fails_with
        assert not self._in_use, "run ID is in use"
        self._step = -1
        self._is_preempting = False
        self.config = SimpleNamespace(update=self._update)
        return self

    def _teardown(self) -> None:
        self._in_use = False

    def _update(self, config: dict[str, Any], allow_val_change: bool) -> None:
        assert allow_val_change
        self.configs.append(config)

    def log(self, data: dict[str, Any], step: int, commit: bool) -> None:
        # It would ignore what steps back.
        assert commit and step > self._step
        self._step = step
        self.events += [(name, step, value) for name, value in data.items()]

    def mark_preempting(self) -> None:
        self._is_preempting = True

    def finish(self, exit_code: int) -> None:
        self.exit_codes.append(exit_code)
        # What is marked but ends well is not started again.
        failure = "preempted" if self._is_preempting else "crashed"
        self.states.append(failure if exit_code else "finished")


class FakeMlflow:
    """A tracking server and its client; `is_down` makes each call fail."""

    def __init__(self) -> None:
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, SimpleNamespace] = {}
        self.is_down = False
        self.num_calls = 0
        self.modules = {
            "mlflow": module(
                "mlflow",
                MlflowClient=lambda: self,
                entities=SimpleNamespace(
                    Metric=namedtuple("Metric", ("key", "value", "timestamp", "step")),
                    Param=namedtuple("Param", ("key", "value")),
                ),
            )
        }

    @property
    def events(self) -> list[tuple[str, int, Any]]:
        [run] = self.runs.values()
        return run.events

    def _answer(self) -> None:
        self.num_calls += 1
        if self.is_down:
            raise ConnectionError("no route to\nhost " + "x" * 500)

    def get_experiment_by_name(self, name: str) -> SimpleNamespace | None:
        self._answer()
        found = self.experiments.get(name)
        return found and SimpleNamespace(experiment_id=found)

    def create_experiment(self, name: str) -> str:
        self._answer()
        self.experiments[name] = f"experiment {len(self.experiments)}"
        return self.experiments[name]

    def create_run(self, experiment_id: str, run_name: str) -> SimpleNamespace:
        self._answer()
        run_id = f"run{len(self.runs)}"
        self.runs[run_id] = SimpleNamespace(
            experiment=experiment_id, name=run_name, status=["RUNNING"], params={}, events=[]
        )
        return SimpleNamespace(info=SimpleNamespace(run_id=run_id))

    def update_run(self, run_id: str, status: str) -> None:
        self._answer()
        self.runs[run_id].status.append(status)

    def log_batch(self, run_id: str, metrics: Any = (), params: Any = ()) -> None:
        self._answer()
        run = self.runs[run_id]
        for param in params:
            assert isinstance(param.value, str) and len(param.value) <= 500
            assert param.key not in run.params
            run.params[param.key] = param.value
        run.events += [(metric.key, metric.step, metric.value) for metric in metrics]

    def log_image(self, run_id: str, image: np.ndarray, key: str, step: int) -> None:
        self._answer()
        self.runs[run_id].events.append((key, step, image))

    def set_terminated(self, run_id: str, status: str) -> None:
        self._answer()
        self.runs[run_id].status.append(status)


def by_step(events: list[tuple[str, int, Any]]) -> dict[int, dict[str, Any]]:
    """Step -> name -> value; nothing may be there twice."""
    steps: dict[int, dict[str, Any]] = defaultdict(dict)
    for name, step, value in events:
        assert name not in steps[step], (name, step)
        steps[step][name] = value
    return dict(sorted(steps.items()))


FAKES = {"tensorboard": FakeTensorBoard, "wandb": FakeWandb, "mlflow": FakeMlflow}


def config(*writers: str) -> CfgNode:
    cfg = get_default_config()
    if "LOG" not in cfg:
        cfg.LOG = CfgNode()
    cfg.LOG.WRITERS = list(writers)
    cfg.LOG.WANDB_PROJECT = "segtron"
    cfg.LOG.MLFLOW_EXPERIMENT = "segtron"
    cfg.SOLVER.MAX_ITER = 45
    return cfg


def install(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """All packages as if they were installed."""
    made = {name: fake() for name, fake in FAKES.items()}
    for fake in made.values():
        for name, module in fake.modules.items():
            monkeypatch.setitem(sys.modules, name, module)
    # Or what is set for a client would stay.
    for name in trackers._MLFLOW_PATIENCE:
        monkeypatch.setenv(name, "7")
    return made


def training() -> Training:
    return Training(max_iter=45, checkpoints=6, evaluations=7, writes=10)


def writers_of(folder: Path, *names: str):
    folder.mkdir(exist_ok=True)
    return lambda last_iteration: build_writers(
        config(*names), folder, last_iteration=last_iteration
    )
