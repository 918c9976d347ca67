"""Panoptic FPN whose semantic branch names things, too: it trains, and it gives what it says."""

import copy
import logging

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage

from segtron.config import get_default_config
from segtron.errors import UserError
from segtron.modeling.build import build_model
from segtron.modeling.panoptic_merging import merge_panoptic

from ...conftest import TINY_MODEL

NUM_CLASSES = 6
THING_CLASSES = [4, 1]
HEADS = {
    "SemanticFPNHead": {"IN_FEATURES": ["p2", "p3", "p4", "p5"]},
    "FCNHead": {"IN_FEATURES": ["p3", "p4", "p5"]},
    "UNetHead": {"IN_FEATURES": ["p2", "p3", "p4", "p5"]},
}


def build(architecture="UnifiedPanopticFPN", head="FCNHead", **groups):
    """A tiny model; `groups` are groups of keys below MODEL."""
    model = copy.deepcopy(TINY_MODEL) | {"META_ARCHITECTURE": architecture}
    model["ROI_HEADS"] |= {"NUM_CLASSES": len(THING_CLASSES), "SCORE_THRESH_TEST": 0.0}
    model["SEM_SEG_HEAD"] = HEADS[head] | {
        "NAME": head,
        "NUM_CLASSES": NUM_CLASSES,
        "THING_CLASSES": THING_CLASSES,
        "CONVS_DIM": 4,
        "NORM": "GN" if head != "SemanticFPNHead" else "",
    }
    model["PANOPTIC_FPN"] = {"COMBINE": {"INSTANCES_CONFIDENCE_THRESH": 0.0}}
    cfg = get_default_config()
    cfg.merge_from_other_cfg(CfgNode({"MODEL": model, "TEST": {"DETECTIONS_PER_IMAGE": 8}}))
    cfg.merge_from_other_cfg(CfgNode({"MODEL": copy.deepcopy(groups)}))
    cfg.freeze()
    torch.manual_seed(0)
    return build_model(cfg)


