"""What can't be exported is refused in one sentence that names the key."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from segtron.config import load_config
from segtron.errors import UserError
from segtron.inference.export.support import Task, input_stride, smallest_side, task_of
from segtron.modeling.build import build_model

from .exported_models import POINT_REND, make_cfg, make_model

CASCADE = {
    "ROI_HEADS": {"NAME": "CascadeROIHeads"},
    "ROI_BOX_HEAD": {"CLS_AGNOSTIC_BBOX_REG": True},
}
IMPLICIT = {
    "ROI_MASK_HEAD": POINT_REND["ROI_MASK_HEAD"] | {"NAME": "ImplicitPointRendMaskHead"},
    "POINT_HEAD": POINT_REND["POINT_HEAD"] | {"NAME": "ImplicitPointHead"},
}
IMPLICIT["POINT_HEAD"]["SUBDIVISION_NUM_POINTS"] = 14**2


@pytest.mark.parametrize(
    ("kind", "task", "stride", "smallest"),
    [("instance", Task.INSTANCE, 32, 32), ("panoptic", Task.PANOPTIC, 32, 32)]
    + [("unet", Task.SEMANTIC, 1, 8), ("bottom_up", Task.BOTTOM_UP, 1, 8)],
)
def test_tasks_and_sizes(kind, task, stride, smallest):
    cfg = make_cfg(kind)
    model = make_model(cfg)
    assert task_of(cfg, model) is task
    assert input_stride(model) == stride
    assert smallest_side(model) == smallest


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"MASK_ON": False}, "MODEL.MASK_ON is False"),
        ({"KEYPOINT_ON": True}, "MODEL.KEYPOINT_ON is True"),
        (CASCADE, "MODEL.ROI_HEADS.NAME gives a CascadeROIHeads"),
        ({"ROI_BOX_HEAD": {"POOLER_TYPE": "ROIPool"}}, "ROI_BOX_HEAD.POOLER_TYPE is 'ROIPool'"),
        (IMPLICIT, "MODEL.ROI_MASK_HEAD.NAME gives a ImplicitPointRendMaskHead"),
        (
            {"ROI_MASK_HEAD": POINT_REND["ROI_MASK_HEAD"] | {"POINT_HEAD_ON": False}},
            "MODEL.ROI_MASK_HEAD.POINT_HEAD_ON is False",
        ),
    ],
)
def test_detectors_that_are_not_repeated(changes, words):
    cfg = make_cfg("instance", changes)
    with pytest.raises(UserError, match=words) as problem:
        task_of(cfg, build_model(cfg))
    assert "\n" not in str(problem.value)


def test_other_architectures():
    cfg = make_cfg("instance", {"META_ARCHITECTURE": "ProposalNetwork"})
    with pytest.raises(
        UserError, match="ProposalNetwork, which can't be exported; GeneralizedRCNN"
    ):
        task_of(cfg, build_model(cfg))


@pytest.mark.parametrize("key", ["SLIDING_WINDOW", "AUG"])
def test_averaging(key):
    cfg = make_cfg("unet").clone()
    cfg.defrost()
    cfg.TEST[key].ENABLED = True
    with pytest.raises(UserError, match=rf"TEST\.{key}\.ENABLED is True"):
        task_of(cfg, build_model(cfg))


def test_the_models_of_toytown():
    configs = Path(__file__).parents[3] / "configs" / "toytown"
    common = ["MODEL.DEVICE", "cpu", "MODEL.TIMM.PRETRAINED", "False", "DATASETS.TRAIN", "()"]
    common += ["DATASETS.TEST", "()", "MODEL.SEM_SEG_HEAD.NUM_CLASSES", "3"]
    common += ["MODEL.SEM_SEG_HEAD.THING_CLASSES", "[2]", "MODEL.ROI_HEADS.NUM_CLASSES", "1"]
    for name, task in (
        ("pointrend_lite0_FPN", Task.INSTANCE),
        ("bottom_up_lite0", Task.BOTTOM_UP),
    ):
        cfg = load_config(configs / f"{name}.yaml", common)
        assert task_of(cfg, build_model(cfg)) is task


def test_another_point_head():
    cfg = make_cfg("instance", POINT_REND)
    model = build_model(cfg)
    model.roi_heads.mask_head.point_head = nn.Identity()
    with pytest.raises(UserError, match=r"MODEL\.POINT_HEAD\.NAME gives a Identity"):
        task_of(cfg, model)
