"""The live line of a training: how far it is, losses, speed, scores, time left."""

from __future__ import annotations

import datetime
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from detectron2.utils.events import EventStorage, EventWriter, get_event_storage
from tqdm import tqdm

from segtron.engine.best import BestValue
from segtron.engine.hooks import WINDOW

logger = logging.getLogger(__name__)

# Share of the time from which on it is worth saying that it is spent on waiting for data.
_LONG_WAIT = 0.2


class ProgressWriter(EventWriter):
    """Shows a training's progress: a bar in a terminal, a log line elsewhere and in the log file.

    Losses are medians over the last iterations, times means.
    """

    def __init__(
        self,
        max_iter: int,
        images_per_batch: int,
        *,
        best: BestValue | None = None,
        earlier: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """
        Args:
            max_iter: iterations of the whole run.
            images_per_batch: images an iteration, over all processes.
            best: of the result to show, not used by others; None for the main one.
            earlier: lines of metrics.json from before this process.
        """
        self._max_iter = max_iter
        self._images_per_batch = images_per_batch
        self._best = best or BestValue()
        self._earlier = earlier
        self._bar: tqdm | None = None
        self._last_line = ""

    def write(self) -> None:
        """Show the current values of the event storage, unless there are none or no new ones."""
        storage = get_event_storage()
        if "total_loss" not in storage.latest():
            return
        # Not the storage's own iteration, which counts one more when a training ends.
        done = storage.latest()["total_loss"][1] + 1
        parts = [*_losses(storage), *self._speed(storage, done), *self._results(storage)]
        line = f"iteration {done}/{self._max_iter}: {', '.join(parts)}"
        if line == self._last_line:
            return
        self._last_line = line
        if not sys.stderr.isatty():
            logger.info(line)
            return
        _log_to_files(line)
        if self._bar is None:
            self._bar = tqdm(
                total=self._max_iter, bar_format="{percentage:3.0f}% |{bar:20}| {n}/{total} {desc}"
            )
        self._bar.n = done
        self._bar.set_description_str(" · ".join(parts))

    def close(self) -> None:
        """Leave the last line standing."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _speed(self, storage: EventStorage, done: int) -> Iterator[str]:
        histories = storage.histories()
        if "time" in histories:
            seconds = histories["time"].avg(WINDOW)
            yield f"{self._images_per_batch / seconds:.1f} images/s"
            if "data_time" in histories:
                share = histories["data_time"].avg(WINDOW) / seconds
                if share > _LONG_WAIT:
                    yield f"waits for data {100 * min(share, 1):.0f} %"
        if torch.cuda.is_initialized():
            yield f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GB"
        if "time" in histories:
            yield f"{datetime.timedelta(seconds=round(seconds * (self._max_iter - done)))} left"

    def _results(self, storage: EventStorage) -> Iterator[str]:
        """The newest result, and the best one."""
        is_smoothed = storage.smoothing_hints()
        newest = {
            name: entry
            for name, entry in storage.latest().items()
            # What models put, such as rpn/num_pos_anchors, is smoothed.
            if "/" in name and not is_smoothed[name]
        }
        if not newest:
            return
        last = max(iteration for _, iteration in newest.values())
        results = {name: value for name, (value, iteration) in newest.items() if iteration == last}
        self._best.update(last, results)
        for line in self._earlier:
            self._best.update(line.get("iteration", -1), line)
        self._earlier = ()
        metric = self._best.metric
        if metric in results and self._best.value is not None:
            yield f"{metric} {results[metric]:.3g}, best {self._best.value:.3g}"


def _losses(storage: EventStorage) -> Iterator[str]:
    histories = storage.histories()
    for name, history in histories.items():
        if name.startswith(("loss_", "total_loss")):
            yield f"{name.removeprefix('loss_')} {history.median(WINDOW):.3g}"
    if "lr" in histories:
        yield f"lr {histories['lr'].latest():.2g}"


def _log_to_files(line: str) -> None:
    """Log past the terminal, where the bar is."""
    record = logger.makeRecord(logger.name, logging.INFO, __file__, 0, line, (), None)
    source: logging.Logger | None = logger
    while source is not None:
        for handler in source.handlers:
            stream = getattr(handler, "stream", None)
            if stream is not None and not stream.isatty() and record.levelno >= handler.level:
                handler.handle(record)
        source = source.parent if source.propagate else None
