from __future__ import annotations

import pytest
import torch
from detectron2.layers import ShapeSpec
from timm.layers import Conv2dSame
from torch import nn

from segtron.inference.export.any_size import AnySizeTimmBackbone, CropByIndex, fix_padding
from segtron.modeling.backbones import TimmBackbone


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (4, 1), (1, 2)])
def test_padding_is_tensorflows_where_the_stride_divides_the_size(kernel, stride, dilation):
    torch.manual_seed(0)
    convolution = Conv2dSame(3, 4, kernel, stride=stride, dilation=dilation)
    fixed = nn.Sequential(convolution)
    fix_padding(fixed)
    assert not any(isinstance(module, Conv2dSame) for module in fixed.modules())
    image = torch.rand(1, 3, 16, 24)
    torch.testing.assert_close(fixed(image), convolution(image))


def test_kernels_that_are_not_square():
    convolution = Conv2dSame(1, 1, (5, 3), stride=(1, 2))
    fixed = nn.Sequential(convolution)
    fix_padding(fixed)
    image = torch.rand(1, 1, 8, 8)
    torch.testing.assert_close(fixed(image), convolution(image))


@pytest.mark.parametrize("size", [(64, 96), (65, 33), (1, 40)])
def test_features_of_any_size_are_those_of_the_backbone(size):
    torch.manual_seed(0)
    backbone = TimmBackbone(
        name="tf_efficientnet_lite0", out_features=["res5", "res2"], norm="BN", pretrained=False
    ).eval()
    image = torch.rand(1, 3, *size)
    with torch.no_grad():
        expected = backbone(image)
        fix_padding(backbone)
        found = AnySizeTimmBackbone(backbone)(image)
    assert {name: feature.shape for name, feature in found.items()} == {
        name: feature.shape for name, feature in expected.items()
    }
    assert backbone.output_shape()["res5"] == ShapeSpec(channels=320, stride=32)
    for name, feature in expected.items():
        torch.testing.assert_close(found[name], feature)


def test_features_of_a_transformer_come_channels_first():
    torch.manual_seed(0)
    backbone = TimmBackbone(
        name="swin_tiny_patch4_window7_224", out_features=["res2", "res3"], freeze_at=2
    ).eval()
    assert backbone.gives_nhwc
    image = torch.rand(1, 3, 40, 72)
    with torch.no_grad():
        expected, found = backbone(image), AnySizeTimmBackbone(backbone)(image)
    assert list(found) == list(expected)
    for name, feature in expected.items():
        torch.testing.assert_close(found[name], feature)


class _Crop(nn.Module):
    def forward(self, x):
        height, width = x.shape[-2:]
        with CropByIndex():
            return x[..., : height // 2, : width - 1], x[:, 0], x[..., 1:, :2]


def test_cropping_by_index_is_cropping_and_leaves_other_keys_alone():
    x = torch.rand(2, 3, 8, 9)
    sides = {2: torch.export.Dim("h", min=4), 3: torch.export.Dim("w", min=4)}
    module = _Crop()
    program = torch.export.export(module, (x,), dynamic_shapes={"x": sides}, strict=False)
    picked = sum(node.target is torch.ops.aten.index_select.default for node in program.graph.nodes)
    assert picked == 2
    for size in ((8, 9), (20, 5)):
        x = torch.rand(2, 3, *size)
        for found, expected in zip(program.module()(x), module(x), strict=True):
            assert torch.equal(found, expected)
