"""Convolution blocks: their layers, weights and scale, plain and separable."""

import itertools

import pytest
import torch
from torch import nn

from segtron.modeling.conv_block import DoubleConv, conv_block


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("conv", "norm", "parameters"),
    [
        ("plain", "", 9 * 6 * 10 + 10),
        ("plain", "BN", 9 * 6 * 10 + 2 * 10),
        ("separable", "", (9 * 6 + 6) + (6 * 10 + 10)),
        ("separable", "GN", (9 * 6 + 2 * 6) + (6 * 10 + 2 * 10)),
    ],
)
def test_number_of_weights_by_hand(conv, norm, parameters):
    assert count(conv_block(6, 10, conv=conv, norm=norm)) == parameters


@pytest.mark.parametrize("conv", ["plain", "separable"])
@pytest.mark.parametrize("norm", ["", "BN", "GN", "LN", nn.InstanceNorm2d])
def test_size_is_kept_and_the_output_is_rectified(conv, norm):
    torch.manual_seed(0)
    block = DoubleConv(5, 7, norm=norm, conv=conv)
    x = torch.randn(2, 5, 3, 4)
    before = x.clone()
    out = block(x)
    assert out.shape == (2, 7, 3, 4)
    assert out.min() == 0
    assert torch.equal(x, before)


@pytest.mark.parametrize("conv", ["plain", "separable"])
def test_the_scale_lasts_through_many_layers_without_norms(conv):
    torch.manual_seed(0)
    widths = [3, 64, 64, 128, 128, 256, 64, 16, 64]
    x = torch.randn(1, 3, 48, 48)
    with torch.no_grad():
        for a, b in itertools.pairwise(widths):
            x = conv_block(a, b, norm="", conv=conv)(x)
    # The border, where a part of the inputs is missing, is left out.
    assert 0.2 < x[..., 9:-9, 9:-9].std() < 5


def test_unknown_convolution():
    with pytest.raises(ValueError, match="conv is 'dense'"):
        conv_block(2, 2, norm="", conv="dense")
