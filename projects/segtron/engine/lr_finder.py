"""The learning rate range test: which rate a model learns fastest with, found in a short run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.utils.env import seed_all_rng
from detectron2.utils.events import EventStorage
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tqdm import tqdm

from segtron.engine.class_weights import fill_class_weights
from segtron.engine.randomness import choose_seed
from segtron.engine.schedule import scaled_learning_rate
from segtron.engine.trainer import Trainer
from segtron.errors import UserError
from segtron.files import replacing
from segtron.modeling.device import resolve_device

MIN_STEPS = 20
# The test ends where the smoothed loss is so many times its best.
_DIVERGED = 4.0
# Losses are smoothed over about this part of the steps, and their slope is taken over twice that.
_WINDOW = 0.1
# So many standard errors a fall has to have to be more than noise. Of 200 losses that stay level, 3
# in 100 curves seem to fall so somewhere.
_CLEAR_FALL = 3.5


@dataclass(frozen=True)
class RangeTest:
    """What a range test saw.

    Attributes:
        rates: (N,) float64, the learning rate of each step, rising.
        losses: (N,) float64, the loss before that step.
        smoothed: (N,) float64, the losses smoothed by `smooth`.
        smoothed_rates: (N,) float64, the rates that those belong to: an average lags behind, and so
            does this one, which the logarithms of the rates are smoothed to.
        suggestion: the rate at which the loss falls fastest; None if it is of no use.
        base_lr: what SOLVER.BASE_LR has to be for that rate; None without one.
        problem: why there is no suggestion, a sentence without a full stop; else empty.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    smoothed_rates: np.ndarray
    suggestion: float | None
    base_lr: float | None
    problem: str

    def as_json(self) -> dict[str, Any]:
        """All of it, as `json.dumps` takes it."""
        return {
            "suggestion": self.suggestion,
            "base_lr": self.base_lr,
            "problem": self.problem,
            "rates": self.rates.tolist(),
            "losses": self.losses.tolist(),
            "smoothed": self.smoothed.tolist(),
            "smoothed_rates": self.smoothed_rates.tolist(),
        }


def find_learning_rate(
    cfg: CfgNode, *, minimum: float = 1e-6, maximum: float = 1.0, steps: int = 200
) -> RangeTest:
    """Train with a learning rate that rises at every step, and see where the loss falls fastest.

    After Smith, "Cyclical Learning Rates for Training Neural Networks" (2017). Model, weights,
    data, optimizer and steps are those of a training of `cfg`; nothing is written. The rate rises
    exponentially; parameters that have a multiple of BASE_LR have that multiple of it. The run ends
    early when the smoothed loss is four times its best or the loss is not finite.

    Args:
        cfg: a frozen config.
        minimum: rate of the first step.
        maximum: rate of the last step.
        steps: how many steps at most, `MIN_STEPS` or more.

    Raises:
        UserError: the range is none, or the config can't be trained.

    Example:
        >>> find_learning_rate(load_config("configs/toytown/unet_lite0.yaml")).suggestion
        0.0002
    """
    if not 0 < minimum < maximum < math.inf:
        raise UserError(
            f"the learning rate can't rise from {minimum:g} to {maximum:g}; the first has to be "
            "above 0 and below the second"
        )
    if steps < MIN_STEPS:
        raise UserError(f"a range test of {steps} steps says nothing; it takes {MIN_STEPS} or more")
    scale = scaled_learning_rate(cfg) / cfg.SOLVER.BASE_LR
    trainer = _build_trainer(cfg)
    rates = np.geomspace(minimum, maximum, steps)
    losses = _losses(trainer, rates)
    rates = rates[: len(losses)]
    suggestion, problem = steepest_fall(rates, losses, steps)
    return RangeTest(
        rates=rates,
        losses=losses,
        smoothed=smooth(losses, steps),
        smoothed_rates=np.exp(smooth(np.log(rates), steps)),
        suggestion=suggestion,
        base_lr=None if suggestion is None else float(f"{suggestion / scale:.2g}"),
        problem=problem,
    )


def _build_trainer(cfg: CfgNode) -> Trainer:
    """A trainer whose rates are multiples of 1, and that needs no more than training does."""
    cfg = resolve_device(fill_class_weights(cfg)).clone()
    cfg.defrost()
    cfg.SOLVER.BASE_LR, cfg.SOLVER.BASE_LR_END = 1.0, 0.0
    cfg.SOLVER.REFERENCE_BATCH_SIZE = 0
    cfg.SOLVER.EMA.ENABLED = False
    cfg.DATASETS.TEST, cfg.TEST.EARLY_STOPPING.PATIENCE = (), 0
    cfg.freeze()
    seed = choose_seed(cfg.SEED)
    seed_all_rng(seed)
    trainer = Trainer(cfg, seed)
    trainer.load()
    return trainer


