"""True and predicted segments of one image side by side, and a map of what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from segtron.data.panoptic import VOID
from segtron.evaluation.panoptic_quality import (
    MATCH_IOU,
    POOR_MASK_IOU,
    Outcome,
    SegmentMatch,
    explain_match,
)
from segtron.evaluation.scores import PanopticScores
from segtron.visualization.colors import IGNORED_COLOR, Color
from segtron.visualization.comparison import (
    CONFUSED,
    DARK,
    INVENTED,
    LONGEST_SIDE,
    MISSED,
    POOR,
    Comparison,
    pale,
    panels,
)
from segtron.visualization.drawing import MOST_LABELS, SegmentationVisualizer
from segtron.visualization.layout import percent
from segtron.visualization.panoptic_map import PanopticMap, panoptic_map
from segtron.wording import count_of

# Paler than where it is drawn over an image: most of a picture is found, and it is not the news.
_FOUND: Color = (0.62, 0.90, 0.74)
# In the order in which they are listed.
OUTCOMES = {
    Outcome.FOUND: ("found", _FOUND),
    Outcome.MISSED: ("missed", MISSED),
    Outcome.INVENTED: ("invented", INVENTED),
    Outcome.WRONG_CLASS: ("wrong class", CONFUSED),
    Outcome.POOR_MASK: ("poor mask", POOR),
}
# Of the outcomes, over an image of this contrast.
_OPACITY, _CONTRAST = 0.7, 0.6
_ERRORS = [outcome for outcome in OUTCOMES if outcome != Outcome.FOUND]


class Side(NamedTuple):
    """The segments of the ground truth or of a prediction.

    Attributes:
        ids: (H, W) integers.
        segments: with `id`, `category_id` and `isthing`, in the order in which they were matched.
    """

    ids: np.ndarray
    segments: Sequence[Mapping[str, Any]]


def draw_panoptic_comparison(
    image: np.ndarray,
    truth: Side,
    prediction: Side,
    match: SegmentMatch,
    scores: PanopticScores,
    metadata: Any,
) -> Comparison:
    """Draw image, ground truth, prediction and errors as four panels.

    In the fourth each pixel says what became of its segments, see `shown_segments`.

    Args:
        image: (H, W, 3) RGB uint8.
        truth: what is there.
        prediction: what was predicted.
        match: of the two.
        scores: of this match.
        metadata: names of the classes, and colours if there are any.
    """
    plain, true, found = (
        SegmentationVisualizer(image, metadata, longest_side=LONGEST_SIDE) for _ in range(3)
    )
    true.draw_panoptic_shares(*truth)
    true.draw_panoptic_seg(*truth)
    _describe_classes(found, truth, prediction, scores)
    found.draw_panoptic_seg(*prediction)
    errors = SegmentationVisualizer(pale(image, _CONTRAST), metadata, longest_side=LONGEST_SIDE)
    counts = _draw_errors(errors, truth, prediction, match)

    quality = scores.overall["PQ"]
    quality_text = "nothing to score it by" if np.isnan(quality) else f"PQ {quality:.1f} %"
    num_true = sum(not segment.get("iscrowd", 0) for segment in truth.segments)
    num_found = len(prediction.segments)
    titles = {
        "image": "image",
        "ground_truth": f"ground truth: {count_of(num_true, 'segment')}",
        "prediction": f"prediction: {count_of(num_found, 'segment')}, {quality_text}",
        "errors": ", ".join(f"{n} {name}" for name, n in counts.items() if n) or "nothing there",
    }
    return Comparison(
        panels(titles, (plain, true, found, errors)),
        {"PQ": "none" if np.isnan(quality) else f"{quality:.1f} %"}
        | {name: str(n) for name, n in counts.items()},
    )


def _describe_classes(
    visualizer: SegmentationVisualizer, truth: Side, prediction: Side, scores: PanopticScores
) -> None:
    """Write the PQ of each class that is there or was predicted, the largest first."""
    areas: Counter[str] = Counter()
    colors = {}
    for side in (truth, prediction):
        panoptic = panoptic_map(*side, visualizer.metadata)
        for segment, area in zip(panoptic.segments, panoptic.areas[1:].tolist(), strict=True):
            name = visualizer.panoptic_name(segment)
            areas[name] += area
            colors[name] = visualizer.panoptic_color(segment)
    quality = {name: scores.per_class[name]["PQ"] for name, _ in areas.most_common()}
    visualizer.draw_legend(
        [
            (f"{name}  PQ {pq:.1f} %", colors[name])
            for name, pq in quality.items()
            if not np.isnan(pq)
        ]
    )


def _draw_errors(
    visualizer: SegmentationVisualizer, truth: Side, prediction: Side, match: SegmentMatch
) -> dict[str, int]:
    """Draw what became of the segments, with a legend; returns how many of each."""
    true, found = (panoptic_map(*side, visualizer.metadata) for side in (truth, prediction))
    outcomes = explain_match(match)
    counts = _count(*outcomes)
    shown = shown_segments(true, found, *outcomes)
    of_shown = np.concatenate([[Outcome.NOT_SCORED], *outcomes])
    not_scored = shown == VOID

    entries = [
        (f"{name}: {counts[name]}", color) for name, color in OUTCOMES.values() if counts[name]
    ]
    if not_scored.any():
        entries.append((f"not scored  {percent(not_scored.mean())}", IGNORED_COLOR))
    visualizer.draw_legend(entries)
    colors = {
        int(i): OUTCOMES[outcome][1] for i, outcome in enumerate(of_shown) if outcome in OUTCOMES
    }
    visualizer.overlay_classes(shown, colors, opacity=_OPACITY, border_color=DARK)
    visualizer.draw_ignored([not_scored] if not_scored.any() else [], DARK)

    areas = np.bincount(shown.ravel(), minlength=len(of_shown))
    labelled = {}
    for numbers, label in _labels(visualizer, truth, prediction, match, outcomes):
        largest = max(numbers, key=lambda i: areas[i])
        if areas[largest]:
            labelled[largest] = label
    # The largest errors get their labels first, so that they have room.
    largest_first = sorted(labelled, key=lambda i: -areas[i])[:MOST_LABELS]
    visualizer.draw_labels(
        (shown == i for i in largest_first),
        [labelled[i] for i in largest_first],
        [OUTCOMES[of_shown[i]][1] for i in largest_first],
    )
    return counts


def _count(true_outcomes: np.ndarray, found_outcomes: np.ndarray) -> dict[str, int]:
    """How many segments of the ground truth there are of each outcome, and how many invented."""
    both = {o: true_outcomes if o != Outcome.INVENTED else found_outcomes for o in OUTCOMES}
    return {OUTCOMES[o][0]: int(np.sum(outcomes == o)) for o, outcomes in both.items()}


def shown_segments(
    truth: PanopticMap,
    prediction: PanopticMap,
    true_outcomes: np.ndarray,
    found_outcomes: np.ndarray,
) -> np.ndarray:
    """Which of a pixel's two segments a map of the errors shows.

    That is the one that is wrong; of two that are, the smaller, so that nothing small is hidden; of
    two that aren't, the true one.

    Args:
        truth: of G segments.
        prediction: of P segments.
        true_outcomes: (G,) `Outcome`.
        found_outcomes: (P,) likewise.

    Returns:
        (H, W) uint16: i + 1 for segment i of the ground truth, G + i + 1 for segment i of the
        prediction, `VOID` where the ground truth has void or a crowd.
    """
    num_true, num_found = len(truth.segments), len(prediction.segments)
    true_is_wrong, found_is_wrong = (
        np.concatenate([[False], np.isin(o, _ERRORS)]) for o in (true_outcomes, found_outcomes)
    )
    shows_found = found_is_wrong & (
        ~true_is_wrong[:, None] | (prediction.areas < truth.areas[:, None])
    )
    table = np.where(
        shows_found, num_true + np.arange(num_found + 1), np.arange(num_true + 1)[:, None]
    ).astype(np.uint16)
    table[0] = VOID
    table[1:][true_outcomes == Outcome.NOT_SCORED] = VOID
    return table[truth.numbers, prediction.numbers]


def _labels(
    visualizer: SegmentationVisualizer,
    truth: Side,
    prediction: Side,
    match: SegmentMatch,
    outcomes: tuple[np.ndarray, np.ndarray],
) -> list[tuple[tuple[int, ...], str]]:
    """What to write on what is wrong: on one of the segments with these numbers in
    `shown_segments`, which explain each other, or on the only one."""
    true_outcomes, found_outcomes = outcomes
    num_true = len(truth.segments)
    true, found, iou = match.pair_gt, match.pair_prediction, match.pair_iou
    same_class = match.ground_truth.categories[true] == match.prediction.categories[found]
    labels = []
    explained = set()
    for outcome, applies in (
        (Outcome.WRONG_CLASS, ~same_class & (iou > MATCH_IOU)),
        (Outcome.POOR_MASK, same_class & (iou > POOR_MASK_IOU)),
    ):
        both = applies & (true_outcomes[true] == outcome) & (found_outcomes[found] == outcome)
        for i in np.flatnonzero(both).tolist():
            name = visualizer.panoptic_name(truth.segments[true[i]])
            numbers = int(true[i]) + 1, num_true + int(found[i]) + 1
            labels.append(
                (numbers, f"{name}, IoU {iou[i]:.2f}")
                if outcome == Outcome.POOR_MASK
                else (
                    numbers,
                    f"{visualizer.panoptic_label(prediction.segments[found[i]])}, is {name}",
                )
            )
            explained.update(numbers)
    alone = {
        i + 1: visualizer.panoptic_name(truth.segments[i])
        for i in np.flatnonzero(np.isin(true_outcomes, _ERRORS)).tolist()
    } | {
        num_true + i + 1: visualizer.panoptic_label(prediction.segments[i])
        for i in np.flatnonzero(np.isin(found_outcomes, _ERRORS)).tolist()
    }
    return labels + [((i,), label) for i, label in alone.items() if i not in explained]
