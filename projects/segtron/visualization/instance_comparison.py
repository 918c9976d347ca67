"""True and predicted instances of one image side by side, with what went wrong marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segtron.evaluation.image_quality import InstanceMatch
from segtron.visualization.comparison import (
    CONFUSED,
    FOUND,
    INVENTED,
    LONGEST_SIDE,
    MISSED,
    Comparison,
    panels,
)
from segtron.visualization.drawing import MOST_LABELS, SegmentationVisualizer
from segtron.wording import count_of


def draw_instance_comparison(
    image: np.ndarray,
    annotations: Sequence[Mapping[str, Any]],
    predictions: Sequence[Mapping[str, Any]],
    match: InstanceMatch,
    metadata: Any,
) -> Comparison:
    """Draw image, ground truth and prediction as three panels.

    In the third, what was found is green, what was missed a red outline, what was invented yellow,
    and what was found with another class purple; crowds are hatched in the second and the third.

    Args:
        image: (H, W, 3) RGB uint8.
        annotations: ground truth, in the form of Detectron2's standard dicts, with `segmentation`.
        predictions: as COCO results with contiguous `category_id`.
        match: of these predictions to these annotations.
        metadata: names of the classes, and colours if there are any.
    """
    crowds = [a["segmentation"] for a in annotations if a.get("iscrowd", 0)]
    instances = [a for a in annotations if not a.get("iscrowd", 0)]
    plain = SegmentationVisualizer(image, metadata, longest_side=LONGEST_SIDE)
    truth = SegmentationVisualizer(image, metadata, longest_side=LONGEST_SIDE)
    truth.draw_dataset_dict({"annotations": annotations})
    if len(instances) > MOST_LABELS:
        truth.draw_class_counts(a["category_id"] for a in instances)
    errors = SegmentationVisualizer(image, metadata, longest_side=LONGEST_SIDE)
    errors.draw_ignored(crowds)
    counts = _draw_match(errors, annotations, predictions, match)
    crowd_count = f", crowd regions ignored: {len(crowds)}" if crowds else ""
    counted = ", ".join(f"{n} {kind}" for kind, n in counts.items() if n) or "nothing there"
    titles = {
        "image": "image",
        "ground_truth": f"ground truth: {count_of(len(instances), 'instance')}{crowd_count}",
        "prediction": f"prediction: quality {match.quality:.2f}, {counted}",
    }
    return Comparison(
        panels(titles, (plain, truth, errors)),
        {"quality": f"{match.quality:.2f}"} | {kind: str(n) for kind, n in counts.items()},
    )


def _draw_match(
    visualizer: SegmentationVisualizer,
    annotations: Sequence[Mapping[str, Any]],
    predictions: Sequence[Mapping[str, Any]],
    match: InstanceMatch,
) -> dict[str, int]:
    """Draw the match, with a legend; returns how many there are of each kind."""
    confused = dict(match.confused)
    name = visualizer.class_name

    def described(index: int) -> str:
        prediction = predictions[index]
        return f"{name(prediction['category_id'])} {prediction['score']:.2f}"

    found = [(predictions[p]["segmentation"], described(p), FOUND) for _, p, _ in match.pairs]
    wrong_class = [
        (
            predictions[p]["segmentation"],
            f"{described(p)}, is {name(annotations[t]['category_id'])}",
            CONFUSED,
        )
        for t, p in confused.items()
    ]
    invented = [
        (predictions[p]["segmentation"], described(p), INVENTED)
        for p in match.invented
        if p not in confused.values()
    ]
    missed = [
        (annotations[t]["segmentation"], name(annotations[t]["category_id"]), MISSED)
        for t in match.missed
        if t not in confused
    ]
    for mask, _, color in found:
        visualizer.draw_mask(mask, color, opacity=0.3)
    for mask, _, color in (*wrong_class, *invented):
        visualizer.draw_mask(mask, color, opacity=0.5)
    for mask, _, color in missed:
        visualizer.draw_mask(mask, color, opacity=0.12, line_width=2)
    kinds = [
        ("found", found),
        ("missed", missed),
        ("invented", invented),
        ("wrong class", wrong_class),
    ]
    shown = [(kind, entries) for kind, entries in kinds if entries]
    visualizer.draw_legend([(f"{kind}: {len(entries)}", entries[0][2]) for kind, entries in shown])
    # Errors get their labels first, so that they have room.
    labelled = (*wrong_class, *missed, *invented, *found)
    if 0 < len(labelled) <= MOST_LABELS:
        masks, labels, colors = zip(*labelled, strict=True)
        visualizer.draw_labels(masks, labels, colors)
    return {kind: len(entries) for kind, entries in kinds}
