from __future__ import annotations

import copy

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_backbone
from torch import nn

from segtron.config.defaults import get_default_config
from segtron.modeling.activation_checkpointing import checkpoint_activations


def backbone_of(name):
    cfg = get_default_config()
    cfg.MODEL.DEVICE = "cpu"
    if name == "resnet":
        cfg.MODEL.BACKBONE.NAME = "build_resnet_fpn_backbone"
        cfg.MODEL.RESNETS.DEPTH = 18
        cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 64
        cfg.MODEL.RESNETS.NORM = "BN"
        cfg.MODEL.BACKBONE.FREEZE_AT = 0
        cfg.MODEL.RESNETS.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
        cfg.MODEL.FPN.IN_FEATURES = ["res2", "res3", "res4", "res5"]
        cfg.MODEL.FPN.OUT_CHANNELS = 8
    elif name == "unet":
        cfg.MODEL.BACKBONE.NAME = "UNetEncoder"
        cfg.MODEL.UNET_ENCODER.CHANNELS = [4, 8, 16]
        cfg.MODEL.UNET_ENCODER.DROPOUT = 0.5
    else:
        cfg.MODEL.BACKBONE.NAME = "TimmBackbone"
        cfg.MODEL.TIMM.NAME = "tf_efficientnet_lite0"
        cfg.MODEL.TIMM.PRETRAINED = False
    torch.manual_seed(0)
    return build_backbone(cfg, ShapeSpec(channels=3))


def step(backbone):
    """Bytes that are kept for the backward pass, gradients and buffers after it."""
    kept = {}

    def remember(tensor):
        kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    torch.manual_seed(1)
    images = torch.randn(2, 3, 64, 64)
    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        features = backbone(images)
        loss = sum(feature.square().mean() for feature in features.values())
    num_kept = sum(kept.values())
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in backbone.named_parameters()}
    return num_kept, gradients, dict(backbone.named_buffers())


@pytest.mark.parametrize(("name", "num_blocks"), [("resnet", 8), ("unet", 3), ("timm", 16)])
def test_the_step_is_the_same_and_keeps_less(name, num_blocks):
    """Gradients, and statistics of batch norms, which count each batch once."""
    plain = backbone_of(name).train()
    frugal = copy.deepcopy(plain)
    assert checkpoint_activations(frugal) == num_blocks
    assert list(frugal.state_dict()) == list(plain.state_dict())
    frugal = copy.deepcopy(frugal)  # as an average of weights is made
    kept, gradients, buffers = step(plain)
    less, same_gradients, same_buffers = step(frugal)
    assert less < 0.6 * kept
    for name, gradient in gradients.items():
        if gradient is not None:
            torch.testing.assert_close(same_gradients[name], gradient, rtol=1e-5, atol=1e-7)
    for name, buffer in buffers.items():
        assert torch.equal(same_buffers[name], buffer), name


def test_inference_is_left_alone():
    backbone = backbone_of("unet").eval()
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected = backbone(images)
        checkpoint_activations(backbone)
        found = backbone(images)
    for name, feature in expected.items():
        assert torch.equal(found[name], feature)


def test_nothing_to_do():
    assert checkpoint_activations(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())) == 0
