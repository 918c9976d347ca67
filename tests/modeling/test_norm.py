"""Group norm of any number of channels and any size."""

import pytest
import torch
from torch import nn

from segtron.modeling.norm import NORMS, resolve_norm


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (80, 16), (24, 8), (7, 1)])
def test_groups_divide_the_channels(channels, groups):
    norm = resolve_norm("GN")(channels)
    assert (norm.num_groups, norm.num_channels) == (groups, channels)
    torch.manual_seed(0)
    x = torch.randn(2, channels, 3, 4)
    norm.bias.data.normal_()
    expected = nn.functional.group_norm(x, groups, norm.weight, norm.bias)
    assert torch.equal(norm(x), expected)


@pytest.mark.parametrize("training", [True, False])
def test_groups_of_a_single_value_become_the_shift(training):
    torch.manual_seed(0)
    norm = resolve_norm("GN")(32).train(training)
    norm.bias.data.normal_()
    out = norm(torch.randn(1, 32, 1, 1))
    assert (out.flatten() - norm.bias).abs().max() < 1e-3
    out.sum().backward()
    assert torch.equal(norm.bias.grad, torch.ones(32))


@pytest.mark.parametrize("norm", [*(norm for norm in NORMS if norm != "GN"), nn.InstanceNorm2d])
def test_others_stay_as_they_are(norm):
    assert resolve_norm(norm) is norm
