"""Every scorer against its official one on the same hard cases, from memory and from files."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pycocotools.mask as mask_util
import pytest
from cityscapesscripts.evaluation import evalPanopticSemanticLabeling as official_panoptic
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from segtron.data.cityscapes import SEM_SEG_LABELS
from segtron.errors import UserError
from segtron.evaluation import (
    score_cityscapes_instances,
    score_cityscapes_semantics,
    score_coco_results,
    score_panoptic_files,
)
from segtron.evaluation.boundary_ap import compute_boundary_ap
from segtron.evaluation.boundary_sem_seg import SemSegBoundaryMetric
from segtron.evaluation.cityscapes_instance import CityscapesInstanceMetric
from segtron.evaluation.cityscapes_sem_seg import CityscapesSemSegMetric
from segtron.evaluation.coco import CocoInstanceMetric
from segtron.evaluation.coco_ground_truth import CocoGroundTruth, completed_ground_truth
from segtron.evaluation.panoptic_quality import PanopticQualityMetric, match_segments
from segtron.evaluation.sem_seg import SemSegMetric

from .hard_scenes import (
    CASES,
    CATEGORIES,
    SIDE,
    CocoCase,
    coco_view,
    ious_at_the_thresholds,
    panoptic_view,
    part,
    scene_of,
    semantic_view,
    three_hundred_predictions,
    two_random_images,
)
from .panoptic_scenes import assert_equal_scores, official_scores, write_files
from .reference import boundary_by_erosion, cityscapes_boundary_aps
from .saved_cityscapes import (
    official_instances,
    official_semantics,
    write_instances,
    write_semantics,
)
from .scenes import CAR, HEIGHT, PERSON, ROAD, WIDTH, Scene, box, labels_of, random_scene

COCO_METRICS = ["AP", "AP50", "AP75", "APs", "APm", "APl"]
# Percent.
TOLERANCE = 1e-9
# 2% of a diagonal of 160 pixels.
BOUNDARY_RATIO, BOUNDARY_WIDTH = 0.02, 3

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
undefined_means = pytest.mark.filterwarnings("ignore:Mean of empty slice")


def assert_close(found: Any, official: Any) -> None:
    """Percent, against 0 to 1."""
    np.testing.assert_allclose(found, 100 * np.asarray(official), rtol=0, atol=TOLERANCE)


# Metrics of scenes --------------------------------------------------------------------------------


class Metric(Protocol):
    """What all metrics are."""

    def __len__(self) -> int: ...
    def merge(self, other: Metric) -> None: ...


def add_instances(metric: CityscapesInstanceMetric, number: int, scene: Scene) -> None:
    metric.update(number, scene.instance_ids, scene.masks, scene.label_ids, scene.scores)


def add_semantics(metric: CityscapesSemSegMetric, number: int, scene: Scene) -> None:
    instance_ids, prediction = semantic_view(scene)
    metric.update(number, prediction, instance_ids)


def add_panoptic(metric: PanopticQualityMetric, number: int, scene: Scene) -> None:
    metric.update(number, match_segments(*panoptic_view(scene)))


def add_coco(metric: CocoInstanceMetric, number: int, scene: Scene) -> None:
    """The id is that of `coco_view`."""
    image_id = 10 * number + 3
    results = [result | {"image_id": image_id} for result in coco_view([scene]).results]
    metric.update(image_id, results, has_masks=True)


def metric_of(
    scenes: list[Scene], metric: Metric, add: Callable[[Metric, int, Scene], None]
) -> Any:
    for number, scene in enumerate(scenes):
        add(metric, number, scene)
    return metric


def coco_truth(content: dict[str, Any]) -> CocoGroundTruth:
    ids, names = zip(*((c["id"], c["name"]) for c in content["categories"]), strict=True)
    return completed_ground_truth(content["images"], content["annotations"], list(ids), list(names))


# Equality -----------------------------------------------------------------------------------------


@undefined_means
@each_case
def test_cityscapes_instances(case, tmp_path, monkeypatch):
    scenes = case()
    files = write_instances(tmp_path, scenes)
    official = official_instances(monkeypatch, *files)
    metric = metric_of(scenes, CityscapesInstanceMetric(), add_instances)
    assert_close(100 * metric.average_precisions(), official["matrix"])
    for scores in (metric.compute(), score_cityscapes_instances(*files)):
        assert scores.num_images == len(scenes)
        assert_close(list(scores.overall.values()), [official["allAp"], official["allAp50%"]])
        assert list(scores.per_class) == list(official["classes"])
        for name, row in official["classes"].items():
            assert_close(list(scores.per_class[name].values()), [row["ap"], row["ap50%"]])


@each_case
def test_cityscapes_semantics(case, tmp_path, monkeypatch):
    scenes = case()
    files = write_semantics(tmp_path, [semantic_view(scene) for scene in scenes])
    official = official_semantics(monkeypatch, *files)
    means = [
        official[f"averageScore{kind}"]
        for kind in ("Classes", "InstClasses", "Categories", "InstCategories")
    ]
    metric = metric_of(scenes, CityscapesSemSegMetric(), add_semantics)
    np.testing.assert_array_equal(metric.confusion_matrix(), official["confMatrix"])
    for scores in (metric.compute(), score_cityscapes_semantics(*files)):
        assert scores.num_images == len(scenes)
        assert_close(list(scores.overall.values()), means)
        for kind, rows in (("class", scores.per_class), ("category", scores.per_category)):
            for score, key in (("IoU", "Scores"), ("iIoU", "InstScores")):
                for name, value in official[kind + key].items():
                    assert_close(rows.get(name, {}).get(score, np.nan), value)


@each_case
def test_panoptic_quality(case, tmp_path):
    scenes = case()
    files = write_files(tmp_path, [panoptic_view(scene) for scene in scenes], CATEGORIES)
    official = official_scores(*files)
    metric = metric_of(scenes, PanopticQualityMetric(CATEGORIES), add_panoptic)
    for scores in (metric.compute(), score_panoptic_files(*files)):
        assert scores.num_images == len(scenes)
        assert_equal_scores(scores, official)


class BoundaryEval(COCOeval):
    """Each pair by the lesser of its mask IoU and the IoU of both boundaries, which are found as in
    the authors' code: by erosions of the whole frame."""

    def computeIoU(self, image_id, category_id):
        ious = super().computeIoU(image_id, category_id)
        truths, found = self._gts[image_id, category_id], self._dts[image_id, category_id]
        order = np.argsort([-entry["score"] for entry in found], kind="stable")
        for row, place in enumerate(order[: self.params.maxDets[-1]]):
            for column, truth in enumerate(truths):
                if not truth["iscrowd"]:
                    first, second = (
                        boundary_by_erosion(
                            mask_util.decode([entry["segmentation"]])[..., 0] > 0, BOUNDARY_WIDTH
                        )
                        for entry in (found[place], truth)
                    )
                    union = np.count_nonzero(first | second)
                    iou = np.count_nonzero(first & second) / union if union else 0
                    ious[row, column] = min(ious[row, column], iou)
        return ious


