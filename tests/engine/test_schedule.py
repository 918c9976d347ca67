"""Learning rates over a training, by closed forms worked out by hand and by Detectron2's own."""

import logging
import math
import warnings

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.projects.deeplab.lr_scheduler import WarmupPolyLR
from detectron2.solver import build_lr_scheduler as build_detectron2_scheduler
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from segtron.config import get_default_config
from segtron.engine.schedule import (
    SCHEDULES,
    build_lr_scheduler,
    log_scaled_rate,
    scaled_learning_rate,
)
from segtron.errors import UserError


@pytest.fixture
def cfg() -> CfgNode:
    """20 iterations, of which 4 warm up from a tenth of the rate."""
    cfg = get_default_config()
    cfg.SOLVER.BASE_LR = 1.0
    cfg.SOLVER.MAX_ITER = 20
    cfg.SOLVER.WARMUP_ITERS = 4
    cfg.SOLVER.WARMUP_FACTOR = 0.1
    cfg.SOLVER.STEPS = (10, 15)
    return cfg


def optimizer_at(*rates: float) -> Optimizer:
    return SGD([{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates])


def go_on(scheduler: LRScheduler, iterations: int) -> list[float]:
    """The first group's rate in so many iterations. The scheduler steps after the last one, too."""
    rates = []
    for _ in range(iterations):
        rates.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step()
    return rates


def rates_of(cfg: CfgNode) -> list[float]:
    """The rate at each iteration of a training, as a multiple of BASE_LR."""
    return go_on(build_lr_scheduler(cfg, optimizer_at(1.0)), cfg.SOLVER.MAX_ITER)


def test_steps_by_hand(cfg: CfgNode) -> None:
    warm_up = [0.1, 0.325, 0.55, 0.775]
    assert rates_of(cfg) == pytest.approx(warm_up + 6 * [1.0] + 5 * [0.1] + 5 * [0.01])


def test_cosine_by_hand(cfg: CfgNode) -> None:
    cfg.SOLVER.LR_SCHEDULER_NAME = "WarmupCosineLR"
    rates = rates_of(cfg)
    at_4 = (1 + math.cos(math.pi / 5)) / 2
    assert rates[0] == pytest.approx(0.1)
    assert rates[2] == pytest.approx((0.1 + at_4) / 2)  # in the middle of the warm-up
    assert rates[4] == pytest.approx(at_4)
    assert rates[10] == pytest.approx(0.5)
    assert rates[15] == pytest.approx((1 - math.sqrt(0.5)) / 2)
    cfg.SOLVER.BASE_LR_END = 0.2
    assert rates_of(cfg)[10] == pytest.approx(0.6)


def test_decays_of_one_length_by_hand(cfg: CfgNode) -> None:
    cfg.SOLVER.LR_SCHEDULER_NAME = "WarmupStepWithFixedGammaLR"
    cfg.SOLVER.NUM_DECAYS, cfg.SOLVER.GAMMA = 2, 0.5
    cfg.SOLVER.WARMUP_ITERS = 0
    # Thirds of 20 iterations end before 6.67 and 13.33.
    assert rates_of(cfg) == pytest.approx(7 * [1.0] + 7 * [0.5] + 6 * [0.25])
    cfg.SOLVER.NUM_DECAYS = 0
    assert rates_of(cfg) == 20 * [1.0]


def test_polynomial_by_hand(cfg: CfgNode) -> None:
    cfg.SOLVER.LR_SCHEDULER_NAME = "WarmupPolyLR"
    rates = rates_of(cfg)
    assert rates[0] == pytest.approx(0.1)
    assert rates[1] == pytest.approx(0.75 * 0.1 + 0.25 * 0.8**0.9)
    assert rates[4] == pytest.approx(0.8**0.9)
    assert rates[10] == pytest.approx(0.5**0.9)
    assert rates[19] == pytest.approx(0.05**0.9)
    cfg.SOLVER.POLY_LR_POWER = 2.0
    assert rates_of(cfg)[10] == pytest.approx(0.25)


def test_a_warm_up_may_be_constant(cfg: CfgNode) -> None:
    cfg.SOLVER.LR_SCHEDULER_NAME, cfg.SOLVER.WARMUP_METHOD = "WarmupPolyLR", "constant"
    assert rates_of(cfg)[:5] == pytest.approx(4 * [0.1] + [0.8**0.9])


def test_polynomial_ends_at_a_constant(cfg: CfgNode) -> None:
    cfg.SOLVER.LR_SCHEDULER_NAME = "WarmupPolyLR"
    cfg.SOLVER.POLY_LR_POWER, cfg.SOLVER.POLY_LR_CONSTANT_ENDING = 1.0, 0.25
    assert rates_of(cfg)[13:] == pytest.approx([0.35, 0.3, 0.25, 0.25, 0.25, 0.25, 0.25])


@pytest.mark.parametrize("ending", [0.0, 0.3])
def test_polynomial_is_deeplabs_after_the_warm_up(cfg: CfgNode, ending: float) -> None:
    cfg.SOLVER.LR_SCHEDULER_NAME = "WarmupPolyLR"
    cfg.SOLVER.POLY_LR_CONSTANT_ENDING = ending
    theirs = WarmupPolyLR(optimizer_at(1.0), 20, 0.1, 4, constant_ending=ending)
    assert rates_of(cfg)[4:] == pytest.approx(go_on(theirs, 20)[4:])


@pytest.mark.parametrize("name", ["WarmupMultiStepLR", "WarmupCosineLR"])
@pytest.mark.parametrize("method", ["linear", "constant"])
@pytest.mark.parametrize("rescales", [False, True])
@pytest.mark.parametrize("warm_up", [0, 7])
def test_what_detectron2_has_is_the_same(
    cfg: CfgNode, name: str, method: str, rescales: bool, warm_up: int
) -> None:
    cfg.SOLVER.LR_SCHEDULER_NAME = name
    cfg.SOLVER.WARMUP_METHOD, cfg.SOLVER.RESCALE_INTERVAL = method, rescales
    cfg.SOLVER.WARMUP_ITERS = warm_up
    theirs = build_detectron2_scheduler(cfg, optimizer_at(1.0))
    assert rates_of(cfg) == go_on(theirs, 20)


@pytest.mark.parametrize("decays", [1, 3, 6])
@pytest.mark.parametrize("rescales", [False, True])
def test_decays_of_one_length_are_detectron2s_but_for_their_end(
    cfg: CfgNode, decays: int, rescales: bool
) -> None:
    cfg.SOLVER.LR_SCHEDULER_NAME = "WarmupStepWithFixedGammaLR"
    cfg.SOLVER.NUM_DECAYS, cfg.SOLVER.RESCALE_INTERVAL = decays, rescales
    theirs = build_detectron2_scheduler(cfg, optimizer_at(1.0))
    rates = rates_of(cfg)
    assert rates[:19] == pytest.approx(go_on(theirs, 19))
    assert rates[19] == pytest.approx(theirs.optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_state_goes_on_where_it_was(cfg: CfgNode, name: str) -> None:
    cfg.SOLVER.LR_SCHEDULER_NAME = name
    whole = rates_of(cfg)
    for stop in (2, 4, 12, 20):
        first = build_lr_scheduler(cfg, optimizer_at(1.0))
        assert go_on(first, stop) == whole[:stop]
        second = build_lr_scheduler(cfg, optimizer_at(1.0))
        second.optimizer.load_state_dict(first.optimizer.state_dict())
        second.load_state_dict(first.state_dict())
        assert go_on(second, 20 - stop) == whole[stop:]


@pytest.mark.parametrize("name", SCHEDULES)
def test_all_groups_follow_alike(cfg: CfgNode, name: str) -> None:
    cfg.SOLVER.LR_SCHEDULER_NAME = name
    scheduler = build_lr_scheduler(cfg, optimizer_at(1.0, 0.25))
    for _ in range(20):
        first, second = scheduler.get_last_lr()
        assert second == first / 4
        scheduler.optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("iterations", [1, 4, 20])
def test_a_training_may_end_before_its_warm_up(cfg: CfgNode, name: str, iterations: int) -> None:
    cfg.SOLVER.LR_SCHEDULER_NAME = name
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.WARMUP_ITERS = iterations, 1000
    rates = rates_of(cfg)
    assert rates[0] == pytest.approx(0.1)
    assert len(rates) == iterations


def test_steps_that_are_not_reached_have_no_effect(
    cfg: CfgNode, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("segtron"), "propagate", True)
    cfg.SOLVER.STEPS = (10, 20, 30)
    assert rates_of(cfg)[-1] == pytest.approx(0.1)
    assert "Of SOLVER.STEPS [10, 20, 30] a training to SOLVER.MAX_ITER 20 reaches [10]." in (
        caplog.messages
    )
    assert cfg.SOLVER.STEPS == (10, 20, 30)


def test_a_frozen_config_will_do(cfg: CfgNode) -> None:
    cfg.freeze()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_lr_scheduler(cfg, optimizer_at(1.0))
    assert cfg.is_frozen()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["LR_SCHEDULER_NAME", "Cosine"], "'Cosine'; known: WarmupMultiStepLR, WarmupCosineLR"),
        (["LR_SCHEDULER_NAME", "WarmupPolyLR", "POLY_LR_POWER", 0.0], "POLY_LR_POWER is 0.0"),
        (
            ["LR_SCHEDULER_NAME", "WarmupPolyLR", "POLY_LR_CONSTANT_ENDING", 1.5],
            "POLY_LR_CONSTANT_ENDING is 1.5",
        ),
        (["LR_SCHEDULER_NAME", "WarmupCosineLR", "BASE_LR_END", 2.0], "BASE_LR_END is 2.0"),
        (
            ["LR_SCHEDULER_NAME", "WarmupStepWithFixedGammaLR", "NUM_DECAYS", -1],
            "NUM_DECAYS is -1",
        ),
        (["RESCALE_INTERVAL", True, "WARMUP_ITERS", 20], "WARMUP_ITERS 20 leaves nothing"),
    ],
)
def test_a_mistake_is_named(cfg: CfgNode, keys: list, words: str) -> None:
    cfg.SOLVER.merge_from_list(keys)
    with pytest.raises(UserError, match=words):
        build_lr_scheduler(cfg, optimizer_at(1.0))


