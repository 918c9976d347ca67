"""One set of made-up weights in Segtron, Detectron2 and torchvision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from detectron2.engine import DefaultPredictor
from detectron2.layers import FrozenBatchNorm2d

from segtron.benchmarks.compared_models import mask_rcnn, panoptic_fpn
from segtron.benchmarks.made_up_images import draw_images
from segtron.benchmarks.torchvision_mask_rcnn import (
    build_torchvision_mask_rcnn,
    torchvision_tensors,
)
from segtron.inference.predictor import Predictor

SIZE = (64, 128)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    [image] = draw_images(1, SIZE, seed=3)
    return image


@pytest.fixture(scope="module")
def model(image, tmp_path_factory):
    return mask_rcnn(tmp_path_factory.mktemp("weights"), image, "cpu", seed=5)


@pytest.fixture(scope="module")
def stock(model):
    return DefaultPredictor(model.stock)


@pytest.fixture(scope="module")
def theirs(stock):
    return build_torchvision_mask_rcnn(stock.cfg, SIZE).eval()


@torch.inference_mode()
def test_torchvision_computes_the_same_features(image, stock, theirs):
    chw = torch.from_numpy(image.transpose(2, 0, 1).copy())
    features = stock.model.backbone(stock.model.preprocess_image([{"image": chw}]).tensor)
    images, _ = theirs.transform([chw.flip(0).float() / 255])
    their_features = theirs.backbone(images.tensors)
    assert len(features) == len(their_features) == 5
    for ours, other in zip(features.values(), their_features.values(), strict=True):
        assert ours.std() > 0.1
        torch.testing.assert_close(other, ours, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_torchvision_computes_the_same_heads(stock, theirs):
    torch.manual_seed(0)
    features = torch.randn(1, 256, 8, 8)
    [logits], [deltas] = stock.model.proposal_generator.rpn_head([features])
    [their_logits], [their_deltas] = theirs.rpn.head([features])
    torch.testing.assert_close(their_logits, logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(their_deltas, deltas, rtol=1e-4, atol=1e-4)

    heads, their_heads = stock.model.roi_heads, theirs.roi_heads
    regions = torch.randn(3, 256, 7, 7)
    scores, deltas = heads.box_predictor(heads.box_head(regions))
    their_scores, their_deltas = their_heads.box_predictor(their_heads.box_head(regions))
    # Their background comes first.
    torch.testing.assert_close(their_scores.roll(-1, dims=1), scores, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(their_deltas[:, 4:], deltas, rtol=1e-4, atol=1e-4)

    regions = torch.randn(3, 256, 14, 14)
    masks = heads.mask_head.layers(regions)
    their_masks = their_heads.mask_predictor(their_heads.mask_head(regions))
    torch.testing.assert_close(their_masks[:, 1:], masks, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("training", [False, True])
def test_torchvision_has_as_many_proposals(training, stock):
    rpn = build_torchvision_mask_rcnn(stock.cfg, SIZE).rpn.train(training)
    phase = "TRAIN" if training else "TEST"
    keys = stock.cfg.MODEL.RPN
    assert rpn.pre_nms_top_n() == keys[f"PRE_NMS_TOPK_{phase}"]
    assert rpn.post_nms_top_n() == keys[f"POST_NMS_TOPK_{phase}"]


def test_each_weight_has_its_place(stock, theirs):
    """None is used twice, and none is left out but anchors and what images are normalized by."""
    tensors = stock.model.state_dict()
    marked = {
        name: torch.full_like(tensor, float(number))
        for number, (name, tensor) in enumerate(tensors.items())
    }
    places = torchvision_tensors(marked)
    numbers = [tensor.flatten()[-1].item() for tensor in places.values()]
    assert places.keys() == theirs.state_dict().keys()
    assert len(set(numbers)) == len(numbers)
    left_out = set(range(len(tensors))) - set(map(int, numbers))
    assert {list(tensors)[number] for number in left_out} <= {"pixel_mean", "pixel_std"}


def test_torchvision_trains_the_stages_that_detectron2_trains(stock, theirs):
    theirs_trained = {name for name, p in theirs.named_parameters() if p.requires_grad}
    body = {name.split(".")[2] for name in theirs_trained if name.startswith("backbone.body")}
    assert body == {"layer2", "layer3", "layer4"}
    bottom_up = {
        name.split(".")[2]
        for name, p in stock.model.named_parameters()
        if p.requires_grad and name.startswith("backbone.bottom_up")
    }
    assert bottom_up == {"res3", "res4", "res5"}


def test_segtron_finds_the_same(image, model, stock):
    [ours] = Predictor(model.our_cfg(["TEST.PRECISION", "float32"]))([image])
    instances, found = ours["instances"], stock(image)["instances"]
    assert len(found) >= 20
    assert found.pred_classes.unique().numel() > 3
    assert instances.pred_classes.tolist() == found.pred_classes.tolist()
    torch.testing.assert_close(
        instances.pred_boxes.tensor, found.pred_boxes.tensor, rtol=1e-3, atol=0.05
    )


def test_batch_norms_have_the_statistics_of_what_they_get(image, stock):
    outputs = {}
    norms = {
        name: module
        for name, module in stock.model.backbone.named_modules()
        if isinstance(module, FrozenBatchNorm2d)
    }
    handles = [
        norm.register_forward_hook(
            lambda _module, _inputs, output, name=name: outputs.update({name: output.std().item()})
        )
        for name, norm in norms.items()
    ]
    stock(image)
    for handle in handles:
        handle.remove()
    assert len(outputs) == len(norms) == 53
    for name, deviation in outputs.items():
        expected = 0.1 if name.endswith("conv3.norm") else 1.0
        assert deviation == pytest.approx(expected, rel=0.1), name


def test_panoptic_models_find_the_same_stuff(image, tmp_path):
    model = panoptic_fpn(tmp_path, image, "cpu", seed=5)
    [ours] = Predictor(model.our_cfg(["TEST.PRECISION", "float32"]))([image])
    theirs = DefaultPredictor(model.stock)(image)
    # Classes 0 to 79 are things here; there all of them are class 0.
    assert ours["sem_seg"].shape == (133, *SIZE)
    assert theirs["sem_seg"].shape == (54, *SIZE)
    torch.testing.assert_close(ours["sem_seg"][79:], theirs["sem_seg"], rtol=1e-3, atol=1e-3)
    assert ours["sem_seg"][:80].std(dim=0).max() < 1e-3
