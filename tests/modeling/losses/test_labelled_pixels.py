"""Means over the pixels that count, where none does."""

import pytest
import torch

from segtron.modeling.losses.labelled_pixels import weighted_mean


@pytest.mark.parametrize("loss_weight", [1.0, 200.0, 1e30])
def test_nothing_that_counts_leaves_loss_and_gradient_zero(loss_weight: float) -> None:
    values = torch.tensor([1.0, 5.0], requires_grad=True)
    loss = weighted_mean(values, torch.zeros(2)) * loss_weight
    loss.backward()
    assert loss.item() == 0
    assert values.grad.tolist() == [0, 0]


def test_weights() -> None:
    values = torch.tensor([1.0, 5.0, 100.0], requires_grad=True)
    loss = weighted_mean(values, torch.tensor([1.0, 3.0, 0.0]))
    loss.backward()
    assert loss.item() == 4
    assert values.grad.tolist() == [0.25, 0.75, 0]
