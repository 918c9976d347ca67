"""Limits that are raised for a while."""

from __future__ import annotations

import pytest
from detectron2.modeling import build_model

from segtron.config import get_default_config, load_config
from segtron.inference.detection_limits import raised_limits
from segtron.modeling.test_time_augmentation import AveragingDetector


@pytest.fixture
def model(tiny_run):
    return build_model(load_config(tiny_run / "config.yaml")).eval()


def limits(model):
    rpn, head = model.proposal_generator, model.roi_heads.box_predictor
    return rpn.pre_nms_topk[False], rpn.post_nms_topk[False], head.test_topk_per_image


def test_they_are_multiplied_and_put_back(model):
    before = limits(model)
    with raised_limits(model, proposals=2.5, detections=1.5):
        factors = (2.5, 2.5, 1.5)
        expected = tuple(round(f * n) for f, n in zip(factors, before, strict=True))
        assert limits(model) == expected
    assert limits(model) == before
    with pytest.raises(KeyError), raised_limits(model, proposals=3, detections=3):
        raise KeyError
    assert limits(model) == before


def test_a_model_that_averages_has_a_limit_of_its_own(model):
    cfg = get_default_config()
    averaging = AveragingDetector(cfg, model)
    with raised_limits(averaging, proposals=1, detections=3):
        assert averaging.max_detections == 300 and limits(model)[2] == 300
    assert averaging.max_detections == limits(model)[2] == 100