def with_pycocotools(
    kind: type[COCOeval], ground_truth: dict[str, Any], results: list[dict[str, Any]], task: str
) -> dict[str, list[float]]:
    """COCO's own six numbers of all classes ("all") and of each, 0 to 1; nan where it says -1."""
    field = {"bbox": "bbox", "segm": "segmentation"}[task]
    truth, found = COCO(), COCO()
    truth.dataset = {**ground_truth, "annotations": [dict(a) for a in ground_truth["annotations"]]}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        if results:
            # Masks and boxes apart, or masks are measured by their boxes.
            keys = ("image_id", "category_id", "score", field)
            found = truth.loadRes([{key: result[key] for key in keys} for result in results])
        else:
            # loadRes fails.
            found.dataset = {**ground_truth, "annotations": []}
            found.createIndex()
        scorer = kind(truth, found, task)
        for step in (scorer.evaluate, scorer.accumulate, scorer.summarize):
            step()
    numbers = {"all": scorer.stats[:6]}
    precision = scorer.eval["precision"][..., -1]  # at most 100 detections
    for place, category in enumerate(ground_truth["categories"]):
        own = precision[:, :, place]
        parts = (own[..., 0], own[0, :, 0], own[5, :, 0], own[..., 1], own[..., 2], own[..., 3])
        means = [values[values > -1] for values in parts]
        numbers[category["name"]] = np.array([m.mean() if m.size else -1 for m in means])
    return {name: np.where(row < 0, np.nan, row).tolist() for name, row in numbers.items()}


