from __future__ import annotations

import math
import pickle
import re

import numpy as np
import pytest

from segtron.evaluation.panoptic_quality import (
    Category,
    Outcome,
    PanopticQualityMetric,
    SegmentError,
    explain_match,
    match_segments,
)
from segtron.evaluation.scores import PanopticColumn

from .panoptic_scenes import (
    CATEGORIES,
    HEIGHT,
    WIDTH,
    Scene,
    assert_equal_scores,
    official_scores,
    random_scene,
    segments,
    write_files,
)

ROAD, TREE, SKY, PERSON, CAR, BICYCLE = (category.id for category in CATEGORIES)
Case = list[Scene]


def metric_of(case: Case, categories: list[Category] = CATEGORIES) -> PanopticQualityMetric:
    metric = PanopticQualityMetric(categories)
    for number, scene in enumerate(case):
        metric.update(number, match_segments(*scene))
    return metric


def noisy() -> Case:
    rng = np.random.default_rng(1)
    return [random_scene(rng, CATEGORIES) for _ in range(6)]


def perfect() -> Case:
    return [Scene(ids, listed, ids, listed) for ids, listed, *_ in noisy()]


def nothing_predicted() -> Case:
    return [Scene(*scene[:2], np.zeros_like(scene.pred_ids), []) for scene in noisy()]


def nothing_but_void() -> Case:
    return [Scene(np.zeros_like(scene.gt_ids), [], *scene[2:]) for scene in noisy()]


def empty() -> Case:
    return [
        Scene(np.zeros_like(scene.gt_ids), [], np.zeros_like(scene.gt_ids), [])
        for scene in noisy()[:2]
    ]


def crowds() -> Case:
    rng = np.random.default_rng(2)
    return [random_scene(rng, CATEGORIES[3:5], crowds=0.6, void=0.3, wrong=0.3) for _ in range(30)]


def much_void() -> Case:
    rng = np.random.default_rng(3)
    return [random_scene(rng, CATEGORIES, void=0.7, most=8) for _ in range(20)]


def only_things() -> Case:
    rng = np.random.default_rng(4)
    return [random_scene(rng, CATEGORIES[3:]) for _ in range(3)]


