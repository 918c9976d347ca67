"""True and predicted instances of one image as the layers of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
from matplotlib.path import Path as Outline

from segtron.data.masks import as_rle
from segtron.evaluation.image_quality import InstanceMatch
from segtron.visualization.colors import IGNORED_COLOR
from segtron.visualization.fates import FATES, NOT_SCORED
from segtron.visualization.outlines import mask_outline
from segtron.visualization.report.layers import (
    ImageLayers,
    Region,
    count_regions,
    instance_color,
    largest_first,
)

# In the order in which they are listed.
_FATES = ("found", "missed", "invented", "wrong class")


def instance_layers(
    image: np.ndarray,
    annotations: Sequence[Mapping[str, Any]],
    predictions: Sequence[Mapping[str, Any]],
    match: InstanceMatch,
    metadata: Any,
) -> ImageLayers:
    """Outline the instances of an image and say what became of them.

    A prediction that is right or wrong stands for itself among the errors, a missed instance for
    what is there.

    Args:
        image: (H, W, 3) RGB uint8.
        annotations: ground truth, in the form of Detectron2's standard dicts, with `segmentation`.
        predictions: as COCO results with contiguous `category_id`.
        match: of these predictions to these annotations.
        metadata: names of the classes, and colours if there are any.
    """
    true = [_outline(a["segmentation"], image.shape) for a in annotations]
    found = [_outline(p["segmentation"], image.shape) for p in predictions]
    colors = metadata.get("thing_colors")
    num_classes = len(metadata.get("thing_classes") or ())
    true_of_pair = {p: (t, iou) for t, p, iou in match.pairs}
    is_found = {t: iou for t, _, iou in match.pairs}
    confused = dict(match.confused)
    true_of_confused = {p: t for t, p in confused.items()}

    truth, prediction, errors = [], [], []
    for number, (annotation, outline) in enumerate(zip(annotations, true, strict=True)):
        if outline is None:
            continue
        category = annotation["category_id"]
        if annotation.get("iscrowd", 0):
            crowd = Region(outline, category, IGNORED_COLOR, NOT_SCORED)
            truth.append(crowd)
            errors.append(crowd)
            continue
        color = instance_color(category, number, colors, num_classes)
        fate = "found" if number in is_found else "missed"
        if number in confused:
            fate = "wrong class"
        truth.append(Region(outline, category, color, fate, iou=is_found.get(number)))
        if fate == "missed":
            errors.append(Region(outline, category, FATES[fate], fate))
    for number, (predicted, outline) in enumerate(zip(predictions, found, strict=True)):
        if outline is None:
            continue
        category, score = predicted["category_id"], predicted["score"]
        color = instance_color(category, number, colors, num_classes)
        _, iou = true_of_pair.get(number, (None, None))
        is_category = None
        if number in match.ignored:
            fate = NOT_SCORED
        elif number in true_of_pair:
            fate = "found"
        elif number in true_of_confused:
            fate = "wrong class"
            is_category = annotations[true_of_confused[number]]["category_id"]
        else:
            fate = "invented"
        prediction.append(Region(outline, category, color, fate, is_category, score, iou))
        error_color = FATES.get(fate, IGNORED_COLOR)
        errors.append(Region(outline, category, error_color, fate, is_category, score, iou))

    # By the match, since masks without a pixel are counted as well.
    counts = {
        "found": len(match.pairs),
        "missed": len(match.missed) - len(match.confused),
        "invented": len(match.invented) - len(match.confused),
        "wrong class": len(match.confused),
    }
    return ImageLayers(
        image,
        largest_first(truth),
        largest_first(prediction),
        largest_first(errors),
        {"quality": 100 * match.quality} | {fate: counts[fate] for fate in _FATES},
        count_regions(errors),
    )


def _outline(segmentation: Any, shape: tuple[int, ...]) -> Outline | None:
    return mask_outline(mask_util.decode(as_rle(segmentation, *shape[:2])))
