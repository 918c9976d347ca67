"""FCNHead: fusion computed by hand, initialization, names, and what it says about mistakes."""

import numpy as np
import pytest
import torch
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import nn
from torch.nn import functional as F

from segtron.errors import UserError
from segtron.modeling.semantic_heads import BilinearUpsampling, FCNHead, bilinear_kernel

from .conftest import array, build, random_features, randomize, shapes, slow_conv

FCN_8S = shapes(res3=(3, 8), res4=(4, 16), res5=(5, 32))


def slow_transposed_conv(x, kernels, stride):
    """(K, H, W) -> (K, H * stride, W * stride): every cell stamps its class's kernel."""
    classes, height, width = x.shape
    size = kernels.shape[-1]
    canvas = np.zeros((classes, height * stride + 2 * size, width * stride + 2 * size))
    for k, i, j in np.ndindex(x.shape):
        top, left = size + i * stride - stride // 2, size + j * stride - stride // 2
        canvas[k, top : top + size, left : left + size] += x[k, i, j] * kernels[k]
    return canvas[:, size : size + height * stride, size : size + width * stride]


@pytest.mark.parametrize("upsampling", ["learned", "fixed"])
@pytest.mark.parametrize("strides", [(2, 4, 8), (2, 2, 8), (1, 4, 4), (3, 6, 12)])
def test_fusion_by_hand(upsampling, strides):
    features = shapes(a=(2, strides[0]), b=(3, strides[1]), c=(4, strides[2]))
    head = build("FCNHead", features, FCN__UPSAMPLING=upsampling).eval()
    randomize(head, 0.5)
    inputs = random_features(features, 7, 11)
    expected = None
    for name, stride, next_stride in (
        ("c", strides[2], strides[1]),
        ("b", strides[1], strides[0]),
        ("a", strides[0], 1),
    ):
        x = array(inputs[name][0])
        if name == "c":
            conv = head.convs[0]
            x = np.maximum(slow_conv(x, array(conv.weight), array(conv.bias)), 0.0)
        score = head.scores[name]
        x = slow_conv(x, array(score.weight), array(score.bias))
        if expected is not None:
            x = x + expected[:, : x.shape[1], : x.shape[2]]
        factor = stride // next_stride
        if factor > 1:
            if upsampling == "learned":
                kernels = array(head.upsamplings[name].weight)[:, 0]
            else:
                kernels = array(bilinear_kernel(factor))[None].repeat(3, axis=0)
            x = slow_transposed_conv(x, kernels, factor)
        expected = x
    double = {name: tensor.double() for name, tensor in inputs.items()}
    with torch.no_grad():
        logits, losses = head.double()(double)
    assert losses == {}
    assert logits.shape == (1, 3, *expected.shape[1:])
    assert expected.shape[1] >= 7
    assert np.abs(array(logits[0]) - expected).max() < 1e-12


def test_interpolation_by_hand():
    head = build("FCNHead", FCN_8S, FCN__UPSAMPLING="interpolate", FCN__NUM_CONV=0).eval()
    randomize(head, 0.5)
    inputs = random_features(FCN_8S, 40, 72)

    def up(x, factor):
        return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)

    score = {name: head.scores[name](inputs[name]) for name in FCN_8S}
    fused = up(score["res5"], 2)[..., :3, :5] + score["res4"]
    fused = up(fused, 2)[..., :5, :9] + score["res3"]
    assert (head(inputs)[0] - up(fused, 8)).abs().max() < 1e-6


@pytest.mark.parametrize("upsampling", ["learned", "fixed", "interpolate"])
def test_an_fcn_8s_starts_as_an_fcn_32s_with_its_upsampling_in_steps(upsampling):
    options = {"FCN__UPSAMPLING": upsampling, "FCN__NUM_CONV": 2}
    deep = build("FCNHead", FCN_8S, **options).eval()
    flat = build("FCNHead", FCN_8S, IN_FEATURES=["res5"], **options).eval()
    weights = {k: v for k, v in deep.state_dict().items() if k.startswith(("convs", "scores.res5"))}
    flat.load_state_dict(weights, strict=False)
    inputs = random_features(FCN_8S, 64, 96)
    with torch.no_grad():
        got = deep(inputs)[0]
        x = flat.scores["res5"](flat.convs(inputs["res5"]))
        for factor in (2, 2, 8):
            if upsampling == "interpolate":
                x = F.interpolate(x, scale_factor=factor, mode="bilinear")
            else:
                x = BilinearUpsampling(3, factor, learned=False)(x)
        in_one_step = flat(inputs)[0]
    assert got.abs().max() > 0
    assert (got - x).abs().max() < 1e-6
    # Not the same as one step of 32, but close to it.
    assert 0 < (got - in_one_step).abs().mean() < 0.2 * in_one_step.abs().mean()


