"""Writers to TensorBoard, Weights & Biases and MLflow, none of which can end a training."""

from __future__ import annotations

import enum
import functools
import importlib
import json
import logging
import os
import re
import secrets
import sys
import textwrap
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import yaml
from detectron2.config import CfgNode
from detectron2.utils.events import EventWriter, get_event_storage

from segtron.engine.metrics_file import new_scalars
from segtron.engine.signals import REQUEUE_EXIT_CODE, Interrupted
from segtron.errors import UserError
from segtron.files import write_json

logger = logging.getLogger(__name__)

# After a failure nothing is tried for so many times what the failure took, so that a server that
# doesn't answer costs a training a few percent of its time at most.
_PAUSE = 20
# How often and how long MLflow tries by itself, unless the environment says otherwise. Its own
# defaults keep a training waiting for minutes.
_MLFLOW_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
# What older servers of MLflow take at most for the value of a parameter.
_MLFLOW_LONGEST_VALUE = 500


@dataclass
class Entry:
    """What a training has to show for one iteration.

    Attributes:
        scalars: name -> value.
        images: name -> (H, W, 3) uint8, RGB.
    """

    scalars: dict[str, float] = field(default_factory=dict)
    images: dict[str, np.ndarray] = field(default_factory=dict)


def new_entries(after: int) -> dict[int, Entry]:
    """What the event storage has got since it was last looked at, see `new_scalars`.

    The images stay in the storage, for other writers.
    """
    entries: dict[int, Entry] = defaultdict(Entry)
    for iteration, scalars in new_scalars(after).items():
        entries[iteration].scalars = scalars
    for name, image, iteration in get_event_storage()._vis_data:
        if iteration > after:
            entries[iteration].images[name] = _as_picture(image)
    return dict(sorted(entries.items()))


def _as_picture(image: Any) -> np.ndarray:
    """(H, W, 3) uint8 of what `EventStorage.put_image` takes: channels first, floats up to 1."""
    picture = np.asarray(image).transpose(1, 2, 0)
    if picture.dtype != np.uint8:
        picture = (picture.clip(0, 1) * 255).round().astype(np.uint8)
    return picture


def load_package(name: str) -> ModuleType:
    """Import the package that a writer needs.

    Raises:
        UserError: it isn't installed, or doesn't import.
    """
    try:
        package = importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"LOG.WRITERS names {name}, whose package can't be imported "
            f"({_describe(error)}); pip install {name}, or leave it out"
        ) from error
    # A folder of that name in the working directory, such as the one that W&B makes.
    if package.__file__ is None:
        raise UserError(
            f"LOG.WRITERS names {name}, whose package is missing; pip install {name}, or leave it "
            "out"
        )
    return package


class Ending(enum.Enum):
    """How a training ended; a training that was interrupted by a cluster's notice will go on."""

    DONE = enum.auto()
    FAILED = enum.auto()
    INTERRUPTED = enum.auto()

    @classmethod
    def of_this_moment(cls) -> Ending:
        """What the exception says that is being handled, or that there is none."""
        error = sys.exc_info()[1]
        if error is None:
            return cls.DONE
        return cls.INTERRUPTED if isinstance(error, Interrupted) else cls.FAILED


class Tracker(EventWriter, ABC):
    """A writer whose failures are warned of once. What it could not send, but for images, it sends
    when it can again.

    Subclasses say how an iteration's entry is sent; whatever that raises is a failure.

    Attributes:
        title: what people call it.
    """

    title: ClassVar[str]

    def __init__(self, cfg: CfgNode, output_dir: Path, last_written: int, is_resumed: bool) -> None:
        """
        Args:
            cfg: of the training, with the LOG keys.
            output_dir: gets files; its name is the run's.
            last_written: the last iteration that it has got already, -1 for none.
            is_resumed: whether the training goes on, and with it what was begun.

        Raises:
            UserError: the package is missing.
        """
        self._last_written = last_written
        self._unsent: dict[int, Entry] = {}
        self._next_try = -float("inf")
        self._has_warned = False

    def write(self) -> None:
        """Send what is new, and what could not be sent before."""
        self._unsent |= new_entries(self._last_written)
        self._last_written = max([self._last_written, *self._unsent])
        if time.monotonic() >= self._next_try:
            self._attempt(self._send_all)

    def close(self) -> None:
        """Send what is left, and say that the training ended, and how."""
        ending = Ending.of_this_moment()
        if self._has_warned:
            # The last chance for numbers.
            self._drop_images()
        self._attempt(self._send_all)
        self._attempt(lambda: self._finish(ending))

    @abstractmethod
    def _send(self, iteration: int, entry: Entry) -> None:
        """Send the entry of an iteration; they come in ascending order."""

    def _sent(self, iteration: int) -> None:
        """All up to this iteration was sent."""

    @abstractmethod
    def _finish(self, ending: Ending) -> None:
        """Close what is open."""

    def _send_all(self) -> None:
        for iteration in list(self._unsent):
            self._send(iteration, self._unsent[iteration])
            del self._unsent[iteration]
            self._sent(iteration)

    def _attempt(self, work: Callable[[], None]) -> None:
        start = time.monotonic()
        try:
            work()
        except Exception as error:  # whatever a library raises when its server or disk fails it
            now = time.monotonic()
            self._next_try = now + _PAUSE * (now - start)
            self._drop_images()
            if not self._has_warned:
                logger.warning(
                    "%s fails (%s). The training goes on without it and tries again from time to "
                    "time; metrics.json has all numbers.",
                    self.title,
                    _describe(error),
                )
            self._has_warned = True

    def _drop_images(self) -> None:
        """Of what is not sent yet: numbers are small, images would fill the memory."""
        for entry in self._unsent.values():
            entry.images.clear()