CASES = [
    noisy,
    perfect,
    nothing_predicted,
    nothing_but_void,
    empty,
    crowds,
    much_void,
    only_things,
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_equals_the_official_scorer(case, tmp_path):
    files = write_files(tmp_path, case(), CATEGORIES)
    assert_equal_scores(metric_of(case()).compute(), official_scores(*files))


def test_equals_the_official_scorer_with_many_classes(tmp_path):
    rng = np.random.default_rng(5)
    numbers = rng.permutation(400)[:133]  # in no order
    categories = [Category(int(n), f"class {n}", bool(n % 2)) for n in numbers]
    case = [random_scene(rng, categories) for _ in range(25)]
    files = write_files(tmp_path, case, categories)
    assert_equal_scores(metric_of(case, categories).compute(), official_scores(*files))


def test_cases_are_not_trivial():
    """Else the parity above would say little."""
    matches = [match_segments(*scene) for scene in crowds() + much_void()]
    for field in ("is_missed", "is_false", "is_ignored", "pair_is_match"):
        assert sum(getattr(match, field).sum() for match in matches) > 30
    several = [
        scene
        for scene in crowds()
        if sum(s["iscrowd"] and s["category_id"] == CAR for s in scene.gt_segments) > 1
    ]
    assert len(several) > 5
    for case in (nothing_but_void(), empty()):
        assert all(math.isnan(value) for value in metric_of(case).compute().overall.values())


# Rules by hand ------------------------------------------------------------------------------------


def row(*runs: tuple[int, int]) -> np.ndarray:
    """(1, W) int32: (id, pixels) from left to right."""
    return np.concatenate([np.full(n, i, np.int32) for i, n in runs])[None]


def cars(ids: np.ndarray, *, crowds: set[int] = frozenset()) -> list:
    return segments(ids, dict.fromkeys(range(1, 100), CAR), crowds)


def match_rows(gt: np.ndarray, pred: np.ndarray, crowds: set[int] = frozenset()):
    return match_segments(gt, cars(gt, crowds=crowds), pred, cars(pred))


def test_an_iou_of_one_half_is_no_match():
    match = match_rows(row((1, 4), (2, 6)), row((5, 2), (0, 2), (6, 4), (0, 2)))
    assert match.pair_iou.tolist() == [2 / 4, 4 / 6]
    assert match.pair_is_match.tolist() == [False, True]
    assert match.is_missed.tolist() == [True, False]
    assert match.is_false.tolist() == [True, False]


def test_void_is_left_out_of_the_union():
    # Of ten pixels of the prediction three are on void and four on the car, which has six.
    match = match_rows(row((1, 6), (0, 6)), row((0, 2), (5, 7), (0, 3)))
    assert match.pair_iou.tolist() == [4 / (6 + 7 - 4 - 3)]
    assert match.pair_is_match.all()


@pytest.mark.parametrize(("on_void", "ignored"), [(4, False), (5, True)])
def test_what_lies_on_void_by_more_than_half_is_ignored(on_void, ignored):
    match = match_rows(row((1, 20), (0, 20)), row((0, 16), (5, 4), (5, on_void), (0, 20 - on_void)))
    assert match.is_ignored.tolist() == [ignored]
    assert match.is_false.tolist() == [not ignored]


@pytest.mark.parametrize(("on_crowd", "ignored"), [(4, False), (5, True)])
def test_what_lies_on_a_crowd_by_more_than_half_is_ignored(on_crowd, ignored):
    gt = row((1, 20), (2, 20))
    pred = row((0, 16), (5, 4), (5, on_crowd), (0, 20 - on_crowd))
    match = match_rows(gt, pred, crowds={2})
    assert match.is_ignored.tolist() == [ignored]
    assert match.is_missed.tolist() == [True, False]
    other = match_segments(gt, segments(gt, {1: CAR, 2: PERSON}, {2}), pred, cars(pred))
    assert other.is_false.tolist() == [True], "a crowd of another class excuses nothing"


def test_void_and_crowd_excuse_together():
    gt, pred = row((1, 5), (2, 3), (0, 3)), row((0, 1), (5, 10))
    assert match_rows(gt, pred, crowds={2}).is_ignored.tolist() == [True]


def test_a_crowd_is_never_matched():
    gt = row((2, 10))
    match = match_rows(gt, gt, crowds={2})
    assert not match.pair_is_match.any()
    assert not match.is_missed.any()
    assert match.is_ignored.all()


def test_of_two_crowds_of_a_class_the_last_listed_counts():
    """So it is in both official scorers, whose results this has to give."""
    gt, pred = row((1, 10), (2, 10)), row((5, 10), (6, 10))
    listed = cars(gt, crowds={1, 2})
    for order, ignored in ((listed, [False, True]), (listed[::-1], [True, False])):
        assert match_segments(gt, order, pred, cars(pred)).is_ignored.tolist() == ignored


def test_scores_by_hand():
    # Two of three cars found, one of them with an IoU of 0.8; one invented; a person is a car.
    gt = row((1, 10), (2, 10), (3, 10), (4, 10), (9, 60), (0, 20))
    pred = row((11, 10), (12, 8), (0, 2), (0, 10), (14, 10), (19, 40), (15, 20), (16, 20))
    gt_segments = segments(gt, {1: CAR, 2: CAR, 3: CAR, 4: PERSON, 9: ROAD})
    pred_segments = segments(pred, {11: CAR, 12: CAR, 14: CAR, 15: CAR, 16: BICYCLE, 19: ROAD})
    metric = PanopticQualityMetric(CATEGORIES)
    metric.update("a", match_segments(gt, gt_segments, pred, pred_segments))
    scores = metric.compute()
    assert scores.num_images == 1
    car = {"PQ": 100 * 1.8 / 3.5, "SQ": 90, "RQ": 100 * 2 / 3.5}
    road = {"PQ": 100 * 40 / 60, "SQ": 100 * 40 / 60, "RQ": 100}
    assert scores.per_class["car"] == pytest.approx(car)
    assert scores.per_class["road"] == pytest.approx(road)
    assert scores.per_class["person"] == {"PQ": 0, "SQ": 0, "RQ": 0}
    assert all(math.isnan(value) for value in scores.per_class["bicycle"].values())
    for metric_name in ("PQ", "SQ", "RQ"):
        thing, stuff = car[metric_name] / 2, road[metric_name]
        assert scores.overall[f"{metric_name}_th"] == pytest.approx(thing)
        assert scores.overall[f"{metric_name}_st"] == pytest.approx(stuff)
        assert scores.overall[metric_name] == pytest.approx((2 * thing + stuff) / 3)
    assert scores.num_ground_truth == {
        "road": 1, "tree": 0, "sky": 0, "person": 1, "car": 3, "bicycle": 0,
    }  # fmt: skip
    # The bicycle lies on void: it isn't counted as wrong, but it was predicted.
    assert scores.num_predicted == {
        "road": 1, "tree": 0, "sky": 0, "person": 0, "car": 4, "bicycle": 1,
    }  # fmt: skip

    lines = str(scores).split("\n")
    assert lines[0] == (
        "Panoptic quality: 1 images, 5 ground-truth segments, 6 predicted segments, scores in "
        "percent"
    )
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[1:]]
    assert cells[0] == ["class", "PQ", "SQ", "RQ", "ground truth", "predicted"]
    assert [line[0] for line in cells[2:]] == ["all", "things", "stuff", *scores.per_class]
    assert cells[2] == ["all", "39.37", "52.22", "52.38", "5", "6"]
    assert cells[3] == ["things", "25.71", "45.00", "28.57", "4", "5"]
    assert cells[4] == ["stuff", "66.67", "66.67", "100.00", "1", "1"]
    assert cells[-1] == ["bicycle", "-", "-", "-", "0", "1"]


