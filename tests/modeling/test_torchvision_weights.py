"""ResNets of torchvision's checkpoints in Detectron2's and timm's, by what they compute."""

import logging
import pickle
from pathlib import Path

import pytest
import torch
import torchvision
from detectron2.modeling import build_backbone
from torch import nn
from torchvision.models.segmentation import deeplabv3_resnet50, fcn_resnet50

from segtron.config import get_default_config
from segtron.errors import UserError
from segtron.modeling.build import build_model
from segtron.modeling.checkpoint import load_weights
from segtron.modeling.torchvision_weights import PIXEL_MEAN, PIXEL_STD, is_torchvision_resnet

LIKE_TORCHVISION = [
    *("INPUT.FORMAT", "RGB", "MODEL.RESNETS.STRIDE_IN_1X1", "False"),
    *("MODEL.PIXEL_MEAN", str(list(PIXEL_MEAN)), "MODEL.PIXEL_STD", str(list(PIXEL_STD))),
]
RESNET_18 = ["MODEL.RESNETS.DEPTH", "18", "MODEL.RESNETS.RES2_OUT_CHANNELS", "64"]
TIMM = [
    *("MODEL.BACKBONE.NAME", "TimmBackbone", "MODEL.TIMM.PRETRAINED", "False"),
    *("MODEL.TIMM.NORM", "BN", "MODEL.TIMM.NAME"),
]
STAGES = ["res2", "res3", "res4", "res5"]


class Bare(nn.Module):
    """A backbone as a model of its own."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone


def config(*opts: str):
    cfg = get_default_config()
    cfg.merge_from_list(
        ["MODEL.DEVICE", "cpu", "MODEL.META_ARCHITECTURE", "SemanticSegmentor"]
        + ["MODEL.BACKBONE.NAME", "build_resnet_backbone", "MODEL.BACKBONE.FREEZE_AT", "0"]
        + ["MODEL.RESNETS.OUT_FEATURES", str(STAGES), "MODEL.FPN.IN_FEATURES", str(STAGES)]
        + ["MODEL.SEM_SEG_HEAD.IN_FEATURES", "['res3']", "MODEL.SEM_SEG_HEAD.CONVS_DIM", "8"]
        + ["MODEL.SEM_SEG_HEAD.COMMON_STRIDE", "8", "MODEL.SEM_SEG_HEAD.NORM", ""]
        + [*LIKE_TORCHVISION, *opts]
    )
    return cfg


def bare(*opts: str) -> Bare:
    return Bare(build_backbone(config(*opts)))


def randomize_norms(model: nn.Module) -> nn.Module:
    """Statistics and weights as after a training; fresh ones would hide that they're not loaded."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            size = module.weight.shape
            module.weight.data = 0.5 + torch.rand(size, generator=generator)
            module.bias.data = torch.randn(size, generator=generator) / 5
            module.running_mean = torch.randn(size, generator=generator) / 5
            module.running_var = 0.3 + torch.rand(size, generator=generator)
            module.num_batches_tracked += 7
    return model.eval()


def build(builder, **kwargs) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return randomize_norms(builder(weights=None, **kwargs))


def save(model: nn.Module, path: Path) -> str:
    torch.save(model.state_dict(), path)
    return str(path)


def normalized_image(height: int = 64, width: int = 96) -> torch.Tensor:
    """As the models see one: RGB, mean and deviation of ImageNet taken out."""
    pixels = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(2)) * 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (PIXEL_MEAN, PIXEL_STD))
    return (pixels - mean) / std


