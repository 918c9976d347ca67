"""Optimizers: steps, clipping, states and each layer's rate, by hand and by the plain loop."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_backbone
from detectron2.solver import build_optimizer as build_detectron2_optimizer
from detectron2.solver.build import get_default_optimizer_params
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from segtron.config import get_default_config
from segtron.engine.optimizer import build_optimizer
from segtron.engine.schedule import build_lr_scheduler
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


def without_how(optimizer: Optimizer) -> dict[str, Any]:
    """A state without how a step is computed, which differs in rounding only."""
    state = optimizer.state_dict()
    how = ("fused", "foreach")
    groups = [{k: v for k, v in g.items() if k not in how} for g in state["param_groups"]]
    return state | {"param_groups": groups}


class Layers(nn.Module):
    """Parameters of every kind that a config tells apart, the model's own among them."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([0.5]))
        self.backbone = nn.Sequential(
            # A bias would have gradients of mere rounding, which AdamW makes much of.
            nn.Conv2d(3, 4, 3, bias=False),
            nn.BatchNorm2d(4),
            nn.Conv2d(4, 4, 3),
        )
        self.head = nn.Sequential(
            nn.GroupNorm(2, 4), nn.Conv2d(4, 2, 1), nn.ConvTranspose2d(2, 2, 2)
        )
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.shared = self.head[1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(x)).mul(self.scale).square().mean()


def layers(channels_last: bool = False) -> Layers:
    torch.manual_seed(1)
    model = Layers()
    return model.to(memory_format=torch.channels_last) if channels_last else model


def train(model: nn.Module, optimizer: Optimizer, steps: range = range(5)) -> list[torch.Tensor]:
    """Parameters after some steps on fixed batches."""
    for number in steps:
        optimizer.zero_grad()
        generator = torch.Generator().manual_seed(number)
        model(torch.randn(2, 3, 8, 8, generator=generator)).backward()
        optimizer.step()
    return [parameter.detach().clone() for parameter in model.parameters()]


SGD_KEYS = ["MOMENTUM", 0.9, "WEIGHT_DECAY", 0.1, "NESTEROV", True]
CLIP_KEYS = ["CLIP_GRADIENTS.CLIP_TYPE", "norm", "CLIP_GRADIENTS.CLIP_VALUE", 0.1]


@pytest.mark.parametrize("clips", [False, True])
@pytest.mark.parametrize(
    "keys",
    [
        [],
        ["WEIGHT_DECAY_NORM", 0.0, "WEIGHT_DECAY_BIAS", 0.3],
        ["WEIGHT_DECAY_NORM", 0.2, "BIAS_LR_FACTOR", 2.0, "WEIGHT_DECAY_BIAS", 0.0],
    ],
)
def test_sgd_is_detectron2s(cfg: CfgNode, clips: bool, keys: list) -> None:
    cfg.SOLVER.BASE_LR = 0.05
    cfg.SOLVER.merge_from_list(SGD_KEYS + CLIP_KEYS + ["WEIGHT_DECAY_BIAS", 0.1] + keys)
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = clips
    our_model, their_model = layers(), layers()
    ours = build_optimizer(cfg, our_model)
    theirs = build_detectron2_optimizer(cfg, their_model)
    assert without_how(ours) == without_how(theirs)
    torch.testing.assert_close(train(our_model, ours), train(their_model, theirs))


