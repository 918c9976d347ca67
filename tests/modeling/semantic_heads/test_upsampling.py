"""Bilinear kernels and transposed convolutions made of them."""

import math

import pytest
import torch
from torch.nn import functional as F

from segtron.modeling.semantic_heads import BilinearUpsampling, bilinear_kernel
from segtron.modeling.semantic_heads.upsampling import build_upsampling


def caffe_bilinear_filler(size):
    """The formula of Caffe's BilinearFiller, which FCN's reference code initializes with."""
    f = math.ceil(size / 2)
    c = (2 * f - 1 - f % 2) / (2 * f)
    return [[(1 - abs(x / f - c)) * (1 - abs(y / f - c)) for x in range(size)] for y in range(size)]


@pytest.mark.parametrize("stride", [2, 4, 8, 16, 32])
def test_kernel_is_that_of_the_paper(stride):
    expected = torch.tensor(caffe_bilinear_filler(2 * stride), dtype=torch.float64)
    kernel = bilinear_kernel(stride)
    assert kernel.shape == (2 * stride, 2 * stride)
    assert (kernel.double() - expected).abs().max() < 1e-6
    assert kernel.sum().item() == pytest.approx(stride**2, rel=1e-6)


def test_kernels_by_hand():
    assert bilinear_kernel(1).tolist() == [[1.0]]
    assert bilinear_kernel(2)[1].tolist() == [0.1875, 0.5625, 0.5625, 0.1875]
    third = [1 / 3, 2 / 3, 1.0, 2 / 3, 1 / 3]
    assert bilinear_kernel(3)[2].tolist() == pytest.approx(third)


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("learned", [True, False])
def test_it_interpolates_away_from_the_border(stride, learned):
    x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    out = BilinearUpsampling(3, stride, learned=learned)(x)
    expected = F.interpolate(x, scale_factor=stride, mode="bilinear", align_corners=False)
    assert out.shape == expected.shape
    border = stride // 2
    inner = (..., slice(border, 4 * stride - border), slice(border, 5 * stride - border))
    assert (out - expected)[inner].abs().max() < 1e-6


def test_it_fades_at_the_border_for_all_channels_alike():
    x = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    out = BilinearUpsampling(4, 8, learned=False)(x)
    smooth = F.interpolate(x, scale_factor=8, mode="bilinear", align_corners=False)
    assert (out[0, :, 0, 0] / smooth[0, :, 0, 0] - 0.5625**2).abs().max() < 1e-6
    assert torch.equal(out.argmax(dim=1), smooth.argmax(dim=1))


def test_fixed_kernels_are_neither_trained_nor_saved_nor_loaded():
    fixed = BilinearUpsampling(3, 4, learned=False)
    assert list(fixed.parameters()) == []
    assert list(fixed.state_dict()) == []
    learned = BilinearUpsampling(3, 4, learned=True)
    assert [name for name, _ in learned.named_parameters()] == ["weight"]
    assert torch.equal(learned.weight, fixed.weight)


def test_each_channel_has_a_kernel_of_its_own():
    upsampling = BilinearUpsampling(2, 2, learned=True)
    upsampling.weight.data[1] = 0.0
    out = upsampling(torch.ones(1, 2, 3, 3))
    assert out[0, 0].min() > 0
    assert out[0, 1].abs().max() == 0


def test_kinds():
    assert isinstance(build_upsampling("learned", 3, 1), torch.nn.Identity)
    assert isinstance(build_upsampling("interpolate", 3, 2), torch.nn.Upsample)
    with pytest.raises(ValueError, match="kind is 'nearest'"):
        build_upsampling("nearest", 3, 2)