def _describe(error: Exception) -> str:
    return textwrap.shorten(str(error) or type(error).__name__, 200)


_WANDB_EXIT_CODES = {
    Ending.DONE: 0,
    Ending.FAILED: 1,
    Ending.INTERRUPTED: REQUEUE_EXIT_CODE,
}
# Of the words that MLflow has for the end of a run.
_MLFLOW_STATUS = {
    Ending.DONE: "FINISHED",
    Ending.FAILED: "FAILED",
    Ending.INTERRUPTED: "KILLED",
}


class TensorBoardTracker(Tracker):
    """Event files in OUTPUT_DIR/tensorboard, through `torch.utils.tensorboard`."""

    title = "TensorBoard"

    def __init__(self, cfg: CfgNode, output_dir: Path, last_written: int, is_resumed: bool) -> None:
        """See `Tracker`."""
        super().__init__(cfg, output_dir, last_written, is_resumed)
        load_package("tensorboard")
        self._folder = output_dir / "tensorboard"
        # What comes after it is written again: TensorBoard then drops what stood there.
        self._purge_step = last_written + 1 if is_resumed else None

    @functools.cached_property
    def _writer(self) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self._folder), purge_step=self._purge_step)

    def _send(self, iteration: int, entry: Entry) -> None:
        for name, value in entry.scalars.items():
            self._writer.add_scalar(name, value, iteration)
        for name, image in entry.images.items():
            self._writer.add_image(name, image, iteration, dataformats="HWC")

    def _sent(self, iteration: int) -> None:
        # A process that is killed would take with it what TensorBoard keeps for minutes.
        self._writer.flush()

    def _finish(self, ending: Ending) -> None:
        if "_writer" in self.__dict__:
            self._writer.close()


class _RunFile:
    """Remembers, in OUTPUT_DIR, a run at a tracking service and what it has got.

    Attributes:
        run_id: the service's name for the run; None if there is none yet.
        last_iteration: the last that it has got, -1 for none.
    """

    def __init__(self, path: Path, is_resumed: bool, last_written: int) -> None:
        """
        Args:
            path: the file; one that can't be read counts as none.
            is_resumed: whether the training goes on, and its run with it.
            last_written: what counts as sent where the run is new.
        """
        self._path = path
        self.run_id: str | None = None
        self.last_iteration = last_written
        if not is_resumed:
            return
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            run_id, last_iteration = str(content["run_id"]), int(content["last_iteration"])
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, KeyError) as error:
            logger.warning("%s can't be read (%r): a new run is begun there.", path, error)
        else:
            self.run_id, self.last_iteration = run_id, last_iteration

    def save(self) -> None:
        """Write the file."""
        write_json(self._path, {"run_id": self.run_id, "last_iteration": self.last_iteration})


