"""TimmBackbone: features, normalization layers, freezing, and what it says about mistakes."""

import copy

import pytest
import timm
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, build_backbone
from timm.layers import BatchNormAct2d
from torch import nn

from segtron.config import get_default_config, load_config
from segtron.errors import UserError
from segtron.modeling.backbones import TimmBackbone, build_timm_fpn_backbone

LITE0 = "tf_efficientnet_lite0"
RGB = ShapeSpec(channels=3)


def config(**options):
    cfg = get_default_config()
    cfg.MODEL.BACKBONE.NAME = "build_timm_fpn_backbone"
    cfg.MODEL.FPN.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.FPN.OUT_CHANNELS = 16
    cfg.MODEL.TIMM.PRETRAINED = False
    for key, value in options.items():
        cfg.MODEL.TIMM[key] = value
    return cfg


def randomize_norms(network):
    """Statistics and parameters in which mistakes show: a fresh batch norm does next to nothing."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean):
                tensor.data.normal_(0.2, 0.5, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        (LITE0, [16, 24, 40, 112, 320]),
        ("mobilenetv2_100", [16, 24, 32, 96, 320]),
        ("resnet18", [64, 64, 128, 256, 512]),
        ("hrnet_w18_small", [64, 128, 256, 512, 1024]),
    ],
)
@pytest.mark.parametrize("size", [(64, 96), (75, 33)])
def test_features_are_named_by_stride_and_cover_any_image(name, channels, size):
    names = ["res1", "res2", "res3", "res4", "res5"]
    backbone = TimmBackbone(name=name, out_features=names).eval()
    with torch.no_grad():
        features = backbone(torch.zeros(2, 3, *size))
    assert list(features) == list(backbone.output_shape()) == names
    for index, feature in enumerate(names):
        stride = 2 ** (index + 1)
        shape = backbone.output_shape()[feature]
        assert (shape.channels, shape.stride) == (channels[index], stride)
        height, width = (-(-side // stride) for side in size)
        assert features[feature].shape == (2, channels[index], height, width)
    assert backbone.size_divisibility == 0
    assert backbone.padding_constraints == {}


def test_a_transformer_gives_its_features_channels_first():
    backbone = TimmBackbone(
        name="swin_tiny_patch4_window7_224", out_features=["res2", "res3"], freeze_at=2
    ).eval()
    with torch.no_grad():
        features = backbone(torch.zeros(1, 3, 40, 72))
    assert features["res2"].shape == (1, 96, 10, 18)
    assert features["res3"].shape == (1, 192, 5, 9)


def test_features_are_those_of_timm():
    backbone = TimmBackbone(name="resnet18", out_features=["res5", "res3"], norm="BN").eval()
    network = timm.create_model("resnet18", features_only=True, out_indices=(2, 4)).eval()
    network.load_state_dict(backbone.network.state_dict())
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = network(image)
        features = backbone(image)
    assert list(features) == ["res3", "res5"]
    assert torch.equal(features["res3"], expected[0])
    assert torch.equal(features["res5"], expected[1])


def test_a_cell_covers_the_same_pixels_whatever_the_size():
    backbone = TimmBackbone(name=LITE0, norm="BN").eval()
    image = torch.randn(1, 3, 50, 70)
    padded = torch.zeros(1, 3, 64, 96)
    padded[..., :50, :70] = image
    with torch.no_grad():
        features, expected = backbone(image), backbone(padded)
    for name, feature in features.items():
        assert torch.equal(feature, expected[name][..., : feature.shape[2], : feature.shape[3]])


def test_memory_format_is_kept():
    backbone = TimmBackbone(name=LITE0).to(memory_format=torch.channels_last).eval()
    image = torch.randn(2, 3, 64, 64).to(memory_format=torch.channels_last)
    with torch.no_grad():
        for feature in backbone(image).values():
            assert feature.is_contiguous(memory_format=torch.channels_last)


# BatchNormAct2d carries an activation (lite0's ReLU6); ResNet's norms are plain ones.
@pytest.mark.parametrize("name", [LITE0, "resnet18"])
def test_frozen_batch_norm_computes_what_batch_norm_does_in_inference(name, monkeypatch):
    plain = timm.create_model(name, features_only=True, out_indices=(1, 4)).eval()
    randomize_norms(plain)
    if name == LITE0:
        norm = next(m for m in plain.modules() if isinstance(m, BatchNormAct2d))
        assert isinstance(norm.act, nn.ReLU6)
        assert norm.eps == 1e-3
    build = timm.create_model

    def create(*arguments, **options):
        meta = torch.empty(0).is_meta
        return build(*arguments, **options) if meta else copy.deepcopy(plain)

    monkeypatch.setattr(timm, "create_model", create)
    backbone = TimmBackbone(name=name, out_features=["res2", "res5"], norm="FrozenBN").train()
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in backbone.modules())
    image = torch.randn(2, 3, 64, 64)
    before = copy.deepcopy(backbone.state_dict())
    with torch.no_grad():
        expected = plain(image)
    for feature, reference in zip(backbone(image).values(), expected, strict=True):
        # Relative to the scale of the feature: randomized norms let it grow.
        assert (feature - reference).abs().max() <= 1e-5 * reference.abs().max().clamp(min=1)
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_batch_norm_is_trained_on_request():
    backbone = TimmBackbone(name=LITE0, norm="BN").train()
    norm = backbone.network.bn1
    mean = norm.running_mean.clone()
    backbone(torch.randn(2, 3, 64, 64))
    assert not torch.equal(norm.running_mean, mean)
    assert norm.weight.requires_grad


def test_sync_batch_norm_keeps_the_activation():
    backbone = TimmBackbone(name=LITE0, norm="SyncBN", freeze_at=1)
    norms = [m for m in backbone.modules() if isinstance(m, nn.SyncBatchNorm)]
    assert isinstance(norms[0].act, nn.ReLU6)
    assert not isinstance(backbone.network.bn1, nn.modules.batchnorm._BatchNorm)
    assert not any(type(m) is nn.BatchNorm2d for m in backbone.modules())


# Up to stride 2: the stem and lite0's first stage; then one stage of the network after the other.
@pytest.mark.parametrize(
    ("freeze_at", "frozen_blocks"), [(0, -1), (1, 1), (2, 2), (3, 3), (4, 5), (5, 7)]
)
def test_stages_freeze_one_after_the_other(freeze_at, frozen_blocks):
    backbone = TimmBackbone(name=LITE0, norm="BN", freeze_at=freeze_at).train()
    before = copy.deepcopy(backbone.state_dict())
    trained = [p for p in backbone.parameters() if p.requires_grad]
    if trained:
        optimizer = torch.optim.SGD(trained, lr=0.1)
        sum(f.square().mean() for f in backbone(torch.randn(2, 3, 64, 64)).values()).backward()
        assert all(p.grad is not None for p in trained)
        optimizer.step()
    after = backbone.state_dict()
    for key in before:
        part = key.split(".")  # network.blocks.<stage>...., network.conv_stem...., network.bn1....
        stage = int(part[2]) if part[1] == "blocks" else 0
        frozen = freeze_at > 0 and stage < frozen_blocks
        if frozen:
            assert torch.equal(before[key], after[key]), key
        elif key.endswith(("conv_pw.weight", "running_mean")):
            assert not torch.equal(before[key], after[key]), key
    for parameter in backbone.parameters():
        assert parameter.requires_grad or parameter.grad is None


def test_freezing_reaches_a_resnet_stem_by_stride():
    backbone = TimmBackbone(name="resnet18", freeze_at=1)
    frozen = {k.split(".")[1] for k, p in backbone.named_parameters() if not p.requires_grad}
    assert frozen == {"conv1"}
    backbone = TimmBackbone(name="resnet18", freeze_at=2, norm="BN")
    frozen = {k.split(".")[1] for k, p in backbone.named_parameters() if not p.requires_grad}
    assert frozen == {"conv1", "layer1"}
    assert isinstance(backbone.network.layer2[0].bn1, nn.BatchNorm2d)
    assert not isinstance(backbone.network.layer1[0].bn1, nn.BatchNorm2d)


def test_other_numbers_of_channels():
    backbone = TimmBackbone(name=LITE0, in_channels=1, pretrained=True).eval()
    colour = TimmBackbone(name=LITE0, pretrained=True)
    # A grey image as three equal channels gives what the summed filters give.
    assert torch.allclose(
        backbone.network.conv_stem.weight, colour.network.conv_stem.weight.sum(1, keepdim=True)
    )


def test_registered_and_built_from_the_config():
    assert BACKBONE_REGISTRY.get("TimmBackbone") is TimmBackbone
    assert BACKBONE_REGISTRY.get("build_timm_fpn_backbone") is build_timm_fpn_backbone
    cfg = config(OUT_FEATURES=["res3"], NORM="BN")
    cfg.MODEL.BACKBONE.NAME = "TimmBackbone"
    backbone = build_backbone(cfg)
    assert list(backbone.output_shape()) == ["res3"]
    frozen = [key for key, p in backbone.named_parameters() if not p.requires_grad]
    assert frozen
    assert all("blocks.2" not in key for key in frozen)  # FREEZE_AT is 2 by default


def test_fpn_levels_and_padding():
    backbone = build_backbone(config()).eval()
    assert list(backbone.output_shape()) == ["p2", "p3", "p4", "p5", "p6"]
    assert backbone.size_divisibility == 32
    with torch.no_grad():
        features = backbone(torch.zeros(1, 3, 64, 96))
    assert {name: tuple(f.shape[1:]) for name, f in features.items()} == {
        "p2": (16, 16, 24),
        "p3": (16, 8, 12),
        "p4": (16, 4, 6),
        "p5": (16, 2, 3),
        "p6": (16, 1, 2),
    }


def test_fpn_on_part_of_the_features():
    cfg = config()
    cfg.MODEL.FPN.IN_FEATURES = ["res2", "res3", "res4"]
    assert list(build_backbone(cfg).output_shape()) == ["p2", "p3", "p4", "p5"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "tf_efficientnet_lite9"}, "no network tf_efficientnet_lite9.*tf_efficientnet_l"),
        ({"name": "resnet18.no_such_tag"}, "no weights of the tag no_such_tag.*a1_in1k"),
        ({"name": "convnext_atto", "out_features": ["res1", "res2"]}, "no feature res1.*res2"),
        (
            {"name": LITE0, "out_features": ["res6"]},
            "no feature res6.*res1, res2, res3, res4, res5",
        ),
        ({"name": LITE0, "out_features": []}, "no feature"),
        ({"name": "inception_v3"}, "no feature res2"),  # unpadded: its cells don't cover the image
        ({"name": "vit_tiny_patch16_224"}, "no feature res2, res3, res5.*can name res4"),
        ({"name": LITE0, "norm": "GN"}, "NORM is 'GN'.*FrozenBN, BN, SyncBN"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(UserError, match=message):
        TimmBackbone(**options)


@pytest.mark.parametrize("features", [["res2", "res4"], ["res3", "res2"], ["p2"], []])
def test_an_fpn_takes_neighbours(features):
    cfg = config()
    cfg.MODEL.FPN.IN_FEATURES = features
    with pytest.raises(UserError, match=r"MODEL\.FPN\.IN_FEATURES"):
        build_backbone(cfg)


def test_weights_without_a_network_connection(monkeypatch):
    build = timm.create_model

    def create(*arguments, **options):
        if options.get("pretrained"):
            raise FileNotFoundError("cannot find the requested files")
        return build(*arguments, **options)

    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(UserError, match=r"weights of mobilenetv2_100.*PRETRAINED False") as error:
        TimmBackbone(name="mobilenetv2_100", pretrained=True)
    assert "tf_efficientnet_lite0" in str(error.value)


def test_weights_are_fetched_only_where_none_are_given():
    cfg = config(PRETRAINED=True)
    assert TimmBackbone.from_config(cfg, RGB)["pretrained"] is True
    cfg.MODEL.WEIGHTS = "model_final.pth"
    assert TimmBackbone.from_config(cfg, RGB)["pretrained"] is False


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return path

    return write


TIMM = "MODEL: {BACKBONE: {NAME: build_timm_fpn_backbone}, TIMM: {NAME: %s}}\n"


def test_pixel_statistics_follow_from_the_network(write):
    cfg = load_config(write(TIMM % LITE0))
    assert cfg.INPUT.FORMAT == "RGB"
    assert cfg.MODEL.PIXEL_MEAN == cfg.MODEL.PIXEL_STD == [127.5, 127.5, 127.5]
    cfg = load_config(write(TIMM % "resnet18"))
    assert list(cfg.MODEL.PIXEL_MEAN) == pytest.approx([123.675, 116.28, 103.53])
    assert list(cfg.MODEL.PIXEL_STD) == pytest.approx([58.395, 57.12, 57.375])


def test_pixel_statistics_that_were_given_stay(write):
    path = write(TIMM % "resnet18")
    opts = ["MODEL.PIXEL_MEAN", "[1.0, 2.0, 3.0]", "INPUT.FORMAT", "BGR"]
    cfg = load_config(path, opts)
    assert cfg.INPUT.FORMAT == "BGR"
    assert cfg.MODEL.PIXEL_MEAN == [1.0, 2.0, 3.0]
    assert list(cfg.MODEL.PIXEL_STD) == pytest.approx([57.375, 57.12, 58.395])  # in BGR, too


def test_other_backbones_keep_detectron2s_statistics(write):
    cfg = load_config(write("MODEL: {BACKBONE: {NAME: build_resnet_fpn_backbone}}\n"))
    assert cfg.INPUT.FORMAT == "BGR"
    assert cfg.MODEL.PIXEL_MEAN == [103.53, 116.28, 123.675]


def test_an_unknown_network_is_named_when_the_config_loads(write):
    with pytest.raises(UserError, match="did you mean"):
        load_config(write(TIMM % "tf_efficientnet_lite"))
