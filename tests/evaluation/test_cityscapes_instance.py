from __future__ import annotations

import itertools
import logging
import pickle

import cv2
import numpy as np
import pytest
import torch
from cityscapesscripts.evaluation import evalInstanceLevelSemanticLabeling as official_script
from cityscapesscripts.evaluation.instances2dict import instances2dict
from detectron2.data import MetadataCatalog
from detectron2.structures import Boxes, Instances

from segtron.data.cityscapes import THING_ID_TO_CONTIGUOUS, THING_LABELS
from segtron.errors import UserError
from segtron.evaluation.cityscapes_instance import (
    CLASSES,
    CityscapesInstanceEvaluator,
    CityscapesInstanceMetric,
)

from .hard_scenes import no_predictions
from .reference import cityscapes_boundary_aps
from .scenes import (
    BICYCLE,
    BUILDING,
    CAR,
    CARAVAN,
    HEIGHT,
    PERSON,
    RIDER,
    TRUCK,
    WIDTH,
    Scene,
    box,
    ellipse,
    random_scene,
    shifted,
)

CLASS_NAMES = ["person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"]


def metric_of(scenes: list[Scene], boundary_ratio: float = 0.0) -> CityscapesInstanceMetric:
    metric = CityscapesInstanceMetric(boundary_ratio)
    for number, scene in enumerate(scenes):
        metric.update(
            f"image{number}", scene.instance_ids, scene.masks, scene.label_ids, scene.scores
        )
    return metric


@pytest.fixture
def official(monkeypatch, tmp_path):
    """The official script's own functions, run on files; returns its APs and averages."""
    # The script was written for numpy 1.
    monkeypatch.setattr(np, "in1d", np.isin, raising=False)

    def evaluate(scenes: list[Scene]):
        gt_files, prediction_files = [], []
        for number, scene in enumerate(scenes):
            gt_file = tmp_path / f"city_{number:06d}_000000_gtFine_instanceIds.png"
            assert cv2.imwrite(str(gt_file), scene.instance_ids)
            lines = []
            for index, (mask, label_id, score) in enumerate(scene.predictions):
                name = f"{number}_{index}.png"
                assert cv2.imwrite(str(tmp_path / name), mask.astype(np.uint8) * 255)
                lines.append(f"{name} {label_id} {score!r}\n")
            prediction_file = tmp_path / f"city_{number:06d}_000000_pred.txt"
            prediction_file.write_text("".join(lines))
            gt_files.append(str(gt_file))
            prediction_files.append(str(prediction_file))
        args = official_script.args
        monkeypatch.setattr(args, "quiet", True)
        monkeypatch.setattr(args, "predictionPath", str(tmp_path))
        official_script.setInstanceLabels(args)
        assert args.instLabels == CLASS_NAMES
        gt_instances = instances2dict(gt_files, False)
        matches = official_script.matchGtWithPreds(prediction_files, gt_files, gt_instances, args)
        aps = official_script.evaluateMatches(matches, args)
        with np.errstate(invalid="ignore"):
            return aps[0], official_script.computeAverages(aps, args)

    return evaluate