def stages(network: nn.Module, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """What each stage of torchvision's plain ResNet gives."""
    x = network.maxpool(network.relu(network.bn1(network.conv1(image))))
    features = {}
    for name in STAGES:
        x = getattr(network, f"layer{int(name[-1]) - 1}")(x)
        features[name] = x
    return features


def features(model: nn.Module, image: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return model.eval()(image)


def assert_same(found: torch.Tensor, expected: torch.Tensor) -> None:
    print("DIFF", (found - expected).abs().max(), expected.abs().max(), expected.std())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * expected.abs().max().item())


@pytest.fixture(scope="module")
def resnet18():
    return build(torchvision.models.resnet18)


@pytest.fixture(scope="module")
def resnet18_file(resnet18, tmp_path_factory):
    return save(resnet18, tmp_path_factory.mktemp("weights") / "resnet18.pth")


@pytest.fixture(scope="module")
def fcn_file(tmp_path_factory):
    model = build(fcn_resnet50, weights_backbone=None, aux_loss=True)
    return save(model, tmp_path_factory.mktemp("weights") / "fcn_resnet50.pth")


@pytest.mark.parametrize("norm", ["FrozenBN", "BN"])
def test_features_of_a_segmentation_checkpoint(fcn_file, norm, caplog):
    model = bare("MODEL.RESNETS.NORM", norm)
    with caplog.at_level(logging.INFO, "segtron"):
        load_weights(model, fcn_file, strict=False, input_format="RGB")
    image = normalized_image()
    found = features(model.backbone, image)
    dilated = fcn_resnet50(weights=None, weights_backbone=None, aux_loss=True)
    weights = torch.load(fcn_file, weights_only=True)
    dilated.load_state_dict(weights)
    # Its IntermediateLayerGetter gives layer3 and layer4; those before are its children.
    strided = {
        name.removeprefix("backbone."): tensor
        for name, tensor in weights.items()
        if name.startswith("backbone.")
    }
    plain = torchvision.models.resnet50(weights=None)
    assert not plain.load_state_dict(strided, strict=False).unexpected_keys
    with torch.no_grad():
        assert_same(found["res2"], stages(dilated.eval().backbone, image)["res2"])
        assert_same(found["res3"], stages(dilated.backbone, image)["res3"])
        for name, expected in stages(plain.eval(), image).items():
            assert_same(found[name], expected)
    (line,) = [x for x in caplog.messages if "left out" in x]
    # 53 convolutions, and 4 tensors of each of their norms.
    assert "Took 265 tensors of torchvision's ResNet-50" in line
    # The convolution, norm and last layer of each head.
    assert "classifier (7 tensors)" in line and "aux_classifier (7 tensors)" in line
    assert "were trained in" not in caplog.text
    assert "not found in the checkpoint" not in caplog.text


def test_deeplab_is_recognized(tmp_path):
    model = deeplabv3_resnet50(weights=None, weights_backbone=None)
    assert is_torchvision_resnet(model.state_dict())


def test_a_classification_checkpoint(resnet18, resnet18_file, caplog):
    model = bare(*RESNET_18)
    with caplog.at_level(logging.INFO, "segtron"):
        load_weights(model, resnet18_file, strict=False, input_format="RGB")
    found = features(model.backbone, normalized_image())
    with torch.no_grad():
        for name, expected in stages(resnet18, normalized_image()).items():
            assert_same(found[name], expected)
    assert "of torchvision's ResNet-18 for the backbone; left out: fc (2 tensors)." in caplog.text


@pytest.mark.parametrize("architecture", ["SemanticSegmentor", "PanopticFPN", "GeneralizedRCNN"])
def test_the_backbone_below_an_fpn(resnet18, resnet18_file, architecture):
    cfg = config(
        *RESNET_18,
        *("MODEL.META_ARCHITECTURE", architecture, "MODEL.MASK_ON", "True"),
        *("MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone", "MODEL.FPN.OUT_CHANNELS", "8"),
        *("MODEL.SEM_SEG_HEAD.IN_FEATURES", "['p2']", "MODEL.SEM_SEG_HEAD.COMMON_STRIDE", "4"),
        *("MODEL.ROI_HEADS.NAME", "StandardROIHeads", "MODEL.ROI_HEADS.IN_FEATURES", "['p2']"),
        *("MODEL.RPN.IN_FEATURES", "['p2']", "MODEL.ROI_BOX_HEAD.NAME", "FastRCNNConvFCHead"),
        *("MODEL.ROI_BOX_HEAD.NUM_FC", "1", "MODEL.ROI_BOX_HEAD.FC_DIM", "8"),
    )
    model = build_model(cfg)
    load_weights(model, resnet18_file, strict=False)
    found = features(model.backbone.bottom_up, normalized_image())
    with torch.no_grad():
        for name, expected in stages(resnet18, normalized_image()).items():
            assert_same(found[name], expected)


def test_the_last_stage_in_the_heads(tmp_path):
    # Detectron2's C4 models have res5 there.
    source = build(torchvision.models.resnet50)
    cfg = config(
        *("MODEL.META_ARCHITECTURE", "GeneralizedRCNN", "MODEL.ROI_HEADS.NAME", "Res5ROIHeads"),
        *("MODEL.RESNETS.OUT_FEATURES", "['res4']"),
    )
    model = build_model(cfg)
    load_weights(model, save(source, tmp_path / "a.pth"), strict=False)
    assert torch.equal(model.backbone.res4[5].conv3.weight, source.layer3[5].conv3.weight)
    assert torch.equal(model.roi_heads.res5[2].conv3.weight, source.layer4[2].conv3.weight)
    assert torch.equal(
        model.roi_heads.res5[0].shortcut.norm.bias, source.layer4[0].downsample[1].bias
    )


@pytest.mark.parametrize("norm", ["FrozenBN", "BN"])
def test_timms_resnet_keeps_the_names(resnet18, resnet18_file, norm, caplog):
    # bn1 is a name in this head, too, and of the same shape as the backbone's.
    model = bare(*TIMM, "resnet18", "MODEL.TIMM.NORM", norm)
    model.sem_seg_head = nn.Sequential()
    model.sem_seg_head.add_module("bn1", nn.BatchNorm2d(64))
    with caplog.at_level(logging.INFO, "segtron"):
        load_weights(model, resnet18_file, strict=False, input_format="RGB")
    found = features(model.backbone, normalized_image())
    with torch.no_grad():
        for name, expected in stages(resnet18, normalized_image()).items():
            assert_same(found[name], expected)
    assert torch.equal(model.sem_seg_head.bn1.weight, torch.ones(64))
    assert "Took 100 tensors" in caplog.text  # 20 convolutions with norms


def test_a_model_of_fewer_stages(resnet18, resnet18_file, caplog):
    model = bare(*RESNET_18, "MODEL.RESNETS.OUT_FEATURES", "['res3']")
    with caplog.at_level(logging.INFO, "segtron"):
        load_weights(model, resnet18_file, strict=False)
    with torch.no_grad():
        expected = stages(resnet18, normalized_image())["res3"]
    assert_same(features(model.backbone, normalized_image())["res3"], expected)
    assert "layer3 (25 tensors), layer4 (25 tensors), fc (2 tensors)" in caplog.text


def test_weights_of_several_processes(resnet18, tmp_path):
    wrapped = {f"module.{name}": tensor for name, tensor in resnet18.state_dict().items()}
    path = tmp_path / "a.pth"
    torch.save({"model": wrapped, "epoch": 3}, path)  # as torchvision's own training writes it
    model = bare(*RESNET_18)
    load_weights(model, str(path), strict=False)
    assert torch.equal(model.backbone.stem.conv1.weight, resnet18.conv1.weight)


def test_a_pickle_of_arrays(resnet18, tmp_path):
    path = tmp_path / "a.pkl"
    arrays = {name: tensor.detach().numpy() for name, tensor in resnet18.state_dict().items()}
    path.write_bytes(pickle.dumps(arrays))
    model = bare(*RESNET_18)
    load_weights(model, str(path), strict=False)
    assert torch.equal(model.backbone.res5[1].conv2.weight, resnet18.layer4[1].conv2.weight)


def test_images_with_other_channels_start_anew_in_the_first_layer(resnet18_file, caplog):
    mean_std = ["MODEL.PIXEL_MEAN", "[127.5]", "MODEL.PIXEL_STD", "[60.0]"]
    model = bare(*RESNET_18, *mean_std)
    load_weights(model, resnet18_file, strict=False)
    assert "backbone.stem.conv1.weight is (64, 3, 7, 7) in the weights" in caplog.text


@pytest.mark.parametrize(
    ("opts", "said"),
    [
        ([], "torchvision's ResNet-18, but the model has a ResNet-50; set MODEL.RESNETS.DEPTH"),
        ([*TIMM, "resnet34"], "torchvision's ResNet-18, but the model has a ResNet-34"),
        ([*TIMM, "tf_efficientnet_lite0"], "torchvision's ResNet-18, but the model has no ResNet"),
        (
            ["MODEL.RESNETS.OUT_FEATURES", "['res3']"],  # the same as in a ResNet-101
            "torchvision's ResNet-18, but the model has a ResNet of 3-4 bottleneck blocks",
        ),
        (
            [*TIMM, "resnet18d"],
            "layer2.0.downsample.1.weight is (128,) in torchvision's weights, but "
            "backbone.network.layer2.0.downsample.1.weight is (128, 64, 1, 1) in the model",
        ),
    ],
)
def test_another_network_is_named(resnet18_file, opts, said):
    model = bare(*opts)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(UserError) as error:
        load_weights(model, resnet18_file, strict=False)
    assert said in str(error.value) and resnet18_file in str(error.value)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_a_deeper_file_is_named_although_all_of_the_model_is_in_it(tmp_path):
    path = save(build(torchvision.models.resnet101), tmp_path / "a.pth")
    with pytest.raises(UserError, match="ResNet-101, but the model has a ResNet-50"):
        load_weights(bare(), path, strict=False)


def test_strict_loading_takes_no_other_model(resnet18_file):
    with pytest.raises(UserError, match=r"lack \d+ of the model's tensors"):
        load_weights(bare(*RESNET_18), resnet18_file, strict=True)


@pytest.mark.parametrize(
    ("opts", "said"),
    [
        (["MODEL.RESNETS.STRIDE_IN_1X1", "True"], "set MODEL.RESNETS.STRIDE_IN_1X1 False ("),
        (["INPUT.FORMAT", "BGR"], "set INPUT.FORMAT RGB ("),
        (
            ["MODEL.PIXEL_MEAN", str(list(PIXEL_MEAN[::-1]))],
            "set MODEL.PIXEL_MEAN [123.675, 116.28, 103.53] (",
        ),
        (
            ["MODEL.PIXEL_STD", "[1.0, 1.0, 1.0]"],
            "set MODEL.PIXEL_STD [58.395, 57.12, 57.375] (",
        ),
    ],
)
def test_another_input_is_warned_of(fcn_file, opts, said, caplog):
    cfg = config(*opts)
    load_weights(build_model(cfg), fcn_file, strict=False, input_format=cfg.INPUT.FORMAT)
    (warning,) = [x for x in caplog.messages if "were trained in" in x]
    assert said in warning and "configs/base/torchvision_resnet.yaml" in warning


def test_a_fitting_input_is_not_warned_of(fcn_file, caplog):
    cfg = config()
    load_weights(build_model(cfg), fcn_file, strict=False, input_format=cfg.INPUT.FORMAT)
    assert "were trained in" not in caplog.text


def test_a_model_that_knows_its_input_is_asked(resnet18_file, caplog):
    model = bare(*RESNET_18)
    model.input_format = "BGR"
    load_weights(model, resnet18_file, strict=False)
    assert "set INPUT.FORMAT RGB (" in caplog.text


def test_other_checkpoints_are_not_recognized(resnet18):
    names = set(resnet18.state_dict())
    assert is_torchvision_resnet(names)
    assert is_torchvision_resnet({f"backbone.{name}" for name in names} | {"classifier.4.weight"})
    # A model of Segtron's over timm's ResNet, and one whose backbone is torchvision's itself.
    assert not is_torchvision_resnet({f"backbone.network.{name}" for name in names})
    assert not is_torchvision_resnet(
        {f"backbone.{name}" for name in names} | {"sem_seg_head.predictor.weight"}
    )
    assert not is_torchvision_resnet(bare(*RESNET_18).state_dict())
    assert not is_torchvision_resnet([])
    mobile = torchvision.models.segmentation.lraspp_mobilenet_v3_large(
        weights=None, weights_backbone=None
    )
    assert not is_torchvision_resnet(mobile.state_dict())


class RunsCode:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.mkdir, (self.path,)


def test_a_checkpoint_runs_no_code(resnet18, tmp_path):
    made = tmp_path / "made"
    path = tmp_path / "evil.pth"
    torch.save(resnet18.state_dict() | {"fc.bias": RunsCode(made)}, path)
    with pytest.raises(UserError, match="not a checkpoint that can be loaded safely"):
        load_weights(bare(*RESNET_18), str(path), strict=False)
    assert not made.exists()
