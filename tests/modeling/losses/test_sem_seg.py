"""SemSegLoss: the sum that a config asks for, and what it refuses."""

import copy
import math

import pytest
import torch

from segtron.config import get_default_config
from segtron.errors import UserError
from segtron.modeling.losses import (
    SemSegLoss,
    sem_seg_bce,
    sem_seg_brier_score,
    sem_seg_cross_entropy,
    sem_seg_dice_loss,
    sem_seg_focal_loss,
    sem_seg_lovasz_softmax,
    sem_seg_ohem_cross_entropy,
)


def config(**options):
    """The defaults with four classes; `options` go to MODEL.SEM_SEG_HEAD.LOSS, or above it."""
    cfg = get_default_config()
    head = cfg.MODEL.SEM_SEG_HEAD
    head.NUM_CLASSES = 4
    for key, value in options.items():
        node = head.LOSS if key in head.LOSS else head
        assert key in node
        node[key] = value
    return cfg


@pytest.fixture
def batch():
    torch.manual_seed(0)
    targets = torch.randint(4, (2, 5, 6))
    targets[0, :2] = 255
    return torch.randn(2, 4, 5, 6), targets


def test_the_default_is_cross_entropy(batch):
    losses = SemSegLoss(get_default_config())(*batch)
    assert list(losses) == ["loss_sem_seg"]
    assert losses["loss_sem_seg"] == sem_seg_cross_entropy(*batch, ignore_value=255)


def test_all_terms_with_their_weights_and_options(batch):
    cfg = config(
        CROSS_ENTROPY_WEIGHT=0.5,
        OHEM_WEIGHT=1.5,
        OHEM_THRESHOLD=0.3,
        OHEM_MIN_KEPT=0.25,
        BCE_WEIGHT=2.5,
        FOCAL_WEIGHT=3.5,
        FOCAL_GAMMA=1.25,
        DICE_WEIGHT=4.5,
        LOVASZ_WEIGHT=5.5,
        BRIER_WEIGHT=6.5,
        CLASS_WEIGHTS=[1.0, 0.5, 2, 0.0],
        LOSS_WEIGHT=0.5,
    )
    losses = SemSegLoss(cfg)(*batch)
    plain = {"ignore_value": 255}
    weighted = plain | {"class_weights": torch.tensor([1.0, 0.5, 2.0, 0.0])}
    expected = {
        "": 0.25 * sem_seg_cross_entropy(*batch, **weighted),
        "_ohem": 0.75
        * sem_seg_ohem_cross_entropy(*batch, threshold=0.3, min_kept=0.25, **weighted),
        "_bce": 1.25 * sem_seg_bce(*batch, **weighted),
        "_focal": 1.75 * sem_seg_focal_loss(*batch, gamma=1.25, **weighted),
        "_dice": 2.25 * sem_seg_dice_loss(*batch, **plain),
        "_lovasz": 2.75 * sem_seg_lovasz_softmax(*batch, **plain),
        "_brier": 3.25 * sem_seg_brier_score(*batch, **weighted),
    }
    assert losses == {f"loss_sem_seg{name}": loss for name, loss in expected.items()}


def test_ohems_options(batch):
    # Few probabilities are below 0.1, so that the share decides.
    options = {"OHEM_THRESHOLD": 0.1, "OHEM_MIN_KEPT": 0.75}
    losses = SemSegLoss(config(CROSS_ENTROPY_WEIGHT=0.0, OHEM_WEIGHT=1.0, **options))(*batch)
    expected = sem_seg_ohem_cross_entropy(*batch, ignore_value=255, threshold=0.1, min_kept=0.75)
    assert losses == {"loss_sem_seg_ohem": expected}


def test_terms_of_weight_zero_are_left_out(batch):
    loss = SemSegLoss(config(CROSS_ENTROPY_WEIGHT=0.0, LOVASZ_WEIGHT=1.0, DICE_WEIGHT=1.0))
    assert set(loss(*batch)) == {"loss_sem_seg_lovasz", "loss_sem_seg_dice"}


def test_the_ignore_value_is_the_configs(batch):
    logits, targets = batch
    minus_one = torch.where(targets == 255, -1, targets)
    terms = ("CROSS_ENTROPY", "OHEM", "BCE", "FOCAL", "DICE", "LOVASZ", "BRIER")
    weights = {f"{term}_WEIGHT": 1.0 for term in terms}
    losses = SemSegLoss(config(**weights, IGNORE_VALUE=-1))(logits, minus_one)
    assert losses == SemSegLoss(config(**weights))(logits, targets)