def image(height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (3, height, width), generator=generator, dtype=torch.uint8)
    labels = torch.randint(NUM_CLASSES, (height, width), generator=generator)
    labels[: height // 4] = 255
    instances = Instances((height, width))
    instances.gt_boxes = Boxes(torch.tensor([[4.0, 4, 30, 28]]))
    instances.gt_classes = torch.tensor([1])
    masks = torch.zeros(1, height, width, dtype=torch.bool)
    masks[:, 4:28, 4:30] = True
    instances.gt_masks = BitMasks(masks)
    return {"image": pixels, "sem_seg": labels, "instances": instances}


def losses_of(model, batch):
    torch.manual_seed(1)  # proposals are sampled
    with EventStorage():
        return model.train()(batch)


@pytest.mark.parametrize("head", HEADS)
def test_trains_with_every_semantic_head(head):
    model = build(head=head)
    losses = losses_of(model, [image(64, 80), image(37, 61, seed=1)])
    assert {"loss_sem_seg", "loss_mask", "loss_cls", "loss_rpn_cls"} <= set(losses)
    assert all(torch.isfinite(loss) for loss in losses.values())
    sum(losses.values()).backward()
    # Processes that train together wait for the gradient of every parameter.
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


def test_pixels_beyond_an_image_have_no_class():
    model, seen = build(), []
    model.sem_seg_head.register_forward_pre_hook(lambda head, inputs: seen.append(inputs[1]))
    batch = [image(64, 80), image(37, 61, seed=1)]
    losses_of(model, batch)
    assert torch.equal(seen[0][0, :64, :80], batch[0]["sem_seg"])
    assert torch.equal(seen[0][1, :37, :61], batch[1]["sem_seg"])
    assert (seen[0][1, 37:] == 255).all()
    assert (seen[0][1, :, 61:] == 255).all()


@pytest.mark.parametrize("head", HEADS)
def test_outputs_of_a_batch_fit_each_image(head):
    model = build(head=head, PANOPTIC_FPN={"COMBINE": {"STUFF_AREA_LIMIT": 1}}).eval()
    sizes = [(64, 80), (37, 61), (128, 100)]
    inputs = [image(64, 80), image(37, 61, seed=1), image(64, 50, seed=2)]
    inputs[2] |= {"height": 128, "width": 100}
    with torch.no_grad():
        outputs = model(inputs)
    assert sum(len(output["instances"]) for output in outputs) > 0
    for output, size in zip(outputs, sizes, strict=True):
        assert set(output) == {"sem_seg", "instances", "panoptic_seg"}
        assert output["sem_seg"].shape == (NUM_CLASSES, *size)
        assert output["instances"].image_size == size
        ids, segments = output["panoptic_seg"]
        assert ids.shape == size
        assert ids.dtype == torch.int32
        assert set(ids.unique().tolist()) - {0} == {segment["id"] for segment in segments}
        labels = output["sem_seg"].argmax(dim=0)
        things = [segment for segment in segments if segment["isthing"]]
        for segment in things:
            found = output["instances"][segment["instance_id"]]
            assert segment["category_id"] == THING_CLASSES[found.pred_classes.item()]
            assert segment["score"] == found.scores.item()
            assert found.pred_masks[0][ids == segment["id"]].all()
        for segment in segments[len(things) :]:
            assert segment["category_id"] not in THING_CLASSES
            assert (labels[ids == segment["id"]] == segment["category_id"]).all()


def test_instances_and_classes_are_those_of_detectron2s_model():
    model, theirs = build().eval(), build("PanopticFPN").eval()
    theirs.load_state_dict(model.state_dict())  # the same names
    inputs = [image(64, 80), image(37, 61, seed=1) | {"height": 50, "width": 99}]
    with torch.no_grad():
        outputs, expected = model(inputs), theirs(inputs)
    for output, other in zip(outputs, expected, strict=True):
        assert torch.equal(output["sem_seg"], other["sem_seg"])
        assert torch.equal(output["instances"].pred_masks, other["instances"].pred_masks)
        assert torch.equal(output["instances"].scores, other["instances"].scores)


def test_thresholds_are_those_of_the_config():
    options = {"OVERLAP_THRESH": 0.1, "STUFF_AREA_LIMIT": 700, "INSTANCES_CONFIDENCE_THRESH": 0.4}
    model = build(PANOPTIC_FPN={"COMBINE": options}).eval()
    with torch.no_grad():
        (output,) = model([image(64, 80)])
    ids, _ = merge_panoptic(
        output["instances"],
        output["sem_seg"].argmax(dim=0),
        overlap_threshold=0.1,
        stuff_area_limit=700,
        confidence_threshold=0.4,
        thing_classes=THING_CLASSES,
    )
    assert torch.equal(output["panoptic_seg"][0], ids)
    assert (model.combine_overlap_thresh, model.combine_stuff_area_thresh) == (0.1, 700)
    assert model.combine_instances_score_thresh == 0.4


def test_merges_by_the_scores_that_the_mask_iou_branch_gives(monkeypatch):
    mask_head = {"NAME": "InstanceMaskHead", "MASK_IOU": {"ENABLED": True, "FC_DIM": 8}}
    model = build(ROI_MASK_HEAD=mask_head, PANOPTIC_FPN={"COMBINE": {"OVERLAP_THRESH": 1.0}})
    # It finds the last instances the best.
    monkeypatch.setattr(
        model.roi_heads.mask_head.mask_iou_head,
        "forward",
        lambda features, masks: torch.linspace(0.01, 1, len(masks))[:, None].expand(-1, 2),
    )
    with torch.no_grad():
        (output,) = model.eval()([image(64, 80)])
    scores = output["instances"].scores
    assert not torch.equal(scores, scores.sort(descending=True).values)
    found = [segment["score"] for segment in output["panoptic_seg"][1] if segment["isthing"]]
    assert len(found) > 1
    assert found == sorted(found, reverse=True)
    assert set(found) <= set(scores.tolist())


def test_raw_outputs():
    with torch.no_grad():
        detections, logits = build().eval().inference([image(64, 80)], do_postprocess=False)
    assert detections[0].image_size == (64, 80)
    assert logits.shape[:2] == (1, NUM_CLASSES)


INSTANCE_HEADS = {
    "plain": {},
    "rescored": {
        "ROI_MASK_HEAD": {
            "NAME": "InstanceMaskHead",
            "DICE_WEIGHT": 0.7,
            "MASK_IOU": {"ENABLED": True, "NUM_CONV": 1, "CONV_DIM": 4, "FC_DIM": 8},
        }
    },
    "cascade": {
        "ROI_HEADS": {"NAME": "CascadeROIHeads"},
        "ROI_BOX_HEAD": {"CLS_AGNOSTIC_BBOX_REG": True},
    },
}


@pytest.mark.parametrize("kind", INSTANCE_HEADS)
def test_the_weight_of_the_instances_multiplies_all_their_losses_and_no_other(kind, caplog):
    batch = [image(64, 80)]
    whole = losses_of(build(**INSTANCE_HEADS[kind]), batch)
    with caplog.at_level(logging.WARNING):
        model = build(**INSTANCE_HEADS[kind], PANOPTIC_FPN={"INSTANCE_LOSS_WEIGHT": 0.25})
    assert "INSTANCE_LOSS_WEIGHT" not in caplog.text
    weighted = losses_of(model, batch)
    assert list(weighted) == list(whole)
    others = {"loss_sem_seg", "loss_rpn_cls", "loss_rpn_loc"}
    assert len(set(whole) - others) >= 3
    for name, loss in whole.items():
        factor = 1.0 if name in others else 0.25
        torch.testing.assert_close(weighted[name], loss * factor)


def test_the_semantic_weight():
    batch = [image(64, 80)]
    whole = losses_of(build(), batch)
    weighted = losses_of(build(SEM_SEG_HEAD={"LOSS_WEIGHT": 0.5}), batch)
    for name, loss in whole.items():
        factor = 0.5 if name == "loss_sem_seg" else 1.0
        torch.testing.assert_close(weighted[name], loss * factor)


@pytest.mark.parametrize(
    ("group", "options", "message"),
    [
        ("SEM_SEG_HEAD", {"THING_CLASSES": []}, "THING_CLASSES is empty.*DATASETS.TRAIN"),
        ("SEM_SEG_HEAD", {"THING_CLASSES": [1]}, "1 classes, but MODEL.ROI_HEADS.NUM_CLASSES is 2"),
        ("SEM_SEG_HEAD", {"THING_CLASSES": [1, 1]}, r"\[1, 1\]; name each class once"),
        ("SEM_SEG_HEAD", {"THING_CLASSES": [1, 6]}, r"\[1, 6\]; .* from 0 to 5"),
        ("SEM_SEG_HEAD", {"THING_CLASSES": [-1, 2]}, "from 0 to 5"),
        ("SEM_SEG_HEAD", {"THING_CLASSES": [0.5, 2]}, "from 0 to 5"),
        ("PANOPTIC_FPN", {"INSTANCE_LOSS_WEIGHT": -0.5}, "WEIGHT is -0.5; it must be 0 or more"),
        ("PANOPTIC_FPN", {"COMBINE": {"OVERLAP_THRESH": 1.5}}, "OVERLAP_THRESH is 1.5"),
        ("PANOPTIC_FPN", {"COMBINE": {"STUFF_AREA_LIMIT": -1}}, "STUFF_AREA_LIMIT is -1"),
        (
            "PANOPTIC_FPN",
            {"COMBINE": {"INSTANCES_CONFIDENCE_THRESH": float("nan")}},
            "CONFIDENCE_THRESH is nan; it must be from 0 to 1",
        ),
        ("PANOPTIC_FPN", {"COMBINE": {"ENABLED": False}}, "ENABLED is False"),
    ],
)
def test_options_that_can_not_be_meant(group, options, message):
    with pytest.raises(UserError, match=message):
        build(**{group: options})


def test_masks_are_needed():
    with pytest.raises(UserError, match=r"MASK_ON is False.*set it to True"):
        build(MASK_ON=False)


@pytest.mark.parametrize("key", ["instances", "sem_seg"])
def test_an_image_without_one_of_the_targets_is_named(key):
    batch = [image(64, 80), image(64, 80) | {"file_name": "street.png"}]
    del batch[1][key]
    with pytest.raises(
        UserError, match=rf"street.png has no {key} .* instances and semantic labels,"
    ):
        losses_of(build(), batch)