@pytest.mark.parametrize("channels_last", [False, True])
def test_adamw_is_torchs_over_detectron2s_groups(cfg: CfgNode, channels_last: bool) -> None:
    cfg.SOLVER.OPTIMIZER, cfg.SOLVER.BASE_LR, cfg.SOLVER.WEIGHT_DECAY = "AdamW", 0.02, 0.1
    cfg.SOLVER.WEIGHT_DECAY_NORM = 0.0
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = False
    our_model, their_model = layers(channels_last), layers()
    groups = get_default_optimizer_params(their_model, base_lr=0.02, weight_decay_norm=0.0)
    theirs = AdamW(groups, lr=0.02, weight_decay=0.1, foreach=False)
    ours = build_optimizer(cfg, our_model)
    assert without_how(ours) == without_how(theirs)
    torch.testing.assert_close(train(our_model, ours), train(their_model, theirs))


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_training_twice_gives_the_same_bits(cfg: CfgNode, optimizer: str) -> None:
    cfg.SOLVER.OPTIMIZER, cfg.SOLVER.BASE_LR, cfg.SOLVER.MOMENTUM = optimizer, 0.02, 0.9
    first, second = (train(model, build_optimizer(cfg, model)) for model in (layers(), layers()))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_state_goes_on_in_another_memory_format(
    cfg: CfgNode, optimizer: str, channels_last: bool
) -> None:
    cfg.SOLVER.OPTIMIZER, cfg.SOLVER.BASE_LR, cfg.SOLVER.MOMENTUM = optimizer, 0.02, 0.9
    whole = layers()
    expected = train(whole, build_optimizer(cfg, whole))

    first = layers(channels_last=not channels_last)
    before = build_optimizer(cfg, first)
    train(first, before, range(2))
    second = layers(channels_last)
    second.load_state_dict(first.state_dict())
    after = build_optimizer(cfg, second)
    after.load_state_dict(before.state_dict())
    torch.testing.assert_close(train(second, after, range(2, 5)), expected)


@pytest.mark.parametrize("theirs", [{"foreach": True}, {"foreach": False}, {"fused": True}])
def test_how_a_step_is_computed_is_not_taken_from_a_state(cfg: CfgNode, theirs: dict) -> None:
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = False
    model = layers()
    ours = build_optimizer(cfg, model)
    how = [(group["fused"], group["foreach"]) for group in ours.param_groups]
    groups = [{"params": group["params"]} for group in ours.param_groups]
    ours.load_state_dict(SGD(groups, lr=0.5, **theirs).state_dict())
    assert [(group["fused"], group["foreach"]) for group in ours.param_groups] == how
    assert {group["lr"] for group in ours.param_groups} == {0.5}


def test_a_state_of_other_groups_is_refused(cfg: CfgNode) -> None:
    state = build_optimizer(cfg, layers()).state_dict()
    cfg.SOLVER.LR_MULTIPLIERS = [["head", 2.0]]
    with pytest.raises(UserError, match=r"groups of \[.*resume with the MODEL and SOLVER keys"):
        build_optimizer(cfg, layers()).load_state_dict(state)


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
@pytest.mark.parametrize("clip_type", ["full_model", "norm", "value"])
def test_scaled_gradients_are_clipped_at_their_true_size(
    cfg: CfgNode, optimizer: str, clip_type: str
) -> None:
    cfg.SOLVER.OPTIMIZER, cfg.SOLVER.BASE_LR = optimizer, 0.02
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE, cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = clip_type, 0.01
    plain = layers()
    expected = train(plain, build_optimizer(cfg, plain))

    model = layers()
    ours = build_optimizer(cfg, model)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    for number in range(5):
        ours.zero_grad()
        generator = torch.Generator().manual_seed(number)
        scaler.scale(model(torch.randn(2, 3, 8, 8, generator=generator))).backward()
        scaler.step(ours)
        scaler.update()
    torch.testing.assert_close(list(model.parameters()), expected)


