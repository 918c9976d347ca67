"""The live line of a training: how far it is, losses, speed, time left."""

from __future__ import annotations

import datetime
import logging
import sys

from detectron2.utils.events import EventWriter, get_event_storage
from tqdm import tqdm

logger = logging.getLogger(__name__)

# Scalars are shown as their median over so many iterations.
_WINDOW = 20


class ProgressWriter(EventWriter):
    """Shows a training's progress: a bar in a terminal, a log line elsewhere."""

    def __init__(self, max_iter: int, images_per_batch: int) -> None:
        """Take the length of the run.

        Args:
            max_iter: iterations of the whole run.
            images_per_batch: images an iteration, over all processes.
        """
        self._max_iter = max_iter
        self._images_per_batch = images_per_batch
        self._bar: tqdm | None = None

    def write(self) -> None:
        """Show the current values of the event storage."""
        storage = get_event_storage()
        histories = storage.histories()
        # After the last step the storage counts one more.
        done = min(storage.iter + 1, self._max_iter)
        parts = [
            f"{name.removeprefix('loss_')} {history.median(_WINDOW):.3g}"
            for name, history in histories.items()
            if name.startswith(("loss_", "total_loss"))
        ]
        if "lr" in histories:
            parts.append(f"lr {histories['lr'].latest():.2g}")
        if "time" in histories:
            seconds = histories["time"].median(_WINDOW)
            parts.append(f"{self._images_per_batch / seconds:.1f} images/s")
            left = datetime.timedelta(seconds=round(seconds * (self._max_iter - done)))
            parts.append(f"{left} left")
        if not sys.stderr.isatty():
            logger.info("iteration %d/%d: %s", done, self._max_iter, ", ".join(parts))
            return
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
