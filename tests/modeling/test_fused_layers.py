"""Fused layers against the plain ones; what can't be fused stays as it is."""

import copy
import os
import subprocess
import sys

import pytest
import torch
from detectron2.layers import Conv2d, ShapeSpec, get_norm
from detectron2.modeling.backbone import FPN, Backbone
from detectron2.modeling.backbone.resnet import BasicBlock, BottleneckBlock
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.roi_heads import CascadeROIHeads, FastRCNNConvFCHead, StandardROIHeads
from torch import nn
from torch.nn import functional as F

from segtron.modeling.fused_layers import FusedConv2d, _computes_in, fuse_layers

# The plain layers round before they add.
TOLERANCES = {
    torch.float32: {"rtol": 1e-4, "atol": 1e-5},
    torch.bfloat16: {"rtol": 2**-7, "atol": 2**-6},
}
HAS_ONEDNN = torch.backends.mkldnn.is_available()
pytestmark = pytest.mark.skipif(not HAS_ONEDNN, reason="needs a PyTorch with oneDNN")
needs_bfloat16 = pytest.mark.skipif(
    not (HAS_ONEDNN and _computes_in(torch.bfloat16)), reason="oneDNN needs AVX-512 for it"
)
PRECISIONS = [torch.float32, pytest.param(torch.bfloat16, marks=needs_bfloat16)]


def check_same(layers: nn.Module, x: torch.Tensor, dtype: torch.dtype) -> nn.Module:
    """Fuse a copy, and compare; returns the copy."""
    torch.manual_seed(0)
    plain = nn.Sequential(layers).to(dtype).to(memory_format=torch.channels_last).eval()
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.normal_(0, 0.2)
    fused = copy.deepcopy(plain).requires_grad_(False)
    fuse_layers(fused)
    x = x.to(dtype)
    given = x.clone()
    with torch.inference_mode():
        expected, actual = plain(x), fused(x)
        assert torch.equal(x, given)  # a summand is only read
    torch.testing.assert_close(actual, expected, **TOLERANCES[dtype])
    assert expected.numel() == 0 or (expected == 0).any()
    return fused[0]