def rates(optimizer: Optimizer, model: nn.Module) -> dict[str, float]:
    """Learning rate of each parameter that the optimizer has."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}


def test_factors_multiply(cfg: CfgNode) -> None:
    cfg.SOLVER.BASE_LR, cfg.SOLVER.BACKBONE_MULTIPLIER, cfg.SOLVER.BIAS_LR_FACTOR = 0.5, 0.25, 2.0
    cfg.SOLVER.LR_MULTIPLIERS = [["head", 8], [r"\.bias$", 0.5], ["^head.1", 0.0]]
    model = layers()
    found = rates(build_optimizer(cfg, model), model)
    assert found["scale"] == 0.5
    assert found["backbone.0.weight"] == 0.125
    assert found["backbone.1.bias"] == 0.5 * 0.25 * 2 * 0.5
    assert found["head.0.weight"] == 4.0
    assert found["head.2.bias"] == 0.5 * 2 * 8 * 0.5
    assert found["head.1.weight"] == 0.0
    assert not any(name.startswith("frozen") for name in found)
    assert len(found) == 1 + 5 + 6


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([["sem_seg", 2.0]], "'sem_seg', which is found in no name.*; such names are .*"),
        # Only what is trained counts.
        ([["frozen", 2.0]], "'frozen', which is found in no name"),
        ([["head(", 2.0]], r"'head\(', which is no regular expression"),
        ([["head", -1.0]], r"holds \['head', -1.0\]"),
        ([["head", float("nan")]], "holds .*nan"),
        ([["head", float("inf")]], "holds .*inf"),
        ([["head", "2"]], "holds .*'2'"),
        ([["head"]], r"holds \['head'\]; an entry is"),
        (["head", 2.0], "holds 'head'"),
        ([[2.0, "head"]], "holds .2.0, 'head'"),
    ],
)
def test_a_multiplier_that_cannot_be_is_refused(cfg: CfgNode, entries: list, words: str) -> None:
    cfg.SOLVER.LR_MULTIPLIERS = entries
    with pytest.raises(UserError, match=words):
        build_optimizer(cfg, layers())


class WithBackbone(nn.Module):
    """The config's backbone, and a head beside it."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        self.backbone = build_backbone(cfg)
        self.head = nn.Linear(2, 2)


def factors_of_stages(cfg: CfgNode, *stages: str) -> Iterator[float]:
    """For each stage, by how its parameters' names begin, the one rate that all of them have."""
    model = WithBackbone(cfg)
    found = rates(build_optimizer(cfg, model), model)
    taken = set()
    for stage in stages:
        names = {name for name in found if name.startswith(stage)}
        assert len({found[name] for name in names}) == 1, stage
        yield found[min(names)]
        taken |= names
    assert taken == set(found)


def test_layers_of_a_resnet(cfg: CfgNode) -> None:
    cfg.MODEL.RESNETS.DEPTH, cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 18, 64
    cfg.MODEL.RESNETS.NORM, cfg.MODEL.BACKBONE.FREEZE_AT = "BN", 0
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res2", "res5"]
    cfg.SOLVER.LAYER_DECAY = 0.5
    stages = tuple(f"backbone.{name}." for name in ("stem", "res2", "res3", "res4", "res5"))
    assert [*factors_of_stages(cfg, *stages, "head")] == [1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1]
    # A network that ends earlier, its beginning frozen.
    cfg.MODEL.RESNETS.OUT_FEATURES, cfg.MODEL.BACKBONE.FREEZE_AT = ["res4"], 2
    assert [*factors_of_stages(cfg, *stages[2:4], "head")] == [1 / 4, 1 / 2, 1]


def test_layers_below_an_fpn_with_the_backbones_multiplier(cfg: CfgNode) -> None:
    cfg.MODEL.BACKBONE.NAME = "build_timm_fpn_backbone"
    cfg.MODEL.FPN.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.BACKBONE.FREEZE_AT, cfg.MODEL.TIMM.PRETRAINED = 0, False
    cfg.MODEL.TIMM.NORM = "BN"
    cfg.SOLVER.LAYER_DECAY, cfg.SOLVER.BACKBONE_MULTIPLIER = 0.5, 3.0
    model = WithBackbone(cfg)
    optimizer = build_optimizer(cfg, model)
    found = rates(optimizer, model)
    network = "backbone.bottom_up.network."
    # Each feature's blocks, and what lies before the first with them.
    blocks = {"conv_stem.": 5, "bn1.": 5, "blocks.0.": 5, "blocks.1.": 4, "blocks.2.": 3}
    blocks |= {"blocks.3.": 2, "blocks.4.": 2, "blocks.5.": 1, "blocks.6.": 1}
    for part, depth in blocks.items():
        rates_of_part = {r for name, r in found.items() if name.startswith(network + part)}
        assert rates_of_part == {3.0 * 0.5**depth}, part
    others = {rate for name, rate in found.items() if not name.startswith(network)}
    assert others == {1.0}
    # Five depths, each with its norms apart, and all else.
    assert len(optimizer.param_groups) == 11