def perfect():
    rng = np.random.default_rng(1)
    scenes = [random_scene(rng) for _ in range(2)]
    for scene in scenes:
        scene.predictions.clear()
        for instance_id in np.unique(scene.instance_ids):
            if instance_id >= 1000 and instance_id // 1000 != CARAVAN:
                scene.predict(
                    scene.instance_ids == instance_id, int(instance_id // 1000), rng.random()
                )
    return scenes


def noisy():
    rng = np.random.default_rng(2)
    return [random_scene(rng) for _ in range(5)]


def single_image():
    return [random_scene(np.random.default_rng(3))]


def equal_scores():
    rng = np.random.default_rng(4)
    return [random_scene(rng, digits=1) for _ in range(4)]


def all_scores_equal():
    rng = np.random.default_rng(5)
    return [random_scene(rng, digits=0) for _ in range(3)]


def class_without_predictions():
    scenes = noisy()
    for scene in scenes:
        scene.predictions = [p for p in scene.predictions if p[1] != CAR]
    return scenes


def class_without_ground_truth():
    scenes = noisy()
    for scene in scenes:
        scene.instance_ids[scene.instance_ids // 1000 == CAR] = BUILDING
    return scenes


def image_without_predictions():
    scenes = noisy()
    scenes[0].predictions.clear()
    return scenes


def only_groups():
    scene = Scene()
    scene.instance_ids[box(0, 40, 0, 60)] = CAR
    scene.instance_ids[box(50, 90, 0, 60)] = PERSON
    scene.predict(box(0, 40, 0, 50), CAR, 0.9)
    scene.predict(box(50, 60, 0, 90), PERSON, 0.8)
    return [scene]


def predictions_on_void():
    scene = Scene()
    scene.instance_ids[box(0, 20, 0, 20)] = CAR * 1000
    scene.instance_ids[box(30, 60, 0, 128)] = 0
    scene.instance_ids[box(60, 70, 0, 128)] = CARAVAN * 1000 + 1
    scene.instance_ids[box(70, 80, 0, 128)] = CARAVAN
    scene.predict(box(0, 20, 0, 16), CAR, 0.5)
    for number, bottom in enumerate((59, 61, 65, 70, 74, 78, 84, 90)):  # more and more of caravans
        scene.predict(box(50, bottom, 10 * number, 10 * number + 30), CAR, 0.6 + number / 40)
    for number, top in enumerate((0, 5, 10, 15, 20, 25, 28)):  # half on road, half on void
        scene.predict(box(top, 40, 30, 50), CAR, 0.3 + number / 20)
    return [scene]


def instance_of_several_parts():
    scene = Scene()
    left, right = box(10, 40, 10, 40), box(10, 40, 60, 86)
    scene.instance_ids[left | right] = CAR * 1000 + 5
    scene.predict(left, CAR, 0.9)
    scene.predict(right, CAR, 0.8)
    scene.predict(left | right, CAR, 0.7)
    scene.predict(left | box(10, 40, 60, 70), CAR, 0.95)
    return [scene]


def below_minimum_size():
    scene = Scene()
    for number, width in enumerate((4, 9, 10, 11)):  # 40, 90, 100, 110 pixels
        area = box(12 * number, 12 * number + 10, 0, width)
        scene.instance_ids[area] = PERSON * 1000 + number
        scene.predict(area, PERSON, 0.5 + number / 10)
        scene.predict(box(12 * number, 12 * number + 10, 3, width + 3), PERSON, 0.4)
        # A prediction larger than the small ones below it.
        scene.predict(box(12 * number, 12 * number + 10, 0, 18), PERSON, 0.55 + number / 10)
    group = box(60, 65, 0, 10)  # a small group, whose pixels are counted twice
    scene.instance_ids[group] = PERSON
    for width in (10, 14, 18, 26, 40):
        scene.predict(box(60, 65, 0, width), PERSON, 0.65 + width / 1000)
    scene.predict(box(90, 91, 0, 3), PERSON, 0.99)
    return [scene]


def duplicates():
    scene = Scene()
    for number in range(3):
        area = box(30 * number, 30 * number + 20, 0, 40)
        scene.instance_ids[area] = RIDER * 1000 + number
        for width, score in ((40, 0.5), (36, 0.9), (30, 0.7), (38, 0.9), (26, 0.95)):
            scene.predict(box(30 * number, 30 * number + 20, 0, width), RIDER, score - number / 10)
    return [scene]


def many_predictions():
    rng = np.random.default_rng(6)
    scenes = [random_scene(rng, num_segments=25) for _ in range(2)]
    for scene in scenes:
        truth = [scene.instance_ids == i for i in np.unique(scene.instance_ids) if i >= 1000]
        for _ in range(300):
            mask = shifted(rng, truth[rng.integers(len(truth))]) if truth else ellipse(rng)
            scene.predict(mask, int(rng.choice([PERSON, CAR, BICYCLE])), rng.random())
    return scenes


def empty_and_foreign_predictions():
    scenes = noisy()
    for scene in scenes:
        scene.predict(np.zeros_like(scene.instance_ids, dtype=bool), TRUCK, 0.99)
        scene.predict(box(0, 50, 0, 50), BUILDING, 0.98)
        scene.predict(box(0, 50, 0, 50), CARAVAN, 0.97)
    return scenes


def zero_and_negative_scores():
    rng = np.random.default_rng(7)
    scenes = [random_scene(rng) for _ in range(2)]
    for scene in scenes:
        scene.predictions = [
            (mask, label, round(4 * score) / 2 - 1) for mask, label, score in scene.predictions
        ]
    return scenes


CASES = [
    perfect,
    noisy,
    single_image,
    equal_scores,
    all_scores_equal,
    class_without_predictions,
    class_without_ground_truth,
    no_predictions,
    image_without_predictions,
    only_groups,
    predictions_on_void,
    instance_of_several_parts,
    below_minimum_size,
    duplicates,
    many_predictions,
    empty_and_foreign_predictions,
    zero_and_negative_scores,
]


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:All-NaN")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_equals_the_official_script(case, official):
    scenes = case()
    expected_aps, expected = official(scenes)
    metric = metric_of(scenes)
    np.testing.assert_allclose(metric.average_precisions(), expected_aps, rtol=0, atol=1e-12)
    scores = metric.compute()
    np.testing.assert_allclose(
        [scores.overall["AP"], scores.overall["AP50"]],
        [100 * expected["allAp"], 100 * expected["allAp50%"]],
        rtol=0,
        atol=1e-9,
    )
    for name in CLASS_NAMES:
        np.testing.assert_allclose(
            [scores.per_class[name]["AP"], scores.per_class[name]["AP50"]],
            [100 * expected["classes"][name][key] for key in ("ap", "ap50%")],
            rtol=0,
            atol=1e-9,
        )


def test_the_cases_differ_from_each_other_and_from_trivial_ones():
    """A parity test on cases that are all 0 or 1 would show nothing."""
    aps = [metric_of(case()).compute().overall["AP"] for case in CASES]
    assert sum(0 < ap < 99 for ap in aps) >= 12
    assert metric_of(perfect()).compute().overall == {"AP": 100.0, "AP50": 100.0}


def test_all_predictions_ignored_is_zero_where_the_official_script_fails(official):
    scene = Scene()
    scene.instance_ids[box(0, 20, 0, 20)] = CAR * 1000
    scene.instance_ids[box(30, 60, 0, 60)] = 0
    scene.predict(box(35, 55, 5, 55), CAR, 0.9)
    with pytest.raises(IndexError):
        official([scene])
    scores = metric_of([scene]).compute()
    assert scores.per_class["car"] == {"AP": 0.0, "AP50": 0.0}
    assert scores.overall == {"AP": 0.0, "AP50": 0.0}


def two_cars() -> Scene:
    """Two cars of 200 pixels, and three predictions: IoU 1, nothing, IoU 144 / 200 = 0.72."""
    scene = Scene()
    scene.instance_ids[box(0, 10, 0, 20)] = CAR * 1000
    scene.instance_ids[box(20, 30, 0, 20)] = CAR * 1000 + 1
    scene.predict(box(0, 10, 0, 20), CAR, 0.9)
    scene.predict(box(50, 60, 0, 20), CAR, 0.85)
    scene.predict(box(20, 29, 0, 16), CAR, 0.8)
    return scene


def test_hand_computed():
    scores = metric_of([two_cars()]).compute()
    # Up to IoU 0.7 precision is 2/3, 1/2, 1 at recall 1, 1/2, 1/2, and 1 at the artificial recall
    # of 0; each of the four points is 1/4 wide.
    low = (2 / 3 + 1 / 2 + 1 + 1) / 4
    # Above, precision is 1/3, 1/2, 1 at recall 1/2, and 1 at 0; the last two are 1/4 wide.
    high = (1 + 1) / 4
    assert scores.overall["AP50"] == pytest.approx(100 * low, abs=1e-10)
    assert scores.overall["AP"] == pytest.approx(100 * (low + high) / 2, abs=1e-10)
    assert scores.per_class["car"] == pytest.approx(scores.overall)
    assert np.isnan(scores.per_class["person"]["AP"])
    assert scores.num_images == 1
    assert scores.num_ground_truth == {name: 2 * (name == "car") for name in CLASS_NAMES}
    assert scores.num_predicted == {name: 3 * (name == "car") for name in CLASS_NAMES}


def test_sharding_and_order_change_no_bit():
    scenes = noisy() + equal_scores()
    whole = metric_of(scenes).average_precisions()
    assert np.isfinite(whole).any()
    rng = np.random.default_rng(0)
    for num_shards in (2, 3, 5):
        order = rng.permutation(len(scenes))
        shards = []
        for part in np.array_split(order, num_shards):
            metric = CityscapesInstanceMetric()
            for number in [*part, order[0]]:  # every shard is padded with the same image
                scene = scenes[number]
                metric.update(
                    f"image{number}", scene.instance_ids, scene.masks, scene.label_ids, scene.scores
                )
            shards.append(pickle.loads(pickle.dumps(metric)))
        merged = CityscapesInstanceMetric()
        for shard in shards:
            merged.merge(shard)
        assert len(merged) == len(scenes)
        np.testing.assert_array_equal(merged.average_precisions(), whole)


def test_an_image_counts_once():
    metric = metric_of([two_cars()])
    before = metric.compute()
    scene = two_cars()
    metric.update("image0", scene.instance_ids, scene.masks, scene.label_ids, scene.scores)
    metric.merge(metric_of([two_cars()]))
    assert len(metric) == 1
    assert str(metric.compute()) == str(before)


def test_state_is_small():
    few, many = Scene(), Scene()
    for scene, num in ((few, 10), (many, 1010)):
        scene.instance_ids[box(0, 40, 0, 40)] = CAR * 1000
        for _ in range(num):
            scene.predict(box(0, 30, 0, 40), CAR, 0.5)
    sizes = [len(pickle.dumps(metric_of([scene]))) for scene in (few, many)]
    assert (sizes[1] - sizes[0]) / 1000 < 100  # bytes a prediction


def test_no_images():
    scores = CityscapesInstanceMetric().compute()
    assert np.isnan(scores.overall["AP"]) and scores.num_images == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"masks": np.zeros((1, 5, 6), dtype=bool)}, "6x5 and the ground truth 128x96"),
        ({"scores": np.array([np.nan])}, "score that is no number"),
        ({"label_ids": np.array([77])}, "label id 77 in the predictions"),
        ({"instance_ids": np.full((96, 128), 40001, np.uint16)}, "label id 40 in the ground truth"),
    ],
)
def test_bad_input_is_named(change, message):
    given = {
        "instance_ids": Scene().instance_ids,
        "masks": box(0, 10, 0, 10)[None],
        "label_ids": np.array([CAR]),
        "scores": np.array([0.5]),
    }
    metric = CityscapesInstanceMetric()
    with pytest.raises(ValueError, match=message):
        metric.update("frame", **(given | change))
    assert len(metric) == 0


