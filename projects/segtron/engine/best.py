"""What an evaluation leads to: the best weights are kept, and a training without progress ends."""

from __future__ import annotations

import difflib
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import HookBase
from detectron2.utils import comm

from segtron.errors import UserError
from segtron.evaluation.build import OUTPUTS
from segtron.modeling.checkpoint import write_checkpoint
from segtron.wording import count_of

logger = logging.getLogger(__name__)

BEST_CHECKPOINT = "model_best.pth"
# Which number is a model's main one, of those that an evaluation gives.
MAIN_METRICS = ("panoptic_seg/PQ", "segm/AP", "sem_seg/mIoU", "bbox/AP")
MODES = ("max", "min")
# What a model has to predict to be scored for a task.
_OUTPUT_OF_TASK = {
    "bbox": "instances",
    "segm": "instances",
    "boundary": "instances",
    "cityscapes_segm": "instances",
    "cityscapes_boundary": "instances",
    "sem_seg": "sem_seg",
    "sem_seg_boundary": "sem_seg",
    "cityscapes_sem_seg": "sem_seg",
    "panoptic_seg": "panoptic_seg",
}


class BestValue:
    """The best value that a metric has had so far.

    Attributes:
        metric: its name; None before the first evaluation.
        value: None as long as there was no finite one.
        iteration: from 0, of the evaluation that gave it.
        before: what was the best before that, in words.
    """

    def __init__(
        self,
        metric: str = "",
        *,
        mode: str = "",
        min_delta: float = 0.0,
        key: str = "metric",
    ) -> None:
        """
        Args:
            metric: name of a result. With several test sets results have their set's name before
                them; where it is left out, the first set that has such a result is meant. Empty:
                see `main_metric`.
            mode: "max" if more is better, "min" if less is, or empty to go by the name: less is
                better for losses only.
            min_delta: how much better a value has to be than the best so far, 0 or more.
            key: the config key that names the metric, for the error.
        """
        self._wanted = metric
        self._mode = mode
        self._min_delta = min_delta
        self._key = key
        self._is_chosen = False
        self.metric: str | None = None
        self.value: float | None = None
        self.iteration: int | None = None
        self.before = "none"

    def update(self, iteration: int, results: Mapping[str, float]) -> bool:
        """Take the results of an evaluation.

        Args:
            iteration: from 0.
            results: name -> value; not empty.

        Returns:
            Whether the metric's value is better than any before: by more than `min_delta`, and it
            is a finite number. The first finite one is.

        Raises:
            UserError: the first results don't have the metric: names those that they have.
        """
        if not self._is_chosen:
            self._choose(results)
        value = float(results.get(self.metric, math.nan))
        if not math.isfinite(value) or not self._is_better(value):
            return False
        self.before = str(self)
        self.value, self.iteration = value, iteration
        return True

    def _choose(self, results: Mapping[str, float]) -> None:
        metric = _find(self._wanted, results) if self._wanted else main_metric(results)
        if metric is None:
            raise UserError(
                f"{self._key} is {self._wanted}, which the evaluation does not give; "
                + _describe_names(results, self._wanted)
            )
        # Of a training that is resumed with another config.
        if self.metric not in (None, metric):
            logger.warning(
                "So far %s said what is best, from now on %s does: its best value starts anew.",
                self.metric,
                metric,
            )
            self.value = self.iteration = None
        self.metric, self._is_chosen = metric, True

    def _is_better(self, value: float) -> bool:
        if self.value is None:
            return True
        gain = value - self.value
        if (self._mode or ("min" if _is_loss(self.metric) else "max")) == "min":
            gain = -gain
        return gain > self._min_delta

    def state_dict(self) -> dict[str, Any]:
        """Plain values; see the attributes."""
        return {"metric": self.metric, "value": self.value, "iteration": self.iteration}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.metric = state_dict["metric"]
        self.value = state_dict["value"]
        self.iteration = state_dict["iteration"]

    def __str__(self) -> str:
        if self.value is None:
            return "none"
        # The iteration of that number is finished.
        return f"{self.value:.4g} after {count_of(self.iteration + 1, 'iteration')}"


