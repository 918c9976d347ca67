"""The bottom-up model: it trains, it learns, and its outputs are in the output's pixels."""

import copy

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY
from torch import nn
from torch.nn import functional as F

from segtron.config import get_default_config
from segtron.errors import UserError
from segtron.modeling.build import build_model
from segtron.modeling.center_head import center_targets
from segtron.modeling.center_head.head import CenterPredictions
from segtron.modeling.meta_arch import BottomUpPanoptic

NUM_CLASSES = 5
THING_CLASSES = [4, 1]
HEADS = {
    "FCNHead": {"IN_FEATURES": ["enc3", "enc4"]},
    "UNetHead": {"IN_FEATURES": ["enc2", "enc3", "enc4"], "COMMON_STRIDE": 2},
    "SemanticFPNHead": {"IN_FEATURES": ["p2", "p3", "p4", "p5"]},
}
FPN = {
    "BACKBONE": {"NAME": "build_resnet_fpn_backbone"},
    "RESNETS": {
        "DEPTH": 18,
        "RES2_OUT_CHANNELS": 64,
        "NORM": "BN",
        "OUT_FEATURES": ["res2", "res3", "res4", "res5"],
    },
    "FPN": {"IN_FEATURES": ["res2", "res3", "res4", "res5"], "OUT_CHANNELS": 8},
}
STUFF = {"isthing": False, "iscrowd": 0}


def build(head="UNetHead", **groups):
    """A tiny model; `groups` are groups of keys below MODEL."""
    semantic = {"NAME": head, "NUM_CLASSES": NUM_CLASSES, "THING_CLASSES": THING_CLASSES}
    semantic |= {"CONVS_DIM": 8, "NORM": "GN" if head != "SemanticFPNHead" else ""}
    in_features = ["p2", "p3"] if head == "SemanticFPNHead" else ["enc2", "enc3", "enc4"]
    model = {
        "META_ARCHITECTURE": "BottomUpPanoptic",
        "DEVICE": "cpu",
        "WEIGHTS": "",
        "BACKBONE": {"NAME": "UNetEncoder"},
        "UNET_ENCODER": {"CHANNELS": [8, 16, 24, 32], "NORM": "GN"},
        "SEM_SEG_HEAD": semantic | HEADS[head],
        "CENTER_HEAD": {
            "IN_FEATURES": in_features,
            "COMMON_STRIDE": 4 if head == "SemanticFPNHead" else 2,
            "CONVS_DIM": 8,
            "NORM": "GN",
            "SIGMA": 3.0,
        },
        "BOTTOM_UP": {"STUFF_AREA_LIMIT": 4},
    }
    cfg = get_default_config()
    cfg.merge_from_other_cfg(CfgNode({"MODEL": copy.deepcopy(model)}))
    if head == "SemanticFPNHead":
        cfg.merge_from_other_cfg(CfgNode({"MODEL": copy.deepcopy(FPN)}))
    cfg.merge_from_other_cfg(CfgNode({"MODEL": copy.deepcopy(groups)}))
    cfg.freeze()
    torch.manual_seed(0)
    return build_model(cfg)


