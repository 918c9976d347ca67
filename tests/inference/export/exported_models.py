"""Small models with random weights, to be exported."""

from __future__ import annotations

import copy

import torch
from detectron2.config import CfgNode
from torch import nn

from segtron.config.defaults import get_default_config
from segtron.modeling.build import build_model

from ...conftest import TINY_MODEL, TINY_POINT_REND

DETECTOR = TINY_MODEL | {"ROI_HEADS": TINY_MODEL["ROI_HEADS"] | {"NUM_CLASSES": 3}}
SEMANTIC_FPN = {"NAME": "SemanticFPNHead", "IN_FEATURES": ["p2", "p3", "p4", "p5"], "NORM": ""}
POINT_REND = TINY_POINT_REND | {
    "POINT_HEAD": TINY_POINT_REND["POINT_HEAD"]
    | {"SUBDIVISION_NUM_POINTS": 200, "IN_FEATURES": ["p2", "p3"]}
}
ON_UNET_ENCODER = {
    "DEVICE": "cpu",
    "WEIGHTS": "",
    "BACKBONE": {"NAME": "UNetEncoder"},
    "UNET_ENCODER": {"CHANNELS": [4, 8, 16]},
}
UNET_HEAD = {"NAME": "UNetHead", "CONVS_DIM": 4, "NUM_CLASSES": 5, "NORM": "BN"}
HALF_SIZE = {"IN_FEATURES": ["enc2", "enc3"], "COMMON_STRIDE": 2}
MODELS = {
    "instance": DETECTOR,
    "panoptic": DETECTOR
    | {
        "META_ARCHITECTURE": "UnifiedPanopticFPN",
        "SEM_SEG_HEAD": SEMANTIC_FPN | {"NUM_CLASSES": 5, "THING_CLASSES": [4, 1, 2]},
        "PANOPTIC_FPN": {"COMBINE": {"INSTANCES_CONFIDENCE_THRESH": 0.3, "STUFF_AREA_LIMIT": 64}},
    },
    "unet": ON_UNET_ENCODER
    | {
        "META_ARCHITECTURE": "SemanticSegmentor",
        "SEM_SEG_HEAD": UNET_HEAD | {"IN_FEATURES": ["enc1", "enc2", "enc3"], "COMMON_STRIDE": 1},
    },
    "bottom_up": ON_UNET_ENCODER
    | {
        "META_ARCHITECTURE": "BottomUpPanoptic",
        "SEM_SEG_HEAD": UNET_HEAD | HALF_SIZE | {"THING_CLASSES": [4, 1, 2]},
        "CENTER_HEAD": HALF_SIZE | {"CONVS_DIM": 4, "NORM": "BN"},
        "BOTTOM_UP": {"STUFF_AREA_LIMIT": 16, "CENTER_THRESHOLD": 0.3, "TOP_K": 12},
    },
}


def make_cfg(kind: str, *changes: dict) -> CfgNode:
    cfg = get_default_config()
    for part in (MODELS[kind], *changes):
        # Merging takes values out of what it is given.
        cfg.merge_from_other_cfg(CfgNode({"MODEL": copy.deepcopy(part)}))
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 64, 128
    cfg.TEST.PRECISION = "float32"
    cfg.freeze()
    return cfg


def make_model(cfg: CfgNode) -> nn.Module:
    """In evaluation mode; it finds objects, with scores far apart."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(cfg).eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
        if hasattr(model, "roi_heads"):
            predictor = model.roi_heads.box_predictor
            # Features are in the hundreds.
            nn.init.normal_(predictor.cls_score.weight, std=0.01)
            nn.init.normal_(predictor.bbox_pred.weight, std=0.003)
            mask_head = model.roi_heads.mask_head
            if hasattr(mask_head, "point_head"):
                nn.init.normal_(mask_head.coarse_head.prediction.weight, std=0.02)
                nn.init.normal_(mask_head.point_head.predictor.weight, std=0.02)
            else:
                nn.init.normal_(mask_head.predictor.weight, std=0.02)
        if hasattr(model, "center_head"):
            nn.init.normal_(model.center_head.center_predictor.weight)
            nn.init.normal_(model.center_head.offset_predictor.weight, std=5.0)
    return model.requires_grad_(False)


def save_model(cfg: CfgNode, path) -> str:
    torch.save({"model": make_model(cfg).state_dict()}, path)
    return str(path)
