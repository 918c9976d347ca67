"""Whole models on the CPU, without Detectron2's compiled part: they train, and they infer."""

from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import BitMasks, Boxes, Instances, PolygonMasks
from detectron2.utils.events import EventStorage

import segtron  # noqa: F401  (fills the registries)
from segtron.config import load_config

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = """
_BASE_: [{configs}/base/lite0_FPN.yaml, {configs}/base/mask_rcnn_FPN.yaml{part}]
MODEL:
  DEVICE: cpu
  TIMM: {{PRETRAINED: False, NORM: BN}}
  FPN: {{OUT_CHANNELS: 16}}
  RPN: {{PRE_NMS_TOPK_TRAIN: 50, POST_NMS_TOPK_TRAIN: 20, PRE_NMS_TOPK_TEST: 50}}
  ROI_HEADS: {{NUM_CLASSES: 3, BATCH_SIZE_PER_IMAGE: 16, SCORE_THRESH_TEST: 0.0}}
  ROI_BOX_HEAD: {{FC_DIM: 16}}
  ROI_MASK_HEAD: {{CONV_DIM: 8, NUM_CONV: 1, FC_DIM: 16, DICE_WEIGHT: {rescored:.1f},
                   MASK_IOU: {{ENABLED: {rescored}, NUM_CONV: 1, CONV_DIM: 4, FC_DIM: 8}}}}
  POINT_HEAD: {{FC_DIM: 8, SUBDIVISION_STEPS: 3}}
TEST: {{DETECTIONS_PER_IMAGE: 5}}
"""


@pytest.fixture(params=["mask_rcnn", "rescored", "point_rend"])
def kind(request):
    return request.param


@pytest.fixture
def model(kind, tmp_path):
    part = f", {CONFIGS}/base/pointrend.yaml" if kind == "point_rend" else ""
    path = tmp_path / "config.yaml"
    path.write_text(SMALL.format(configs=CONFIGS, part=part, rescored=kind == "rescored"))
    torch.manual_seed(0)
    return build_model(load_config(path))


def image(height, width, masks):
    instances = Instances((height, width))
    instances.gt_boxes = Boxes(torch.tensor([[8.0, 8, 40, 48]]).repeat(len(masks), 1))
    instances.gt_classes = torch.zeros(len(masks), dtype=torch.int64)
    instances.gt_masks = masks
    pixels = torch.randint(256, (3, height, width), dtype=torch.uint8)
    return {"image": pixels, "instances": instances, "height": height, "width": width}


def bitmaps(height, width, count):
    masks = torch.zeros(count, height, width)
    masks[:, 8:48, 8:40] = 1
    return BitMasks(masks)


def assert_trains(model, batch):
    with EventStorage():
        losses = model.train()(batch)
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    return losses


def test_trains(model):
    batch = [image(64, 80, bitmaps(64, 80, 2)), image(64, 72, bitmaps(64, 72, 0))]
    assert assert_trains(model, batch)["loss_mask"] > 0


def test_a_batch_without_objects_gives_every_parameter_a_gradient(model):
    # Otherwise processes that train together would wait for each other for ever.
    batch = [image(64, 64, bitmaps(64, 64, 0))] * 2
    losses = assert_trains(model, batch)
    assert {losses[name].item() for name in losses if "mask" in name} == {0.0}


@pytest.mark.parametrize("kind", ["mask_rcnn", "rescored"])  # PointRend reads bitmaps only
def test_trains_on_polygons_beside_bitmaps(model, kind):
    corners = [[torch.tensor([8.0, 8, 40, 8, 40, 48, 8, 48])]]
    batch = [image(64, 80, PolygonMasks(corners)), image(64, 80, bitmaps(64, 80, 1))]
    assert assert_trains(model, batch)["loss_mask"] > 0


def test_infers_at_any_size(model, kind):
    pixels = torch.randint(256, (3, 75, 51), dtype=torch.uint8)
    with torch.no_grad():
        (output,) = model.eval()([{"image": pixels, "height": 100, "width": 68}])
    found = output["instances"]
    assert 0 < len(found) <= 5
    assert found.pred_masks.shape == (len(found), 100, 68)
    assert found.has("box_scores") == (kind == "rescored")