def write_coco(
    folder: Path, content: dict[str, Any], results: list[dict[str, Any]]
) -> tuple[Path, Path]:
    gt_json, results_json = folder / "gt.json", folder / "results.json"
    gt_json.write_text(json.dumps(content))
    results_json.write_text(json.dumps(results))
    return gt_json, results_json


def assert_equal_coco(scores: Any, official: dict[str, list[float]]) -> None:
    for name, row in {"all": scores.overall, **scores.per_class}.items():
        assert list(row) == COCO_METRICS
        assert_close(list(row.values()), official[name])


@each_case
def test_coco(case, tmp_path):
    scenes = case()
    content, results = coco_view(scenes)
    metric = metric_of(scenes, CocoInstanceMetric(), add_coco)
    assert list(metric.results()) == results
    # The order of the file breaks ties, and so does the order of results in memory.
    in_file = results[::2] + results[1::2]
    from_files = score_coco_results(*write_coco(tmp_path, content, in_file))
    assert set(from_files.by_task) == {"bbox", "segm"}
    for task in ("bbox", "segm"):
        official = with_pycocotools(COCOeval, content, results, task)
        assert_equal_coco(metric.compute(coco_truth(content), task), official)
        official = with_pycocotools(COCOeval, content, in_file, task)
        assert_equal_coco(from_files.by_task[task], official)


@pytest.mark.filterwarnings("ignore:__array__ implementation")
@each_case
def test_boundary_ap(case, tmp_path):
    scenes = case()
    content, results = coco_view(scenes)
    comparison = metric_of(scenes, CocoInstanceMetric(), add_coco).compare(
        coco_truth(content), "segm"
    )
    official = with_pycocotools(BoundaryEval, content, results, "segm")
    assert_equal_coco(compute_boundary_ap(comparison), official)
    files = write_coco(tmp_path, content, results)
    from_files = score_coco_results(*files, boundary_ratio=BOUNDARY_RATIO)
    assert_equal_coco(from_files.by_task["boundary"], official)


@each_case
def test_boundary_ap_of_cityscapes(case, tmp_path):
    scenes = case()
    metric = metric_of(scenes, CityscapesInstanceMetric(BOUNDARY_RATIO), add_instances)
    expected = cityscapes_boundary_aps(scenes, BOUNDARY_WIDTH)
    assert_close(100 * metric.boundary_average_precisions(), expected)
    defined = expected[~np.isnan(expected[:, 0])]
    means = [defined.mean(), defined[:, 0].mean()] if defined.size else [np.nan, np.nan]
    files = write_instances(tmp_path, scenes)
    from_files = score_cityscapes_instances(*files, boundary_ratio=BOUNDARY_RATIO)
    for scores in (metric.compute_boundary(), from_files.boundary):
        assert_close(list(scores.overall.values()), means)
        rows = [list(row.values()) for row in scores.per_class.values()]
        assert_close(rows, np.stack([expected.mean(axis=1), expected[:, 0]], axis=1))


@each_case
def test_boundary_iou_of_cityscapes(case, tmp_path):
    views = [semantic_view(scene) for scene in case()]
    files = write_semantics(tmp_path, views)
    scores = score_cityscapes_semantics(*files, boundary_ratio=BOUNDARY_RATIO).boundary
    expected = boundary_ious_by_erosion(views)
    assert_close([row["BIoU"] for row in scores.per_class.values()], expected)
    defined = [iou for iou in expected if not np.isnan(iou)]
    assert_close(scores.overall["mBIoU"], np.mean(defined) if defined else np.nan)


