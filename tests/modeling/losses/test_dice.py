"""Dice loss against values computed by hand."""

import math

import pytest
import torch

from segtron.modeling.losses import soft_dice_loss


def logit(p):
    return math.log(p / (1 - p))


def test_a_case_by_hand():
    # p = (0.8, 0.4, 0.5, 0.5), g = (1, 1, 0, 0), a smooth term of 1:
    # overlap 1.2, squares 0.64 + 0.16 + 0.25 + 0.25 = 1.3, ground truth 2
    # 1 - (2 * 1.2 + 1) / (1.3 + 2 + 1) = 1 - 3.4 / 4.3
    logits = torch.tensor([[[logit(0.8), logit(0.4)], [0.0, 0.0]]])
    targets = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    assert soft_dice_loss(logits, targets).item() == pytest.approx(1 - 3.4 / 4.3, abs=1e-6)
    assert soft_dice_loss(logits, targets.bool()) == soft_dice_loss(logits, targets)


def test_every_mask_counts_alike():
    small = torch.full((1, 8, 8), -50.0)
    small[0, 0, 0] = 50.0
    large = torch.full((1, 8, 8), 50.0)
    nothing = torch.full((1, 8, 8), -50.0)
    logits = torch.cat([small, large, nothing])
    targets = logits > 0
    assert soft_dice_loss(logits, targets).item() == pytest.approx(0.0, abs=1e-6)
    # One mask wrong: small 1 - 1/2, large 1 - 1/65, nothing against all 1 - 1/65.
    for index, loss in ((0, 1 - 1 / 2), (1, 1 - 1 / 65), (2, 1 - 1 / 65)):
        wrong = logits.clone()
        wrong[index] = -50.0 if index < 2 else 50.0
        assert soft_dice_loss(wrong, targets).item() == pytest.approx(loss / 3, abs=1e-6)


def test_gradient_against_finite_differences():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 3, requires_grad=True)
    targets = torch.rand(2, 3, 3) > 0.5
    soft_dice_loss(logits, targets).backward()
    for place in ((0, 0, 0), (1, 2, 1)):
        step = torch.zeros_like(logits)
        step[place] = 1e-2
        with torch.no_grad():
            difference = soft_dice_loss(logits + step, targets)
            difference -= soft_dice_loss(logits - step, targets)
        assert logits.grad[place].item() == pytest.approx(difference.item() / 2e-2, abs=1e-5)


def test_no_mask_gives_zero_and_a_gradient():
    weight = torch.ones(1, requires_grad=True)
    loss = soft_dice_loss(torch.zeros(0, 28, 28) * weight, torch.zeros(0, 28, 28))
    loss.backward()
    assert loss.item() == 0.0
    assert weight.grad.item() == 0.0


def test_half_precision_does_not_overflow():
    logits = torch.full((1, 512, 512), 20.0, dtype=torch.float16)
    assert soft_dice_loss(logits, torch.ones(1, 512, 512)).item() == pytest.approx(0.0, abs=1e-6)


def test_shapes_that_do_not_match_are_named():
    with pytest.raises(ValueError, match=r"\(2, 4, 4\).*\(2, 8, 8\)"):
        soft_dice_loss(torch.zeros(2, 4, 4), torch.zeros(2, 8, 8))
