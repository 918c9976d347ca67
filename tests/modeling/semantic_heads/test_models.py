"""The heads on every kind of backbone, in Detectron2's SemanticSegmentor and PanopticFPN."""

import copy

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage

from segtron.config import get_default_config
from segtron.modeling.build import build_model

from ...conftest import TINY_MODEL

TIMM = {"PRETRAINED": False, "NORM": "BN"}
LITE0 = {"BACKBONE": {"NAME": "TimmBackbone"}, "TIMM": TIMM | {"NAME": "tf_efficientnet_lite0"}}
MOBILENET = {"BACKBONE": {"NAME": "TimmBackbone"}, "TIMM": TIMM | {"NAME": "mobilenetv2_100"}}
FPN = {key: TINY_MODEL[key] for key in ("BACKBONE", "RESNETS", "FPN")}


def resnet(depth):
    widths = {"RES2_OUT_CHANNELS": 64}
    if depth >= 50:
        widths = {"RES2_OUT_CHANNELS": 16, "STEM_OUT_CHANNELS": 8, "WIDTH_PER_GROUP": 4}
    return {
        "BACKBONE": {"NAME": "build_resnet_backbone", "FREEZE_AT": 0},
        "RESNETS": {"DEPTH": depth, "NORM": "BN"} | widths,
    }


def encoder(*channels):
    options = {"CHANNELS": list(channels), "NORM": "GN"}
    return {"BACKBONE": {"NAME": "UNetEncoder"}, "UNET_ENCODER": options}


def fcn(names):
    return {"SEM_SEG_HEAD": {"NAME": "FCNHead", "IN_FEATURES": names.split()}}


def unet(names, common_stride, **options):
    head = {"NAME": "UNetHead", "IN_FEATURES": names.split(), "COMMON_STRIDE": common_stride}
    return {"SEM_SEG_HEAD": head | {"UNET": options}}


MODELS = {
    "fcn_32s_lite0": LITE0 | fcn("res5"),
    "fcn_8s_lite0": LITE0 | fcn("res3 res4 res5"),
    "unet_lite0": LITE0 | unet("res1 res2 res3 res4 res5", 2),
    "fcn_16s_mobilenet": MOBILENET | fcn("res4 res5"),
    "unet_mobilenet": MOBILENET | unet("res2 res3 res4 res5", 4),
    "fcn_32s_r18": resnet(18) | fcn("res5"),
    "fcn_16s_r18": resnet(18) | fcn("res4 res5"),
    "fcn_8s_r50": resnet(50) | fcn("res3 res4 res5"),
    "unet_r18": resnet(18) | unet("stem res2 res3 res4 res5", 4),
    "unet_r50": resnet(50)
    | unet("stem res2 res3 res4 res5", 1, CONV="separable", UPSAMPLING="bilinear"),
    "fcn_fpn": FPN | fcn("p2 p3 p4 p5"),
    "unet_fpn": FPN | unet("p2 p3 p4 p5", 4),
    "fcn_8s_encoder": encoder(2, 3, 4, 5, 6, 7) | fcn("enc4 enc5 enc6"),
    "unet_encoder": encoder(2, 3, 4, 5, 6) | unet("enc1 enc2 enc3 enc4 enc5", 1),
}
HEAD = {"NUM_CLASSES": 4, "CONVS_DIM": 4, "NORM": "GN", "IGNORE_VALUE": 255}


def build(model, architecture="SemanticSegmentor", **head):
    model = copy.deepcopy(model)
    model |= {"META_ARCHITECTURE": architecture, "DEVICE": "cpu"}
    model["SEM_SEG_HEAD"] = HEAD | model["SEM_SEG_HEAD"] | head
    wanted = model["SEM_SEG_HEAD"]["IN_FEATURES"]
    # Stages that no head uses would get no gradient.
    if "TIMM" in model:
        model["TIMM"]["OUT_FEATURES"] = wanted
    elif "FPN" not in model and "RESNETS" in model:
        model["RESNETS"]["OUT_FEATURES"] = wanted
    cfg = get_default_config()
    cfg.merge_from_other_cfg(CfgNode({"MODEL": model}))
    cfg.freeze()
    torch.manual_seed(0)
    return build_model(cfg)