class _ResultsHook(HookBase, ABC):
    """Looks at the results of each evaluation once, also when the training was resumed."""

    def __init__(self, best: BestValue) -> None:
        self._best = best
        self._seen = -1

    def after_step(self) -> None:
        """See `HookBase`."""
        latest = self.trainer.latest_results()
        if latest is None or latest[0] == self._seen:
            return
        self._seen, results = latest
        # A set without ground truth has no results.
        if results:
            self._look(self._seen, results)

    def after_train(self) -> None:
        """See `HookBase`; the last evaluation may come after the last step."""
        self.after_step()

    @abstractmethod
    def _look(self, iteration: int, results: Mapping[str, float]) -> None:
        """Take the results of an evaluation, of which there are some."""

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"best": self._best.state_dict(), "seen": self._seen}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._best.load_state_dict(state_dict["best"])
        self._seen = state_dict["seen"]


class BestCheckpoint(_ResultsHook):
    """Keeps the weights that had the best results, in `model_best.pth`.

    Of results that are equal the earlier ones stay. All processes need the hook, to have the same
    state; the main one writes. The state is in the training's checkpoints, so that a resumed one
    goes on from the best value.
    """

    def __init__(
        self,
        output_dir: Path,
        weights: Callable[[str], Mapping[str, torch.Tensor]],
        best: BestValue,
    ) -> None:
        """
        Args:
            output_dir: gets `model_best.pth`.
            weights: from the metric's name to the state dict of the model that was scored.
            best: what is better than what.
        """
        super().__init__(best)
        self._output_dir = output_dir
        self._weights = weights

    def _look(self, iteration: int, results: Mapping[str, float]) -> None:
        if not self._best.update(iteration, results):
            return
        logger.info(
            "%s %s is the best so far (before: %s)",
            self._best.metric,
            str(self._best),  # now: it changes
            self._best.before,
        )
        if comm.is_main_process():
            write_checkpoint(
                self._output_dir / BEST_CHECKPOINT,
                {
                    "model": self._weights(self._best.metric),
                    "metric": self._best.metric,
                    "value": self._best.value,
                    "iteration": iteration,
                },
            )