# Boundary AP -------------------------------------------------------------------------------------

# The diagonal of a scene is 160 pixels.
RATIOS_AND_WIDTHS = [(0.005, 1), (0.02, 3), (0.05, 8)]


def masks_at_the_border():
    rng = np.random.default_rng(8)
    scenes = []
    for _ in range(3):
        scene = Scene()
        for number, (top, left) in enumerate([(0, 0), (0, 98), (66, 0), (66, 98), (30, 0)]):
            scene.instance_ids[box(top, top + 30, left, left + 30)] = CAR * 1000 + number
            for _ in range(2):
                down, right, height, width = rng.integers(-3, 4, size=4)
                mask = box(
                    max(top + down, 0),
                    top + 30 + height,
                    max(left + right, 0),
                    left + 30 + width,
                )
                scene.predict(mask, CAR, rng.random())
        scene.predict(np.ones_like(mask), CAR, rng.random())
        scenes.append(scene)
    return scenes


@pytest.mark.parametrize("case", [*CASES, masks_at_the_border], ids=lambda case: case.__name__)
@pytest.mark.parametrize(("ratio", "width"), RATIOS_AND_WIDTHS)
def test_boundary_ap_equals_its_definition(case, ratio, width):
    scenes = case()
    metric = metric_of(scenes, ratio)
    aps = metric.boundary_average_precisions()
    np.testing.assert_allclose(aps, cityscapes_boundary_aps(scenes, width), rtol=0, atol=1e-12)
    assert (np.isnan(aps) == np.isnan(metric.average_precisions())).all()
    # That of masks is not touched by it.
    np.testing.assert_array_equal(
        metric.average_precisions(), metric_of(scenes).average_precisions()
    )