@pytest.mark.parametrize(
    ("optimizer", "batch", "reference", "rate"),
    [
        ("SGD", 16, 0, 0.02),
        ("SGD", 16, 16, 0.02),
        ("SGD", 4, 16, 0.005),
        ("SGD", 24, 16, 0.03),
        ("AdamW", 4, 16, 0.01),
        ("AdamW", 64, 16, 0.04),
        ("AdamW", 64, 0, 0.02),
    ],
)
def test_the_rate_grows_with_the_batch(
    cfg: CfgNode, optimizer: str, batch: int, reference: int, rate: float
) -> None:
    cfg.SOLVER.OPTIMIZER, cfg.SOLVER.BASE_LR = optimizer, 0.02
    cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.REFERENCE_BATCH_SIZE = batch, reference
    assert scaled_learning_rate(cfg) == pytest.approx(rate)


def test_what_the_batch_makes_of_the_rate_is_said(
    cfg: CfgNode, caplog: pytest.LogCaptureFixture
) -> None:
    cfg.SOLVER.BASE_LR = 0.02
    for batch, reference in ((4, 16), (4, 4), (4, 0), (2, 1)):
        cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.REFERENCE_BATCH_SIZE = batch, reference
        with caplog.at_level(logging.INFO, logger="segtron"):
            log_scaled_rate(cfg)
    assert caplog.messages == [
        "Learning rate: SOLVER.BASE_LR 0.02, for batches of 16 images, is 0.005 for batches of 4.",
        "Learning rate: SOLVER.BASE_LR 0.02, for batches of 1 image, is 0.04 for batches of 2.",
    ]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["BASE_LR", 0.0], "BASE_LR is 0.0"),
        (["BASE_LR", math.nan], "BASE_LR is nan"),
        (["REFERENCE_BATCH_SIZE", -2], "REFERENCE_BATCH_SIZE is -2"),
        (["REFERENCE_BATCH_SIZE", 16, "REFERENCE_WORLD_SIZE", 8], "both scale BASE_LR"),
    ],
)
def test_a_rate_that_cannot_be_is_refused(cfg: CfgNode, keys: list, words: str) -> None:
    cfg.SOLVER.merge_from_list(keys)
    with pytest.raises(UserError, match=words):
        scaled_learning_rate(cfg)
