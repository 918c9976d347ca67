"""UNetEncoder: its features at any size, by hand, and what it says about mistakes."""

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, build_backbone
from torch import nn
from torch.nn import functional as F

from segtron.config import get_default_config
from segtron.errors import UserError
from segtron.modeling.backbones import UNetEncoder


def build(**options):
    cfg = get_default_config()
    cfg.MODEL.BACKBONE.NAME = "UNetEncoder"
    cfg.MODEL.UNET_ENCODER.CHANNELS = [4, 6, 8]
    for key, value in options.items():
        cfg.MODEL.UNET_ENCODER[key] = value
    torch.manual_seed(0)
    return build_backbone(cfg)


@pytest.mark.parametrize("size", [(1, 1), (64, 32), (37, 61), (33, 64), (1, 9)])
@pytest.mark.parametrize("conv", ["plain", "separable"])
def test_features_cover_any_image(size, conv):
    backbone = build(CHANNELS=[4, 6, 8, 10, 12], CONV=conv).eval()
    with torch.no_grad():
        features = backbone(torch.randn(2, 3, *size))
    names = ["enc1", "enc2", "enc3", "enc4", "enc5"]
    assert list(features) == list(backbone.output_shape()) == names
    for index, (name, channels) in enumerate(zip(names, [4, 6, 8, 10, 12], strict=True)):
        stride = 2**index
        assert backbone.output_shape()[name] == ShapeSpec(channels=channels, stride=stride)
        cells = (-(-side // stride) for side in size)
        assert features[name].shape == (2, channels, *cells)
    assert backbone.size_divisibility == 0
    assert backbone.padding_constraints == {}


def test_levels_by_hand():
    backbone = build(NORM="", CHANNELS=[4, 6])
    image = torch.randn(1, 3, 5, 7)
    layers = [m for m in backbone.modules() if isinstance(m, nn.Conv2d)]
    assert len(layers) == 4

    def convolve(x, pair):
        for layer in pair:
            layer.bias.data.normal_()
            x = F.conv2d(x, layer.weight, layer.bias, padding=1).clamp(min=0)
        return x

    fine = convolve(image, layers[:2])
    # The last row and column are pooled with nothing beyond.
    pooled = F.max_pool2d(F.pad(fine, (0, 1, 0, 1), value=-1.0), kernel_size=2)
    coarse = convolve(pooled, layers[2:])
    features = backbone(image)
    assert pooled.shape == (1, 4, 3, 4)
    assert (features["enc1"] - fine).abs().max() < 1e-6
    assert (features["enc2"] - coarse).abs().max() < 1e-5


def test_dropout_is_on_whole_channels_of_the_coarsest_level_in_training():
    backbone = build(DROPOUT=0.5, NORM="", CHANNELS=[4, 64])
    image = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        clean = backbone.eval()(image)
        dropped = backbone.train()(image)
    assert torch.equal(clean["enc1"], dropped["enc1"])
    alive = clean["enc2"].amax(dim=(2, 3)) > 0
    kept = dropped["enc2"].amax(dim=(2, 3)) > 0
    assert 0 < kept.sum() < alive.sum()
    assert torch.allclose(dropped["enc2"], 2.0 * clean["enc2"] * kept[..., None, None])


@pytest.mark.parametrize(
    ("norm", "kind"), [("BN", nn.BatchNorm2d), ("GN", nn.GroupNorm), ("", type(None))]
)
def test_norms(norm, kind):
    backbone = build(NORM=norm, CHANNELS=[4, 40])
    convs = [m for m in backbone.modules() if isinstance(m, nn.Conv2d)]
    assert len(convs) == 4
    for conv in convs:
        assert isinstance(conv.norm, kind)
        assert (conv.bias is None) == (norm != "")


def test_gray_images():
    cfg = get_default_config()
    cfg.MODEL.BACKBONE.NAME = "UNetEncoder"
    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = [0.0], [1.0]
    cfg.MODEL.UNET_ENCODER.CHANNELS = [2]
    backbone = build_backbone(cfg)
    assert backbone(torch.zeros(1, 1, 4, 4))["enc1"].shape == (1, 2, 4, 4)


def test_every_parameter_gets_a_gradient():
    backbone = build(CONV="separable", NORM="GN")
    backbone(torch.randn(1, 3, 9, 9))["enc3"].sum().backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


def test_names_of_the_weights():
    backbone = build(NORM="", CHANNELS=[4, 6])
    assert [name for name in backbone.state_dict() if name.endswith("weight")] == [
        "levels.enc1.0.weight",
        "levels.enc1.1.weight",
        "levels.enc2.0.weight",
        "levels.enc2.1.weight",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"CHANNELS": []}, "UNET_ENCODER.CHANNELS is empty"),
        ({"CHANNELS": [64, -1]}, r"UNET_ENCODER.CHANNELS is \[64, -1\]; .*whole numbers above 0"),
        ({"CHANNELS": [64.5]}, r"UNET_ENCODER.CHANNELS is \[64.5\]"),
        ({"NORM": "bn"}, "UNET_ENCODER.NORM is 'bn'.*'BN'"),
        ({"CONV": "depthwise"}, "UNET_ENCODER.CONV is 'depthwise'.*'plain', 'separable'"),
        ({"DROPOUT": 1.0}, "UNET_ENCODER.DROPOUT is 1.0; it must be at least 0 and below 1"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(UserError, match=message):
        build(**options)


def test_registered():
    assert BACKBONE_REGISTRY.get("UNetEncoder") is UNetEncoder
