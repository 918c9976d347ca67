"""Panoptic quality: PQ, SQ, RQ (https://arxiv.org/abs/1801.00868).

The rules are those of the official scorers, `panopticapi` and
`cityscapesscripts.evaluation.evalPanopticSemanticLabeling`, quirks included; the way there is
another: an image is reduced to one joint histogram of its two maps, from which all else follows.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from segtron.data.category_ids import Category
from segtron.data.panoptic import VOID
from segtron.evaluation.confusion import joint_histogram
from segtron.evaluation.image_metric import ImageMetric
from segtron.evaluation.scores import PanopticScores

Side = Literal["ground truth", "prediction"]

# Segments of one class match where their IoU exceeds this; so one has no more than one match.
MATCH_IOU = 0.5
# A prediction that matches nothing is left out where more than this part of it can't be judged.
IGNORED_PART = 0.5
# Above this IoU, unmatched segments of one class count as the same thing with a poor mask.
POOR_MASK_IOU = 0.1


class SegmentError(ValueError):
    """A map of segments and the list of them disagree.

    Attributes:
        side: whose they are.
    """

    def __init__(self, side: Side, what: str) -> None:
        super().__init__(f"the {side} {what}")
        self.side = side


class Segments(NamedTuple):
    """The S segments of one side of an image, in the order in which they are listed."""

    ids: np.ndarray  # (S,) int64
    categories: np.ndarray  # (S,) int64
    areas: np.ndarray  # (S,) int64, pixels, at least 1
    is_crowd: np.ndarray  # (S,) bool


class SegmentMatch(NamedTuple):
    """What became of G segments of the ground truth and P predicted ones, N pairs of which overlap.

    A segment of the ground truth is matched, missed or a crowd; a predicted one is matched, false
    or ignored.
    """

    ground_truth: Segments
    prediction: Segments
    pair_gt: np.ndarray  # (N,) index into G
    pair_prediction: np.ndarray  # (N,) index into P
    pair_iou: np.ndarray  # (N,) float64, the void left out of the union
    pair_is_match: np.ndarray  # (N,) bool
    is_missed: np.ndarray  # (G,) bool
    is_false: np.ndarray  # (P,) bool
    is_ignored: np.ndarray  # (P,) bool


def match_segments(
    gt_ids: np.ndarray,
    gt_segments: Sequence[Mapping[str, Any]],
    pred_ids: np.ndarray,
    pred_segments: Sequence[Mapping[str, Any]],
) -> SegmentMatch:
    """Match the segments of one image.

    Two segments match if they have one class and an IoU above one half, in which pixels of the
    prediction on void don't count. A crowd matches nothing and need not be found. A prediction
    without a match is ignored if more than half of its pixels are on void or on the crowd of its
    class; of several crowds of a class the last one listed counts, as it does officially.

    Args:
        gt_ids: (H, W) integers, segment ids, 0 in void.
        gt_segments: each with `id`, `category_id`, and if known `iscrowd` and `area`.
        pred_ids: (H, W) integers likewise.
        pred_segments: each with `id`, `category_id`, and if known `area`.

    Raises:
        SegmentError: a map and its list disagree on ids or areas, an id is negative or listed
            twice.
        ValueError: the maps are no maps of integers, or differ in size.
    """
    histogram = joint_histogram(gt_ids, pred_ids)
    pixels = histogram.pixels.astype(np.int64)
    gt, gt_place = _read_side("ground truth", histogram.ground_truth, pixels, gt_segments)
    pred, pred_place = _read_side("prediction", histogram.prediction, pixels, pred_segments)

    is_predicted = pred_place >= 0
    on_void = is_predicted & (gt_place < 0)
    void_pixels = _sum_at(pred_place[on_void], pixels[on_void], len(pred.ids))

    is_pair = is_predicted & (gt_place >= 0)
    pair_gt, pair_pred, shared = gt_place[is_pair], pred_place[is_pair], pixels[is_pair]
    union = gt.areas[pair_gt] + pred.areas[pair_pred] - shared - void_pixels[pair_pred]
    iou = shared / union
    is_same_class = gt.categories[pair_gt] == pred.categories[pair_pred]
    is_match = is_same_class & ~gt.is_crowd[pair_gt] & (iou > MATCH_IOU)

    is_missed = ~gt.is_crowd
    is_missed[pair_gt[is_match]] = False
    is_unmatched = np.ones(len(pred.ids), dtype=bool)
    is_unmatched[pair_pred[is_match]] = False
    on_crowd = is_same_class & _is_last_crowd_of_class(gt)[pair_gt]
    not_judged = void_pixels + _sum_at(pair_pred[on_crowd], shared[on_crowd], len(pred.ids))
    is_ignored = is_unmatched & (not_judged / pred.areas > IGNORED_PART)
    return SegmentMatch(
        ground_truth=gt,
        prediction=pred,
        pair_gt=pair_gt,
        pair_prediction=pair_pred,
        pair_iou=iou,
        pair_is_match=is_match,
        is_missed=is_missed,
        is_false=is_unmatched & ~is_ignored,
        is_ignored=is_ignored,
    )


def _read_side(
    side: Side, values: np.ndarray, pixels: np.ndarray, segments: Sequence[Mapping[str, Any]]
) -> tuple[Segments, np.ndarray]:
    """The listed segments with their areas in the map, checked.

    Args:
        side: whose they are.
        values: (N,) the map's ids in pairs of ids.
        pixels: (N,) int64, how many pixels have the pair.
        segments: S of them.

    Returns:
        The segments; and (N,) the place of each value among them, -1 in void.
    """
    ids = np.array([segment["id"] for segment in segments], dtype=np.int64)
    values = values.astype(np.int64)
    for given in (values, ids):
        if given.min(initial=0) < 0:
            raise SegmentError(side, f"has the segment id {given.min()}; ids must be positive")
    if (ids == VOID).any():
        raise SegmentError(side, f"lists a segment with the id {VOID}, which means no segment")
    order = np.argsort(ids)
    ascending = ids[order]
    repeated = ascending[1:][ascending[1:] == ascending[:-1]]
    if repeated.size:
        raise SegmentError(side, f"lists the segment {repeated[0]} more than once")

    place = np.full(len(values), -1)
    if ids.size:
        nearest = np.searchsorted(ascending, values).clip(max=len(ids) - 1)
        is_listed = ascending[nearest] == values
        place[is_listed] = order[nearest[is_listed]]
    strange = values[(place < 0) & (values != VOID)]
    if strange.size:
        raise SegmentError(side, f"has pixels of the segment {strange[0]}, which is not listed")
    is_in_segment = place >= 0
    areas = _sum_at(place[is_in_segment], pixels[is_in_segment], len(ids))
    if not areas.all():
        raise SegmentError(
            side, f"lists the segment {ids[areas == 0][0]}, of which there is no pixel"
        )
    for segment, area in zip(segments, areas.tolist(), strict=True):
        if segment.get("area") is not None and segment["area"] != area:
            raise SegmentError(
                side,
                f"lists the segment {segment['id']} with the area {segment['area']}, but has "
                f"{area} pixels of it",
            )
    categories = np.array([segment["category_id"] for segment in segments], dtype=np.int64)
    is_crowd = np.array([bool(segment.get("iscrowd")) for segment in segments], dtype=bool)
    return Segments(ids, categories, areas, is_crowd), place


def _sum_at(places: np.ndarray, pixels: np.ndarray, length: int) -> np.ndarray:
    """(length,) int64: the pixels of each place. Summed in float64, exact up to 2**53."""
    return np.bincount(places, weights=pixels, minlength=length).astype(np.int64)


def _is_last_crowd_of_class(gt: Segments) -> np.ndarray:
    """(G,) bool."""
    crowds_backwards = np.flatnonzero(gt.is_crowd)[::-1]
    _, last = np.unique(gt.categories[crowds_backwards], return_index=True)
    is_last = np.zeros(len(gt.ids), dtype=bool)
    is_last[crowds_backwards[last]] = True
    return is_last


class Outcome(enum.IntEnum):
    """What became of a segment, in words that people use."""

    FOUND = 0
    POOR_MASK = 1  # the right class in the right place, but not its outline
    WRONG_CLASS = 2  # the right outline
    MISSED = 3  # of the ground truth only
    INVENTED = 4  # of the prediction only
    NOT_SCORED = 5  # a crowd; a prediction on void or on a crowd


def explain_match(match: SegmentMatch) -> tuple[np.ndarray, np.ndarray]:
    """Say what became of each segment.

    What was missed here and what was invented there explain each other where they overlap: with an
    IoU above one half the class is wrong, and with the same class and an IoU above `POOR_MASK_IOU`
    the mask is poor.

    Returns:
        (G,) and (P,) int8, `Outcome` of the segments of the ground truth and of the prediction.
    """
    gt = np.where(match.is_missed, Outcome.MISSED, Outcome.FOUND).astype(np.int8)
    gt[match.ground_truth.is_crowd] = Outcome.NOT_SCORED
    pred = np.where(match.is_false, Outcome.INVENTED, Outcome.FOUND).astype(np.int8)
    pred[match.is_ignored] = Outcome.NOT_SCORED

    gt_categories = match.ground_truth.categories[match.pair_gt]
    is_same_class = gt_categories == match.prediction.categories[match.pair_prediction]
    is_unmatched = match.is_false | match.is_ignored
    is_open = match.is_missed[match.pair_gt] & is_unmatched[match.pair_prediction]
    for outcome, applies in (
        (Outcome.POOR_MASK, is_same_class & (match.pair_iou > POOR_MASK_IOU)),
        (Outcome.WRONG_CLASS, ~is_same_class & (match.pair_iou > MATCH_IOU)),
    ):
        explained = is_open & applies
        gt[match.pair_gt[explained]] = outcome
        guesses = match.pair_prediction[explained]
        pred[guesses[match.is_false[guesses]]] = outcome
    return gt, pred


class _Image(NamedTuple):
    """What an image adds to the scores: for each segment its category's place."""

    matched: np.ndarray  # (M,)
    iou: np.ndarray  # (M,) float64
    missed: np.ndarray  # (N,)
    false: np.ndarray  # (F,)
    ignored: np.ndarray  # (I,)