@pytest.mark.parametrize("order", [["res3", "res4", "res5"], ["res5", "res3", "res4"]])
def test_the_order_of_the_names_does_not_count(order):
    head = build("FCNHead", FCN_8S, IN_FEATURES=order)
    assert head.in_features == ["res5", "res4", "res3"]


def test_of_two_coarsest_features_the_last_has_the_convolutions():
    features = shapes(stem=(2, 4), res2=(3, 4))
    head = build("FCNHead", features).eval()
    assert head.in_features == ["res2", "stem"]
    assert head.convs[0].weight.shape[1] == 3
    assert isinstance(head.upsamplings["res2"], nn.Identity)
    assert head(random_features(features, 9, 10))[0].shape == (1, 3, 12, 12)


def test_initialization():
    features = shapes(res4=(4, 16), res5=(64, 32))
    head = build("FCNHead", features, NUM_CLASSES=40, CONVS_DIM=64)
    assert head.scores["res5"].weight.std().item() == pytest.approx(0.01, rel=0.1)
    for tensor in (head.scores["res5"].bias, *head.scores["res4"].parameters()):
        assert tensor.abs().max() == 0
    # He et al. by incoming connections: 9 cells of 64 channels.
    expected = (2 / (9 * 64)) ** 0.5
    assert head.convs[0].weight.std().item() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("norm", "kind"), [("GN", nn.GroupNorm), ("BN", nn.BatchNorm2d), ("", type(None))]
)
def test_norm_and_depth(norm, kind):
    head = build("FCNHead", FCN_8S, NORM=norm, FCN__NUM_CONV=2, CONVS_DIM=24)
    assert [conv.weight.shape[:2] for conv in head.convs] == [(24, 5), (24, 24)]
    for conv in head.convs:
        assert isinstance(conv.norm, kind)
        assert (conv.bias is None) == (norm != "")


def test_dropout_is_on_whole_channels_before_each_score_layer_and_in_training_only():
    head = build("FCNHead", FCN_8S, FCN__NUM_CONV=0, DROPOUT=0.5)
    seen = {}
    for name, score in head.scores.items():
        score.register_forward_pre_hook(lambda _, x, name=name: seen.update({name: x[0]}))
    inputs = {name: torch.ones_like(x) for name, x in random_features(FCN_8S, 64, 64, 8).items()}
    head.layers(inputs)
    for name, x in seen.items():
        assert set(x.unique().tolist()) == {0.0, 2.0}, name
        assert torch.equal(x, x[..., :1, :1].expand_as(x)), name
    head.eval().layers(inputs)
    assert all(torch.equal(x, inputs[name]) for name, x in seen.items())


def test_names_of_the_weights():
    head = build("FCNHead", FCN_8S, NORM="GN", AUX__ENABLED=True)
    assert list(head.state_dict()) == [
        "auxiliary_head.conv.weight",
        "auxiliary_head.conv.norm.weight",
        "auxiliary_head.conv.norm.bias",
        "auxiliary_head.predictor.weight",
        "auxiliary_head.predictor.bias",
        "convs.0.weight",
        "convs.0.norm.weight",
        "convs.0.norm.bias",
        "scores.res5.weight",
        "scores.res5.bias",
        "scores.res4.weight",
        "scores.res4.bias",
        "scores.res3.weight",
        "scores.res3.bias",
        "upsamplings.res5.weight",
        "upsamplings.res4.weight",
        "upsamplings.res3.weight",
    ]
    other = build("FCNHead", FCN_8S, NORM="GN", AUX__ENABLED=True)
    randomize(other, 0.5)
    head.load_state_dict(other.state_dict())
    inputs = random_features(FCN_8S, 33, 64)
    assert torch.equal(head.eval()(inputs)[0], other.eval()(inputs)[0])


@pytest.mark.parametrize(
    ("strides", "message"),
    [
        ((8, 12), "have the strides 12, 8; .*8 doesn't divide 12"),
        ((4, 6, 24), "have the strides 24, 6, 4; .*4 doesn't divide 6"),
    ],
)
def test_strides_that_do_not_divide_each_other(strides, message):
    features = shapes(**{f"f{index}": (2, stride) for index, stride in enumerate(strides)})
    with pytest.raises(UserError, match=message):
        build("FCNHead", features)


def test_unknown_upsampling():
    message = "FCN.UPSAMPLING is 'bilinear'; it must be one of 'learned', 'fixed', 'interpolate'"
    with pytest.raises(UserError, match=message):
        build("FCNHead", FCN_8S, FCN__UPSAMPLING="bilinear")


def test_registered():
    assert SEM_SEG_HEADS_REGISTRY.get("FCNHead") is FCNHead