def scene(height=40, width=60):
    """A wide and a narrow thing of class 4 that touch, one of class 1, stuff 0 and 2, and void."""
    pan_seg = torch.ones(height, width, dtype=torch.int64)
    pan_seg[: height // 4] = 2
    pan_seg[-2:] = 0
    pan_seg[14:34, 8:34] = 3
    pan_seg[14:34, 34:40] = 4
    pan_seg[20:30, 44:55] = 5
    classes = [255, 0, 2, 4, 4, 1]
    segments = [
        {"isthing": c in THING_CLASSES, "iscrowd": 0, "category_id": c} for c in classes[1:]
    ]
    sem_seg = torch.tensor(classes)[pan_seg]
    colors = torch.tensor([[0, 0, 0], [90, 90, 90], [20, 60, 200], [200, 40, 40], [160, 90, 20]])
    colors = torch.cat([colors, torch.tensor([[30, 200, 60]])])
    image = colors[pan_seg].permute(2, 0, 1).to(torch.uint8)
    return {"image": image, "sem_seg": sem_seg, "pan_seg": pan_seg, "segments_info": segments}


@pytest.mark.parametrize("head", HEADS)
def test_trains_with_every_semantic_head(head):
    model = build(head).train()
    losses = model([scene(), scene(37, 61)])
    assert losses.keys() == {"loss_sem_seg", "loss_center", "loss_offset"}
    assert all(torch.isfinite(loss) and loss > 0 for loss in losses.values())
    sum(losses.values()).backward()
    # Processes that train together wait for the gradient of every parameter.
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


def test_pixels_beyond_an_image_are_void(monkeypatch):
    model, seen = build().train(), []
    monkeypatch.setattr(model.backbone.__class__, "size_divisibility", 16)
    model.sem_seg_head.register_forward_pre_hook(lambda head, inputs: seen.append(inputs[1]))
    model.center_head.register_forward_pre_hook(lambda head, inputs: seen.append(inputs[1]))
    batch = [scene(), scene(37, 61)]
    model(batch)
    for padded, key, void in zip(seen, ("sem_seg", "pan_seg"), (255, 0), strict=True):
        assert padded.shape == (2, 48, 64)
        for place, inputs in zip(padded, batch, strict=True):
            height, width = inputs[key].shape
            assert torch.equal(place[:height, :width], inputs[key])
            assert (place[height:] == void).all()
            assert (place[:, width:] == void).all()


def check_output(output, size):
    """Outputs are of the given size, and agree with each other."""
    ids, segments = output["panoptic_seg"]
    instances = output["instances"]
    assert output["sem_seg"].shape == (NUM_CLASSES, *size)
    assert ids.shape == instances.image_size == size
    assert ids.dtype == torch.int32
    assert [segment["id"] for segment in segments] == list(range(1, len(segments) + 1))
    assert set(ids.unique().tolist()) - {0} == {segment["id"] for segment in segments}
    assert len(instances) == sum(segment["isthing"] for segment in segments)
    for i, segment in enumerate(segments):
        mask = ids == segment["id"]
        if not segment["isthing"]:
            assert segment.keys() == {"id", "isthing", "category_id", "area"}
            assert segment["category_id"] not in THING_CLASSES
            assert segment["area"] == mask.sum()
            continue
        found = instances[i]
        assert segment["instance_id"] == i
        assert segment["score"] == found.scores.item()
        assert 0 <= segment["score"] <= 1
        assert segment["category_id"] == THING_CLASSES[found.pred_classes.item()]
        assert torch.equal(found.pred_masks[0], mask)
        rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert found.pred_boxes.tensor[0].tolist() == box


@pytest.mark.parametrize("head", HEADS)
def test_outputs_of_a_batch_fit_each_image(head):
    # Before it has learned anything it sees a centre where a heatmap is largest.
    model = build(head, BOTTOM_UP={"CENTER_THRESHOLD": 0.0, "STUFF_AREA_LIMIT": 0}).eval()
    inputs = [scene(), scene(37, 61), scene() | {"height": 80, "width": 50}]
    with torch.no_grad():
        outputs = model([{k: i[k] for k in i if k in ("image", "height", "width")} for i in inputs])
    for output, size in zip(outputs, [(40, 60), (37, 61), (80, 50)], strict=True):
        assert output.keys() == {"sem_seg", "panoptic_seg", "instances"}
        check_output(output, size)


class Oracle(nn.Module):
    """Says of a scene what is right, in place of a head; garbage beyond the image."""

    ignore_value = 255

    def __init__(self, inputs, sigma=3.0):
        super().__init__()
        targets = center_targets(inputs["pan_seg"][None], [inputs["segments_info"]], sigma=sigma)
        labels = inputs["sem_seg"].where(inputs["sem_seg"] != 255, 3)[None]
        logits = F.one_hot(labels, NUM_CLASSES).permute(0, 3, 1, 2) * 4.0
        self.logits, self.heatmap, self.offsets = (
            F.pad(tensor, (0, 9, 0, 7), value=50.0)
            for tensor in (logits, targets.heatmap[:, None], targets.offsets)
        )


class SemanticOracle(Oracle):
    def forward(self, features, targets=None):
        return self.logits, {}


class CenterOracle(Oracle):
    def forward(self, features):
        return CenterPredictions(self.heatmap, self.offsets), {}


@pytest.mark.parametrize("size", [(40, 60), (80, 60), (40, 300), (20, 30), (27, 41)])
def test_right_predictions_become_the_right_instances_at_any_size(size):
    inputs = scene() | {"height": size[0], "width": size[1]}
    model = build().eval()
    model.sem_seg_head, model.center_head = SemanticOracle(inputs), CenterOracle(inputs)
    with torch.no_grad():
        (output,) = model([inputs])
    check_output(output, size)
    ids, segments = output["panoptic_seg"]
    # Things by their centres in reading order, then stuff; void became class 3.
    assert [segment["category_id"] for segment in segments] == [4, 4, 1, 0, 2, 3]
    expected = F.interpolate(inputs["pan_seg"][None, None].float(), size, mode="nearest-exact")
    for segment_id, place in enumerate([3, 4, 5, 1, 2, 0], start=1):
        mask, true = ids == segment_id, expected[0, 0] == place
        assert (mask & true).sum() / (mask | true).sum() > 0.85
    if size == (40, 60):
        assert torch.equal(ids, torch.tensor([6, 4, 5, 1, 2, 3])[inputs["pan_seg"]].int())
        sure = torch.tensor([4.0, 0, 0, 0, 0]).softmax(0)[0]
        torch.testing.assert_close(output["instances"].scores, sure.expand(3))


def test_scores():
    inputs = scene()
    model = build(BOTTOM_UP={"CENTER_THRESHOLD": 0.3}).eval()
    semantic, center = SemanticOracle(inputs), CenterOracle(inputs)
    center.heatmap[0, 0, :40, :34] *= 0.5  # the first thing's
    center.heatmap[0, 0, :40, 34:40] *= 1.5  # the second one's
    center.heatmap[0, 0, :40, 40:] *= 0.2  # the third one's: no centre
    semantic.logits[0, :, 14:24, 8:34] *= 0.5  # the upper half of the first thing
    model.sem_seg_head, model.center_head = semantic, center
    with torch.no_grad():
        (output,) = model([inputs])
    check_output(output, (40, 60))
    # The third thing's pixels go to the nearest centre that there is, and are outvoted there.
    ids, segments = output["panoptic_seg"]
    assert (ids[20:30, 44:55] == 2).all()
    assert [segment["category_id"] for segment in segments] == [4, 4, 0, 2, 3]
    unsure, sure = (torch.tensor([x, 0, 0, 0, 0]).softmax(0) for x in (2.0, 4.0))
    expected = [
        0.5 * (260 * sure[0] + 260 * unsure[0]) / 520,
        (120 * sure[0] + 110 * sure[1]) / 230,
    ]
    torch.testing.assert_close(output["instances"].scores, torch.stack(expected))


def test_an_image_without_things_and_one_of_void_alone():
    inputs = scene()
    inputs |= {"pan_seg": inputs["pan_seg"].clamp(max=2), "segments_info": [STUFF] * 2}
    inputs["sem_seg"] = torch.tensor([255, 0, 2])[inputs["pan_seg"]]
    for limit, num_segments in ((4, 3), (10_000, 0)):
        model = build(BOTTOM_UP={"STUFF_AREA_LIMIT": limit}).eval()
        model.sem_seg_head, model.center_head = SemanticOracle(inputs), CenterOracle(inputs)
        with torch.no_grad():
            (output,) = model([inputs])
        check_output(output, (40, 60))
        assert len(output["instances"]) == 0
        assert output["instances"].pred_masks.shape == (0, 40, 60)
        assert output["instances"].pred_boxes.tensor.shape == (0, 4)
        assert len(output["panoptic_seg"][1]) == num_segments
        assert (output["panoptic_seg"][0] > 0).all() == (num_segments > 0)


def test_learns_an_image_by_heart():
    model = build(CENTER_HEAD={"OFFSET_LOSS_WEIGHT": 0.1, "CONVS_DIM": 16}).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005)
    inputs = scene()
    for _ in range(60):
        optimizer.zero_grad()
        sum(model([inputs]).values()).backward()
        optimizer.step()
    with torch.no_grad():
        (output,) = model.eval()([inputs])
    check_output(output, (40, 60))
    ids, segments = output["panoptic_seg"]
    for place in (3, 4):  # the two that touch
        true = inputs["pan_seg"] == place
        best = ids[true].mode().values.item()
        mask = ids == best
        assert (mask & true).sum() / (mask | true).sum() > 0.7
        assert segments[best - 1]["category_id"] == 4