class PanopticQualityMetric(ImageMetric[_Image]):
    """PQ, SQ and RQ of matched segments: update, merge, compute.

    The state is a few bytes a segment. The result doesn't depend on the order of images, to the
    last bit.

    Example:
        >>> metric = PanopticQualityMetric([Category(7, "road", False), Category(26, "car", True)])
        >>> for name, *maps_and_segments in images:
        ...     metric.update(name, match_segments(*maps_and_segments))
        >>> print(metric.compute())
    """

    def __init__(self, categories: Sequence[Category]) -> None:
        """
        Args:
            categories: all that there are, with distinct ids and names.
        """
        super().__init__()
        self.categories = tuple(categories)
        self._ids = np.array([category.id for category in categories], dtype=np.int64)

    def update(self, image_id: Hashable, match: SegmentMatch) -> None:
        """Add an image; one that is there already (a sampler's padding) is left as it is.

        Args:
            image_id: names the image, alike in every process.
            match: of its segments.

        Raises:
            SegmentError: a segment has a category that is none.
        """
        if image_id in self._images:
            return
        gt = self._places("ground truth", match.ground_truth)
        pred = self._places("prediction", match.prediction)
        self._images[image_id] = _Image(
            matched=gt[match.pair_gt[match.pair_is_match]],
            iou=match.pair_iou[match.pair_is_match],
            missed=gt[match.is_missed],
            false=pred[match.is_false],
            ignored=pred[match.is_ignored],
        )

    def _places(self, side: Side, segments: Segments) -> np.ndarray:
        """The places of the segments' categories among all, in as few bytes as will do."""
        order = np.argsort(self._ids)
        nearest = np.searchsorted(self._ids[order], segments.categories)
        places = order[nearest.clip(max=len(order) - 1)]
        is_strange = self._ids[places] != segments.categories
        if is_strange.any():
            raise SegmentError(
                side,
                f"has the segment {segments.ids[is_strange][0]} of the category "
                f"{segments.categories[is_strange][0]}, which is none of the "
                f"{len(self.categories)} categories",
            )
        return places.astype(np.min_scalar_type(len(self.categories)))

    def compute(self) -> PanopticScores:
        """The scores of all images together."""
        images = self._images.values()
        nothing = _Image(*(np.zeros(0, dtype=np.int64) for _ in _Image._fields))
        joined = _Image(*(np.concatenate(column) for column in zip(nothing, *images, strict=True)))
        num = len(self.categories)
        true, missed, false, ignored = (
            np.bincount(places, minlength=num)
            for places in (joined.matched, joined.missed, joined.false, joined.ignored)
        )
        # By size: in whatever order images came, the sum is the same to the last bit.
        order = np.argsort(joined.iou)
        iou_sum = np.bincount(joined.matched[order], weights=joined.iou[order], minlength=num)

        quality = np.full((num, 3), np.nan)
        counts = true + false + missed > 0
        segments = true + false / 2 + missed / 2
        quality[counts, 0] = iou_sum[counts] / segments[counts]
        quality[counts, 1] = iou_sum[counts] / true[counts].clip(min=1)
        quality[counts, 2] = true[counts] / segments[counts]
        quality *= 100

        is_thing = np.array([category.is_thing for category in self.categories], dtype=bool)
        names = [category.name for category in self.categories]
        metrics = ("PQ", "SQ", "RQ")
        overall = {}
        for suffix, chosen in (
            ("", counts),
            ("_th", counts & is_thing),
            ("_st", counts & ~is_thing),
        ):
            means = quality[chosen].mean(axis=0) if chosen.any() else np.full(3, np.nan)
            overall |= {f"{m}{suffix}": v for m, v in zip(metrics, means.tolist(), strict=True)}
        return PanopticScores(
            num_images=len(self),
            overall=overall,
            per_class={
                name: dict(zip(metrics, row, strict=True))
                for name, row in zip(names, quality.tolist(), strict=True)
            },
            is_thing=dict(zip(names, is_thing.tolist(), strict=True)),
            num_ground_truth=dict(zip(names, (true + missed).tolist(), strict=True)),
            num_predicted=dict(zip(names, (true + false + ignored).tolist(), strict=True)),
        )
