"""True and predicted segments of one image as the layers of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.path import Path as Outline

from segtron.data.panoptic import VOID
from segtron.evaluation.panoptic_quality import Outcome, SegmentMatch, explain_match
from segtron.evaluation.scores import PanopticScores
from segtron.visualization.colors import IGNORED_COLOR, Color, class_color
from segtron.visualization.fates import FATE_OF_OUTCOME, FATES, NOT_SCORED
from segtron.visualization.panoptic_map import PanopticMap, panoptic_colors, panoptic_map
from segtron.visualization.report.layers import (
    ImageLayers,
    Region,
    count_regions,
    instance_color,
    largest_first,
    map_outlines,
)


class Side(NamedTuple):
    """The segments of the ground truth or of a prediction.

    Attributes:
        ids: (H, W) integers.
        segments: with `id`, `category_id` and `isthing`, in the order in which they were matched.
    """

    ids: np.ndarray
    segments: Sequence[Mapping[str, Any]]


def panoptic_layers(
    image: np.ndarray,
    truth: Side,
    prediction: Side,
    match: SegmentMatch,
    scores: PanopticScores,
    metadata: Any,
) -> ImageLayers:
    """Outline the segments of an image and say what became of them.

    Args:
        image: (H, W, 3) RGB uint8.
        truth: what is there.
        prediction: what was predicted.
        match: of the two.
        scores: of this match.
        metadata: names of the classes, and colours if there are any.
    """
    true_outcomes, found_outcomes = explain_match(match)
    pairs = _explained_pairs(match, true_outcomes, found_outcomes)
    true_map, found_map = (panoptic_map(*side, metadata) for side in (truth, prediction))
    outlines = map_outlines(true_map.numbers)
    void = (
        [Region(outlines[VOID], None, IGNORED_COLOR, NOT_SCORED)]
        if true_map.areas[VOID] and VOID in outlines
        else []
    )
    true = _regions(
        true_map, outlines, true_outcomes, {t: (None, iou) for t, _, iou in pairs}, metadata
    )
    found = _regions(
        found_map,
        map_outlines(found_map.numbers),
        found_outcomes,
        {p: (truth.segments[t]["category_id"], iou) for t, p, iou in pairs},
        metadata,
    )
    # A mistake with two sides is shown once, as it was predicted.
    explained = {t for t, _, _ in pairs}
    missed = [region for i, region in true.items() if _is_error(region) and i not in explained]
    crowds = [region for region in true.values() if region.fate == NOT_SCORED]
    errors = [_recolored(region) for region in (*found.values(), *missed)]
    counts = Counter(true_outcomes.tolist())
    counts[Outcome.INVENTED] = int(np.sum(found_outcomes == Outcome.INVENTED))
    quality = scores.overall["PQ"]
    return ImageLayers(
        image,
        [*void, *largest_first(true.values())],
        largest_first(found.values()),
        [*void, *crowds, *largest_first(errors)],
        {"PQ": None if np.isnan(quality) else quality}
        | {fate: counts[outcome] for outcome, fate in FATE_OF_OUTCOME.items()},
        count_regions(errors),
    )


def _explained_pairs(
    match: SegmentMatch, true_outcomes: np.ndarray, found_outcomes: np.ndarray
) -> list[tuple[int, int, float]]:
    """True and predicted segments that belong together, right or wrong, and their IoU; with a
    predicted one in several pairs, the last is the one that overlaps most."""
    outcome = true_outcomes[match.pair_gt]
    is_mistake = (outcome == found_outcomes[match.pair_prediction]) & np.isin(
        outcome, (Outcome.WRONG_CLASS, Outcome.POOR_MASK)
    )
    order = np.argsort(match.pair_iou, kind="stable")
    chosen = order[(match.pair_is_match | is_mistake)[order]]
    columns = match.pair_gt[chosen], match.pair_prediction[chosen], match.pair_iou[chosen]
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _regions(
    panoptic: PanopticMap,
    outlines: dict[int, Outline],
    outcomes: np.ndarray,
    partners: dict[int, tuple[int | None, float]],
    metadata: Any,
) -> dict[int, Region]:
    """The segments of a side that can be seen, by their places.

    Args:
        panoptic: the side.
        outlines: of its numbers.
        outcomes: of its segments.
        partners: place -> class of the partner, where it matters, and IoU with it.
        metadata: names of the classes, and colours if there are any.
    """
    regions = {}
    for place, segment in enumerate(panoptic.segments):
        outline = outlines.get(place + 1)
        if outline is None:
            continue
        fate = FATE_OF_OUTCOME.get(outcomes[place], NOT_SCORED)
        other, iou = partners.get(place, (None, None))
        regions[place] = Region(
            outline,
            segment["category_id"],
            _color(segment, place, metadata),
            fate,
            other if fate == "wrong class" else None,
            segment.get("score"),
            iou,
        )
    return regions


def _color(segment: Any, place: int, metadata: Any) -> Color:
    if segment.get("iscrowd", 0):
        return IGNORED_COLOR
    colors = panoptic_colors(segment, metadata)
    if not segment["isthing"]:
        return class_color(segment["category_id"], colors)
    return instance_color(segment["category_id"], place, colors, len(metadata.panoptic_classes))


def _is_error(region: Region) -> bool:
    return region.fate not in ("found", NOT_SCORED)


def _recolored(region: Region) -> Region:
    color = FATES.get(region.fate, IGNORED_COLOR)
    return Region(**{**vars(region), "color": color})
