"""Models of all kinds, small, without training, and yet with outputs that differ from place to
place."""

from __future__ import annotations

import copy
import functools

import torch
from detectron2.config import CfgNode
from detectron2.layers import ROIAlign
from detectron2.modeling.poolers import ROIPooler
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from segtron.config import get_default_config
from segtron.modeling.build import build_model
from segtron.modeling.roi_align import CellROIAlign, CellROIPooler

from ..conftest import TINY_MODEL, TINY_POINT_REND

UNET_ENCODER = {
    "BACKBONE": {"NAME": "UNetEncoder"},
    "UNET_ENCODER": {"CHANNELS": [8, 16, 24, 32], "NORM": "BN"},
}
SEMANTIC = {"META_ARCHITECTURE": "SemanticSegmentor"}
PANOPTIC = {"META_ARCHITECTURE": "UnifiedPanopticFPN"}
CLASSES = {"NUM_CLASSES": 6, "THING_CLASSES": [4, 1, 3], "CONVS_DIM": 8}


def semantic_head(name: str, in_features: list[str], **options) -> dict[str, dict]:
    norm = "" if name == "SemanticFPNHead" else "BN"
    head = CLASSES | {"NAME": name, "IN_FEATURES": in_features, "NORM": norm} | options
    return {"SEM_SEG_HEAD": head}


RES3_TO_RES5 = ["res3", "res4", "res5"]
P2_TO_P5 = ["p2", "p3", "p4", "p5"]
ENCODED = ["enc2", "enc3", "enc4"]
# All that configs/toytown has, other mask heads, and RetinaNet.
MODELS = {
    "mask_rcnn": {},
    "mask_iou": {
        "ROI_MASK_HEAD": {
            "NAME": "InstanceMaskHead",
            "MASK_IOU": {"ENABLED": True, "NUM_CONV": 1, "CONV_DIM": 8, "FC_DIM": 16},
        }
    },
    "point_rend": TINY_POINT_REND,
    "retinanet": {
        "META_ARCHITECTURE": "RetinaNet",
        "BACKBONE": {"NAME": "build_retinanet_resnet_fpn_backbone"},
        "FPN": {"IN_FEATURES": RES3_TO_RES5},
        "RETINANET": {
            "NUM_CLASSES": 3,
            "NUM_CONVS": 1,
            "IN_FEATURES": [f"p{i}" for i in range(3, 8)],
        },
    },
    "panoptic_fpn": PANOPTIC | semantic_head("SemanticFPNHead", P2_TO_P5),
    "panoptic_fcn": PANOPTIC | semantic_head("FCNHead", ["p3", "p4", "p5"]),
    "panoptic_unet": PANOPTIC | semantic_head("UNetHead", P2_TO_P5, COMMON_STRIDE=4),
    "semantic_fpn": SEMANTIC | semantic_head("SemanticFPNHead", P2_TO_P5),
    "fcn": SEMANTIC | semantic_head("FCNHead", ["p3", "p4", "p5"]),
    "unet": SEMANTIC
    | UNET_ENCODER
    | semantic_head("UNetHead", ["enc1", *ENCODED], COMMON_STRIDE=1),
    "bottom_up": {
        "META_ARCHITECTURE": "BottomUpPanoptic",
        **UNET_ENCODER,
        **semantic_head("UNetHead", ENCODED, COMMON_STRIDE=2),
        "CENTER_HEAD": {"IN_FEATURES": ENCODED, "COMMON_STRIDE": 2, "CONVS_DIM": 8, "NORM": "BN"},
        "BOTTOM_UP": {"STUFF_AREA_LIMIT": 4, "NMS_KERNEL": 9, "CENTER_THRESHOLD": 0.3, "TOP_K": 12},
    },
}
# The last layers, by the ends of their names, and the standard deviation that their outputs get:
# those of untrained layers are all alike.
LAST_LAYERS = {
    "objectness_logits": 2.0,
    "anchor_deltas": 0.3,
    "cls_score": 2.0,
    "bbox_pred": 0.5,
    "mask_head.predictor": 3.0,
    "mask_iou_head.predictor": 0.2,
    "coarse_head.prediction": 3.0,
    "mask_head.point_head.predictor": 3.0,
    "sem_seg_head.predictor": 2.0,
    "scores.p3": 2.0,
    "scores.p5": 2.0,
    "center_predictor": 0.3,
    "offset_predictor": 3.0,
}


def config(kind: str, **test) -> CfgNode:
    """Of one of `MODELS`, with keys of TEST."""
    model = copy.deepcopy(TINY_MODEL)
    model["ROI_HEADS"] |= {"NUM_CLASSES": 3, "SCORE_THRESH_TEST": 0.05}
    model["PANOPTIC_FPN"] = {
        "COMBINE": {"INSTANCES_CONFIDENCE_THRESH": 0.2, "STUFF_AREA_LIMIT": 20}
    }
    cfg = get_default_config()
    test = {"DETECTIONS_PER_IMAGE": 8, "PRECISION": "float32"} | test
    cfg.merge_from_other_cfg(CfgNode({"MODEL": model, "TEST": test}))
    cfg.merge_from_other_cfg(CfgNode({"MODEL": copy.deepcopy(MODELS[kind])}))
    return cfg


def batch() -> list[dict]:
    """Two images of different sizes, smooth as photographs are."""
    generator = torch.Generator().manual_seed(0)
    inputs = []
    for height, width, size in ((64, 96, {}), (75, 61, {"height": 100, "width": 82})):
        coarse = torch.rand(1, 3, 8, 10, generator=generator) * 255
        image = nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0]
        inputs.append({"image": image.clamp(0, 255).to(torch.uint8)} | size)
    return inputs


@torch.no_grad()
def settle(model: nn.Module) -> None:
    """Give batch norms the statistics of their inputs, and the last layers outputs that differ."""
    handles, settled = [], set()

    def take_statistics(norm, inputs):
        var, mean = torch.var_mean(inputs[0], dim=(0, 2, 3))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(var + 0.01)

    def spread(layer, inputs, output, std):
        if layer in settled:
            return None
        settled.add(layer)
        channels = output.transpose(0, 1).flatten(1)
        means = channels.mean(dim=1)
        scale = std / (channels - means[:, None]).std()
        layer.weight.mul_(scale)
        layer.bias.sub_(means).mul_(scale)
        return layer(*inputs)

    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm):
            handles.append(module.register_forward_pre_hook(take_statistics))
        for ending, std in LAST_LAYERS.items():
            if name.endswith(ending):
                nn.init.normal_(module.weight, std=0.1)
                hook = functools.partial(spread, std=std)
                handles.append(module.register_forward_hook(hook))
    model.eval()(batch())
    for handle in handles:
        handle.remove()


def settled_model(kind: str) -> nn.Module:
    """One of `MODELS`, always the same, with Detectron2's ROIAlign, to compare with."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(config(kind))
        detectron2s = {CellROIAlign: ROIAlign, CellROIPooler: ROIPooler}
        for module in model.modules():
            module.__class__ = detectron2s.get(type(module), type(module))
        settle(model)
    return model