class WandbTracker(Tracker):
    """A run at Weights & Biases, which a resumed training goes on with.

    WANDB_MODE=offline keeps it in OUTPUT_DIR/wandb, for `wandb sync` to send; so does a server that
    can't be reached when the training starts.
    """

    title = "Weights & Biases"

    def __init__(self, cfg: CfgNode, output_dir: Path, last_written: int, is_resumed: bool) -> None:
        """See `Tracker`.

        Raises:
            UserError: the package is missing, or nobody is logged in.
        """
        self._wandb = load_package("wandb")
        self._record = _RunFile(output_dir / "wandb_run.json", is_resumed, last_written)
        super().__init__(cfg, output_dir, self._record.last_iteration, is_resumed)
        self._record.run_id = self._record.run_id or secrets.token_hex(4)
        entity, _, project = cfg.LOG.WANDB_PROJECT.rpartition("/")
        arguments = {
            "entity": entity or None,
            "project": project,
            "name": output_dir.resolve().name,
            "dir": str(output_dir),
            "id": self._record.run_id,
            "resume": "allow",
        }
        try:
            self._run = self._wandb.init(**arguments)
        except (self._wandb.errors.UsageError, self._wandb.errors.AuthenticationError) as error:
            raise UserError(
                f"Weights & Biases refuses the run ({_describe(error)}); log in with `wandb "
                "login`, or set WANDB_MODE=offline"
            ) from error
        except Exception as error:  # whatever the library makes of a server that doesn't answer
            logger.warning(
                "Weights & Biases can't be reached (%s). The run is kept in %s; send it later with "
                "`wandb sync`.",
                _describe(error),
                output_dir / "wandb",
            )
            # It has begun the run that failed, and would not begin another of that name.
            self._wandb.teardown()
            self._run = self._wandb.init(**arguments, mode="offline")
        self._run.config.update(yaml.safe_load(cfg.dump()), allow_val_change=True)
        self._record.save()

    def _send(self, iteration: int, entry: Entry) -> None:
        images = {name: self._wandb.Image(image) for name, image in entry.images.items()}
        # Without commit it would keep the last step back until there is another.
        self._run.log(entry.scalars | images, step=iteration, commit=True)

    def _sent(self, iteration: int) -> None:
        self._record.last_iteration = iteration
        self._record.save()

    def _finish(self, ending: Ending) -> None:
        if ending is Ending.INTERRUPTED:
            # With an exit code other than 0 the run is "preempted" then, and not "crashed".
            self._run.mark_preempting()
        self._run.finish(exit_code=_WANDB_EXIT_CODES[ending])


class MlflowTracker(Tracker):
    """A run at the MLflow server that MLFLOW_TRACKING_URI names; a resumed training goes on with
    it."""

    title = "MLflow"

    def __init__(self, cfg: CfgNode, output_dir: Path, last_written: int, is_resumed: bool) -> None:
        """See `Tracker`."""
        self._mlflow = load_package("mlflow")
        self._record = _RunFile(output_dir / "mlflow_run.json", is_resumed, last_written)
        super().__init__(cfg, output_dir, self._record.last_iteration, is_resumed)
        self._experiment = cfg.LOG.MLFLOW_EXPERIMENT
        self._run_name = output_dir.resolve().name
        self._parameters = dict(_flatten(cfg))
        self._is_open = False

    @functools.cached_property
    def _client(self) -> Any:
        for name, value in _MLFLOW_PATIENCE.items():
            os.environ.setdefault(name, value)
        # It would warn of each attempt.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
        return self._mlflow.MlflowClient()

    def _send(self, iteration: int, entry: Entry) -> None:
        self._open()
        run_id, now = self._record.run_id, round(time.time() * 1000)
        metrics = [
            self._mlflow.entities.Metric(_mlflow_name(name), value, now, iteration)
            for name, value in entry.scalars.items()
        ]
        self._client.log_batch(run_id, metrics=metrics)
        # Should an image fail, which may go another way, they are not sent again.
        entry.scalars.clear()
        for name, image in entry.images.items():
            self._client.log_image(run_id, image, key=_mlflow_name(name), step=iteration)

    def _open(self) -> None:
        """Begin the run, or go on with it."""
        if self._is_open:
            return
        if self._record.run_id is None:
            known = self._client.get_experiment_by_name(self._experiment)
            experiment = known.experiment_id if known else None
            if experiment is None:
                experiment = self._client.create_experiment(self._experiment)
            run = self._client.create_run(experiment, run_name=self._run_name)
            parameters = [
                self._mlflow.entities.Param(key, str(value)[:_MLFLOW_LONGEST_VALUE])
                for key, value in self._parameters.items()
            ]
            self._client.log_batch(run.info.run_id, params=parameters)
            self._record.run_id = run.info.run_id
            self._record.save()
        else:
            self._client.update_run(self._record.run_id, status="RUNNING")
        self._is_open = True

    def _sent(self, iteration: int) -> None:
        self._record.last_iteration = iteration
        self._record.save()

    def _finish(self, ending: Ending) -> None:
        if self._is_open:
            self._client.set_terminated(self._record.run_id, _MLFLOW_STATUS[ending])


def _flatten(cfg: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Keys as a command line names them, with their values."""
    for key, value in cfg.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _mlflow_name(name: str) -> str:
    """A name that MLflow allows: class names may have any letters."""
    return re.sub(r"[^A-Za-z0-9_\-. /]", "_", name)


# By name in LOG.WRITERS, which is that of the package, too.
TRACKERS = {
    "tensorboard": TensorBoardTracker,
    "wandb": WandbTracker,
    "mlflow": MlflowTracker,
}
