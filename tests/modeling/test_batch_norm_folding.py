"""The same outputs with batch norm as without, where it could be folded; else the same layers."""

from collections import Counter

import pytest
import timm.layers
import torch
from detectron2.layers import Conv2d, DepthwiseSeparableConv2d, FrozenBatchNorm2d, get_norm
from torch import nn
from torch.nn import functional as F

from segtron.modeling.backbones.timm import TimmBackbone
from segtron.modeling.batch_norm_folding import fold_batch_norm
from segtron.modeling.conv_block import conv_block


def randomize(module: nn.Module) -> nn.Module:
    """Statistics and affine parameters that no training would call unlikely; in evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in module.modules():
            if getattr(layer, "running_var", None) is not None:
                layer.running_mean.normal_(0, 0.5, generator=generator)
                layer.running_var.uniform_(0.3, 3, generator=generator)
            if getattr(layer, "running_var", None) is not None or isinstance(layer, nn.GroupNorm):
                if layer.weight is not None:
                    layer.weight.normal_(1, 0.3, generator=generator)
                    layer.weight[::3] *= -1
                    layer.weight[1] = 0
                if layer.bias is not None:
                    layer.bias.normal_(0, 0.5, generator=generator)
            elif getattr(layer, "bias", None) is not None:
                layer.bias.normal_(0, 0.5, generator=generator)
    return module.eval()


def image(channels: int = 4, height: int = 11, width: int = 14) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, channels, height, width, generator=generator)


@torch.no_grad()
def assert_same(module: nn.Module, x: torch.Tensor) -> None:
    """That folding changes no output; the module is folded afterwards."""
    before = module(x)
    fold_batch_norm(module)
    after = module(x)
    if isinstance(before, torch.Tensor):
        before, after = {"": before}, {"": after}
    assert list(before) == list(after)
    for name, expected in before.items():
        assert expected.std() > 1e-3
        scale = expected.abs().max().item()
        torch.testing.assert_close(after[name], expected, rtol=0, atol=1e-4 * max(scale, 1))


def norm_types(module: nn.Module) -> Counter[str]:
    return Counter(
        type(layer).__name__ for layer in module.modules() if hasattr(layer, "running_var")
    )


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def assert_untouched(module: nn.Module, before: dict[str, torch.Tensor]) -> None:
    after = module.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


NORMS = {
    "FrozenBN": FrozenBatchNorm2d,
    "BN": nn.BatchNorm2d,
    "SyncBN": nn.SyncBatchNorm,
    "no affine": lambda channels: nn.BatchNorm2d(channels, affine=False),
    "no affine, SyncBN": lambda channels: nn.SyncBatchNorm(channels, affine=False),
    "epsilon": lambda channels: nn.BatchNorm2d(channels, eps=0.7),
    "nnSyncBN": lambda channels: get_norm("naiveSyncBN", channels),
}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 1, "stride": 2},
        {"kernel_size": (3, 1), "padding": (2, 0), "dilation": (2, 1)},
        {"kernel_size": 3, "groups": 2, "padding": 1, "padding_mode": "zeros"},
        {"kernel_size": 3, "groups": 4},
    ],
    ids=["3x3", "1x1", "dilated", "groups", "depthwise"],
)
def test_detectron2s_convolution(norm, bias, options):
    torch.manual_seed(0)
    layer = Conv2d(4, 8, bias=bias, norm=NORMS[norm](8), activation=F.relu_, **options)
    assert_same(randomize(layer), image())
    assert layer.norm is None and layer.bias is not None and layer.activation is F.relu_
    assert not any(parameter.requires_grad for parameter in layer.parameters())
    assert list(layer.state_dict()) == ["weight", "bias"]


def test_by_hand():
    layer = Conv2d(1, 1, 1, norm=nn.BatchNorm2d(1, eps=0.0)).eval()
    for tensor, value in (
        (layer.weight, 3.0),
        (layer.bias, 5.0),
        (layer.norm.running_mean, 7.0),
        (layer.norm.running_var, 4.0),
        (layer.norm.weight, -6.0),
        (layer.norm.bias, 0.5),
    ):
        nn.init.constant_(tensor, value)
    fold_batch_norm(layer)
    # (3 x + 5 - 7) / 2 * -6 + 0.5
    assert layer.weight.item() == pytest.approx(-9) and layer.bias.item() == pytest.approx(6.5)


def test_channels_of_no_variance():
    layer = randomize(Conv2d(4, 8, 3, norm=nn.BatchNorm2d(8)))
    layer.norm.running_var[2] = 0
    assert_same(layer, image())


def test_a_model_of_many_layers():
    torch.manual_seed(0)
    model = nn.Sequential(
        conv_block(4, 8, norm="BN"),
        conv_block(8, 8, norm="BN", conv="separable"),
        nn.ModuleDict({"inner": conv_block(8, 6, norm="SyncBN")})["inner"],
        DepthwiseSeparableConv2d(6, 6, norm1="BN", norm2="FrozenBN"),
        conv_block(6, 6, norm="GN"),
        conv_block(6, 6, norm=""),
    )
    assert_same(randomize(model), image())
    assert not norm_types(model)
    assert isinstance(model[4].norm, nn.GroupNorm)


def test_one_norm_of_two_convolutions():
    torch.manual_seed(0)
    first, second = Conv2d(4, 4, 3, padding=1), Conv2d(4, 4, 1)
    first.norm = second.norm = nn.BatchNorm2d(4)
    assert_same(randomize(nn.Sequential(first, second)), image())
    assert first.norm is None and second.norm is None


def test_one_convolution_used_twice():
    torch.manual_seed(0)
    layer = Conv2d(4, 4, 3, padding=1, norm=nn.BatchNorm2d(4))
    assert_same(randomize(nn.Sequential(layer, nn.ReLU(), layer)), image())
    assert layer.norm is None


@pytest.mark.parametrize(
    ("norm", "training"),
    [
        (lambda: nn.GroupNorm(2, 8), False),
        (lambda: nn.BatchNorm2d(8, track_running_stats=False), False),
        (lambda: nn.BatchNorm2d(8), True),
        (lambda: nn.SyncBatchNorm(8), True),
        (lambda: nn.InstanceNorm2d(8, affine=True), False),
        (lambda: None, False),
    ],
    ids=["GN", "no statistics", "training", "training, SyncBN", "instance norm", "none"],
)
def test_what_is_not_fixed_is_left_alone(norm, training):
    norm = norm()
    layer = randomize(Conv2d(4, 8, 3, bias=False, norm=norm)).train(training)
    before = state(layer)
    fold_batch_norm(layer)
    assert layer.norm is norm
    assert_untouched(layer, before)


def test_a_frozen_norm_is_fixed_in_training_mode_too():
    layer = randomize(Conv2d(4, 8, 3, norm=FrozenBatchNorm2d(8))).train()
    assert_same(layer, image())
    assert layer.norm is None


def test_plain_layers_of_other_networks_are_left_alone():
    model = randomize(nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8)))
    before = state(model)
    fold_batch_norm(model)
    assert_untouched(model, before)


def timm_backbone(name: str, norm: str = "BN", out_features=("res3", "res4")) -> TimmBackbone:
    torch.manual_seed(0)
    return randomize(TimmBackbone(name=name, norm=norm, out_features=out_features))


@pytest.mark.parametrize("norm", ["FrozenBN", "BN", "SyncBN"])
def test_all_norms_of_efficientnet_lite0(norm):
    features = ("res1", "res2", "res3", "res4", "res5")
    backbone = timm_backbone("tf_efficientnet_lite0", norm, features)
    assert sum(norm_types(backbone).values()) == 48
    num_activations = sum(isinstance(m, nn.ReLU6) for m in backbone.modules())
    # An odd size, which TensorFlow's padding has to do with.
    assert_same(backbone, image(3, 75, 101))
    assert not norm_types(backbone)
    assert sum(isinstance(m, nn.ReLU6) for m in backbone.modules()) == num_activations > 30


@pytest.mark.parametrize("norm", ["FrozenBN", "BN", "SyncBN"])
@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050", "regnetx_002"])
def test_other_networks_of_timm(name, norm):
    backbone = timm_backbone(name, norm)
    assert sum(norm_types(backbone).values()) > 10
    assert_same(backbone, image(3, 64, 96))
    assert not norm_types(backbone)


def test_norms_that_come_first_stay():
    # Blocks that are activated before they are convolved: after some convolutions stands a sum.
    backbone = timm_backbone("resnetv2_18")
    before = sum(norm_types(backbone).values())
    assert_same(backbone, image(3, 64, 96))
    assert 0 < sum(norm_types(backbone).values()) < before


def test_a_network_without_batch_norm():
    backbone = timm_backbone("convnext_atto")
    before = state(backbone)
    fold_batch_norm(backbone)
    assert_untouched(backbone, before)


class Network(nn.Module):
    """Two convolutions, two norms, and a way through them."""

    def __init__(self, way, convolution=nn.Conv2d) -> None:
        super().__init__()
        self.conv1 = convolution(3, 6, 3, padding=1)
        self.conv2 = convolution(6, 6, 3, padding=1)
        self.norm1, self.norm2 = nn.BatchNorm2d(6), nn.BatchNorm2d(6)
        self.norm3 = timm.layers.BatchNormAct2d(6)
        self.way = way

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [self.way(self, x)]


def in_a_row(net, x):
    return net.norm3(net.norm2(net.conv2(F.relu(net.norm1(net.conv1(x))))))


def norm_used_twice(net, x):
    return net.norm1(net.conv2(F.relu(net.norm1(net.conv1(x)))))


def convolution_used_twice(net, x):
    x = F.relu(net.norm1(net.conv1(x)))
    return net.norm3(net.conv2(F.relu(net.norm2(net.conv2(x)))))


def output_used_twice(net, x):
    x = net.conv1(x)
    return net.norm1(x) + net.norm2(net.conv2(F.relu(x)))


def two_norms_of_one_output(net, x):
    x = net.conv1(x)
    return net.norm1(x) - net.norm2(x)


def something_between(net, x):
    return net.norm2(F.relu(net.conv2(F.max_pool2d(net.conv1(x), 2))))


def norm_of_the_image(net, x):
    return net.norm1(torch.cat([x, x], dim=1)) + net.conv1(x)


def asks_for_values(net, x):
    x = net.norm1(net.conv1(x))
    return net.norm2(x) if x.mean() > 100 else net.conv2(x)


def raises_when_traced(net, x):
    x = net.norm1(net.conv1(x))
    if not isinstance(x, torch.Tensor):
        raise KeyError("only tensors")
    return x


@pytest.mark.parametrize(
    ("way", "left"),
    [
        (in_a_row, {"norm3"}),
        (norm_used_twice, {"norm1", "norm2", "norm3"}),
        (convolution_used_twice, {"norm2", "norm3"}),
        (output_used_twice, {"norm1", "norm3"}),
        (two_norms_of_one_output, {"norm1", "norm2", "norm3"}),
        (something_between, {"norm1", "norm2", "norm3"}),
        (norm_of_the_image, {"norm1", "norm2", "norm3"}),
        (asks_for_values, {"norm1", "norm2", "norm3"}),
        (raises_when_traced, {"norm1", "norm2", "norm3"}),
    ],
)
def test_ways_through_a_network(monkeypatch, way, left):
    assert_folds(monkeypatch, Network(way), left)


@pytest.mark.parametrize(
    ("convolution", "left"),
    [
        (timm.layers.Conv2dSame, {"norm3"}),
        # Whose weights are standardized each time, so that a factor would get lost.
        (timm.layers.StdConv2d, {"norm1", "norm2", "norm3"}),
        (timm.layers.ScaledStdConv2d, {"norm1", "norm2", "norm3"}),
    ],
)
def test_kinds_of_convolutions(monkeypatch, convolution, left):
    assert_folds(monkeypatch, Network(in_a_row, convolution), left)


def assert_folds(monkeypatch, network: Network, left: set[str]) -> None:
    backbone = timm_backbone("resnet10t", out_features=["res3"])
    torch.manual_seed(0)
    backbone.network = randomize(network)
    assert_same(backbone, image(3, 16, 16))
    found = {name for name, module in network.named_modules() if hasattr(module, "running_var")}
    assert found == left


def test_parameters_of_a_network_in_training_mode():
    backbone = timm_backbone("resnet10t").train()
    before = state(backbone)
    fold_batch_norm(backbone)
    assert_untouched(backbone, before)


def test_a_network_under_an_fpn_and_beside_other_layers():
    lateral = Conv2d(4, 4, 1, norm=get_norm("BN", 4))
    model = nn.ModuleDict({"bottom_up": timm_backbone("resnet10t"), "lateral": lateral}).eval()
    x = image(3, 64, 64)
    expected = model["bottom_up"](x)["res3"]
    fold_batch_norm(model)
    assert not norm_types(model)
    torch.testing.assert_close(model["bottom_up"](x)["res3"], expected, rtol=1e-4, atol=1e-3)
