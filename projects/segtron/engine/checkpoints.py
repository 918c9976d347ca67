"""When a training writes checkpoints, which it keeps, and which one it goes on from."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

from detectron2.engine import HookBase
from detectron2.utils import comm

from segtron.modeling.checkpoint import Checkpointer, last_checkpoint

logger = logging.getLogger(__name__)

FINAL = "model_final"
# Of what stands in a file, in characters.
_LONGEST_NAME = 100
_PERIODIC = re.compile(r"model_(\d{7})\.pth")


class Checkpoints(HookBase):
    """Writes the whole state of a training every so often, and at its end.

    A checkpoint is written right after the step, before the evaluation that may follow, so that one
    is there whatever becomes of the evaluation. What comes after it in an iteration is done again
    when the training is resumed.
    """

    def __init__(self, checkpointer: Checkpointer, period: int, num_kept: int = 0) -> None:
        """
        Args:
            checkpointer: of model and trainer.
            period: iterations from one checkpoint to the next.
            num_kept: how many of them stay, the newest; 0 for all. The final one is extra.
        """
        self._checkpointer = checkpointer
        self._period = period
        self._num_kept = num_kept
        self._written_at = -1

    def after_step(self) -> None:
        """Write a checkpoint if it is time, or if the training ends here."""
        done = self.trainer.iter + 1
        if done == self.trainer.max_iter:
            self.write_final()
        elif done % self._period == 0 or self.trainer.is_interrupted:
            self.write()

    def write(self) -> None:
        """Write a checkpoint of this iteration, unless there is one."""
        if self._written_at == self.trainer.iter:
            return
        self._checkpointer.save(f"model_{self.trainer.iter:07d}", iteration=self.trainer.iter)
        self._written_at = self.trainer.iter
        if self._num_kept and comm.is_main_process():
            self._remove_old()

    def _remove_old(self) -> None:
        """Remove all but the newest of those of this training: not what an earlier, longer one left
        (it is overwritten when its iteration comes), and first those of notices."""
        now = self.trainer.iter
        written = [
            (iteration, path)
            for iteration, path in numbered_checkpoints(Path(self._checkpointer.save_dir))
            if iteration <= now
        ]
        kept = [i for i, _ in written if (i + 1) % self._period == 0][: self._num_kept]
        for iteration, path in written:
            if iteration not in (now, *kept):
                path.unlink(missing_ok=True)

    def write_final(self) -> None:
        """Write the checkpoint that tools take by default."""
        self._checkpointer.save(FINAL, iteration=self.trainer.iter)
        self._written_at = self.trainer.iter


def numbered_checkpoints(output_dir: Path) -> list[tuple[int, Path]]:
    """The checkpoints of iterations and their iterations, the newest first."""
    numbered = [
        (int(match[1]), path)
        for path in output_dir.glob("model_*.pth")
        if (match := _PERIODIC.fullmatch(path.name))
    ]
    return sorted(numbered, reverse=True)


def periodic_checkpoints(output_dir: Path, period: int = 1) -> Iterator[Path]:
    """The checkpoints of iterations, the newest first.

    Args:
        output_dir: of the training.
        period: leave out those that a cluster's notice led to, off the period.
    """
    for iteration, path in numbered_checkpoints(output_dir):
        if (iteration + 1) % period == 0:
            yield path


def resumable_checkpoints(output_dir: Path) -> list[Path]:
    """What a training may go on from, the best choice first: the one that `last_checkpoint` names,
    then those of iterations, from the newest.

    Warns if that file names no checkpoint beside it, as one that was edited or copied may.
    """
    newest = last_checkpoint(output_dir)
    paths = [newest] if newest is not None else []
    paths = list(dict.fromkeys([*paths, *periodic_checkpoints(output_dir)]))
    marker = output_dir / "last_checkpoint"
    if marker.is_file():
        named = marker.read_text(errors="replace").strip()
        if newest is None or named != newest.name:
            logger.warning(
                "%s names %s, which is no checkpoint beside it; %s.",
                marker,
                repr(named[:_LONGEST_NAME]),
                f"{paths[0]} is taken" if paths else "there is no other",
            )
    return paths