def test_results_are_flat_and_json_has_no_nan():
    scores = metric_of(only_things()).compute()
    results = scores.as_results()
    assert list(results)[:9] == [f"{m}{s}" for s in ("", "_th", "_st") for m in ("PQ", "SQ", "RQ")]
    assert list(results)[9:] == [f"PQ-{category.name}" for category in CATEGORIES]
    content = scores.as_json()
    assert content["PQ"] == scores.overall["PQ"]
    assert content["PQ_st"] is None
    assert content["num_images"] == 3
    assert content["per_class"]["road"] == {
        "PQ": None, "SQ": None, "RQ": None, "ground_truth": 0, "predicted": 0,
    }  # fmt: skip
    assert content["per_class"]["car"]["predicted"] == scores.num_predicted["car"]


def test_other_scores_can_stand_beside():
    scores = metric_of(perfect()).compute()
    ap = dict.fromkeys(scores.per_class, math.nan) | {"car": 2.5}
    table = scores.table({"AP": PanopticColumn(1.25, math.nan, math.nan, ap)})
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.split("\n")[1:]]
    column = {line[0]: line[4] for line in cells[2:]}
    assert cells[0][4] == "AP"
    assert column.pop("all") == "1.25"
    assert column.pop("car") == "2.50"
    assert set(column.values()) == {"-"}


def test_classes_may_be_called_as_groups_are():
    names = ["all", "things", "stuff", "person", "car", "bicycle"]
    categories = [c._replace(name=name) for c, name in zip(CATEGORIES, names, strict=True)]
    scores = metric_of(perfect(), categories).compute()
    iou = dict(zip(names, (40.0, 50.0, 60.0, 70.0, 80.0, 90.0), strict=True))
    table = scores.table({"IoU": PanopticColumn(1.0, 2.0, 3.0, iou)})
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.split("\n")[3:]]
    assert [line[0] for line in cells] == ["all", "things", "stuff", *names]
    assert [line[4] for line in cells] == [
        f"{value:.2f}" for value in (1, 2, 3, 40, 50, 60, 70, 80, 90)
    ]
    counts = [int(line[5]) for line in cells]
    assert counts[0] == sum(counts[3:])


# What became of segments --------------------------------------------------------------------------


def explain(gt, gt_classes, pred, pred_classes, crowds=frozenset()):
    match = match_segments(gt, segments(gt, gt_classes, crowds), pred, segments(pred, pred_classes))
    return [[Outcome(o).name for o in outcomes] for outcomes in explain_match(match)]


def test_each_outcome():
    gt = row((1, 10), (2, 10), (3, 10), (4, 10), (5, 10), (0, 10), (6, 10))
    pred = row(
        (11, 10),  # found
        (12, 4), (0, 6),  # poor
        (13, 10),  # of another class
        (0, 10),  # missed
        (14, 1), (0, 9),  # hardly touched
        (15, 10),  # on void
        (16, 10),  # on a crowd
    )  # fmt: skip
    classes = dict.fromkeys(range(1, 20), CAR) | {13: PERSON}
    assert explain(gt, classes, pred, classes, {6}) == [
        ["FOUND", "POOR_MASK", "WRONG_CLASS", "MISSED", "MISSED", "NOT_SCORED"],
        ["FOUND", "POOR_MASK", "WRONG_CLASS", "INVENTED", "NOT_SCORED", "NOT_SCORED"],
    ]


def test_what_is_found_already_explains_nothing():
    """A second prediction on a car that was found is invented, and a car beside one that was found
    is missed, though their masks overlap."""
    cars_of = dict.fromkeys(range(1, 20), CAR)
    gt, pred = row((1, 10)), row((11, 6), (12, 4))
    assert explain(gt, cars_of, pred, cars_of) == [["FOUND"], ["FOUND", "INVENTED"]]
    assert explain(pred, cars_of, gt, cars_of) == [["FOUND", "MISSED"], ["FOUND"]]


def test_a_poor_mask_of_the_right_class_and_one_of_another():
    # Four pixels as a car, and six as a person, which is the better outline.
    gt, pred = row((1, 10)), row((11, 4), (12, 6))
    assert explain(gt, {1: CAR}, pred, {11: CAR, 12: PERSON}) == [
        ["WRONG_CLASS"],
        ["POOR_MASK", "WRONG_CLASS"],
    ]


def test_explaining_nothing():
    nothing = np.zeros((3, 4), np.int32)
    assert explain(nothing, {}, nothing, {}) == [[], []]