def boundary_ious_by_erosion(views: list[tuple[np.ndarray, np.ndarray]]) -> list[float]:
    """Of each class in [0, 1], nan where it has no ground truth; from instance ids and predicted
    label ids."""
    scored = [label.id for label in SEM_SEG_LABELS]
    common, union, wanted = np.zeros((3, len(scored)))
    for instance_ids, prediction in views:
        labels = labels_of(instance_ids)
        for place, label_id in enumerate(scored):
            truth, found = (
                boundary_by_erosion(mask, BOUNDARY_WIDTH)
                for mask in (
                    labels == label_id,
                    (prediction == label_id) & np.isin(labels, scored),
                )
            )
            common[place] += np.count_nonzero(truth & found)
            union[place] += np.count_nonzero(truth | found)
            wanted[place] += np.count_nonzero(truth)
    return np.where(wanted > 0, common / np.maximum(union, 1), np.nan).tolist()


def test_scores_of_the_cases_are_not_trivial():
    """Equality of what is 0, 100 or undefined everywhere would show little."""
    found: dict[str, list[float]] = {}
    for case in CASES:
        scenes = case()
        truth = coco_truth(coco_view(scenes).ground_truth)
        coco = metric_of(scenes, CocoInstanceMetric(), add_coco)
        boundaries = metric_of(scenes, CityscapesInstanceMetric(BOUNDARY_RATIO), add_instances)
        instances = boundaries.compute()
        semantics = metric_of(scenes, CityscapesSemSegMetric(), add_semantics).compute()
        panoptic = metric_of(scenes, PanopticQualityMetric(CATEGORIES), add_panoptic).compute()
        for name, value in {
            "instances": instances.overall["AP"],
            "semantics": semantics.overall["iIoU"],
            "panoptic": panoptic.overall["PQ_th"],
            "boxes": coco.compute(truth, "bbox").overall["APs"],
            "masks": coco.compute(truth, "segm").overall["AP75"],
            "boundaries of instances": boundaries.compute_boundary().overall["AP"],
            "boundaries": compute_boundary_ap(coco.compare(truth, "segm")).overall["AP"],
        }.items():
            found.setdefault(name, []).append(value)
    for name, values in found.items():
        assert len({value for value in values if 0.1 < value < 99.9}) >= 11, (name, values)
        assert np.isnan(values).any(), name


def test_the_order_of_equal_scores_matters_to_coco():
    """So that the cases above tell whether it is kept."""
    scenes = [random_scene(np.random.default_rng(n), digits=0) for n in range(3)]
    truth = coco_truth(coco_view(scenes).ground_truth)
    turned = [Scene(scene.instance_ids, scene.predictions[::-1]) for scene in scenes]
    first, second = (
        metric_of(s, CocoInstanceMetric(), add_coco).compute(truth, "segm").overall["AP"]
        for s in (scenes, turned)
    )
    assert first != second


# Shards -------------------------------------------------------------------------------------------

# Of Detectron2's rules, and of boundaries: any label is a class, but what is unlabelled.
LABEL_NAMES = [f"label {number}" for number in range(34)]


def add_labels(metric: SemSegMetric | SemSegBoundaryMetric, number: int, scene: Scene) -> None:
    instance_ids, prediction = semantic_view(scene)
    metric.update(number, prediction, labels_of(instance_ids))


def all_of_coco(metric: CocoInstanceMetric, truth: CocoGroundTruth) -> list[Any]:
    boxes, masks = (metric.compare(truth, task) for task in ("bbox", "segm"))
    scores = [boxes.score(), masks.score(), compute_boundary_ap(masks)]
    return [list(metric.results()), *map(vars, scores)]


# What starts a metric, what adds an image, and all numbers that come out.
SHARDED = {
    "cityscapes instances": (
        lambda: CityscapesInstanceMetric(BOUNDARY_RATIO),
        add_instances,
        lambda metric, truth: [
            metric.average_precisions(),
            metric.boundary_average_precisions(),
            vars(metric.compute()),
            vars(metric.compute_boundary()),
        ],
    ),
    "cityscapes semantics": (
        CityscapesSemSegMetric,
        add_semantics,
        lambda metric, truth: [metric.confusion_matrix(), vars(metric.compute())],
    ),
    "panoptic": (
        lambda: PanopticQualityMetric(CATEGORIES),
        add_panoptic,
        lambda metric, truth: vars(metric.compute()),
    ),
    "coco": (CocoInstanceMetric, add_coco, all_of_coco),
    "semantics": (
        lambda: SemSegMetric(LABEL_NAMES, ignore_label=0),
        add_labels,
        lambda metric, truth: [metric.confusion_matrix(), vars(metric.compute())],
    ),
    "boundaries": (
        lambda: SemSegBoundaryMetric(LABEL_NAMES, ignore_label=0),
        add_labels,
        lambda metric, truth: vars(metric.compute()),
    ),
}


