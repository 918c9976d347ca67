"""Learning rates: what a batch size makes of BASE_LR, and what becomes of it in a training."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from detectron2.config import CfgNode
from detectron2.solver import build_lr_scheduler as build_detectron2_scheduler
from detectron2.solver.lr_scheduler import LRMultiplier, WarmupParamScheduler
from fvcore.common.param_scheduler import (
    MultiStepParamScheduler,
    ParamScheduler,
    PolynomialDecayParamScheduler,
)
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from segtron.errors import UserError
from segtron.wording import count_of

logger = logging.getLogger(__name__)


def scaled_learning_rate(cfg: CfgNode) -> float:
    """The learning rate that SOLVER.IMS_PER_BATCH makes of SOLVER.BASE_LR.

    They are the same unless SOLVER.REFERENCE_BATCH_SIZE says for which batch BASE_LR is meant. SGD
    takes a rate in proportion to the batch (Goyal et al., "Accurate, Large Minibatch SGD", 2017),
    AdamW one in proportion to its square root: Adam divides by the gradient's standard deviation,
    which a batch lowers by that root (Malladi et al., "On the SDEs and Scaling Rules for Adaptive
    Gradient Algorithms", 2022; AdamW's betas stay as they are here). Iterations stay as they are,
    too: WARMUP_ITERS, STEPS and MAX_ITER.

    Raises:
        UserError: BASE_LR is not above 0, REFERENCE_BATCH_SIZE is below 0, or Detectron2's
            REFERENCE_WORLD_SIZE scales the rate as well.
    """
    solver = cfg.SOLVER
    if not 0 < solver.BASE_LR < math.inf:
        raise UserError(f"SOLVER.BASE_LR is {solver.BASE_LR}; it must be above 0")
    if solver.REFERENCE_BATCH_SIZE < 0:
        raise UserError(
            f"SOLVER.REFERENCE_BATCH_SIZE is {solver.REFERENCE_BATCH_SIZE}; it must be a number of "
            "images, or 0 to take BASE_LR as it is"
        )
    if solver.REFERENCE_BATCH_SIZE == 0:
        return solver.BASE_LR
    if solver.REFERENCE_WORLD_SIZE:
        raise UserError(
            f"SOLVER.REFERENCE_BATCH_SIZE is {solver.REFERENCE_BATCH_SIZE} and "
            f"REFERENCE_WORLD_SIZE {solver.REFERENCE_WORLD_SIZE}, which both scale BASE_LR; set "
            "one of them to 0"
        )
    growth = solver.IMS_PER_BATCH / solver.REFERENCE_BATCH_SIZE
    return solver.BASE_LR * (math.sqrt(growth) if solver.OPTIMIZER == "AdamW" else growth)


def log_scaled_rate(cfg: CfgNode) -> None:
    """Say what the batch size makes of SOLVER.BASE_LR, if it makes something of it.

    It is for a training that starts: one that goes on has its checkpoint's rates.
    """
    solver, rate = cfg.SOLVER, scaled_learning_rate(cfg)
    if rate != solver.BASE_LR:
        logger.info(
            "Learning rate: SOLVER.BASE_LR %g, for batches of %s, is %g for batches of %d.",
            solver.BASE_LR,
            count_of(solver.REFERENCE_BATCH_SIZE, "image"),
            rate,
            solver.IMS_PER_BATCH,
        )


def build_lr_scheduler(cfg: CfgNode, optimizer: Optimizer) -> LRScheduler:
    """The schedule of SOLVER.LR_SCHEDULER_NAME, with a warm-up, for all rates of the optimizer.

    WarmupMultiStepLR and WarmupCosineLR are Detectron2's. WarmupStepWithFixedGammaLR has the rates
    of Detectron2's, which fails after the last iteration. WarmupPolyLR falls as in Detectron2's
    DeepLab project, by (1 - iteration / MAX_ITER) ** POLY_LR_POWER, to POLY_LR_CONSTANT_ENDING
    times the rate at least; its warm-up is that of the others: straight, from WARMUP_FACTOR times
    the rate to what the schedule has where the warm-up ends.

    Step it once an iteration.

    Raises:
        UserError: the name is unknown, or a key of the schedule has a value that it can't have.
    """
    solver = cfg.SOLVER
    if solver.LR_SCHEDULER_NAME not in SCHEDULES:
        raise UserError(
            f"SOLVER.LR_SCHEDULER_NAME is {solver.LR_SCHEDULER_NAME!r}; known: "
            + ", ".join(SCHEDULES)
        )
    if solver.RESCALE_INTERVAL and solver.WARMUP_ITERS >= solver.MAX_ITER:
        raise UserError(
            f"SOLVER.RESCALE_INTERVAL is True, but SOLVER.WARMUP_ITERS {solver.WARMUP_ITERS} "
            f"leaves nothing of SOLVER.MAX_ITER {solver.MAX_ITER} to the schedule; shorten the "
            "warm-up"
        )
    return SCHEDULES[solver.LR_SCHEDULER_NAME](cfg, optimizer)


def _multi_step(cfg: CfgNode, optimizer: Optimizer) -> LRScheduler:
    """Detectron2's, without STEPS that are not reached; it fails when one is MAX_ITER itself."""
    reached = [step for step in cfg.SOLVER.STEPS if step < cfg.SOLVER.MAX_ITER]
    if len(reached) < len(cfg.SOLVER.STEPS):
        logger.warning(
            "Of SOLVER.STEPS %s a training to SOLVER.MAX_ITER %d reaches %s.",
            list(cfg.SOLVER.STEPS),
            cfg.SOLVER.MAX_ITER,
            reached or "none",
        )
    cfg = cfg.clone()
    cfg.defrost()
    cfg.SOLVER.STEPS = reached
    return build_detectron2_scheduler(cfg, optimizer)


def _cosine(cfg: CfgNode, optimizer: Optimizer) -> LRScheduler:
    """Detectron2's. BASE_LR_END grows with the batch as BASE_LR does."""
    if not 0 <= cfg.SOLVER.BASE_LR_END <= cfg.SOLVER.BASE_LR:
        raise UserError(
            f"SOLVER.BASE_LR_END is {cfg.SOLVER.BASE_LR_END}; it must be from 0 to SOLVER.BASE_LR "
            f"{cfg.SOLVER.BASE_LR}"
        )
    return build_detectron2_scheduler(cfg, optimizer)


def _steps_of_one_length(cfg: CfgNode, optimizer: Optimizer) -> LRScheduler:
    """NUM_DECAYS times less by GAMMA, each rate for the same number of iterations."""
    decays = cfg.SOLVER.NUM_DECAYS
    if decays < 0:
        raise UserError(f"SOLVER.NUM_DECAYS is {decays}; it must be 0 or more")
    values = [cfg.SOLVER.GAMMA**count for count in range(decays + 1)]
    steps = MultiStepParamScheduler(values, decays + 1, list(range(1, decays + 1)))
    return _warmed_up(cfg, optimizer, steps)


def _polynomial(cfg: CfgNode, optimizer: Optimizer) -> LRScheduler:
    power, ending = cfg.SOLVER.POLY_LR_POWER, cfg.SOLVER.POLY_LR_CONSTANT_ENDING
    if not 0 < power < math.inf:
        raise UserError(f"SOLVER.POLY_LR_POWER is {power}; it must be above 0")
    if not 0 <= ending <= 1:
        raise UserError(
            f"SOLVER.POLY_LR_CONSTANT_ENDING is {ending}; it must be from 0 to 1, as a part of "
            "SOLVER.BASE_LR"
        )
    return _warmed_up(cfg, optimizer, _PolynomialDecayToEnding(power, ending))


class _PolynomialDecayToEnding(PolynomialDecayParamScheduler):
    def __init__(self, power: float, ending: float) -> None:
        super().__init__(base_value=1.0, power=power)
        self._ending = ending

    def __call__(self, where: float) -> float:
        return max(super().__call__(where), self._ending)


def _warmed_up(cfg: CfgNode, optimizer: Optimizer, decay: ParamScheduler) -> LRScheduler:
    """Put Detectron2's warm-up before a decay, as `build_detectron2_scheduler` does for its own."""
    solver = cfg.SOLVER
    multiplier = WarmupParamScheduler(
        decay,
        solver.WARMUP_FACTOR,
        min(solver.WARMUP_ITERS / solver.MAX_ITER, 1.0),
        solver.WARMUP_METHOD,
        solver.RESCALE_INTERVAL,
    )
    return LRMultiplier(optimizer, multiplier, solver.MAX_ITER)


SCHEDULES: dict[str, Callable[[CfgNode, Optimizer], LRScheduler]] = {
    "WarmupMultiStepLR": _multi_step,
    "WarmupCosineLR": _cosine,
    "WarmupStepWithFixedGammaLR": _steps_of_one_length,
    "WarmupPolyLR": _polynomial,
}
