"""What an exported file says of its model, so that whoever runs it needs no config."""

from __future__ import annotations

from typing import Any

from detectron2.config import CfgNode
from torch import nn

import segtron
from segtron.inference.export.graph import OUTPUTS
from segtron.inference.export.run_exported import VERSION
from segtron.inference.export.support import Task, input_stride, smallest_side
from segtron.inference.model_classes import model_metadata


def describe(
    cfg: CfgNode, model: nn.Module, task: Task, size: tuple[int, int] | None
) -> dict[str, Any]:
    """Describe an exported model, in what JSON can say.

    Args:
        cfg: the model's config.
        model: as `build_model` makes it of `cfg`.
        task: what it predicts.
        size: height and width of its input; None for any.

    Returns:
        `version` of this description, `segtron`'s version, `task`, `outputs` (names, in order),
        `input` (how to make one of an image), `classes` (`thing` and `stuff`, lists of names, empty
        where they are unknown), `thresholds` of a detector (for information: they are in the
        graph), and `panoptic` or `bottom_up`, by which segments are made of the outputs.
    """
    metadata = model_metadata(cfg)
    content: dict[str, Any] = {
        "version": VERSION,
        "segtron": segtron.__version__,
        "task": task.value,
        "outputs": list(OUTPUTS[task]),
        "input": {
            "format": cfg.INPUT.FORMAT,
            "pixel_mean": list(cfg.MODEL.PIXEL_MEAN),
            "pixel_std": list(cfg.MODEL.PIXEL_STD),
            "min_size": cfg.INPUT.MIN_SIZE_TEST,
            "max_size": cfg.INPUT.MAX_SIZE_TEST,
            "size": None if size is None else list(size),
            "stride": input_stride(model),
            "smallest": smallest_side(model),
        },
        "classes": {
            kind: list(metadata.get(f"{kind}_classes") or []) for kind in ("thing", "stuff")
        },
    }
    if task.has_detector:
        predictor = model.roi_heads.box_predictor
        content["thresholds"] = {
            "score": predictor.test_score_thresh,
            "nms": predictor.test_nms_thresh,
            "instances": predictor.test_topk_per_image,
            "mask": 0.5,
        }
    if task is Task.PANOPTIC:
        content["panoptic"] = {
            "overlap_threshold": model.combine_overlap_thresh,
            "stuff_area_limit": model.combine_stuff_area_thresh,
            "confidence_threshold": model.combine_instances_score_thresh,
            "thing_classes": model.thing_classes,
        }
    if task is Task.BOTTOM_UP:
        content["bottom_up"] = {
            "center_threshold": model.center_threshold,
            "nms_kernel": model.nms_kernel,
            "top_k": model.top_k,
            "stuff_area_limit": model.stuff_area_limit,
            "thing_classes": model.thing_classes,
        }
    return content