def test_the_cases_have_boundaries_that_matter():
    metrics = [metric_of(case(), 0.05) for case in [*CASES, masks_at_the_border]]
    masks = np.array([metric.compute().overall["AP"] for metric in metrics])
    boundaries = np.array([metric.compute_boundary().overall["AP"] for metric in metrics])
    assert np.count_nonzero(boundaries < masks) >= 10
    assert np.count_nonzero((boundaries > 0) & (boundaries < 99)) >= 13


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_boundaries_that_are_the_whole_masks_change_no_bit(case):
    # 48 pixels reach the middle of any mask.
    metric = metric_of(case(), 0.3)
    np.testing.assert_array_equal(metric.boundary_average_precisions(), metric.average_precisions())


def test_narrow_masks_change_no_bit():
    """Strips of twice the width are their own boundaries."""
    rng = np.random.default_rng(9)
    scene = Scene()
    for number in range(16):
        strip = box(6 * number, 6 * number + 4, 5, 125)
        scene.instance_ids[strip] = CAR * 1000 + number
        left, top = rng.integers(0, 60), 6 * number + rng.integers(0, 2)
        scene.predict(box(top, top + 4, left, 125), CAR, rng.random())
    metric = metric_of([scene], 0.0125)
    aps = metric.average_precisions()
    np.testing.assert_array_equal(metric.boundary_average_precisions(), aps)
    assert 0 < np.nanmean(aps) < 1
    wider = metric_of([scene], 0.005).boundary_average_precisions()
    assert np.nanmean(wider) != np.nanmean(aps)


