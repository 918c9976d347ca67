"""How many proposals and instances of an image a model looks at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.roi_heads import FastRCNNOutputLayers
from torch import nn

from segtron.modeling.test_time_augmentation import AveragingDetector


@contextmanager
def raised_limits(model: nn.Module, *, proposals: float, detections: float) -> Iterator[None]:
    """Let a model find more in an image while the block runs.

    MODEL.RPN.PRE_NMS_TOPK_TEST, MODEL.RPN.POST_NMS_TOPK_TEST and TEST.DETECTIONS_PER_IMAGE are
    chosen for images of a certain size; in one several times as large there is more to be found.

    Args:
        model: any; what it has of these limits is multiplied.
        proposals: factor of the first two, 1 or more.
        detections: that of the last.
    """
    changed: list[tuple[object, str, object]] = []

    def change(owner: object, name: str, value: object) -> None:
        changed.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    for module in model.modules():
        if isinstance(module, RPN):
            for name in ("pre_nms_topk", "post_nms_topk"):
                limits = getattr(module, name)
                change(module, name, {key: round(n * proposals) for key, n in limits.items()})
        elif isinstance(module, FastRCNNOutputLayers):
            change(module, "test_topk_per_image", round(module.test_topk_per_image * detections))
        elif isinstance(module, AveragingDetector):
            change(module, "max_detections", round(module.max_detections * detections))
    try:
        yield
    finally:
        for owner, name, value in changed:
            setattr(owner, name, value)
