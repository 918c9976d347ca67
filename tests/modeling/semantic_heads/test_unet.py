"""UNetHead: one step by hand, widths, parameters, odd sizes, and what it says about mistakes."""

import numpy as np
import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import nn
from torch.nn import functional as F

from segtron.errors import UserError
from segtron.modeling.backbones import UNetEncoder
from segtron.modeling.semantic_heads import UNetHead
from segtron.modeling.unet_decoder import UpStep

from .conftest import array, build, random_features, randomize, shapes, slow_conv

PYRAMID = shapes(res2=(2, 4), res3=(3, 8), res4=(4, 16), res5=(5, 32))


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def slow_transposed_conv(x, weight, bias):
    """(C, H, W) -> (O, 2H, 2W): each cell becomes four."""
    _, height, width = x.shape
    out = np.zeros((len(bias), 2 * height, 2 * width))
    for o, i, j in np.ndindex(out.shape):
        out[o, i, j] = bias[o] + weight[:, o, i % 2, j % 2] @ x[:, i // 2, j // 2]
    return out


def test_the_decoder_by_hand():
    features = shapes(stem=(2, 4), res2=(3, 4), res3=(2, 8))
    head = build("UNetHead", features, COMMON_STRIDE=2, UNET__CHANNELS=[4, 3]).eval()
    randomize(head, 0.4)
    inputs = random_features(features, 9, 13)
    x = array(inputs["res3"][0])
    assert x.shape == (2, 2, 2)
    for step, names in zip(head.steps, (["stem", "res2"], []), strict=True):
        x = slow_transposed_conv(x, array(step.up.weight), array(step.up.bias))
        if names:
            x = x[:, :3, :4]
            x = np.concatenate([x] + [array(inputs[name][0]) for name in names])
        for conv in step.convs:
            x = np.maximum(slow_conv(x, array(conv.weight), array(conv.bias)), 0.0)
    assert x.shape == (3, 6, 8)
    expected = slow_conv(x, array(head.predictor.weight), array(head.predictor.bias))
    head.double()
    double = {name: tensor.double() for name, tensor in inputs.items()}
    with torch.no_grad():
        layers = head.layers(double)
        logits = head(double)[0]
    assert np.abs(array(layers[0]) - expected).max() < 1e-12
    assert logits.shape == (1, 3, 12, 16)
    reference = F.interpolate(layers, scale_factor=2, mode="bilinear", align_corners=False)
    assert torch.equal(logits, reference)


def test_bilinear_steps_are_a_pointwise_convolution_after_interpolation():
    torch.manual_seed(0)
    step = UpStep(5, 3, 4, norm="", conv="plain", upsampling="bilinear").double()
    randomize(step, 0.4)
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    skip = torch.randn(2, 3, 5, 7, dtype=torch.float64)
    up = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    up = F.conv2d(up, step.up[0].weight, step.up[0].bias)[..., :5, :7]
    expected = step.convs(torch.cat([up, skip], dim=1))
    assert (step(x, skip) - expected).abs().max() < 1e-12


def test_the_papers_network_has_the_papers_number_of_weights():
    def conv(inputs, outputs, size):
        return inputs * outputs * size * size + outputs

    widths = [64, 128, 256, 512, 1024]
    encoder = sum(
        conv(a, b, 3) + conv(b, b, 3) for a, b in zip([1] + widths[:-1], widths, strict=True)
    )
    # A step's skip is as wide as the step itself.
    decoder = sum(conv(2 * w, w, 2) + conv(2 * w, w, 3) + conv(w, w, 3) for w in widths[:-1])
    backbone = UNetEncoder(in_channels=1, norm="")
    head = build("UNetHead", backbone.output_shape(), COMMON_STRIDE=1, CONVS_DIM=64, NUM_CLASSES=2)
    assert count(backbone) == encoder == 18_842_048
    assert count(head) == decoder + conv(64, 2, 1)
    # 31.03 million, as is known of the U-Net with padding.
    assert count(backbone) + count(head) == 31_030_658


def test_the_papers_network_keeps_the_scale_of_its_activations():
    torch.manual_seed(0)
    backbone = UNetEncoder(in_channels=1, channels=[16, 32, 64, 128, 256], norm="")
    head = build("UNetHead", backbone.output_shape(), COMMON_STRIDE=1, CONVS_DIM=16).eval()
    with torch.no_grad():
        logits, _ = head(backbone(torch.randn(2, 1, 64, 64)))
    assert 0.3 < logits.std() < 10


@pytest.mark.parametrize("norm", ["", "BN"])
def test_separable_and_plain_convolutions_have_the_weights_they_should(norm):
    features = shapes(res2=(24, 4), res3=(40, 8))
    options = {"COMMON_STRIDE": 4, "CONVS_DIM": 16, "NORM": norm, "NUM_CLASSES": 5}
    plain = build("UNetHead", features, **options)
    separable = build("UNetHead", features, UNET__CONV="separable", **options)
    around = 40 * 16 * 4 + 16 + 16 * 5 + 5  # upsampling and score layer, with their biases
    # A bias for each channel without a norm; scale and shift of the norm with it, which the
    # features have as well.
    extra = 1 if norm == "" else 2
    around += 0 if norm == "" else 2 * (24 + 40)
    cell = 16 + 24
    assert count(plain) == around + (9 * cell * 16 + 9 * 16 * 16) + extra * (16 + 16)
    depthwise = 9 * cell + 9 * 16 + extra * (cell + 16)
    pointwise = cell * 16 + 16 * 16 + extra * (16 + 16)
    assert count(separable) == around + depthwise + pointwise


@pytest.mark.parametrize(
    ("options", "channels"),
    [
        ({"COMMON_STRIDE": 4}, [32, 16, 8]),
        ({"COMMON_STRIDE": 1}, [128, 64, 32, 16, 8]),
        ({"COMMON_STRIDE": 4, "IN_FEATURES": ["res2", "res5"]}, [32, 16, 8]),
        ({"COMMON_STRIDE": 4, "UNET__CHANNELS": [7, 6, 9]}, [7, 6, 9]),
    ],
)
def test_channels_of_the_steps(options, channels):
    head = build("UNetHead", PYRAMID, **options)
    assert [step.convs[1].weight.shape[0] for step in head.steps] == channels
    assert head.predictor.weight.shape[1] == channels[-1]


@pytest.mark.parametrize("size", [(37, 61), (1, 1), (33, 64), (64, 32)])
@pytest.mark.parametrize("upsampling", ["transposed", "bilinear"])
@pytest.mark.parametrize("names", [list(PYRAMID), ["res2", "res5"], ["res3", "res4"]])
def test_logits_cover_any_image(size, upsampling, names):
    options = {"UNET__UPSAMPLING": upsampling, "IN_FEATURES": names}
    head = build("UNetHead", PYRAMID, COMMON_STRIDE=2, **options).eval()
    logits, losses = head(random_features(PYRAMID, *size, batch=2))
    assert losses == {}
    # Whole cells of the finest feature that is used.
    stride = min(PYRAMID[name].stride for name in names)
    assert logits.shape == (2, 3, *(-(-side // stride) * stride for side in size))


def test_dropout_is_on_whole_channels_before_the_last_layer():
    head = build("UNetHead", PYRAMID, COMMON_STRIDE=4, DROPOUT=0.5, CONVS_DIM=64)
    nn.init.zeros_(head.steps[-1].convs[1].weight)
    nn.init.ones_(head.steps[-1].convs[1].bias)
    seen = []
    head.predictor.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    head.layers(random_features(PYRAMID, 16, 16))
    assert set(seen[0].unique().tolist()) == {0.0, 2.0}
    assert torch.equal(seen[0], seen[0][..., :1, :1].expand_as(seen[0]))


@pytest.mark.parametrize("conv", ["plain", "separable"])
def test_norms_are_on_features_and_in_convolutions_only(conv):
    head = build("UNetHead", PYRAMID, COMMON_STRIDE=4, NORM="GN", UNET__CONV=conv)
    norms = [name for name, m in head.named_modules() if isinstance(m, nn.GroupNorm)]
    of_features = [name for name in norms if name.startswith("norms.")]
    assert len(of_features) == len(PYRAMID)
    of_convs = [name for name in norms if ".convs." in name]
    assert len(of_convs) == (6 if conv == "plain" else 12)
    assert len(norms) == len(of_features) + len(of_convs)
    assert all(step.up.bias is not None for step in head.steps)


def test_large_features_do_not_drown_those_of_other_strides():
    head = build("UNetHead", PYRAMID, COMMON_STRIDE=4, NORM="BN").double()
    features = {
        name: feature.double() for name, feature in random_features(PYRAMID, 64, 64, 2).items()
    }
    larger = features | {"res2": 1000 * features["res2"]}
    # Up to what BN adds to a variance so that it is never 0.
    assert (head.layers(larger) - head.layers(features)).abs().max() < 1e-3


def test_names_of_the_weights():
    features = shapes(res2=(2, 4), res3=(3, 8))
    plain = build("UNetHead", features, COMMON_STRIDE=4)
    assert list(plain.state_dict()) == [
        f"{layer}.{tensor}"
        for layer in ("steps.0.up", "steps.0.convs.0", "steps.0.convs.1", "predictor")
        for tensor in ("weight", "bias")
    ]
    other = build(
        "UNetHead", features, COMMON_STRIDE=4, UNET__CONV="separable", UNET__UPSAMPLING="bilinear"
    )
    assert [name for name in other.state_dict() if name.endswith("weight")] == [
        "steps.0.up.0.weight",
        "steps.0.convs.0.depthwise.weight",
        "steps.0.convs.0.pointwise.weight",
        "steps.0.convs.1.depthwise.weight",
        "steps.0.convs.1.pointwise.weight",
        "predictor.weight",
    ]
    twin = build("UNetHead", features, COMMON_STRIDE=4)
    randomize(twin, 0.4)
    plain.load_state_dict(twin.state_dict())
    inputs = random_features(features, 11, 13)
    assert torch.equal(plain.eval()(inputs)[0], twin.eval()(inputs)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"UNET__CHANNELS": [8, 8]},
            "UNET.CHANNELS has 2 entries, but from stride 32 to stride 4 there are 3 up-steps",
        ),
        ({"UNET__CHANNELS": [8, 0, 8]}, r"UNET.CHANNELS is \[8, 0, 8\]"),
        ({"COMMON_STRIDE": 8}, "res2 has stride 4, and .*COMMON_STRIDE is 8"),
        ({"COMMON_STRIDE": 3}, "res2 has stride 4, and .*COMMON_STRIDE is 3"),
        ({"COMMON_STRIDE": 4, "IN_FEATURES": ["res2"]}, "COMMON_STRIDE is 4, the stride of the co"),
        ({"UNET__UPSAMPLING": "learned"}, "UNET.UPSAMPLING is 'learned'.*'transposed', 'bilinear'"),
        ({"UNET__CONV": "depthwise"}, "UNET.CONV is 'depthwise'.*'plain', 'separable'"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(UserError, match=message):
        build("UNetHead", PYRAMID, **options)


def test_strides_that_are_no_powers_of_two_apart():
    features = {"a": ShapeSpec(channels=2, stride=4), "b": ShapeSpec(channels=2, stride=12)}
    with pytest.raises(UserError, match="b has stride 12, and .*COMMON_STRIDE is 4"):
        build("UNetHead", features)


def test_registered():
    assert SEM_SEG_HEADS_REGISTRY.get("UNetHead") is UNetHead
