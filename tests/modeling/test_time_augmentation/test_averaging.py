from __future__ import annotations

import pytest
from torch import nn

from segtron.modeling.inference import prepare_for_inference
from segtron.modeling.test_time_augmentation import AveragingBottomUp, AveragingDetector

from ..settled_models import config
from .averaging import DETECTOR_OPTIONS


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("mask_rcnn", AveragingDetector),
        ("panoptic_fpn", AveragingDetector),
        ("bottom_up", AveragingBottomUp),
    ],
)
def test_what_the_config_asks_for(build, kind, expected):
    cfg = config(kind)
    cfg.TEST.AUG.ENABLED = True
    cfg.TEST.AUG.MIN_SIZES, cfg.TEST.AUG.MAX_SIZE = [0, 80], 300
    model = prepare_for_inference(cfg, build(kind))
    assert type(model) is expected and not model.training
    assert (model.min_sizes, model.max_size, model.flip) == ((0, 80), 300, True)
    if expected is AveragingDetector:
        assert (model.nms_threshold, model.max_detections) == (0.5, 8)
    assert type(model.model) is type(build(kind)) and model.model is not build(kind)


@pytest.mark.parametrize("kind", [AveragingDetector, AveragingBottomUp])
def test_it_only_predicts(kind):
    options = DETECTOR_OPTIONS if kind is AveragingDetector else {"max_size": 200}
    averaging = kind(nn.Module().train(), min_sizes=[0], flip=True, **options)
    with pytest.raises(RuntimeError, match="call eval"):
        averaging([])