def test_it_can_be_built_without_a_config(batch):
    loss = SemSegLoss(ignore_value=255, weights={"brier": 2.0}, class_weights=(1.0, 0.5, 2.0, 3.0))
    weights = torch.tensor([1.0, 0.5, 2.0, 3.0])
    expected = 2 * sem_seg_brier_score(*batch, ignore_value=255, class_weights=weights)
    assert loss(*batch) == {"loss_sem_seg_brier": expected}
    with pytest.raises(KeyError, match="tversky"):
        SemSegLoss(ignore_value=255, weights={"tversky": 1.0})


def test_class_weights_move_with_the_model_but_are_not_saved(batch):
    loss = SemSegLoss(config(CLASS_WEIGHTS=[1.0, 0.5, 2.0, 3.0]))
    assert not loss.state_dict()
    assert not list(loss.parameters())
    assert [name for name, _ in loss.named_buffers()] == ["class_weights"]
    moved = copy.deepcopy(loss).to("meta")
    assert moved.class_weights.is_meta
    assert moved(*(tensor.to("meta") for tensor in batch))["loss_sem_seg"].is_meta
    assert not loss.class_weights.is_meta


def test_all_ignored_gives_zeros_that_reach_the_logits(batch):
    logits, targets = batch
    terms = ("OHEM", "BCE", "FOCAL", "DICE", "LOVASZ", "BRIER")
    loss = SemSegLoss(config(**{f"{term}_WEIGHT": 1.0 for term in terms}))
    logits.requires_grad_()
    losses = loss(logits, torch.full_like(targets, 255))
    assert len(losses) == 7
    assert sum(losses.values()).item() == 0.0
    for value in losses.values():
        (gradient,) = torch.autograd.grad(value, logits)
        assert torch.equal(gradient, torch.zeros_like(logits))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"DICE_WEIGHT": -0.5}, r"LOSS\.DICE_WEIGHT is -0\.5; .*0 or more"),
        ({"CROSS_ENTROPY_WEIGHT": math.nan}, r"LOSS\.CROSS_ENTROPY_WEIGHT is nan; .*0 or more"),
        ({"BCE_WEIGHT": math.inf}, r"LOSS\.BCE_WEIGHT is inf; .*0 or more"),
        ({"CROSS_ENTROPY_WEIGHT": 0.0}, r"LOSS are 0; .* CROSS_ENTROPY_WEIGHT"),
        ({"LOSS_WEIGHT": 0.0}, r"LOSS_WEIGHT is 0\.0; .*above 0"),
        ({"LOSS_WEIGHT": -1.0}, r"LOSS_WEIGHT is -1\.0; .*above 0"),
        (
            {"CLASS_WEIGHTS": [1.0] * 3},
            r"LOSS\.CLASS_WEIGHTS has 3 weights, but .*NUM_CLASSES is 4; ",
        ),
        ({"CLASS_WEIGHTS": [1.0, 1.0, -2.0, 1.0]}, r"LOSS\.CLASS_WEIGHTS has -2\.0 for class 2; "),
        (
            {"CLASS_WEIGHTS": [1.0, math.inf, 1.0, 1.0]},
            r"LOSS\.CLASS_WEIGHTS has inf for class 1; ",
        ),
        (
            {"CLASS_WEIGHTS": [math.nan, 1.0, 1.0, 1.0]},
            r"LOSS\.CLASS_WEIGHTS has nan for class 0; ",
        ),
        ({"CLASS_WEIGHTS": [1.0, 1.0, 1.0, "2,0"]}, r"LOSS\.CLASS_WEIGHTS has '2,0' for class 3; "),
        ({"CLASS_WEIGHTS": [0.0] * 4}, r"LOSS\.CLASS_WEIGHTS are all 0; "),
        ({"OHEM_THRESHOLD": 1.5}, r"LOSS\.OHEM_THRESHOLD is 1\.5; .*from 0 to 1"),
        ({"OHEM_THRESHOLD": -0.1}, r"LOSS\.OHEM_THRESHOLD is -0\.1; .*from 0 to 1"),
        ({"OHEM_MIN_KEPT": 100000.0}, r"LOSS\.OHEM_MIN_KEPT is 100000\.0; .*from 0 to 1"),
        (
            {"OHEM_THRESHOLD": 0.0, "OHEM_MIN_KEPT": 0.0},
            r"LOSS\.OHEM_THRESHOLD and OHEM_MIN_KEPT are",
        ),
        ({"FOCAL_GAMMA": -1.0}, r"LOSS\.FOCAL_GAMMA is -1\.0; .*0 or more"),
    ],
)
def test_what_it_refuses(options, message):
    with pytest.raises(UserError, match=r"MODEL\.SEM_SEG_HEAD\." + message):
        SemSegLoss(config(**options))