def image(channels: int, height: int = 11, width: int = 14, number: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(number, channels, height, width, generator=generator)
    return x.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize(
    ("in_channels", "stride", "stride_in_1x1", "dilation", "groups"),
    [(32, 1, False, 1, 1), (16, 2, True, 1, 1), (16, 2, False, 1, 1), (32, 1, False, 2, 4)],
)
def test_bottlenecks(dtype, in_channels, stride, stride_in_1x1, dilation, groups):
    block = BottleneckBlock(
        in_channels,
        32,
        bottleneck_channels=8,
        stride=stride,
        num_groups=groups,
        norm="",
        stride_in_1x1=stride_in_1x1,
        dilation=dilation,
    )
    fused = check_same(block, image(in_channels), dtype)
    assert not any(isinstance(module, Conv2d) for module in fused.modules())


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("activation", [None, F.relu, F.relu_, nn.ReLU()])
@pytest.mark.parametrize("bias", [True, False])
def test_convolutions(dtype, activation, bias):
    layer = Conv2d(8, 16, 3, stride=2, padding=(1, 0), bias=bias, activation=activation)
    if activation is None:
        layer = nn.Sequential(layer, nn.ReLU())
    fused = check_same(layer, image(8), dtype)
    assert not any(isinstance(module, Conv2d) for module in fused.modules())


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_box_heads(dtype):
    head = FastRCNNConvFCHead(
        ShapeSpec(channels=8, height=3, width=3), conv_dims=[6], fc_dims=[20, 12]
    )
    fused = check_same(head, image(8, 3, 3, number=7), dtype)
    kinds = {type(layer) for layer in fused.children()}
    assert not kinds & {Conv2d, nn.Linear, nn.ReLU}


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("conv_dims", [[], [6]])
def test_box_heads_take_regions_as_they_lie(dtype, heads, conv_dims):
    torch.manual_seed(0)
    shape = ShapeSpec(channels=8, height=2, width=5)
    made = [FastRCNNConvFCHead(shape, conv_dims=conv_dims, fc_dims=[20, 12]) for _ in range(heads)]
    roi_heads = StandardROIHeads.__new__(CascadeROIHeads if heads > 1 else StandardROIHeads)
    nn.Module.__init__(roi_heads)
    roi_heads.box_pooler = ROIPooler((2, 5), [0.25], 0, "ROIAlignV2")
    roi_heads.box_head = nn.ModuleList(made) if heads > 1 else made[0]
    plain = roi_heads.to(dtype).eval().requires_grad_(False)
    fused = copy.deepcopy(plain)
    fuse_layers(fused)
    for x in (image(8, 2, 5, number=7), image(8, 2, 5, number=7).contiguous(), image(8, 2, 5, 0)):
        for before, after in zip(heads_of(plain.box_head), heads_of(fused.box_head), strict=True):
            expected = before(x.to(dtype))
            torch.testing.assert_close(after(x.to(dtype)), expected, **TOLERANCES[dtype])
            assert expected.numel() == 0 or (expected == 0).any()


def heads_of(box_head: nn.Module) -> list[nn.Module]:
    return list(box_head) if isinstance(box_head, nn.ModuleList) else [box_head]


def test_feature_pyramids():
    class Levels(Backbone):
        def output_shape(self):
            return {"a": ShapeSpec(channels=4, stride=4), "b": ShapeSpec(channels=8, stride=8)}

        def forward(self, x):
            return {"a": image(4, 16, 24), "b": image(8, 8, 12)}

    torch.manual_seed(0)
    plain = FPN(Levels(), ["a", "b"], 6).eval().requires_grad_(False)
    fused = copy.deepcopy(plain)
    fuse_layers(fused)
    expected, actual = plain(None), fused(None)
    for name, features in expected.items():
        torch.testing.assert_close(actual[name], features, rtol=1e-4, atol=1e-5)
    layers = [*fused.lateral_convs, *fused.output_convs]
    assert {type(layer) for layer in layers} == {FusedConv2d}
    assert set(layers) <= set(fused.children())


def test_one_layer_for_features_of_several_sizes():
    """As the head of an RPN: the weight that oneDNN put in order for one size is not for others."""
    torch.manual_seed(0)
    layer = Conv2d(64, 64, 3, padding=1, activation=F.relu).requires_grad_(False)
    fused = FusedConv2d(layer, rectify=True)
    for x in (image(64, 40, 50), image(64, 3, 4), image(64, 1, 1, 5), image(64, 40, 50)):
        torch.testing.assert_close(fused(x), layer(x), rtol=1e-4, atol=1e-5)


def test_layers_that_have_run_can_be_copied_and_saved(tmp_path):
    layer = FusedConv2d(Conv2d(4, 4, 3).requires_grad_(False), rectify=True)
    expected = layer(image(4))
    torch.save(layer, tmp_path / "layer.pth")
    for copied in (copy.deepcopy(layer), torch.load(tmp_path / "layer.pth", weights_only=False)):
        assert torch.equal(copied(image(4)), expected)


def load_in_place(layer: nn.Module, weight: torch.Tensor) -> None:
    layer.load_state_dict({"weight": weight}, strict=False)


def assign(layer: nn.Module, weight: torch.Tensor) -> None:
    layer.load_state_dict({"weight": weight}, strict=False, assign=True)


def replace_data(layer: nn.Module, weight: torch.Tensor) -> None:
    layer.weight.data = weight


@pytest.mark.parametrize("change", [load_in_place, assign, replace_data])
@pytest.mark.parametrize("summand", [None, torch.ones(1, 4, 9, 12)])
def test_a_layer_that_has_run_takes_other_weights(change, summand):
    layer = FusedConv2d(Conv2d(4, 4, 3).requires_grad_(False), rectify=True)
    other = Conv2d(4, 4, 3, activation=F.relu).requires_grad_(False)
    other.bias.copy_(layer.bias)
    x = image(4, number=1)
    with torch.inference_mode():
        before = layer(x, summand)
    change(layer, other.weight.clone())
    with torch.inference_mode():
        torch.testing.assert_close(layer(x, summand), FusedConv2d(other, rectify=True)(x, summand))
        assert not torch.equal(layer(x, summand), before)


def test_a_layer_made_in_inference_mode():
    with torch.inference_mode():
        layer = Conv2d(4, 4, 3, activation=F.relu)
        torch.testing.assert_close(FusedConv2d(layer, rectify=True)(image(4)), layer(image(4)))


def test_nothing_in():
    check_same(Conv2d(4, 4, 1, activation=F.relu), image(4, number=0), torch.float32)


@needs_bfloat16
def test_features_of_another_precision_are_cast():
    layer = Conv2d(4, 4, 3, padding=1, activation=F.relu).to(torch.bfloat16).requires_grad_(False)
    x = image(4)
    expected = layer(x.bfloat16())
    assert torch.equal(FusedConv2d(layer, rectify=True)(x), expected)


@pytest.mark.parametrize(
    "layer",
    [
        Conv2d(4, 4, 1, activation=nn.LeakyReLU()),
        Conv2d(4, 32, 1, norm=get_norm("GN", 32)),
        Conv2d(4, 4, 3, padding="same"),
        Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        Conv2d(4, 4, 1).double(),
        nn.Conv2d(4, 4, 1),
        type("Standardized", (Conv2d,), {})(4, 4, 1),
        BottleneckBlock(32, 32, bottleneck_channels=32, norm="GN"),
    ],
    ids=str,
)
def test_what_stays(layer):
    model = nn.Sequential(layer)
    fuse_layers(model)
    assert model[0] is layer
    assert not any(isinstance(module, FusedConv2d) for module in model.modules())


def test_convolutions_in_other_blocks():
    check_same(BasicBlock(8, 8, norm=""), image(8), torch.float32)


def test_pytorch_without_the_functions(monkeypatch):
    monkeypatch.setattr("segtron.modeling.fused_layers._OPERATORS", ("_no_such_function",))
    model = nn.Sequential(Conv2d(4, 4, 1))
    fuse_layers(model)
    assert type(model[0]) is Conv2d


_IN_BFLOAT16 = """
import copy, torch
from detectron2.layers import Conv2d
from detectron2.modeling.backbone.resnet import BottleneckBlock
from segtron.modeling.fused_layers import fuse_layers

for dtype in (torch.float32, torch.bfloat16):
    plain = torch.nn.Sequential(
        Conv2d(3, 8, 3, activation=torch.nn.functional.relu_),
        BottleneckBlock(8, 8, bottleneck_channels=8, norm=""),
    )
    plain = plain.to(dtype).eval().requires_grad_(False)
    fused = copy.deepcopy(plain)
    fuse_layers(fused)
    x = torch.rand(1, 3, 8, 9).to(dtype)
    torch.testing.assert_close(fused(x), plain(x))
    print(sum(type(module).__name__ == "FusedConv2d" for module in fused.modules()))
"""


@pytest.mark.skipif(not torch.cpu.get_capabilities().get("avx2"), reason="needs a CPU of x86")
def test_a_cpu_without_avx512():
    """Where oneDNN takes the CPU for one, it has no such functions for bfloat16."""
    done = subprocess.run(
        [sys.executable, "-c", _IN_BFLOAT16],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["4", "0"]
