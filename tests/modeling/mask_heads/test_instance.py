"""InstanceMaskHead: parity with Detectron2, losses, rescoring, and the empty cases."""

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import ROI_MASK_HEAD_REGISTRY, build_mask_head
from detectron2.modeling.roi_heads.mask_head import MaskRCNNConvUpsampleHead
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage
from torch import nn

from segtron.config import get_default_config
from segtron.errors import UserError
from segtron.modeling.losses import soft_dice_loss
from segtron.modeling.mask_heads import InstanceMaskHead

SHAPE = ShapeSpec(channels=6, height=14, width=14)
CLASSES = 3


def config(**options):
    cfg = get_default_config()
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = CLASSES
    head = cfg.MODEL.ROI_MASK_HEAD
    head.NAME = "InstanceMaskHead"
    head.NUM_CONV = 2
    head.CONV_DIM = 8
    head.MASK_IOU.NUM_CONV = 2
    head.MASK_IOU.CONV_DIM = 4
    head.MASK_IOU.FC_DIM = 8
    for key, value in options.items():
        node = head.MASK_IOU if key == "ENABLED" else head
        node[key] = value
    return cfg


def build(**options):
    torch.manual_seed(0)
    return build_mask_head(config(**options), SHAPE)


def proposals(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    start = torch.rand(count, 2, generator=generator) * 20
    boxes = torch.cat([start, start + 5 + torch.rand(count, 2, generator=generator) * 20], dim=1)
    masks = torch.zeros(count, 48, 64, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.long().tolist(), strict=True):
        mask[y0 + 2 : y1 + 3, x0 + 1 : x1 + 1] = True
    image = Instances((48, 64))
    image.proposal_boxes = Boxes(boxes)
    image.gt_classes = torch.randint(CLASSES, (count,), generator=generator)
    image.gt_masks = BitMasks(masks)
    return image


def detections(count, seed=0):
    image = Instances((48, 64))
    found = proposals(count, seed)
    image.pred_boxes = found.proposal_boxes
    image.pred_classes = found.gt_classes
    image.scores = torch.linspace(0.9, 0.1, count)
    return image


def without_objects():
    """What Detectron2's ROI heads give for an image without ground truth: no `gt_masks`."""
    image = Instances((48, 64))
    image.proposal_boxes = Boxes(torch.zeros(0, 4))
    image.gt_classes = torch.zeros(0, dtype=torch.int64)
    return image


def losses(head, instances, features=None):
    if features is None:
        features = torch.randn(sum(len(image) for image in instances), 6, 14, 14)
    with EventStorage():
        return head.train()(features, instances)


def test_defaults_are_detectron2s_head():
    ours = build()
    cfg = config(NAME="MaskRCNNConvUpsampleHead")
    theirs = MaskRCNNConvUpsampleHead(cfg, SHAPE)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    features = torch.randn(7, 6, 14, 14)
    instances = [proposals(3), without_objects(), proposals(4, seed=1)]
    expected = losses(theirs, instances, features)
    assert expected["loss_mask"] > 0
    got = losses(ours, instances, features)
    assert list(got) == ["loss_mask"]
    assert got["loss_mask"].item() == pytest.approx(expected["loss_mask"].item(), abs=1e-6)
    ours.eval(), theirs.eval()
    masks = [ours(features, [detections(7)])[0], theirs(features, [detections(7)])[0]]
    assert torch.equal(masks[0].pred_masks, masks[1].pred_masks)
    assert not masks[0].has("box_scores")
    assert torch.equal(masks[0].scores, detections(7).scores)


@pytest.mark.parametrize("agnostic", [False, True])
def test_weighted_sum_of_cross_entropy_and_dice(agnostic):
    options = {"CLS_AGNOSTIC_MASK": agnostic}
    plain = build(**options)
    head = build(BCE_WEIGHT=0.5, DICE_WEIGHT=2.0, **options)
    instances = [proposals(3)]
    features = torch.randn(3, 6, 14, 14)
    got = losses(head, instances, features)
    bce = losses(plain, instances, features)["loss_mask"]
    assert got["loss_mask"].item() == pytest.approx(0.5 * bce.item(), abs=1e-6)
    logits = head.layers(features)
    assert logits.shape == (3, 1 if agnostic else CLASSES, 28, 28)
    column = torch.zeros(3, dtype=torch.int64) if agnostic else instances[0].gt_classes
    targets = instances[0].gt_masks.crop_and_resize(instances[0].proposal_boxes.tensor, 28)
    dice = soft_dice_loss(logits[torch.arange(3), column], targets)
    assert got["loss_mask_dice"].item() == pytest.approx(2.0 * dice.item(), abs=1e-6)


@pytest.mark.parametrize("agnostic", [False, True])
def test_mask_iou_loss_is_half_the_squared_error(agnostic):
    head = build(ENABLED=True, CLS_AGNOSTIC_MASK=agnostic)
    # Masks of ones everywhere, and an IoU of 0.75 predicted for each class.
    nn.init.zeros_(head.predictor.weight)
    nn.init.constant_(head.predictor.bias, 5.0)
    nn.init.zeros_(head.mask_iou_head.predictor.weight)
    nn.init.constant_(head.mask_iou_head.predictor.bias, 0.75)
    image = Instances((32, 32))
    image.proposal_boxes = Boxes(torch.tensor([[0.0, 0, 8, 8], [0, 0, 8, 8]]))
    image.gt_classes = torch.tensor([0, 2])
    masks = torch.zeros(2, 32, 32)
    masks[0, :16, :16] = 1  # 64 of 256 pixels are in the box
    masks[1, :12, :12] = 1  # 64 of 144
    image.gt_masks = BitMasks(masks)
    got = losses(head, [image])
    # 0.5 * mean((0.75 - 1 / 4) ** 2, (0.75 - 4 / 9) ** 2)
    expected = 0.5 * (0.5**2 + (0.75 - 4 / 9) ** 2) / 2
    assert got["loss_mask_iou"].item() == pytest.approx(expected, abs=1e-6)


def test_mask_iou_loss_does_not_reach_the_mask_layers():
    head = build(ENABLED=True)
    features = torch.randn(3, 6, 14, 14, requires_grad=True)
    losses(head, [proposals(3)], features)["loss_mask_iou"].backward()
    for name, parameter in head.named_parameters():
        reached = parameter.grad is not None
        assert reached == name.startswith("mask_iou_head."), name
    assert features.grad.abs().sum() > 0


def test_rescoring_by_hand():
    head = build(ENABLED=True).eval()
    nn.init.zeros_(head.mask_iou_head.predictor.weight)
    head.mask_iou_head.predictor.bias.data = torch.tensor([0.5, 1.7, -0.3])
    first, second = Instances((48, 64)), Instances((48, 64))
    for image, classes, scores in ((first, [0, 1, 2], [0.9, 0.8, 0.7]), (second, [0], [0.6])):
        image.pred_boxes = Boxes(torch.tensor([[0.0, 0, 9, 9]] * len(classes)))
        image.pred_classes = torch.tensor(classes)
        image.scores = torch.tensor(scores)
    with torch.no_grad():
        head(torch.randn(4, 6, 14, 14), [first, second])
    # Predicted IoUs 0.5, 1.7 clamped to 1, -0.3 clamped to 0.
    assert first.scores.tolist() == pytest.approx([0.45, 0.8, 0.0])
    assert second.scores.tolist() == pytest.approx([0.3])
    assert first.box_scores.tolist() == pytest.approx([0.9, 0.8, 0.7])
    assert second.box_scores.tolist() == pytest.approx([0.6])


def test_boxes_from_outside_need_no_scores():
    head = build(ENABLED=True).eval()
    image = detections(2)
    image.remove("scores")
    with torch.no_grad():
        head(torch.randn(2, 6, 14, 14), [image])
    assert image.pred_masks.shape == (2, 1, 28, 28)
    assert not image.has("scores")


@pytest.mark.parametrize("norm", ["", "GN", "BN", "LN"])
@pytest.mark.parametrize("instances", [[without_objects()], [proposals(0), without_objects()]])
def test_without_a_foreground_region_the_losses_are_zero_and_reach_every_parameter(norm, instances):
    head = build(ENABLED=True, DICE_WEIGHT=1.0, NORM=norm)
    got = losses(head, instances)
    assert {name: loss.item() for name, loss in got.items()} == {
        "loss_mask": 0.0,
        "loss_mask_dice": 0.0,
        "loss_mask_iou": 0.0,
    }
    sum(got.values()).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert torch.equal(parameter.grad, torch.zeros_like(parameter)), name


def test_with_foreground_every_parameter_gets_a_gradient():
    head = build(ENABLED=True, DICE_WEIGHT=1.0, NORM="GN")
    sum(losses(head, [proposals(2), without_objects()]).values()).backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_no_detection():
    head = build(ENABLED=True).eval()
    with torch.no_grad():
        (image,) = head(torch.zeros(0, 6, 14, 14), [detections(0)])
    assert image.pred_masks.shape == (0, 1, 28, 28)
    assert image.scores.shape == image.box_scores.shape == (0,)


@pytest.mark.parametrize(("width", "groups"), [(64, 32), (80, 16), (24, 8), (7, 1)])
def test_group_norm_finds_groups_that_divide_the_channels(width, groups):
    head = build(NORM="GN", CONV_DIM=width)
    assert head.mask_fcn1.norm.num_groups == groups
    assert head.mask_fcn1.bias is None


def test_depth_and_width_come_from_the_config():
    head = build(NUM_CONV=3, CONV_DIM=12)
    assert [head.mask_fcn1.weight.shape[1], head.mask_fcn3.weight.shape[0]] == [6, 12]
    assert not hasattr(head, "mask_fcn4")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"NORM": "gn"}, "MODEL.ROI_MASK_HEAD.NORM is 'gn'.*'GN'"),
        ({"BCE_WEIGHT": 0.0}, "BCE_WEIGHT is 0.0 and DICE_WEIGHT 0.0"),
        ({"DICE_WEIGHT": -1.0}, "DICE_WEIGHT -1.0"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(UserError, match=message):
        build(**options)


def test_registered():
    assert ROI_MASK_HEAD_REGISTRY.get("InstanceMaskHead") is InstanceMaskHead