@pytest.mark.parametrize(("top", "left"), [(20, 30), (0, 0), (HEIGHT - 10, WIDTH - 21)])
def test_boundary_ap_computed_by_hand(top, left):
    """A box of 20x10 pixels that is found one pixel too far right. The border of the image is as
    good a contour as any."""
    scene = Scene()
    scene.instance_ids[box(top, top + 10, left, left + 20)] = CAR * 1000
    scene.predict(box(top, top + 10, left + 1, left + 21), CAR, 0.9)
    # The IoU of the masks is 190 / 210 = 0.90: above nine of the ten overlaps. At each of them AP
    # is 1: the one point of the curve and the artificial one have precision 1.
    mask_scores = {"AP": 90.0, "AP50": 100.0}
    # Boundaries of one pixel: 56 in each, in common 19 in the upper and in the lower row. IoU
    # 38 / 74 = 0.51.
    one = metric_of([scene], 0.005)
    assert one.compute_boundary().overall == pytest.approx({"AP": 10, "AP50": 100})
    # Two pixels: 104 in each; in common 4 rows of 19, and 2 of the columns of the 6 other rows.
    # 88 / 120 = 0.73.
    two = metric_of([scene], 0.0125)
    assert two.compute_boundary().overall == pytest.approx({"AP": 50, "AP50": 100})
    assert one.compute().overall == two.compute().overall == pytest.approx(mask_scores)


def test_boundary_ap_is_no_more_than_mask_ap():
    """A car without its inside: nothing of the boundary is missing, 36 of 100 pixels are."""
    scene = Scene()
    scene.instance_ids[box(10, 20, 10, 20)] = CAR * 1000
    scene.predict(box(10, 20, 10, 20) & ~box(12, 18, 12, 18), CAR, 0.9)
    metric = metric_of([scene], 0.0125)
    # 64 / 100 is above 0.5, 0.55 and 0.6.
    assert metric.compute().overall["AP"] == pytest.approx(30)
    assert metric.compute_boundary().overall["AP"] == pytest.approx(30)