@pytest.fixture(scope="module")
def images() -> list[Scene]:
    """A dozen, in which scores and sums of any size come together."""
    rng = np.random.default_rng(12)
    scenes = [random_scene(rng, digits=int(rng.integers(1, 4))) for _ in range(5)]
    return [*scenes, *ious_at_the_thresholds(), *three_hundred_predictions(), Scene(), scenes[0]]


@pytest.mark.parametrize("num_shards", [1, 2, 3, 7])
@pytest.mark.parametrize("kind", SHARDED)
def test_shards_change_no_bit(images, kind, num_shards):
    """In any order, through pickling, each shard padded with images of others to one length."""
    start, add, numbers = SHARDED[kind]
    truth = coco_truth(coco_view(images).ground_truth)
    expected = numbers(metric_of(images, start(), add), truth)
    rng = np.random.default_rng(num_shards)
    for _ in range(2):
        order = rng.permutation(len(images))
        shards = []
        for shard in np.array_split(order, num_shards):
            most = len(images) // num_shards + 2
            padding = rng.choice(order, size=most - len(shard))
            metric = start()
            for number in rng.permutation([*shard, *padding]).tolist():
                add(metric, number, images[number])
            shards.append(pickle.dumps(metric))
        shards.append(pickle.dumps(start()))  # of a process that there was no image for
        merged, *others = (pickle.loads(shards[n]) for n in rng.permutation(len(shards)))
        for other in others:
            merged.merge(other)
        assert len(merged) == len(images)
        np.testing.assert_equal(numbers(merged, truth), expected)


# Where the official scripts fail ------------------------------------------------------------------


@pytest.mark.parametrize("width", [14, SIDE])
def test_instances_whose_predictions_are_all_ignored(tmp_path, monkeypatch, width):
    """So far on void that none of a class counts, at the lower overlaps or at all."""
    scene = scene_of((part(0), CAR * 1000), (part(1, width), 0), (part(2), PERSON * 1000))
    scene.predict(part(1), CAR, 0.9)
    scene.predict(part(2), PERSON, 0.9)
    files = write_instances(tmp_path, [scene])
    with pytest.raises(IndexError):
        official_instances(monkeypatch, *files)
    metric = metric_of([scene], CityscapesInstanceMetric(), add_instances)
    for scores in (metric.compute(), score_cityscapes_instances(*files)):
        assert scores.per_class["car"] == {"AP": 0.0, "AP50": 0.0}
        assert scores.overall == pytest.approx({"AP": 50, "AP50": 50})


def test_instances_of_an_unknown_label(tmp_path, monkeypatch):
    scene = scene_of((part(0), CAR * 1000), predictions=((part(0), 77, 0.9),))
    files = write_instances(tmp_path, [scene])
    with pytest.raises(KeyError):
        official_instances(monkeypatch, *files)
    with pytest.raises(UserError, match=r"_pred\.txt: line 1 has the label id 77"):
        score_cityscapes_instances(*files)


@pytest.mark.parametrize(
    ("label", "instance_id", "message"),
    [
        (34, ROAD, r"leftImg8bit\.png .* label id 34"),
        (255, ROAD, r"leftImg8bit\.png .* label id 255"),
        (ROAD, 1000 * ROAD + 1, r"instanceIds\.png.* instance id 7001"),
    ],
)
def test_semantics_of_unknown_labels_and_of_numbered_roads(
    tmp_path, monkeypatch, label, instance_id, message
):
    instance_ids, prediction = semantic_view(scene_of((part(0), instance_id)))
    prediction[0, 0] = label
    files = write_semantics(tmp_path, [(instance_ids, prediction)])
    with pytest.raises((IndexError, KeyError)):
        official_semantics(monkeypatch, *files)
    with pytest.raises(UserError, match=message):
        score_cityscapes_semantics(*files)


