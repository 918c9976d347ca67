"""A training without a model: what it puts into the event storage follows from the iteration."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from detectron2.engine import TrainerBase
from detectron2.utils.events import EventStorage, EventWriter

from segtron.engine.hooks import Evaluation, RecentScalars
from segtron.engine.writers import WriteEvents

TIMES = ("time", "data_time")


class Killed(BaseException):
    """Ends a training without its hooks' `after_train`, as SIGKILL does."""


class Training(TrainerBase):
    """Steps, checkpoints and evaluations in the order of `segtron.engine.Trainer`."""

    def __init__(self, *, max_iter: int, checkpoints: int, evaluations: int, writes: int) -> None:
        super().__init__()
        self.max_iter = max_iter
        self.checkpoints, self.evaluations, self.writes = checkpoints, evaluations, writes
        self.checkpoint: tuple[int, dict[str, Any]] | None = None

    def latest_results(self) -> tuple[int, dict[str, float]] | None:
        return self.evaluation.latest

    def evaluate(self) -> dict[str, Any]:
        # None of three, so that a best value has something to do.
        return {"segm": {"AP": 40 + 10 * math.sin(self.iter)}, "bbox": {"AP": math.nan}}

    def run(
        self,
        build_writers: Callable[[int | None], Sequence[EventWriter]],
        kill: Callable[[Training, str], None] = lambda training, moment: None,
    ) -> None:
        """Go on from the last checkpoint to the end, or until `kill` raises.

        It is asked after each step ("step"), after the checkpoint that may follow ("evaluation")
        and after the writers ("written"). `Killed` ends all at once, other exceptions in order.
        """
        last = None if self.checkpoint is None else self.checkpoint[0]
        recent = RecentScalars()
        self.evaluation = Evaluation(self.evaluations, self.evaluate)
        writers = WriteEvents(build_writers(last), self.writes)
        self._hooks = []
        self.register_hooks([recent, self.evaluation, writers])
        start = 0 if last is None else last + 1
        with EventStorage(start) as self.storage:
            if last is not None:
                recent.load_state_dict(self.checkpoint[1])
                recent.before_train()
                self.iter = self.storage.iter = last
                self.evaluation.after_step()
                writers.after_step()
            is_killed = False
            try:
                for iteration in range(start, self.max_iter):
                    self.iter = self.storage.iter = iteration
                    self._step(self.iter - start)
                    kill(self, "step")
                    if (self.iter + 1) % self.checkpoints == 0:
                        self.checkpoint = (self.iter, recent.state_dict())
                        kill(self, "evaluation")
                    self.evaluation.after_step()
                    writers.after_step()
                    kill(self, "written")
                self.iter += 1
            except Killed:
                is_killed = True
                raise
            finally:
                if not is_killed:
                    self.after_train()

    def _step(self, since_start: int) -> None:
        losses = {"loss_mask": math.sin(7 * self.iter), "loss_cls": math.cos(5 * self.iter)}
        self.storage.put_scalars(total_loss=sum(losses.values()), **losses)
        # In another order than the losses, as by other hooks.
        self.storage.put_scalar("lr", 1 / (1 + self.iter), smoothing_hint=False)
        if since_start >= 2:
            self.storage.put_scalars(time=0.1 + since_start, data_time=0.01 * since_start)


def without_times(metrics_json: Path) -> list[str]:
    """The lines of metrics.json as they are, but for the times."""
    return [
        json.dumps(
            {name: value for name, value in json.loads(line).items() if name not in TIMES},
            sort_keys=True,
        )
        for line in metrics_json.read_text().splitlines()
    ]
