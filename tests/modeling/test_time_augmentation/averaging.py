"""Settings that average over windows and scales of tiny images."""

from __future__ import annotations

from detectron2.config import CfgNode

from segtron.config.defaults import get_default_config

# Of an `AveragingDetector`, besides its scales.
DETECTOR_OPTIONS = {"max_size": 200, "nms_threshold": 0.5, "max_detections": 8}


def averaging_config() -> CfgNode:
    """Of a semantic model; neither windows nor scales are enabled yet."""
    cfg = get_default_config()
    cfg.MODEL.META_ARCHITECTURE = "SemanticSegmentor"
    cfg.TEST.SLIDING_WINDOW.SIZE = [8, 12]
    cfg.TEST.SLIDING_WINDOW.STRIDE = [5, 7]
    cfg.TEST.AUG.MIN_SIZES = [10, 20]
    cfg.TEST.AUG.MAX_SIZE = 24
    return cfg
