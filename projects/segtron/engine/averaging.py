"""Averaging the weights of a training's last checkpoints."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from segtron.engine.checkpoints import FINAL, periodic_checkpoints
from segtron.errors import UserError
from segtron.modeling.checkpoint import read_checkpoint, write_checkpoint

logger = logging.getLogger(__name__)

AVERAGE_CHECKPOINT = "model_average.pth"


def write_average(output_dir: Path, count: int, period: int = 1) -> Path:
    """Average the last checkpoints of a training that has ended.

    Args:
        output_dir: holds `model_0001999.pth`, ..., and `model_final.pth`, which is taken once where
            a periodic checkpoint has the same weights; periodic ones of later iterations, which
            another training left, are not taken. Gets `model_average.pth`.
        count: how many checkpoints, 1 or more. If there are fewer, all are taken, with a warning.
        period: iterations between those to take, 1 for all there are.

    Returns:
        The file written.

    Raises:
        UserError: there is no checkpoint, one can't be read, or they don't fit each other; or the
            result can't be written.
    """
    paths = _last_checkpoints(output_dir, count, period)
    if not paths:
        raise UserError(f"no checkpoints to average: {output_dir} holds no model_*.pth")
    if len(paths) < count:
        logger.warning(
            "%d checkpoints should be averaged, but no more than %d can be found; lower "
            "SOLVER.CHECKPOINT_PERIOD or keep more of them",
            count,
            len(paths),
        )
    path = output_dir / AVERAGE_CHECKPOINT
    names = [path.name for path in paths]
    write_checkpoint(path, {"model": average_checkpoints(paths), "averaged": names})
    logger.info("%s is the average of %s", path, ", ".join(names))
    return path


def average_checkpoints(paths: Sequence[Path]) -> dict[str, torch.Tensor]:
    """The mean of several checkpoints' weights.

    Floating-point tensors are averaged in float64, one checkpoint after the other in memory, and
    have their own type again in the result. Integer ones, which count or index, are the last
    checkpoint's.

    The running statistics of batch norms are averaged as all else. They are not the statistics that
    the averaged weights would give: the mean of variances leaves out how far the means are apart.
    Checkpoints from the end of a schedule, when the learning rate is low, are near enough to each
    other. Where they are not, score the average before use, or take frozen batch norms or group
    norms, which have no such statistics.

    Args:
        paths: checkpoints of one architecture, oldest first; one or more.

    Returns:
        A state dict, on the CPU.

    Raises:
        UserError: a file can't be read, or two differ in the names, shapes or kinds (floating
            point or not) of their tensors: names both.
    """
    totals: dict[str, torch.Tensor] = {}
    last: dict[str, torch.Tensor] = {}
    for path in paths:
        weights = read_checkpoint(path)["model"]
        # Model zoos have arrays.
        weights = {name: torch.as_tensor(tensor) for name, tensor in weights.items()}
        if path == paths[0]:
            totals = {
                name: torch.zeros_like(tensor, dtype=torch.float64)
                for name, tensor in weights.items()
                if tensor.is_floating_point()
            }
        else:
            _check_alike(last, weights, paths[0], path)
        for name, total in totals.items():
            total += weights[name]
        last = weights
    return {
        name: (totals[name] / len(paths)).to(tensor.dtype) if name in totals else tensor
        for name, tensor in last.items()
    }


def _last_checkpoints(output_dir: Path, count: int, period: int) -> list[Path]:
    """Oldest first; at most `count`."""
    paths = list(periodic_checkpoints(output_dir, period))[::-1]
    final = output_dir / f"{FINAL}.pth"
    if final.is_file():
        # Later than all if it doesn't say.
        end = read_checkpoint(final).get("iteration", math.inf)
        paths = [path for path in paths if int(path.stem.rpartition("_")[2]) < end] + [final]
    return paths[-count:]


def _check_alike(
    weights: Mapping[str, torch.Tensor],
    others: Mapping[str, torch.Tensor],
    path: Path,
    other_path: Path,
) -> None:
    alone = next(iter(weights.keys() ^ others.keys()), None)
    if alone is not None:
        holder, other = (path, other_path) if alone in weights else (other_path, path)
        raise UserError(
            f"cannot average {path} and {other_path}: {alone} is in {holder.name} only; take "
            "checkpoints of one training"
        )
    for name, tensor in weights.items():
        other = others[name]
        if tensor.shape != other.shape or tensor.is_floating_point() != other.is_floating_point():
            raise UserError(
                f"cannot average {path} and {other_path}: {name} is {_describe(tensor)} in the "
                f"one and {_describe(other)} in the other; take checkpoints of one training"
            )


def _describe(tensor: torch.Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