def test_layers_of_a_unets_encoder(cfg: CfgNode) -> None:
    cfg.MODEL.BACKBONE.NAME, cfg.MODEL.UNET_ENCODER.CHANNELS = "UNetEncoder", [2, 4, 8]
    cfg.SOLVER.LAYER_DECAY = 0.5
    stages = tuple(f"backbone.levels.enc{level}." for level in (1, 2, 3))
    assert [*factors_of_stages(cfg, *stages, "head")] == [1 / 8, 1 / 4, 1 / 2, 1]


def test_layers_that_are_not_known_are_refused(cfg: CfgNode) -> None:
    cfg.SOLVER.LAYER_DECAY = 0.9
    with pytest.raises(UserError, match="LAYER_DECAY is 0.9, but the stages of build_resnet"):
        build_optimizer(cfg, nn.Linear(1, 1))
    for value in (0.0, 1.1, -0.5, float("nan")):
        cfg.SOLVER.LAYER_DECAY = value
        with pytest.raises(UserError, match="LAYER_DECAY is .*above 0 and at most 1"):
            build_optimizer(cfg, layers())


def test_building_changes_neither_config_nor_randomness(cfg: CfgNode) -> None:
    cfg.SOLVER.LAYER_DECAY = 0.5
    cfg.freeze()
    model, before = WithBackbone(cfg), cfg.dump()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    build_optimizer(cfg, model)
    assert torch.rand(1) == expected
    assert cfg.dump() == before


def test_the_rate_of_the_batch_holds_for_all_groups_and_the_schedule(cfg: CfgNode) -> None:
    cfg.SOLVER.BASE_LR, cfg.SOLVER.BACKBONE_MULTIPLIER = 0.02, 0.5
    cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.REFERENCE_BATCH_SIZE = 4, 16
    cfg.SOLVER.LR_SCHEDULER_NAME, cfg.SOLVER.BASE_LR_END = "WarmupCosineLR", 0.01
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.WARMUP_ITERS = 2, 0
    optimizer = build_optimizer(cfg, layers())
    assert {group["lr"] for group in optimizer.param_groups} == {0.005, 0.0025}
    scheduler = build_lr_scheduler(cfg, optimizer)
    optimizer.step()
    scheduler.step()
    # In the middle between 0.02 and 0.01, scaled alike.
    assert sorted({*scheduler.get_last_lr()}) == pytest.approx([0.001875, 0.00375])


def test_rates_of_a_state_win_and_that_is_said(
    cfg: CfgNode, caplog: pytest.LogCaptureFixture
) -> None:
    def build(batch: int) -> Optimizer:
        cfg.SOLVER.IMS_PER_BATCH = batch
        optimizer = build_optimizer(cfg, layers())
        build_lr_scheduler(cfg, optimizer)  # which lowers them in its warm-up
        return optimizer

    cfg.SOLVER.BASE_LR, cfg.SOLVER.REFERENCE_BATCH_SIZE = 0.02, 16
    cfg.SOLVER.BACKBONE_MULTIPLIER = 0.5
    state = build(4).state_dict()
    build(4).load_state_dict(state)
    assert not caplog.messages
    other = build(8)
    other.load_state_dict(state)
    assert {group["initial_lr"] for group in other.param_groups} == {0.005, 0.0025}
    (warning,) = caplog.messages
    assert "checkpoint's learning rates, up to 0.005, and not with the config's, up to 0.01;" in (
        warning
    )


def test_another_optimizers_state_is_refused(cfg: CfgNode) -> None:
    cfg.SOLVER.OPTIMIZER = "AdamW"
    state = build_optimizer(cfg, layers()).state_dict()
    cfg.SOLVER.OPTIMIZER = "SGD"
    with pytest.raises(UserError, match="has no momentum.*SOLVER.OPTIMIZER"):
        build_optimizer(cfg, layers()).load_state_dict(state)
