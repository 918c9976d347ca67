"""Every config of the repository loads and builds, and the zoo's schedules are the zoo's."""

from pathlib import Path

import pytest
import torch
from detectron2 import model_zoo
from detectron2.modeling import build_model

import segtron  # noqa: F401  (fills the registries)
from segtron.config import load_config

CONFIGS = Path(__file__).parents[2] / "configs"
# base/ holds the parts that the others are made of.
# What would follow from the data of whoever uses a config of quick/.
OWN_DATA = {
    "quick/panoptic_fpn_lite0": [
        *("MODEL.ROI_HEADS.NUM_CLASSES", "2", "MODEL.SEM_SEG_HEAD.NUM_CLASSES", "5"),
        *("MODEL.SEM_SEG_HEAD.THING_CLASSES", "[1, 4]"),
    ]
}
RUNNABLE = sorted(p for p in CONFIGS.glob("*/*.yaml") if p.parent.name != "base")


@pytest.mark.parametrize("path", RUNNABLE, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_config_builds(path):
    # On the meta device a model has shapes but takes neither time nor memory.
    cfg = load_config(
        path,
        [
            "MODEL.DEVICE",
            "meta",
            "MODEL.TIMM.PRETRAINED",
            "False",
            *OWN_DATA.get(f"{path.parent.name}/{path.stem}", []),
        ],
    )
    with torch.device("meta"):
        model = build_model(cfg)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) > 1e6
    if cfg.MODEL.MASK_ON:
        assert type(model.roi_heads.mask_head).__name__ == cfg.MODEL.ROI_MASK_HEAD.NAME


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("coco/mask_rcnn_R_50_FPN_1x", "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x"),
        ("coco/mask_rcnn_R_50_FPN_3x", "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"),
        ("coco/mask_rcnn_R_101_FPN_3x", "COCO-InstanceSegmentation/mask_rcnn_R_101_FPN_3x"),
        ("cityscapes/mask_rcnn_R_50_FPN", "Cityscapes/mask_rcnn_R_50_FPN"),
    ],
)
def test_config_says_what_the_model_zoo_says(ours, theirs):
    ours = load_config(CONFIGS / f"{ours}.yaml")
    theirs = load_config(model_zoo.get_config_file(f"{theirs}.yaml"))
    differing = set(_differences(ours, theirs))
    # The same layers and loss under another name.
    assert differing <= {
        *("MODEL.ROI_MASK_HEAD.NAME", "DATASETS.THING_CLASSES"),
        # How the same is computed.
        *("MODEL.CHANNELS_LAST", "SOLVER.AMP.ENABLED"),
    }


def _differences(a, b, prefix=""):
    for key in a:
        if isinstance(a[key], dict):
            yield from _differences(a[key], b[key], f"{prefix}{key}.")
        elif _plain(a[key]) != _plain(b[key]):
            yield f"{prefix}{key}"


def _plain(value):
    return list(value) if isinstance(value, tuple) else value


def test_weights_of_the_model_zoo_fit():
    opts = ["MODEL.DEVICE", "meta"]
    with torch.device("meta"):
        ours = build_model(load_config(CONFIGS / "coco/mask_rcnn_R_50_FPN_3x.yaml", opts))
        theirs = build_model(
            load_config(
                model_zoo.get_config_file("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml"),
                opts,
            )
        )
    shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (ours, theirs)]
    assert shapes[0] == shapes[1]
