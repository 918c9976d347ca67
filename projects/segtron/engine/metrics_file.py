"""metrics.json: a training's numbers, the same whether it was interrupted or not."""

from __future__ import annotations

import errno
import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

from detectron2.utils.events import EventWriter, get_event_storage

from segtron.engine.hooks import WINDOW
from segtron.engine.step import TIMES
from segtron.errors import UserError
from segtron.files import replacing
from segtron.run_files import read_metrics_lines

# Some of them are missing in the first iterations of a process.
_TIMES = ("time", *TIMES)


def new_scalars(after: int) -> dict[int, dict[str, float]]:
    """What the event storage has got since it was last looked at.

    Args:
        after: the last iteration that is known already, -1 for none.

    Returns:
        Iteration -> name -> value, iterations ascending. Losses and the like are medians over
        `WINDOW` iterations; results of evaluations and the learning rate are as they were put.
        Times stand in the iteration of the newest loss even if they are older, so that a process
        that has not measured any yet writes no line more than another.
    """
    storage = get_event_storage()
    _, of_loss = storage.latest().get("total_loss", (0.0, -1))
    found: dict[int, dict[str, float]] = defaultdict(dict)
    for name, (value, at) in storage.latest_with_smoothing_hint(WINDOW).items():
        iteration = of_loss if name in _TIMES else at
        if iteration > after:
            found[iteration][name] = float(value)
    return dict(sorted(found.items()))


class MetricsFile(EventWriter):
    """Detectron2's `JSONWriter`, made to go on from a checkpoint.

    Its lines are those that the uninterrupted training would have written, if the event storage
    holds what it held then.

    Attributes:
        last_written: iteration of the last line, -1 if there is none.
        earlier: the lines that were there, as dicts.
    """

    def __init__(self, path: Path, last_iteration: int | None) -> None:
        """
        Args:
            path: the file.
            last_iteration: of the checkpoint that the training goes on from: lines of later ones
                are removed, and what is no JSON object, as the half line of a process that was
                killed. None for a new training, which adds to what is there.

        Raises:
            UserError: the file can't be read or written.
        """
        self._path = path
        self.last_written = -1
        self.earlier: list[dict[str, Any]] = []
        # Made at once, for those who read it when a training fails before its first line.
        self._append(b"")
        if last_iteration is None:
            return
        self.earlier = _cut(path, last_iteration)
        self.last_written = max((line.get("iteration", -1) for line in self.earlier), default=-1)

    def write(self) -> None:
        """Add a line for each iteration that there is something new of.

        Raises:
            UserError: it can't be written, as when there is no space left.
        """
        lines = new_scalars(self.last_written)
        if not lines:
            return
        text = "".join(
            json.dumps({**scalars, "iteration": iteration}, sort_keys=True) + "\n"
            for iteration, scalars in lines.items()
        )
        self._append(text.encode())
        self.last_written = max(lines)

    def _append(self, content: bytes) -> None:
        try:
            with self._path.open("ab", buffering=0) as file:
                if file.write(content) < len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(
                f"cannot write {self._path}: {error.strerror}; make room or rights there, then go "
                "on with --resume"
            ) from error


def _cut(path: Path, last_iteration: int) -> list[dict[str, Any]]:
    """Remove lines of later iterations, and what is no line; gives those that stay."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    kept = [
        (line, record)
        for line, record in read_metrics_lines(content)
        if record.get("iteration", -1) <= last_iteration
    ]
    whole = b"".join(line + b"\n" for line, _ in kept)
    if whole != content:
        with replacing(path) as temporary:
            temporary.write_bytes(whole)
    return [record for _, record in kept]
