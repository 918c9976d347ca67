"""Hooks that Segtron adds to Detectron2's."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from detectron2.engine import HookBase
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.utils import comm

from segtron.engine.signals import Interrupted
from segtron.run_files import METRICS_FILE
from segtron.visualization.curves import plot_curves

logger = logging.getLogger(__name__)

# The iterations that writers look back on.
WINDOW = 20


class Evaluation(HookBase):
    """Scores the model every so often and at the end of the training.

    Attributes:
        latest: the iteration and the results by "task/metric", in every process; None before the
            first evaluation.
    """

    def __init__(self, period: int, evaluate: Callable[[], dict[str, Any]]) -> None:
        """
        Args:
            period: iterations from one evaluation to the next; 0 for one at the end only.
            evaluate: called in every process; gives nested results on the main one.
        """
        self._period = period
        self._evaluate = evaluate
        self.latest: tuple[int, dict[str, float]] | None = None

    def after_step(self) -> None:
        """Evaluate if it is time."""
        done = self.trainer.iter + 1
        if done == self.trainer.max_iter or (self._period and done % self._period == 0):
            results = flatten_results_dict(comm.all_gather(self._evaluate())[0])
            self.latest = (self.trainer.iter, results)
            if comm.is_main_process():
                # As with Detectron2, that of the end stands one iteration after the last.
                at = done if done == self.trainer.max_iter else self.trainer.iter
                self.trainer.storage.put_scalars(**results, smoothing_hint=False, cur_iter=at)
            # An evaluation may take one process longer than the others.
            comm.synchronize()


class RecentScalars(HookBase):
    """Keeps in checkpoints what writers take medians of, so that a resumed training writes what the
    uninterrupted one would have written."""

    def __init__(self) -> None:
        self._restored: dict[str, Any] = {}

    def before_train(self) -> None:
        """Put what a checkpoint held into the new event storage."""
        for name, (values, is_smoothed) in self._restored.items():
            for value, iteration in values:
                self.trainer.storage.put_scalar(
                    name, value, smoothing_hint=is_smoothed, cur_iter=iteration
                )
        self._restored = {}

    def state_dict(self) -> dict[str, Any]:
        """Name -> the last values with their iterations, and whether they are smoothed."""
        storage = self.trainer.storage
        return {
            name: (_recent(history.values()), storage.smoothing_hints()[name])
            for name, history in storage.histories().items()
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`."""
        self._restored = state_dict


def _recent(values: Sequence[tuple[float, float]]) -> list[tuple[float, int]]:
    """Those of the last `WINDOW` iterations; the history of a long training is long."""
    oldest = values[-1][1] - WINDOW
    recent = itertools.takewhile(lambda entry: entry[1] > oldest, reversed(values))
    return [(float(value), int(at)) for value, at in recent][::-1]


class LeaveOnNotice(HookBase):
    """Ends the process when it was asked to stop. Comes after the checkpoints."""

    def after_step(self) -> None:
        """Leave, if any process got a notice.

        Raises:
            Interrupted: in every process.
        """
        if self.trainer.is_interrupted:
            # The main process may still be writing the checkpoint, and would be ended with the job.
            comm.synchronize()
            logger.warning(
                "The job was asked to stop. There is a checkpoint of iteration %d: go on from it "
                "with --resume.",
                self.trainer.iter,
            )
            raise Interrupted


class CurvePlotter(HookBase):
    """Draws OUTPUT_DIR/metrics.json as curves when the training ends."""

    def __init__(self, output_dir: Path) -> None:
        """Take the folder that holds metrics.json and gets the pictures."""
        self._output_dir = output_dir

    def after_train(self) -> None:
        """Write the pictures; an interrupted training gets its curves, too."""
        plot_curves(self._output_dir / METRICS_FILE, self._output_dir)