def _losses(trainer: Trainer, rates: np.ndarray) -> np.ndarray:
    """The loss of each step as far as the test goes."""
    losses: list[float] = []
    best = math.inf
    groups = trainer.optimizer.param_groups
    bar = tqdm(rates, unit=" steps", desc="range test")
    with EventStorage() as storage, bar:
        for number, rate in enumerate(bar):
            for group in groups:
                group["lr"] = group["initial_lr"] * rate
            trainer.iter = storage.iter = number
            try:
                trainer.run_step()
            except UserError as error:
                if not isinstance(error.__cause__, FloatingPointError):
                    raise
                if not losses:
                    raise UserError(
                        f"{error.__cause__}, before any step: no learning rate will mend that"
                    ) from error
                break
            losses.append(storage.latest()["total_loss"][0])
            smoothed = smooth(np.array(losses), len(rates))[-1]
            bar.set_postfix_str(f"rate {rate:.2g}, loss {smoothed:.3g}")
            if number < _WINDOW * len(rates):
                continue  # not smoothed over much yet
            best = min(best, smoothed)
            if smoothed > _DIVERGED * best:
                break
    return np.array(losses)


def smooth(values: np.ndarray, steps: int) -> np.ndarray:
    """Exponential moving average over about a tenth of the test, corrected for its start.

    The correction is that of Adam's averages (Kingma & Ba 2015): the first values are averages of
    what there is so far.

    Args:
        values: (N,), of the first N steps.
        steps: of the whole test.

    Returns:
        (N,) float64.
    """
    keep = 1 - 1 / (_WINDOW * steps)
    smoothed, average = np.empty(len(values)), 0.0
    for i, value in enumerate(values):
        average = keep * average + (1 - keep) * value
        smoothed[i] = average / (1 - keep ** (i + 1))
    return smoothed


def steepest_fall(rates: np.ndarray, losses: np.ndarray, steps: int) -> tuple[float | None, str]:
    """The rate at which the loss falls fastest on its way down to its lowest smoothed value.

    The slope is that of a straight line through the losses of a fifth of the steps, over the
    logarithm of the rate: differences between neighbours would mostly find noise.

    Args:
        rates: (N,), rising exponentially.
        losses: (N,) of the first N steps.
        steps: of the whole test.

    Returns:
        The rate, to two digits, and ""; or None and why there is none.
    """
    smoothed = smooth(losses, steps)
    start, length = int(_WINDOW * steps), int(2 * _WINDOW * steps)
    lowest = start + int(smoothed[start:].argmin()) if len(losses) > start else 0
    if lowest + 1 < length:
        return None, "the loss is lowest near the start; start at a smaller rate"
    x = np.log(rates[:length])
    x -= x.mean()
    windows = np.lib.stride_tricks.sliding_window_view(losses[: lowest + 1], length)
    slopes = windows @ x / (x @ x)
    residuals = windows - windows.mean(axis=1, keepdims=True) - slopes[:, None] * x
    errors = np.sqrt((residuals**2).sum(axis=1) / (length - 2) / (x @ x))
    steepest = int(slopes.argmin())
    if slopes[steepest] >= -_CLEAR_FALL * errors[steepest]:
        return None, (
            "the loss nowhere falls by more than its noise; take more steps, or another range"
        )
    window = rates[steepest : steepest + length]
    return float(f"{math.sqrt(window[0] * window[-1]):.2g}"), ""


def plot_range_test(found: RangeTest, output: Path) -> None:
    """Draw loss over learning rate as a PNG; what stood at `output` is replaced.

    Raises:
        UserError: it can't be written.
    """
    figure = Figure(figsize=(10, 5.6), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(found.rates, found.losses, color="#0072B2", alpha=0.3, linewidth=1, label="each step")
    axes.plot(
        found.smoothed_rates, found.smoothed, color="#0072B2", linewidth=2.2, label="smoothed"
    )
    if found.suggestion is not None:
        axes.axvline(
            found.suggestion,
            color="#D55E00",
            linewidth=1.5,
            linestyle=(0, (4, 3)),
            label=f"falls fastest: {found.suggestion:g}",
        )
    axes.set_xlim(found.rates[0] / 1.3, found.rates[-1] * 1.3)
    axes.set_xscale("log")
    # The last loss before the end may be any number of times the others.
    top = min(found.smoothed.max(), max(found.smoothed[0], _DIVERGED * found.smoothed.min()))
    axes.set_ylim(0, 1.3 * top)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.set_title("Learning rate range test", loc="left", fontweight="bold", fontsize=13)
    axes.grid(color="#e6e8eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with replacing(output) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)
