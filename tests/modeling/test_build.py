"""Building models: what a config can name, and where it can run."""

import pytest
from detectron2.config import CfgNode

from segtron.config import get_default_config, load_config
from segtron.errors import UserError
from segtron.modeling.build import build_model
from segtron.modeling.device import resolve_device

from ..conftest import TINY_MODEL


@pytest.fixture
def cfg() -> CfgNode:
    cfg = get_default_config()
    cfg.merge_from_other_cfg(CfgNode({"MODEL": TINY_MODEL}))
    return cfg


@pytest.mark.parametrize(
    ("key", "name", "said"),
    [
        ("MODEL.META_ARCHITECTURE", "MaskRCNN", "known: .*GeneralizedRCNN"),
        ("MODEL.BACKBONE.NAME", "TimBackbone", "did you mean TimmBackbone"),
        ("MODEL.PROPOSAL_GENERATOR.NAME", "PRN", "did you mean RPN"),
        ("MODEL.ROI_HEADS.NAME", "StandardROIHead", "did you mean StandardROIHeads"),
        ("MODEL.ROI_BOX_HEAD.NAME", "", "known: FastRCNNConvFCHead"),
        ("MODEL.ROI_MASK_HEAD.NAME", "InstanceHead", "did you mean InstanceMaskHead"),
    ],
)
def test_an_unknown_part_is_named_with_its_key(
    cfg: CfgNode, key: str, name: str, said: str
) -> None:
    cfg.merge_from_list([key, name])
    with pytest.raises(UserError, match=f"{key} is '{name}', which is unknown; {said}"):
        build_model(cfg)


@pytest.mark.parametrize("device", ["gpu", "cpu:x", ""])
def test_what_is_no_device_is_named(cfg: CfgNode, device: str) -> None:
    cfg.MODEL.DEVICE = device
    with pytest.raises(UserError, match=f"MODEL.DEVICE is '{device}'"):
        resolve_device(cfg)


def test_the_cpu_is_always_there(cfg: CfgNode) -> None:
    assert resolve_device(cfg) is cfg


def test_keys_that_contradict_each_other_are_said(tmp_path):
    (tmp_path / "a.yaml").touch()
    keys = ["MODEL.DEVICE", "cpu", "MODEL.META_ARCHITECTURE", "SemanticSegmentor"]
    keys += ["MODEL.BACKBONE.NAME", "build_resnet_backbone", "MODEL.RESNETS.DEPTH", "18"]
    with pytest.raises(UserError, match=r"don't go together: .*RES2_OUT_CHANNELS = 64 for R18/R34"):
        build_model(load_config(tmp_path / "a.yaml", keys))