def test_options_are_those_of_the_config():
    options = {"CENTER_THRESHOLD": 0.2, "NMS_KERNEL": 5, "TOP_K": 17, "STUFF_AREA_LIMIT": 3}
    model = build(BOTTOM_UP=options)
    assert (model.center_threshold, model.nms_kernel) == (0.2, 5)
    assert (model.top_k, model.stuff_area_limit) == (17, 3)
    assert model.center_head.sigma == 3.0


@pytest.mark.parametrize(
    ("group", "options", "message"),
    [
        ("SEM_SEG_HEAD", {"THING_CLASSES": []}, "THING_CLASSES is empty.*DATASETS.TRAIN"),
        ("SEM_SEG_HEAD", {"THING_CLASSES": [1, 5]}, r"\[1, 5\]; .* from 0 to 4"),
        ("CENTER_HEAD", {"IN_FEATURES": ["res2"]}, "CENTER_HEAD.IN_FEATURES asks for res2"),
        ("BOTTOM_UP", {"CENTER_THRESHOLD": -0.1}, "CENTER_THRESHOLD is -0.1; .* from 0 to 1"),
        ("BOTTOM_UP", {"CENTER_THRESHOLD": float("nan")}, "CENTER_THRESHOLD is nan"),
        ("BOTTOM_UP", {"NMS_KERNEL": 4}, "NMS_KERNEL is 4; it must be odd, and 3 or more"),
        ("BOTTOM_UP", {"NMS_KERNEL": 1}, "NMS_KERNEL is 1; it must be odd, and 3 or more"),
        ("BOTTOM_UP", {"TOP_K": 0}, "TOP_K is 0; it must be 1 or more"),
        ("BOTTOM_UP", {"STUFF_AREA_LIMIT": -1}, "STUFF_AREA_LIMIT is -1; it must be 0 or more"),
    ],
)
def test_options_that_can_not_be_meant(group, options, message):
    with pytest.raises(UserError, match=message):
        build(**{group: options})


@pytest.mark.parametrize("key", ["sem_seg", "pan_seg", "segments_info"])
def test_an_image_without_one_of_the_targets_is_named(key):
    batch = [scene(), scene() | {"file_name": "street.png"}]
    del batch[1][key]
    with pytest.raises(
        UserError, match=rf"street.png has no {key} .* semantic and panoptic labels,"
    ):
        build().train()(batch)


def test_registered():
    assert META_ARCH_REGISTRY.get("BottomUpPanoptic") is BottomUpPanoptic
