"""Gradient clipping of the whole model, by values worked out by hand."""

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.solver import build_optimizer as build_detectron2_optimizer
from torch import nn

from segtron.config import get_default_config
from segtron.engine.optimizer import build_optimizer
from segtron.errors import UserError


@pytest.fixture
def cfg() -> CfgNode:
    cfg = get_default_config()
    cfg.SOLVER.BASE_LR = 1.0
    cfg.SOLVER.MOMENTUM = 0.0
    cfg.SOLVER.WEIGHT_DECAY = 0.0
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = "full_model"
    return cfg


def step(cfg: CfgNode, gradients: list[float]) -> list[float]:
    """How far one step moves parameters of one number each."""
    model = nn.ParameterList([nn.Parameter(torch.zeros(1)) for _ in gradients])
    optimizer = build_optimizer(cfg, model)
    for parameter, gradient in zip(model, gradients, strict=True):
        parameter.grad = torch.tensor([gradient])
    optimizer.step()
    return [-parameter.item() for parameter in model]


def test_all_gradients_are_scaled_alike(cfg: CfgNode) -> None:
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = 1.0
    assert step(cfg, [3.0, 4.0]) == pytest.approx([0.6, 0.8], abs=1e-5)


def test_small_gradients_stay(cfg: CfgNode) -> None:
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = 10.0
    assert step(cfg, [3.0, 4.0]) == [3.0, 4.0]


def test_detectron2s_own_kinds_still_clip_each_tensor(cfg: CfgNode) -> None:
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = "norm"
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = 1.0
    assert step(cfg, [3.0, 0.5]) == pytest.approx([1.0, 0.5], abs=1e-5)


def test_adamws_first_step_is_the_learning_rate_whatever_the_gradient(cfg: CfgNode) -> None:
    cfg.SOLVER.OPTIMIZER = "AdamW"
    assert step(cfg, [3.0, -0.004]) == pytest.approx([1.0, -1.0], abs=1e-5)


def test_an_unknown_optimizer_is_named(cfg: CfgNode) -> None:
    cfg.SOLVER.OPTIMIZER = "Adam"
    with pytest.raises(UserError, match="'Adam'; known: SGD, AdamW"):
        build_optimizer(cfg, nn.Linear(1, 1))


def test_an_unknown_kind_is_named(cfg: CfgNode) -> None:
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = "model"
    with pytest.raises(UserError, match="'model'; known: full_model"):
        build_optimizer(cfg, nn.Linear(1, 1))


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_the_backbone_has_its_own_learning_rate(cfg: CfgNode, optimizer: str) -> None:
    cfg.SOLVER.OPTIMIZER = optimizer
    cfg.SOLVER.BACKBONE_MULTIPLIER = 0.25
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = False
    model = nn.ModuleDict({"backbone": nn.Linear(1, 1), "backbone_of_nothing": nn.Linear(1, 1)})
    groups = build_optimizer(cfg, model).param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert {rates[id(p)] for p in model["backbone"].parameters()} == {0.25}
    assert {rates[id(p)] for p in model["backbone_of_nothing"].parameters()} == {1.0}


def test_sgd_is_detectron2s(cfg: CfgNode) -> None:
    cfg.SOLVER.MOMENTUM, cfg.SOLVER.WEIGHT_DECAY, cfg.SOLVER.NESTEROV = 0.9, 0.1, True
    cfg.SOLVER.WEIGHT_DECAY_NORM, cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = 0.0, "norm"
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    ours, theirs = build_optimizer(cfg, model), build_detectron2_optimizer(cfg, model)
    assert ours.state_dict() == theirs.state_dict()
