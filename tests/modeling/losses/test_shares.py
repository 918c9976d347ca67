from __future__ import annotations

import pytest
import torch
from torch import nn

from segtron.modeling.losses import SemSegLoss, shares
from segtron.modeling.losses.shares import loss_shares


def labels(*rows):
    return {"sem_seg": torch.tensor(rows)}


def loss_of(weights, class_weights=()):
    return SemSegLoss(ignore_value=255, weights=weights, class_weights=class_weights)


PARTS = [
    [labels([0, 255, 255, 255])],
    [labels([0, 1, 1, 1]), labels([255, 255, 2, 2])],
]


def test_shares_by_hand():
    first, second = loss_shares(loss_of({"cross_entropy": 1.0}), PARTS)
    assert first == {"loss_sem_seg": 1 / 7, "loss_sem_seg_aux": 1 / 7}
    assert second == {"loss_sem_seg": 6 / 7, "loss_sem_seg_aux": 6 / 7}


def test_weights_of_classes_count():
    loss = loss_of({"cross_entropy": 1.0, "bce": 1.0, "dice": 1.0}, (0.5, 2.0, 0.0))
    first, _ = loss_shares(loss, PARTS)
    # Dice is no mean over pixels; then the sum of all terms is none, either.
    assert first == {"loss_sem_seg": 0.5 / 7, "loss_sem_seg_bce": 1 / 7}


@pytest.mark.parametrize(
    "terms", [{"cross_entropy": 1.0, "focal": 0.5}, {"bce": 2.0, "brier": 1.0}]
)
@pytest.mark.parametrize("class_weights", [(), (0.3, 2.0, 1.0)])
def test_parts_add_up_to_the_batch(terms, class_weights):
    """Losses and gradients, in float64."""
    generator = torch.Generator().manual_seed(0)
    loss = loss_of(terms, class_weights).double()
    targets = torch.randint(0, 3, (6, 5, 7), generator=generator)
    targets[torch.rand(targets.shape, generator=generator) < 0.4] = 255
    targets[3] = 255
    logits = torch.randn((6, 3, 5, 7), dtype=torch.float64, generator=generator)
    logits.requires_grad_()
    whole = loss(logits, targets)
    (expected,) = torch.autograd.grad(sum(whole.values()), logits)

    parts = [[{"sem_seg": target} for target in targets[n : n + 2]] for n in (0, 2, 4)]
    shares = loss_shares(loss, parts)
    summed = dict.fromkeys(whole, 0.0)
    for n, share in zip((0, 2, 4), shares, strict=True):
        for name, value in loss(logits[n : n + 2], targets[n : n + 2]).items():
            summed[name] = summed[name] + share[name] * value
    (gradient,) = torch.autograd.grad(sum(summed.values()), logits)
    for name in whole:
        torch.testing.assert_close(summed[name], whole[name], rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-15)


def test_nothing_labelled_and_nothing_to_share():
    loss = loss_of({"cross_entropy": 1.0})
    empty = [[labels([255])], [labels([255])]]
    assert loss_shares(loss, empty) == [{}, {}]
    assert loss_shares(loss, PARTS[:1]) == [{}]
    assert loss_shares(nn.Linear(1, 1), PARTS) == [{}, {}]


def test_processes_share_a_batch(monkeypatch):
    """The mean over both processes, as gradients are averaged, is the loss of the whole batch."""
    loss = loss_of({"cross_entropy": 1.0})
    everybody = [[loss.sizes([image["sem_seg"] for image in part])] for part in PARTS]
    monkeypatch.setattr(shares.comm, "get_world_size", lambda: 2)
    monkeypatch.setattr(shares.comm, "all_gather", lambda _: everybody)
    (first,), (second,) = (loss_shares(loss, [part]) for part in PARTS)
    assert first["loss_sem_seg"] == pytest.approx(2 * 1 / 7)
    assert second["loss_sem_seg"] == pytest.approx(2 * 6 / 7)
