"""`Detector` against the inference of the models themselves, before anything is exported."""

from __future__ import annotations

import pytest
import torch
import torchvision.ops
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes

from segtron.inference.export.detector import Detector, batched_nms, pool

from .exported_models import POINT_REND, make_cfg, make_model

ROI_MASK = {"ROI_MASK_HEAD": {"NAME": "InstanceMaskHead"}}
CHANGES = {
    "Detectron2's mask head": {},
    "Segtron's mask head": ROI_MASK,
    "masks rescored": {
        "ROI_MASK_HEAD": ROI_MASK["ROI_MASK_HEAD"] | {"MASK_IOU": {"ENABLED": True}}
    },
    "one mask, one box for all classes": {
        "ROI_MASK_HEAD": {"CLS_AGNOSTIC_MASK": True},
        "ROI_BOX_HEAD": {"CLS_AGNOSTIC_BBOX_REG": True},
    },
    "other ROIAlign": {
        "ROI_BOX_HEAD": {"POOLER_TYPE": "ROIAlign", "POOLER_SAMPLING_RATIO": 2},
        "ROI_MASK_HEAD": {"POOLER_TYPE": "ROIAlign"},
    },
    "other limits": {
        "RPN": {"NMS_THRESH": 0.4, "PRE_NMS_TOPK_TEST": 7},
        "ROI_HEADS": {"SCORE_THRESH_TEST": 0.1, "NMS_THRESH_TEST": 0.2},
    },
    "scores by sigmoid": {"ROI_BOX_HEAD": {"USE_SIGMOID_CE": True}},
    "PointRend": POINT_REND,
    "one PointRend mask for all classes": POINT_REND
    | {"POINT_HEAD": POINT_REND["POINT_HEAD"] | {"CLS_AGNOSTIC_MASK": True}},
    "anchors off the corner": {"ANCHOR_GENERATOR": {"OFFSET": 0.5}},
}


def detect(cfg, model, image):
    """What the model says and what `Detector` says of (3, H, W), before masks are pasted."""
    [expected] = model.inference([{"image": image}], do_postprocess=False)
    images = model.preprocess_image([{"image": image}])
    size = torch.tensor(image.shape[1:])
    return expected, Detector(model)(model.backbone(images.tensor), size)


@pytest.mark.parametrize("name", CHANGES)
def test_it_says_what_the_model_says(name):
    cfg = make_cfg("instance", CHANGES[name])
    model = make_model(cfg)
    # Not a multiple of the strides: what is added to the image is no place for boxes.
    image = torch.rand(3, 75, 90, generator=torch.Generator().manual_seed(0)) * 255
    expected, found = detect(cfg, model, image)
    assert len(expected) > 3
    assert len(expected.pred_classes.unique()) > 1
    torch.testing.assert_close(found.boxes, expected.pred_boxes.tensor)
    torch.testing.assert_close(found.scores, expected.scores)
    assert torch.equal(found.classes, expected.pred_classes)
    torch.testing.assert_close(found.masks, expected.pred_masks[:, 0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("changes", "side"), [({}, 28), (POINT_REND, 56)])
def test_nothing_found(changes, side):
    cfg = make_cfg("instance", changes, {"ROI_HEADS": {"SCORE_THRESH_TEST": 1.0}})
    _, found = detect(cfg, make_model(cfg), torch.zeros(3, 64, 64))
    assert [tuple(part.shape) for part in found] == [(0, 4), (0,), (0,), (0, side, side)]


@pytest.mark.parametrize("number", [0, 1, 300])
def test_suppression_is_torchvisions(number):
    generator = torch.Generator().manual_seed(number)
    corners = torch.rand(number, 2, 2, generator=generator) * 100
    boxes = torch.cat([corners.amin(dim=1), corners.amax(dim=1)], dim=1)
    scores = torch.rand(number, generator=generator)
    groups = torch.randint(3, (number,), generator=generator)
    expected = torchvision.ops.batched_nms(boxes, scores, groups, 0.3)
    assert torch.equal(batched_nms(boxes, scores, groups, 0.3), expected)
    assert number < 2 or len(expected) < number


def test_pooling_takes_each_box_from_its_level():
    pooler = ROIPooler(7, [1 / 4, 1 / 8, 1 / 16], 0, "ROIAlignV2")
    features = [torch.rand(1, 2, 128 // stride, 128 // stride) for stride in (1, 2, 4)]
    sides = torch.tensor([4.0, 500, 230, 120, 2])
    boxes = torch.cat([torch.zeros(5, 2), sides[:, None].repeat(1, 2)], dim=1)
    torch.testing.assert_close(pool(pooler, features, boxes), pooler(features, [Boxes(boxes)]))
