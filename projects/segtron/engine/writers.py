"""Where a training's numbers and pictures go: the live line, metrics.json, and trackers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.engine import HookBase
from detectron2.utils.events import EventWriter

from segtron.engine.best import BestValue
from segtron.engine.metrics_file import MetricsFile
from segtron.engine.progress import ProgressWriter
from segtron.engine.trackers import TRACKERS, load_package
from segtron.errors import UserError
from segtron.run_files import METRICS_FILE


def check_writers(names: Sequence[str]) -> None:
    """Make sure that what LOG.WRITERS names is known and installed.

    Raises:
        UserError: names what is known, or how to install what is missing.
    """
    for name in names:
        if name not in TRACKERS:
            raise UserError(f"LOG.WRITERS names {name!r}; known: {', '.join(TRACKERS)}")
        load_package(name)


def build_writers(
    cfg: CfgNode, output_dir: Path, *, last_iteration: int | None
) -> list[EventWriter]:
    """The live line, what LOG.WRITERS names, and metrics.json.

    Args:
        cfg: of the training.
        output_dir: gets their files.
        last_iteration: of the checkpoint that the training goes on from; None for a new one.

    Returns:
        metrics.json comes last: what its lines tell of the others have got, too, whenever the
        process is killed.

    Raises:
        UserError: see `check_writers`, `MetricsFile` and `WandbTracker`.
    """
    check_writers(cfg.LOG.WRITERS)
    metrics_file = MetricsFile(output_dir / METRICS_FILE, last_iteration)
    # Where there is no hook that says in time that there is no such metric, the main one is shown.
    is_checked = cfg.TEST.BEST.ENABLED and cfg.TEST.EVAL_PERIOD > 0
    best = BestValue(cfg.TEST.BEST.METRIC if is_checked else "", mode=cfg.TEST.BEST.MODE)
    return [
        ProgressWriter(
            cfg.SOLVER.MAX_ITER, cfg.SOLVER.IMS_PER_BATCH, best=best, earlier=metrics_file.earlier
        ),
        *(
            TRACKERS[name](cfg, output_dir, metrics_file.last_written, last_iteration is not None)
            for name in dict.fromkeys(cfg.LOG.WRITERS)
        ),
        metrics_file,
    ]


class WriteEvents(HookBase):
    """Lets writers write every so often, at each evaluation and at the end of the training.

    A training that an exception ends writes nothing more, unlike with Detectron2's
    `PeriodicWriter`: the uninterrupted training has no such line. After all have written, the event
    storage's images are dropped. Comes after what evaluates and what puts images.
    """

    def __init__(self, writers: Sequence[EventWriter], period: int) -> None:
        """
        Args:
            writers: all that should see the images.
            period: iterations.
        """
        self._writers = writers
        self._period = period

    def after_step(self) -> None:
        """Write if it is time. At the last step more may come before the training ends."""
        done = self.trainer.iter + 1
        results = self.trainer.latest_results()
        has_results = results is not None and results[0] == self.trainer.iter
        if done < self.trainer.max_iter and (done % self._period == 0 or has_results):
            self._write()

    def after_train(self) -> None:
        """Write what came after the last step, and close the writers."""
        if sys.exc_info()[0] is None:
            self._write()
        for writer in self._writers:
            writer.close()

    def _write(self) -> None:
        for writer in self._writers:
            writer.write()
        self.trainer.storage.clear_images()