@pytest.mark.parametrize(
    ("ignored_id", "where", "prediction", "is_ignored"),
    [
        # A group, and a segment below the minimum size: with a boundary in common, and with none.
        (CAR, box(40, 90, 10, 110), box(40, 80, 20, 60), True),
        (CAR, box(40, 90, 10, 110), box(50, 80, 20, 60), False),
        (CAR * 1000 + 5, box(50, 59, 40, 50), box(50, 57, 42, 48), True),
        (CAR * 1000 + 5, box(50, 59, 40, 50), box(52, 57, 42, 48), False),
        # Void has no boundary: 64% of the mask lie on it and nothing of its boundary.
        (0, box(44, 76, 24, 56), box(40, 80, 20, 60), True),
    ],
)
def test_what_boundary_ap_ignores(ignored_id, where, prediction, is_ignored):
    """A found car, and a more confident prediction that is false unless it is ignored."""
    scene = Scene()
    scene.instance_ids[where] = ignored_id
    scene.instance_ids[box(0, 20, 0, 20)] = CAR * 1000
    scene.predict(box(0, 20, 0, 20), CAR, 0.5)
    scene.predict(prediction, CAR, 0.9)
    metric = metric_of([scene], 0.005)
    assert metric.compute().overall["AP50"] == pytest.approx(100)
    # If it counts, the points of the curve have the precision and recall (1/2, 1), (0, 0) and, the
    # artificial one, (1, 0); the first two are 1/2 wide.
    expected = 100 if is_ignored else 25
    assert metric.compute_boundary().overall["AP50"] == pytest.approx(expected)


def test_boundary_scores_of_shards_in_any_order():
    scenes = [*noisy(), *equal_scores(), *no_predictions()]
    whole = metric_of(scenes, 0.02).boundary_average_precisions()
    rng = np.random.default_rng(0)
    for num_shards in (2, 3):
        order = rng.permutation(len(scenes))
        merged = CityscapesInstanceMetric(0.02)
        for part in np.array_split(order, num_shards):
            shard = CityscapesInstanceMetric(0.02)
            for number in [*part, order[0]]:  # every shard is padded with the same image
                scene = scenes[number]
                shard.update(
                    f"image{number}", scene.instance_ids, scene.masks, scene.label_ids, scene.scores
                )
            merged.merge(pickle.loads(pickle.dumps(shard)))
        np.testing.assert_array_equal(merged.boundary_average_precisions(), whole)


def test_boundary_scores_have_their_own_heading_and_the_same_counts():
    metric = metric_of(noisy(), 0.005)
    masks, boundaries = metric.compute(), metric.compute_boundary()
    assert str(boundaries).startswith(
        "Cityscapes protocol, instances, boundary within 0.5% of the diagonal: 5 images, "
    )
    assert boundaries.num_ground_truth == masks.num_ground_truth
    assert boundaries.num_predicted == masks.num_predicted


def test_boundaries_without_images_and_without_a_ratio():
    assert np.isnan(CityscapesInstanceMetric(0.005).compute_boundary().overall["AP"])
    for compute in (metric_of(noisy()).compute_boundary, metric_of([]).boundary_average_precisions):
        with pytest.raises(ValueError, match="give the metric a boundary ratio"):
            compute()


# The evaluator -----------------------------------------------------------------------------------


@pytest.fixture
def dataset(request):
    name = f"cityscapes_instance_for_{request.node.name}"
    MetadataCatalog.get(name).set(
        evaluator_type="cityscapes_instance",
        thing_classes=[label.name for label in THING_LABELS],
        thing_dataset_id_to_contiguous_id=dict(THING_ID_TO_CONTIGUOUS),
    )
    yield name
    MetadataCatalog.remove(name)


def model_output(scene: Scene) -> dict[str, Instances]:
    kept = [p for p in scene.predictions if p[1] in CLASSES]
    scene = Scene(scene.instance_ids, kept)
    instances = Instances(scene.instance_ids.shape)
    instances.pred_masks = torch.from_numpy(scene.masks)
    instances.pred_classes = torch.tensor([THING_ID_TO_CONTIGUOUS[i] for i in scene.label_ids])
    instances.scores = torch.from_numpy(scene.scores)
    instances.pred_boxes = Boxes(torch.zeros(len(kept), 4))
    return {"instances": instances}


