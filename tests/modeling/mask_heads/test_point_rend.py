"""PointRend's head on a batch with and without foreground, and what its config takes over."""

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage

from segtron.config import get_default_config, load_config
from segtron.errors import UserError
from segtron.modeling.mask_heads import PointRendHead

CONFIG = """
MODEL:
  MASK_ON: True
  ROI_HEADS: {NUM_CLASSES: 5}
  ROI_MASK_HEAD: {NAME: PointRendHead}
"""


@pytest.fixture
def head():
    cfg = get_default_config()
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = cfg.MODEL.POINT_HEAD.NUM_CLASSES = 3
    cfg.MODEL.ROI_MASK_HEAD.POINT_HEAD_ON = True
    cfg.MODEL.ROI_MASK_HEAD.CONV_DIM = cfg.MODEL.POINT_HEAD.FC_DIM = 8
    cfg.MODEL.ROI_MASK_HEAD.FC_DIM = 16
    cfg.MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION = 14
    cfg.MODEL.POINT_HEAD.SUBDIVISION_STEPS = 3
    torch.manual_seed(0)
    return PointRendHead(cfg, {"p2": ShapeSpec(channels=8, stride=4)})


@pytest.mark.parametrize("count", [0, 2])
def test_every_parameter_gets_a_gradient(head, count):
    image = Instances((64, 64))
    image.proposal_boxes = Boxes(torch.tensor([[4.0, 4, 40, 40], [10, 8, 30, 60]])[:count])
    image.gt_classes = torch.tensor([0, 2])[:count]
    if count:
        image.gt_masks = BitMasks(torch.ones(2, 64, 64))
    features = {"p2": torch.randn(2, 8, 16, 16)}
    empty = Instances((64, 64))
    empty.proposal_boxes = Boxes(torch.zeros(0, 4))
    empty.gt_classes = torch.zeros(0, dtype=torch.int64)
    with EventStorage():
        losses = head.train()(features, [image, empty])
    assert set(losses) == {"loss_mask", "loss_mask_point"}
    assert all((loss > 0) == (count > 0) for loss in losses.values())
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_masks_of_detections(head):
    image = Instances((64, 64))
    image.pred_boxes = Boxes(torch.tensor([[4.0, 4, 40, 40]]))
    image.pred_classes = torch.tensor([1])
    with torch.no_grad():
        head.eval()({"p2": torch.randn(1, 8, 16, 16)}, [image])
        assert image.pred_masks.shape == (1, 1, 56, 56)
        image = image[:0]
        image.remove("pred_masks")
        head({"p2": torch.randn(1, 8, 16, 16)}, [image])
        assert len(image.pred_masks) == 0


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


def test_the_point_head_follows_the_roi_heads(path):
    cfg = load_config(path)
    assert cfg.MODEL.POINT_HEAD.NUM_CLASSES == 5
    assert cfg.INPUT.MASK_FORMAT == "bitmask"
    assert load_config(path, ["MODEL.MASK_ON", "False"]).INPUT.MASK_FORMAT == "polygon"


@pytest.mark.parametrize(
    ("opts", "message"),
    [
        (["MODEL.POINT_HEAD.NUM_CLASSES", "4"], "NUM_CLASSES is 4, but .* is 5"),
        (["INPUT.MASK_FORMAT", "polygon"], "MASK_FORMAT is 'polygon'"),
    ],
)
def test_contradictions_are_named(path, opts, message):
    with pytest.raises(UserError, match=message):
        load_config(path, opts)
