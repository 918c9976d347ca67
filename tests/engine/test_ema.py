from __future__ import annotations

import pytest
import torch
from torch import nn

from segtron.engine.ema import WeightAverage


def model_of(value):
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    set_all(model, value)
    return model


def set_all(model, value):
    with torch.no_grad():
        model[0].weight.fill_(value)
        model[1].running_mean.fill_(-value)
        model[1].num_batches_tracked.fill_(int(value))


def test_values_by_hand():
    """The first weights are the average; then it moves by 1 - 2/11, 1 - 3/12, later 1 - decay."""
    model = model_of(8.0)
    average = WeightAverage(model, decay=0.25)
    average.after_step()
    expected = 8.0
    for value, decay in ((4.0, 2 / 11), (2.0, 3 / 12), (1.0, 0.25), (0.0, 0.25)):
        set_all(model, value)
        average.after_step()
        expected = decay * expected + (1 - decay) * value
        assert float(average.model[0].weight) == pytest.approx(expected, rel=1e-6)
        assert float(average.model[1].running_mean) == pytest.approx(-expected, rel=1e-6)
        assert int(average.model[1].num_batches_tracked) == int(value)
    assert float(model[0].weight) == 0.0


def test_a_resumed_average_goes_on():
    def run(model, average, values):
        for value in values:
            set_all(model, value)
            average.after_step()

    model = model_of(3.0)
    whole = WeightAverage(model, decay=0.9)
    run(model, whole, [3.0, 5.0, 1.0, 7.0])

    model = model_of(3.0)
    first = WeightAverage(model, decay=0.9)
    run(model, first, [3.0, 5.0])
    second = WeightAverage(model_of(0.0), decay=0.9)
    second.load_state_dict(first.state_dict())
    second._source = model
    run(model, second, [1.0, 7.0])
    for a, b in zip(
        whole.model.state_dict().values(), second.model.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b)


def test_the_average_is_not_trained():
    model = model_of(1.0)
    average = WeightAverage(model, decay=0.9)
    assert not any(parameter.requires_grad for parameter in average.model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_switched_on_at_a_resume_it_starts_from_what_was_loaded():
    model = model_of(1.0)
    average = WeightAverage(model, decay=0.9)
    set_all(model, 7.0)  # a checkpoint is loaded
    average.before_train()
    assert float(average.model[0].weight) == 7.0
    average.after_step()
    set_all(model, 3.0)
    average.before_train()
    assert float(average.model[0].weight) == 7.0