def run(evaluator, scenes: list[Scene], tmp_path):
    for number, scene in enumerate(scenes):
        path = tmp_path / f"{number}_gtFine_instanceIds.png"
        assert cv2.imwrite(str(path), scene.instance_ids)
        inputs = [{"image_id": f"{number}.png", "instance_ids_file_name": str(path)}]
        evaluator.process(inputs, [model_output(scene)])
    return evaluator.evaluate()


def test_evaluator(dataset, tmp_path, caplog):
    scenes = noisy()
    evaluator = CityscapesInstanceEvaluator(dataset)
    with caplog.at_level(logging.INFO, logger="segtron"):
        results = run(evaluator, scenes, tmp_path)
    expected = metric_of(scenes).compute()
    keys = [f"{metric}-{name}" for metric, name in itertools.product(("AP", "AP50"), CLASS_NAMES)]
    assert list(results["cityscapes_segm"]) == ["AP", "AP50", *keys]
    assert results["cityscapes_segm"]["AP"] == expected.overall["AP"]
    assert results["cityscapes_segm"]["AP50-car"] == expected.per_class["car"]["AP50"]
    assert caplog.text.count("Cityscapes protocol, instances: 5 images") == 1
    assert "| motorcycle" in caplog.text

    evaluator.reset()
    again = run(evaluator, scenes, tmp_path)
    np.testing.assert_equal(again, results)


def test_evaluator_with_boundaries(dataset, tmp_path, caplog):
    scenes = noisy()
    evaluator = CityscapesInstanceEvaluator(dataset, boundary_ratio=0.02)
    with caplog.at_level(logging.INFO, logger="segtron"):
        results = run(evaluator, scenes, tmp_path)
    assert list(results) == ["cityscapes_segm", "cityscapes_boundary"]
    np.testing.assert_equal(
        results["cityscapes_segm"], metric_of(scenes).compute().as_results(("AP", "AP50"))
    )
    np.testing.assert_equal(
        results["cityscapes_boundary"],
        metric_of(scenes, 0.02).compute_boundary().as_results(("AP", "AP50")),
    )
    assert 0 < results["cityscapes_boundary"]["AP"] < results["cityscapes_segm"]["AP"]
    assert "AP50-car" in results["cityscapes_boundary"]
    heading = "Cityscapes protocol, instances, boundary within 2% of the diagonal: 5 images"
    assert caplog.text.count(heading) == 1


def test_evaluator_invents_nothing_without_ground_truth(dataset, tmp_path, caplog):
    scene = Scene()
    scene.instance_ids[:] = 3  # out of roi, as in the test split's dummy labels
    scene.predict(box(0, 30, 0, 30), CAR, 0.9)
    with caplog.at_level(logging.INFO, logger="segtron"):
        assert run(CityscapesInstanceEvaluator(dataset), [scene], tmp_path) == {}
    assert f"no ground truth in {dataset}" in caplog.text


def test_evaluator_without_label_files_or_masks(dataset):
    evaluator = CityscapesInstanceEvaluator(dataset)
    output = model_output(two_cars())
    evaluator.process([{"image_id": "a"}], [output])
    output["instances"].remove("pred_masks")
    evaluator.process([{"image_id": "b", "instance_ids_file_name": "unread.png"}], [output])
    assert evaluator.evaluate() == {}


def test_evaluator_names_the_file_that_does_not_fit(dataset, tmp_path):
    path = tmp_path / "small_gtFine_instanceIds.png"
    assert cv2.imwrite(str(path), np.zeros((8, 8), dtype=np.uint16))
    evaluator = CityscapesInstanceEvaluator(dataset)
    inputs = [{"image_id": "a", "instance_ids_file_name": str(path)}]
    with pytest.raises(UserError, match=r"small_gtFine_instanceIds\.png.*128x96.*8x8"):
        evaluator.process(inputs, [model_output(two_cars())])


def test_evaluator_names_classes_that_do_not_fit(dataset):
    output = model_output(two_cars())
    output["instances"].pred_classes += 6
    with pytest.raises(UserError, match=r"class number 8, but .* has 8 classes"):
        CityscapesInstanceEvaluator(dataset).process([{"image_id": "a"}], [output])
    with pytest.raises(UserError, match="predicts none"):
        CityscapesInstanceEvaluator(dataset).process([{"image_id": "a"}], [{"sem_seg": 0}])