# State --------------------------------------------------------------------------------------------


def test_sharding_and_order_change_no_bit():
    case = noisy() + crowds()
    whole = metric_of(case)
    rng = np.random.default_rng(0)
    for num_shards in (1, 2, 3, 5):
        order = rng.permutation(len(case))
        merged = PanopticQualityMetric(CATEGORIES)
        for part in np.array_split(order, num_shards):
            metric = PanopticQualityMetric(CATEGORIES)
            for number in [*part, order[0]]:  # every shard is padded with the same image
                metric.update(int(number), match_segments(*case[number]))
            merged.merge(pickle.loads(pickle.dumps(metric)))
        assert len(merged) == len(case)
        np.testing.assert_equal(merged.compute().as_json(), whole.compute().as_json())


def test_an_image_counts_once():
    metric, other = metric_of(noisy()[:1]), noisy()[1]
    before = metric.compute().as_json()
    metric.update(0, match_segments(*other))
    metric.merge(metric_of([other]))
    assert len(metric) == 1
    np.testing.assert_equal(metric.compute().as_json(), before)


def test_state_is_small():
    """It doesn't grow with the image."""
    gt, pred = (np.kron(ids, np.ones((20, 20), np.int32)) for ids in noisy()[0][::2])
    listed = [[s | {"area": None} for s in side] for side in noisy()[0][1::2]]
    large = metric_of([Scene(gt, listed[0], pred, listed[1])])
    assert gt.nbytes > 10**6
    assert len(pickle.dumps(large)) < 2000


# Faulty input -------------------------------------------------------------------------------------

IDS = row((1, 4), (2, 4), (0, 2))
FAULTS = {
    "unlisted": (IDS, cars(IDS)[:1], "has pixels of the segment 2, which is not listed"),
    "without pixels": (row((1, 10)), cars(IDS), "lists the segment 2, of which there is no pixel"),
    "area": (
        IDS,
        [cars(IDS)[0], cars(IDS)[1] | {"area": 5}],
        "lists the segment 2 with the area 5, but has 4 pixels of it",
    ),
    "area nan": (
        IDS,
        [cars(IDS)[0] | {"area": math.nan}, cars(IDS)[1]],
        "lists the segment 1 with the area nan, but",
    ),
    "twice": (IDS, [*cars(IDS), cars(IDS)[0]], "lists the segment 1 more than once"),
    "void listed": (
        IDS,
        [*cars(IDS), {"id": 0, "category_id": CAR}],
        "lists a segment with the id 0, which means no segment",
    ),
    "negative listed": (
        IDS,
        [*cars(IDS), {"id": -3, "category_id": CAR}],
        "has the segment id -3; ids must be positive",
    ),
    "negative": (IDS - 1, cars(IDS), "has the segment id -1; ids must be positive"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_maps_and_lists_that_disagree(fault):
    ids, listed, message = FAULTS[fault]
    good = (IDS, cars(IDS))
    for side, sides in (
        ("ground truth", (ids, listed, *good)),
        ("prediction", (*good, ids, listed)),
    ):
        with pytest.raises(SegmentError, match=f"^the {side} {re.escape(message)}") as raised:
            match_segments(*sides)
        assert raised.value.side == side


def test_areas_need_not_be_known():
    bare = [{"id": s["id"], "category_id": CAR, "area": None} for s in cars(IDS)]
    assert match_segments(IDS, bare, IDS, bare).pair_is_match.all()


def test_maps_that_are_none():
    listed = cars(IDS)
    with pytest.raises(ValueError, match="the prediction is 10x2 and the ground truth 10x1"):
        match_segments(IDS, listed, np.repeat(IDS, 2, axis=0), listed)
    with pytest.raises(ValueError, match="the prediction .* type float64"):
        match_segments(IDS, listed, IDS.astype(float), listed)


def test_unknown_category():
    strange = [cars(IDS)[0], cars(IDS)[1] | {"category_id": 99}]
    metric = PanopticQualityMetric(CATEGORIES)
    message = "has the segment 2 of the category 99, which is none of the 6 categories"
    for side, sides in (
        ("prediction", (IDS, cars(IDS), IDS, strange)),
        ("ground truth", (IDS, strange, IDS, cars(IDS))),
    ):
        with pytest.raises(SegmentError, match=f"the {side} {message}"):
            metric.update("a", match_segments(*sides))
    assert len(metric) == 0


def test_ids_as_wide_as_they_can_be():
    ids = np.zeros((HEIGHT, WIDTH), np.uint32)
    ids[:30], ids[30:] = 2**24 - 1, 3
    listed = segments(ids, {2**24 - 1: ROAD, 3: SKY})
    assert match_segments(ids, listed, ids.astype(np.int64), listed).pair_is_match.all()