class EarlyStopping(_ResultsHook):
    """Ends a training whose results have not got better for a number of evaluations.

    It ends as if that iteration had been its last: with a final checkpoint. Resumed with the same
    patience it ends at once.
    """

    def __init__(self, best: BestValue, patience: int) -> None:
        """
        Args:
            best: what is better than what.
            patience: evaluations without a better value after which the training ends, 1 or more.
                Values that are no finite numbers are not better.
        """
        super().__init__(best)
        self._patience = patience
        self._num_waited = 0

    def before_train(self) -> None:
        """See `HookBase`."""
        # It may have been killed between its last checkpoint and its end.
        self._stop_if_out_of_patience()

    def _look(self, iteration: int, results: Mapping[str, float]) -> None:
        self._num_waited = 0 if self._best.update(iteration, results) else self._num_waited + 1
        self._stop_if_out_of_patience()

    def _stop_if_out_of_patience(self) -> None:
        if self._num_waited >= self._patience:
            self.trainer.stop_training(
                f"{self._best.metric} has not got better in "
                f"{count_of(self._num_waited, 'evaluation')} (best: {self._best})"
            )

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return super().state_dict() | {"waited": self._num_waited}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state."""
        super().load_state_dict(state_dict)
        self._num_waited = state_dict["waited"]


def build_best_checkpoint(
    cfg: CfgNode, weights: Callable[[str], Mapping[str, torch.Tensor]]
) -> BestCheckpoint | None:
    """The hook that TEST.BEST asks for.

    Args:
        cfg: the config.
        weights: see `BestCheckpoint`.

    Returns:
        None if it is off, or if there are no evaluations during the training to choose from.

    Raises:
        UserError: one of the keys has no use, or METRIC is none that evaluations will give.
    """
    best = _best_value(cfg, "BEST")
    if not cfg.TEST.BEST.ENABLED or not cfg.DATASETS.TEST or cfg.TEST.EVAL_PERIOD <= 0:
        return None
    return BestCheckpoint(Path(cfg.OUTPUT_DIR), weights, best)


def build_early_stopping(cfg: CfgNode) -> EarlyStopping | None:
    """The hook that TEST.EARLY_STOPPING asks for.

    Returns:
        None if it is off.

    Raises:
        UserError: one of the keys has no use, METRIC is none that evaluations will give, or there
            are no evaluations during the training.
    """
    options = cfg.TEST.EARLY_STOPPING
    if options.PATIENCE < 0:
        raise UserError(
            f"TEST.EARLY_STOPPING.PATIENCE is {options.PATIENCE}; it must be a number of "
            "evaluations, or 0 to train to the end"
        )
    if not 0 <= options.MIN_DELTA < math.inf:
        raise UserError(
            f"TEST.EARLY_STOPPING.MIN_DELTA is {options.MIN_DELTA}; it must be 0 or more"
        )
    best = _best_value(cfg, "EARLY_STOPPING" if options.METRIC else "BEST", options.MIN_DELTA)
    if not options.PATIENCE:
        return None
    if not cfg.DATASETS.TEST or cfg.TEST.EVAL_PERIOD <= 0:
        raise UserError(
            f"TEST.EARLY_STOPPING.PATIENCE is {options.PATIENCE}, but nothing is evaluated during "
            "the training; give DATASETS.TEST a data set and TEST.EVAL_PERIOD a number of "
            "iterations"
        )
    return EarlyStopping(best, options.PATIENCE)


def main_metric(results: Mapping[str, float]) -> str:
    """The result by which a model is judged where nobody says by which.

    Args:
        results: name -> value, of several test sets "<set>/segm/AP" and so on; not empty.

    Returns:
        The first of `MAIN_METRICS` that the results have: those of the first set that has one.
        The first result if there is none.
    """
    prefixes = dict.fromkeys(name[: -len("/".join(name.split("/")[-2:]))] for name in results)
    names = (prefix + main for prefix in prefixes for main in MAIN_METRICS)
    return next((name for name in names if name in results), next(iter(results)))


def _is_loss(metric: str) -> bool:
    task, _, name = metric.rpartition("/")
    return task.endswith("validation") or name.startswith("loss") or name == "total_loss"


def _find(metric: str, results: Mapping[str, float]) -> str | None:
    if metric in results:
        return metric
    return next((name for name in results if name.endswith(f"/{metric}")), None)


def _best_value(cfg: CfgNode, group: str, min_delta: float = 0.0) -> BestValue:
    """What METRIC and MODE in TEST.<group> say.

    Raises:
        UserError: they can't be meant.
    """
    options = cfg.TEST[group]
    if options.MODE and options.MODE not in MODES:
        raise UserError(
            f"TEST.{group}.MODE is {options.MODE!r}; known: {', '.join(MODES)}, or empty to go by "
            "the metric's name"
        )
    key = f"TEST.{group}.METRIC"
    if options.METRIC:
        _check_metric(cfg, key, options.METRIC)
    return BestValue(options.METRIC, mode=options.MODE, min_delta=min_delta, key=key)


def _check_metric(cfg: CfgNode, key: str, metric: str) -> None:
    """What can be said of a metric's name before anything was evaluated."""
    if "/" not in metric:
        raise UserError(
            f"{key} is {metric!r}; it must name a result of an evaluation as metrics.json does, "
            f"such as {MAIN_METRICS[1]} or validation/total_loss"
        )
    task = metric.split("/")[-2]
    if task == "validation" and not cfg.TEST.VALIDATION_LOSS:
        raise UserError(f"{key} is {metric}; set TEST.VALIDATION_LOSS True to have it computed")
    outputs = OUTPUTS.get(cfg.MODEL.META_ARCHITECTURE)
    output = _OUTPUT_OF_TASK.get(task)
    if outputs is not None and output is not None and output not in outputs:
        raise UserError(
            f"{key} is {metric}, but a {cfg.MODEL.META_ARCHITECTURE} gives no {output} to be "
            "scored; leave it empty for the model's main metric"
        )


def _describe_names(results: Mapping[str, float], wanted: str) -> str:
    near = difflib.get_close_matches(wanted, results, n=1)
    # Those of single classes would hide the others.
    overall = [name for name in results if "-" not in name.rpartition("/")[2]]
    single = next((name for name in results if name not in overall), None)
    return (
        (f"did you mean {near[0]}? It gives " if near else "it gives ")
        + ", ".join(overall)
        + (f", and those of single classes, such as {single}" if single else "")
    )