def test_panoptic_quality_of_things_alone(tmp_path):
    """One mean that nothing defines, and officially there is none at all."""
    scene = scene_of((box(0, HEIGHT, 0, WIDTH), 0), (part(0), CAR * 1000))
    scene.predict(part(0, 16), CAR, 0.9)
    gt_json, pred_json = write_files(tmp_path, [panoptic_view(scene)], CATEGORIES)
    pair = [json.loads(path.read_text())["annotations"][0] for path in (gt_json, pred_json)]
    categories = {c.id: {"isthing": int(c.is_thing)} for c in CATEGORIES}
    folders = (str(path.with_suffix("")) for path in (gt_json, pred_json))
    counts = official_panoptic.pq_compute_single_core(0, [pair], *folders, categories)
    assert counts.pq_average(categories, None)[0]["pq"] == 0.8
    with pytest.raises(ZeroDivisionError):
        official_panoptic.average_pq(counts, categories)
    scores = score_panoptic_files(gt_json, pred_json)
    assert scores.overall["PQ"] == scores.overall["PQ_th"] == pytest.approx(80)
    assert np.isnan(scores.overall["PQ_st"])


def test_panoptic_ground_truth_without_areas_and_crowd_flags(tmp_path):
    files = write_files(tmp_path, [panoptic_view(s) for s in two_random_images()], CATEGORIES)
    content = json.loads(files[0].read_text())
    for annotation in content["annotations"]:
        for segment in annotation["segments_info"]:
            if not segment["iscrowd"]:
                del segment["iscrowd"], segment["area"]
    expected = score_panoptic_files(*files)
    files[0].write_text(json.dumps(content))
    with pytest.raises(KeyError):
        official_scores(*files)
    assert score_panoptic_files(*files).as_json() == expected.as_json()


def test_panoptic_ground_truth_with_areas_of_another_size(tmp_path):
    """As if its PNGs had been made smaller, and its JSON not."""
    scene = scene_of((part(0), CAR * 1000), predictions=((part(0), CAR, 0.9),))
    files = write_files(tmp_path, [panoptic_view(scene)], CATEGORIES)
    content = json.loads(files[0].read_text())
    for segment in content["annotations"][0]["segments_info"]:
        segment["area"] //= 4
    files[0].write_text(json.dumps(content))
    assert official_scores(*files)["overall"]["SQ"] > 100
    with pytest.raises(UserError, match=r"gt_0\.png .* area 2972, but has 11888 pixels"):
        score_panoptic_files(*files)


def test_coco_without_results(tmp_path):
    content, _ = coco_view(two_random_images())
    truth = COCO()
    truth.dataset = content
    with pytest.raises(IndexError):
        truth.loadRes([])
    scores = score_coco_results(*write_coco(tmp_path, content, []))
    assert scores.by_task["segm"].overall["AP"] == scores.by_task["bbox"].overall["AP"] == 0


def found_car() -> CocoCase:
    return coco_view([scene_of((part(0), CAR * 1000), predictions=((part(0), CAR, 0.9),))])


def test_coco_annotations_numbered_from_0(tmp_path):
    content, results = found_car()
    content["annotations"][0]["id"] = 0
    assert with_pycocotools(COCOeval, content, results, "segm")["all"][0] == 0
    scores = score_coco_results(*write_coco(tmp_path, content, results))
    assert scores.by_task["segm"].overall["AP"] == pytest.approx(100)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"score": float("nan")}, r"entry 1: 'score' is nan"),
        ({"category_id": 99}, r"entry 1: no category has the id 99"),
    ],
)
def test_coco_results_that_pycocotools_passes_over(tmp_path, wrong, message):
    content, results = found_car()
    results.append(results[0] | wrong)
    assert with_pycocotools(COCOeval, content, results, "segm")["all"][0] >= 0
    with pytest.raises(UserError, match=message):
        score_coco_results(*write_coco(tmp_path, content, results))