def image(height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (3, height, width), generator=generator, dtype=torch.uint8)
    labels = torch.randint(4, (height, width), generator=generator)
    labels[: height // 4] = 255
    return {"image": pixels, "sem_seg": labels, "height": height, "width": width}


def assert_trains(model, batch):
    with EventStorage():
        losses = model.train()(batch)
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    # Processes that train together wait for the gradient of every parameter.
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    return losses


@pytest.mark.parametrize("kind", MODELS)
def test_semantic_segmentor(kind):
    model = build(MODELS[kind])
    losses = assert_trains(model, [image(64, 80), image(37, 61)])
    assert list(losses) == ["loss_sem_seg"]
    assert 0.5 < losses["loss_sem_seg"] < 20
    model.eval()
    sizes = [(37, 61), (1, 1), (33, 64)]
    with torch.no_grad():
        for height, width in sizes:
            (output,) = model([image(height, width)])
            assert output["sem_seg"].shape == (4, height, width)
        outputs = model([image(*size) for size in sizes])
    assert [output["sem_seg"].shape[1:] for output in outputs] == sizes


@pytest.mark.parametrize("kind", ["fcn_8s_lite0", "unet_r18"])
def test_with_an_auxiliary_head(kind):
    features = MODELS[kind]["SEM_SEG_HEAD"]["IN_FEATURES"]
    model = build(MODELS[kind], AUX={"ENABLED": True, "IN_FEATURE": features[-2], "CONVS_DIM": 4})
    losses = assert_trains(model, [image(64, 80), image(64, 64)])
    assert set(losses) == {"loss_sem_seg", "loss_sem_seg_aux"}
    with torch.no_grad():
        (output,) = model.eval()([image(37, 61)])
    assert output["sem_seg"].shape == (4, 37, 61)


def test_the_output_has_the_size_that_was_asked_for():
    model = build(MODELS["fcn_8s_encoder"]).eval()
    with torch.no_grad():
        (output,) = model([image(37, 61) | {"height": 74, "width": 100}])
    assert output["sem_seg"].shape == (4, 74, 100)


@pytest.mark.parametrize("upsampling", ["learned", "fixed"])
def test_all_that_is_fixed_and_only_that_is_left_alone_by_a_training_step(upsampling):
    model = build(MODELS["fcn_fpn"], FCN={"UPSAMPLING": upsampling})
    before = [u.weight.clone() for u in model.sem_seg_head.upsamplings.values()]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    assert_trains(model, [image(64, 64)])
    optimizer.step()
    after = [u.weight for u in model.sem_seg_head.upsamplings.values()]
    same = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert same == [upsampling == "fixed"] * 4


@pytest.mark.parametrize("kind", ["fcn_fpn", "unet_fpn"])
def test_panoptic_fpn(kind):
    panoptic = copy.deepcopy(TINY_MODEL) | {"SEM_SEG_HEAD": MODELS[kind]["SEM_SEG_HEAD"]}
    model = build(panoptic, "PanopticFPN")
    batch = []
    for seed, (height, width) in enumerate([(64, 80), (37, 61)]):
        instances = Instances((height, width))
        instances.gt_boxes = Boxes(torch.tensor([[4.0, 4, 30, 28]]))
        instances.gt_classes = torch.tensor([1])
        masks = torch.zeros(1, height, width, dtype=torch.bool)
        masks[:, 4:28, 4:30] = True
        instances.gt_masks = BitMasks(masks)
        batch.append(image(height, width, seed) | {"instances": instances})
    losses = assert_trains(model, batch)
    assert {"loss_sem_seg", "loss_mask", "loss_cls", "loss_rpn_cls"} <= set(losses)
    with torch.no_grad():
        outputs = model.eval()(batch)
    for output, (height, width) in zip(outputs, [(64, 80), (37, 61)], strict=True):
        assert output["sem_seg"].shape == (4, height, width)
        assert output["panoptic_seg"][0].shape == (height, width)
        assert output["instances"].image_size == (height, width)
