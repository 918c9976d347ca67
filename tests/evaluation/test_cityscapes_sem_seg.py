from __future__ import annotations

import csv
import json
import logging
import math
import pickle

import cv2
import numpy as np
import pytest
import torch
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official_script
from detectron2.data import MetadataCatalog

from segtron.data.cityscapes import SEM_SEG_ID_TO_CONTIGUOUS, SEM_SEG_LABELS, load_sem_seg
from segtron.data.sem_seg import read_sem_seg
from segtron.data.toytown import make_toytown
from segtron.errors import UserError
from segtron.evaluation import score_cityscapes_semantics
from segtron.evaluation.cityscapes_sem_seg import (
    AVERAGE_SIZES,
    CityscapesSemSegEvaluator,
    CityscapesSemSegMetric,
)
from segtron.evaluation.sem_seg import SemSegMetric

from .record_official_sem_seg import RECORD, fixed_case, write_case
from .scenes import (
    BICYCLE,
    BUILDING,
    CAR,
    CARAVAN,
    HEIGHT,
    PARKING,
    PERSON,
    POLE,
    RIDER,
    ROAD,
    SKY,
    TRUCK,
    VEGETATION,
    WIDTH,
    box,
    labels_of,
    random_labelled_scene,
)

CLASS_NAMES = [label.name for label in SEM_SEG_LABELS]
THING_NAMES = ["person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"]
CATEGORY_NAMES = ["flat", "construction", "object", "nature", "sky", "human", "vehicle"]

Case = list[tuple[np.ndarray, np.ndarray]]  # instance ids and predicted label ids of each image


def metric_of(case: Case) -> CityscapesSemSegMetric:
    metric = CityscapesSemSegMetric()
    for number, (instance_ids, prediction) in enumerate(case):
        metric.update(number, prediction, instance_ids)
    return metric


@pytest.fixture
def official(monkeypatch):
    """The official script's own functions, run on the files of a folder; returns its results."""
    # The script was written for numpy 1.
    monkeypatch.setattr(np, "in1d", np.isin, raising=False)
    args = official_script.args
    monkeypatch.setattr(args, "quiet", True)
    monkeypatch.setattr(args, "JSONOutput", False)

    def evaluate(root):
        monkeypatch.setattr(args, "predictionPath", str(root / "results"))
        monkeypatch.setattr(args, "predictionWalk", None)
        truth = sorted(str(path) for path in root.glob("gtFine/val/*/*_labelIds.png"))
        predictions = [official_script.getPrediction(args, path) for path in truth]
        return official_script.evaluateImgLists(predictions, truth, args)

    return evaluate


def assert_equal_scores(metric: CityscapesSemSegMetric, expected: dict) -> None:
    scores = metric.compute()

    def close(ours: float, theirs: float) -> None:
        np.testing.assert_allclose(ours / 100, theirs, rtol=0, atol=1e-9)

    assert list(scores.per_class) == CLASS_NAMES
    assert list(scores.per_category) == CATEGORY_NAMES
    for rows, iou, iiou in (
        (scores.per_class, "classScores", "classInstScores"),
        (scores.per_category, "categoryScores", "categoryInstScores"),
    ):
        for name, row in rows.items():
            close(row["IoU"], expected[iou][name])
            close(row.get("iIoU", math.nan), expected[iiou][name])
        for theirs in (expected[iou], expected[iiou]):
            assert all(math.isnan(theirs[name]) for name in set(theirs) - set(rows))
    assert [name for name, row in scores.per_class.items() if "iIoU" in row] == THING_NAMES
    assert [n for n, row in scores.per_category.items() if "iIoU" in row] == ["human", "vehicle"]
    for ours, theirs in (
        ("IoU", "averageScoreClasses"),
        ("iIoU", "averageScoreInstClasses"),
        ("IoU_sup", "averageScoreCategories"),
        ("iIoU_sup", "averageScoreInstCategories"),
    ):
        close(scores.overall[ours], expected[theirs])


def canvas(label: int = ROAD) -> np.ndarray:
    return np.full((HEIGHT, WIDTH), label, dtype=np.uint16)


def noisy() -> Case:
    rng = np.random.default_rng(1)
    return [random_labelled_scene(rng) for _ in range(5)]


def single_image() -> Case:
    return [random_labelled_scene(np.random.default_rng(2))]


def perfect() -> Case:
    return [(instance_ids, labels_of(instance_ids)) for instance_ids, _ in noisy()]


def right_about_void_too() -> Case:
    """Where void is predicted on what is scored it is a miss, on void it is nothing."""
    return [(ids, np.where(labels_of(ids) < 7, 0, guess)) for ids, guess in noisy()]


def random_guesses() -> Case:
    rng = np.random.default_rng(3)
    return [(ids, rng.integers(0, 34, guess.shape, dtype=np.uint8)) for ids, guess in noisy()]


def nothing_predicted() -> Case:
    return [(ids, np.zeros_like(guess)) for ids, guess in noisy()]


def labels_not_scored_predicted() -> Case:
    case = noisy()
    for _, guess in case:
        for label, top in ((0, 10), (3, 20), (PARKING, 30), (14, 40), (30, 50), (19, 60)):
            guess[top : top + 8, 20:100] = label
    return case


def no_instances() -> Case:
    """Things are predicted and are nowhere."""
    case = noisy()
    for ids, _ in case:
        ids[labels_of(ids) >= PERSON] = VEGETATION
    return case


def no_things_at_all() -> Case:
    case = no_instances()
    for _, guess in case:
        guess[guess >= PERSON] = SKY
    return case


def only_groups() -> Case:
    case = noisy()
    return [(labels_of(ids).astype(np.uint16), guess) for ids, guess in case]


def class_without_predictions() -> Case:
    case = noisy()
    for _, guess in case:
        guess[guess == CAR] = TRUCK
    return case


def only_void() -> Case:
    return [(canvas(label), canvas(ROAD).astype(np.uint8)) for label in (0, 1, PARKING)]


def one_class() -> Case:
    return [(canvas(ROAD), canvas(ROAD).astype(np.uint8))]


def one_class_taken_for_another() -> Case:
    return [(canvas(ROAD), canvas(BUILDING).astype(np.uint8))]


def unscored_instances() -> Case:
    ids = canvas()
    ids[box(0, 20, 0, 30)] = CARAVAN * 1000
    ids[box(0, 20, 40, 70)] = 30 * 1000 + 4  # trailer
    ids[box(30, 50, 0, 30)] = TRUCK * 1000
    ids[box(30, 50, 40, 70)] = 4 * 1000 + 1  # things that nobody numbers
    ids[box(60, 70, 40, 70)] = 1000
    guess = labels_of(canvas())
    guess[box(0, 10, 0, 70)] = TRUCK
    guess[box(10, 50, 0, 10)] = CAR
    guess[box(30, 44, 10, 30)] = CARAVAN  # right for the category's iIoU, wrong for its IoU
    guess[box(55, 60, 0, 30)] = 30  # a false positive of the category's iIoU only
    guess[box(30, 65, 40, 60)] = PERSON
    return [(ids, guess)]


def tiny_and_cut_instances() -> Case:
    ids = canvas()
    ids[3, 5] = PERSON * 1000 + 999
    ids[3, 7] = PERSON * 1000
    ids[box(10, 60, 10, 100)] = CAR * 1000 + 1
    ids[box(10, 60, 50, 54)] = POLE
    ids[box(70, 72, 0, 3)] = BICYCLE * 1000 + 7
    ids[box(71, 72, 1, 2)] = RIDER * 1000
    guess = labels_of(ids)
    guess[3, 7] = RIDER
    guess[box(10, 30, 45, 60)] = CAR
    guess[box(70, 71, 0, 9)] = BICYCLE
    return [(ids, guess)]


def one_id_in_two_images() -> Case:
    small, large = canvas(), canvas()
    small[box(0, 4, 0, 4)] = CAR * 1000
    large[box(0, 80, 0, 80)] = CAR * 1000
    right = labels_of(small)
    half = np.where(box(0, 30, 0, WIDTH), labels_of(large), ROAD)
    return [(small, right), (large, half), (large, labels_of(small))]


CASES = [
    noisy,
    single_image,
    perfect,
    right_about_void_too,
    random_guesses,
    nothing_predicted,
    labels_not_scored_predicted,
    no_instances,
    no_things_at_all,
    only_groups,
    class_without_predictions,
    only_void,
    one_class,
    one_class_taken_for_another,
    unscored_instances,
    tiny_and_cut_instances,
    one_id_in_two_images,
    fixed_case,
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_equals_the_official_script(case, official, tmp_path):
    write_case(tmp_path, case())
    expected = official(tmp_path)
    metric = metric_of(case())
    assert_equal_scores(metric, expected)
    np.testing.assert_array_equal(metric.confusion_matrix(), expected["confMatrix"])


def test_equals_what_the_official_script_said_under_the_numpy_it_was_written_for():
    assert_equal_scores(metric_of(fixed_case()), json.loads(RECORD.read_text()))


def test_the_cases_differ_from_each_other_and_from_trivial_ones():
    """A parity test on cases that are all 0 or 1 would show nothing."""
    overall = [metric_of(case()).compute().overall for case in CASES]
    for name in ("IoU", "iIoU", "IoU_sup", "iIoU_sup"):
        assert len({scores[name] for scores in overall if 0 < scores[name] < 99}) >= 7
    assert set(metric_of(perfect()).compute().overall.values()) == {100.0}


def test_average_sizes_are_the_official_ones():
    official = official_script.args.avgClassSize
    assert {name: official[name] for name in THING_NAMES} == AVERAGE_SIZES


def test_hand_computed():
    ids = canvas()
    ids[box(0, 10, 0, 10)] = CAR * 1000  # 100 pixels, 80 found
    ids[box(0, 20, 20, 40)] = CAR * 1000 + 1  # 400 pixels, 100 found
    ids[box(0, 10, 50, 60)] = CAR  # a group, not found
    ids[box(50, 60, 0, 10)] = 0
    guess = labels_of(canvas())
    guess[box(0, 8, 0, 10)] = CAR
    guess[box(0, 5, 20, 40)] = CAR
    guess[box(50, 60, 0, 30)] = CAR  # 100 pixels on void, 200 on road
    scores = metric_of([(ids, guess)]).compute()
    # true 180, missed 20 + 300 + 100, false 200
    assert scores.per_class["car"]["IoU"] == pytest.approx(100 * 180 / 800, abs=1e-10)
    # Each instance is stretched to the average size: of one 4/5 is found, of the other 1/4.
    average = 12794.0202738185
    expected = 100 * (0.8 + 0.25) * average / (2 * average + 200)
    assert scores.per_class["car"]["iIoU"] == pytest.approx(expected, abs=1e-10)
    assert scores.overall["iIoU"] == scores.overall["iIoU_sup"] == scores.per_class["car"]["iIoU"]
    # road: what is left of 96 * 128, less 200; false are the pixels of cars that weren't found
    road = HEIGHT * WIDTH - 700
    assert scores.per_class["road"]["IoU"] == pytest.approx(100 * (road - 200) / (road + 420))
    assert scores.overall["IoU"] == pytest.approx(
        (scores.per_class["car"]["IoU"] + scores.per_class["road"]["IoU"]) / 2
    )
    assert math.isnan(scores.per_class["sky"]["IoU"])
    assert "iIoU" not in scores.per_class["road"]


def test_sharding_and_order_change_no_bit():
    case = noisy() + tiny_and_cut_instances() + random_guesses()
    whole = metric_of(case).compute()
    rng = np.random.default_rng(0)
    for num_shards in (1, 2, 3, 5):
        order = rng.permutation(len(case))
        shards = []
        for part in np.array_split(order, num_shards):
            metric = CityscapesSemSegMetric()
            for number in [*part, order[0]]:  # every shard is padded with the same image
                metric.update(int(number), case[number][1], case[number][0])
            shards.append(pickle.loads(pickle.dumps(metric)))
        merged = CityscapesSemSegMetric()
        for shard in shards:
            merged.merge(shard)
        assert len(merged) == len(case)
        np.testing.assert_equal(merged.compute().as_results(), whole.as_results())


def test_an_image_counts_once():
    (ids, guess), other = noisy()[:2]
    metric = metric_of([(ids, guess)])
    before = metric.compute()
    metric.update(0, other[1], other[0])
    metric.merge(metric_of([other]))
    assert len(metric) == 1
    assert str(metric.compute()) == str(before)


def test_state_is_small():
    ids, guess = noisy()[0]
    large = [np.kron(array, np.ones((8, 8), array.dtype)) for array in (ids, guess)]
    sizes = [len(pickle.dumps(metric_of([pair]))) for pair in ((ids, guess), tuple(large))]
    assert abs(sizes[1] - sizes[0]) < 64  # 64 times the pixels
    assert sizes[0] < 4000


def test_ids_of_8_bits():
    ids = np.where(box(0, 9, 0, 9), CAR, ROAD).astype(np.uint8)
    metric = metric_of([(ids, ids.astype(np.int64))])
    assert metric.compute().as_results()["IoU"] == 100
    assert math.isnan(metric.compute().overall["iIoU"])


def test_no_images():
    scores = CityscapesSemSegMetric().compute()
    assert scores.num_images == 0
    assert all(math.isnan(value) for value in scores.as_results().values())
    assert "0 images" in str(scores)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction": np.zeros((5, 6), np.uint8)}, "frame: the prediction is 6x5 and"),
        ({"prediction": np.full((HEIGHT, WIDTH), 255, np.uint8)}, "frame: .* label id 255.* train"),
        ({"prediction": np.full((HEIGHT, WIDTH), -1)}, "frame: .*prediction has the label id -1"),
        ({"prediction": np.zeros((HEIGHT, WIDTH))}, "frame: .* type float64"),
        ({"instance_ids": canvas(34)}, "frame: the ground truth has the instance id 34,"),
        ({"instance_ids": canvas(999)}, "instance id 999"),
        ({"instance_ids": canvas(34000)}, "instance id 34000"),
        # The official script has no size for a road.
        ({"instance_ids": canvas(7001)}, "instance id 7001"),
    ],
)
def test_bad_input_is_named(change, message):
    metric = CityscapesSemSegMetric()
    given = {"prediction": labels_of(canvas()), "instance_ids": canvas()}
    with pytest.raises(ValueError, match=message):
        metric.update("frame", **(given | change))
    assert len(metric) == 0


# The evaluator -----------------------------------------------------------------------------------


@pytest.fixture
def dataset(request):
    name = f"cityscapes_sem_seg_for_{request.node.name}"
    MetadataCatalog.get(name).set(
        evaluator_type="cityscapes_sem_seg",
        stuff_classes=CLASS_NAMES,
        stuff_dataset_id_to_contiguous_id=dict(SEM_SEG_ID_TO_CONTIGUOUS),
        ignore_label=255,
    )
    yield name
    MetadataCatalog.remove(name)


def scored_only(guess: np.ndarray) -> np.ndarray:
    """A prediction as a model of the 19 classes can make it."""
    return np.where(np.isin(guess, list(SEM_SEG_ID_TO_CONTIGUOUS)), guess, ROAD).astype(np.uint8)


def model_output(label_ids: np.ndarray) -> dict[str, torch.Tensor]:
    ids = np.array(list(SEM_SEG_ID_TO_CONTIGUOUS))[:, None, None]
    return {"sem_seg": torch.from_numpy((label_ids == ids) * 3.0 - 1)}


def records(root) -> list[dict]:
    found = load_sem_seg(root, "val")
    assert found
    return found


def write_data_set(root, case: Case) -> None:
    """The case as Cityscapes' tree, with images."""
    write_case(root, case)
    images = root / "leftImg8bit" / "val" / "town"
    images.mkdir(parents=True)
    for number, (instance_ids, _) in enumerate(case):
        image = np.zeros((*instance_ids.shape, 3), np.uint8)
        assert cv2.imwrite(str(images / f"town_{number:06d}_000019_leftImg8bit.png"), image)


def model_case() -> Case:
    return [(ids, scored_only(guess)) for ids, guess in noisy()]


def test_evaluator(dataset, tmp_path, official, caplog):
    case = model_case()
    write_data_set(tmp_path, case)
    evaluator = CityscapesSemSegEvaluator(dataset, output_dir=str(tmp_path / "out"))
    for record, (_, guess) in zip(records(tmp_path), case, strict=True):
        evaluator.process([record], [model_output(guess)])
    with caplog.at_level(logging.INFO, logger="segtron"):
        results = evaluator.evaluate()

    expected = metric_of(case).compute()
    keys = [f"IoU-{name}" for name in CLASS_NAMES] + [f"iIoU-{name}" for name in THING_NAMES]
    assert list(results) == ["sem_seg", "cityscapes_sem_seg"]
    assert list(results["cityscapes_sem_seg"]) == ["IoU", "iIoU", "IoU_sup", "iIoU_sup", *keys]
    np.testing.assert_equal(results["cityscapes_sem_seg"], expected.as_results())
    assert "Cityscapes protocol, semantics: 5 images" in caplog.text
    assert "Semantic segmentation: 5 images" in caplog.text

    plain = SemSegMetric(CLASS_NAMES)
    for record, (_, guess) in zip(records(tmp_path), case, strict=True):
        classes = model_output(guess)["sem_seg"].argmax(dim=0).numpy()
        plain.update(record["image_id"], classes, read_sem_seg(record))
    np.testing.assert_equal(results["sem_seg"], plain.compute().as_results())
    with (tmp_path / "out" / "confusion_matrix.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header[1:] == CLASS_NAMES == [row[0] for row in rows]
    assert [[int(n) for n in row[1:]] for row in rows] == plain.confusion_matrix().tolist()

    # The saved folder is what the official script takes.
    for number, (_, guess) in enumerate(case):
        saved = tmp_path / "out" / "labels" / f"town_{number:06d}_000019_leftImg8bit.png"
        read = cv2.imread(str(saved), cv2.IMREAD_UNCHANGED)
        assert read.dtype == np.uint8
        np.testing.assert_array_equal(read, guess)
    (tmp_path / "results").rename(tmp_path / "unused")
    (tmp_path / "out" / "labels").rename(tmp_path / "results")
    assert_equal_scores(metric_of(case), official(tmp_path))

    evaluator.reset()
    assert evaluator.evaluate() == {}


def test_evaluator_with_boundaries(dataset, tmp_path, caplog):
    case = model_case()
    write_data_set(tmp_path, case)
    evaluator = CityscapesSemSegEvaluator(
        dataset, output_dir=str(tmp_path / "out"), boundary_ratio=0.02
    )
    for record, (_, guess) in zip(records(tmp_path), case, strict=True):
        evaluator.process([record], [model_output(guess)])
    with caplog.at_level(logging.INFO, logger="segtron"):
        results = evaluator.evaluate()
    assert list(results) == ["sem_seg", "sem_seg_boundary", "cityscapes_sem_seg"]
    assert caplog.text.count("boundary within 2% of the diagonal: 5 images") == 1
    # The same from files.
    scores = score_cityscapes_semantics(
        tmp_path / "gtFine" / "val", tmp_path / "out" / "labels", boundary_ratio=0.02
    )
    np.testing.assert_equal(results["sem_seg_boundary"], scores.boundary.as_results())
    assert 0 < results["sem_seg_boundary"]["mBIoU"] < results["sem_seg"]["mIoU"]
    evaluator.reset()
    assert evaluator.evaluate() == {}


def test_evaluator_on_generated_streets(dataset, tmp_path):
    make_toytown(tmp_path / "toytown", train=1, val=2, size=(64, 128), workers=1, progress=False)
    evaluator = CityscapesSemSegEvaluator(dataset)
    for record in records(tmp_path / "toytown"):
        truth = read_sem_seg(record)
        scores = (truth == np.arange(19)[:, None, None]) * 1.0
        evaluator.process([record], [{"sem_seg": torch.from_numpy(scores)}])
    results = evaluator.evaluate()
    assert results["sem_seg"]["mIoU"] == results["sem_seg"]["pACC"] == 100
    # Road is the first class, which all scores of 0 give: void is not scored, so all is right.
    assert results["cityscapes_sem_seg"]["IoU"] == results["cityscapes_sem_seg"]["iIoU"] == 100


def test_evaluator_scores_nothing_of_the_test_split(dataset, tmp_path, caplog):
    case = [(canvas(3), labels_of(canvas()))]  # out of roi: the split's dummy labels
    write_data_set(tmp_path, case)
    (record,) = records(tmp_path)
    evaluator = CityscapesSemSegEvaluator(dataset, output_dir=str(tmp_path / "out"))
    evaluator.process([record], [model_output(case[0][1])])
    with caplog.at_level(logging.INFO, logger="segtron"):
        assert evaluator.evaluate() == {}
    assert f"no pixel of {dataset} has a class" in caplog.text
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["labels"]

    evaluator.reset()
    record = {key: record[key] for key in ("file_name", "image_id", "height", "width")}
    evaluator.process([record], [model_output(case[0][1])])
    with caplog.at_level(logging.INFO, logger="segtron"):
        assert evaluator.evaluate() == {}
    assert f"no image of {dataset} has ground truth" in caplog.text


def test_evaluator_without_instance_ids_gives_the_plain_scores(dataset, tmp_path, caplog):
    case = model_case()
    write_data_set(tmp_path, case)
    evaluator = CityscapesSemSegEvaluator(dataset)
    found = records(tmp_path)
    del found[1]["instance_ids_file_name"]
    for record, (_, guess) in zip(found, case, strict=True):
        evaluator.process([record], [model_output(guess)])
    with caplog.at_level(logging.INFO, logger="segtron"):
        results = evaluator.evaluate()
    assert list(results) == ["sem_seg"]
    assert "1 of the 5 images" in caplog.text and "no instance ids" in caplog.text
    assert "Semantic segmentation: 5 images" in caplog.text


def test_evaluator_names_the_file_that_does_not_fit(dataset, tmp_path):
    write_data_set(tmp_path, model_case()[:1])
    (record,) = records(tmp_path)
    evaluator = CityscapesSemSegEvaluator(dataset)
    with pytest.raises(
        UserError, match=r"_instanceIds\.png: .*_leftImg8bit\.png: .* 5x4 and .*128"
    ):
        evaluator.process([record], [{"sem_seg": torch.zeros(19, 4, 5)}])
    assert cv2.imwrite(record["sem_seg_file_name"], labels_of(canvas()))
    assert cv2.imwrite(record["instance_ids_file_name"], canvas(7001))
    with pytest.raises(UserError, match=r"_instanceIds\.png: .*instance id 7001"):
        evaluator.process([record], [model_output(labels_of(canvas()))])
    assert evaluator.evaluate() == {}


@pytest.mark.parametrize("made_by_script", [False, True])
def test_evaluator_wants_labels_and_instance_ids_that_agree(dataset, tmp_path, made_by_script):
    ids = canvas()
    ids[:, 64:] = BUILDING
    ids[box(10, 30, 10, 40)] = CAR * 1000 + 1
    ids[box(10, 30, 70, 90)] = CARAVAN * 1000
    ids[box(40, 50, 10, 40)] = PERSON
    ids[0] = 3
    write_data_set(tmp_path, [(ids, labels_of(ids))])
    if made_by_script:
        train_ids = np.full(256, 255, np.uint8)
        train_ids[list(SEM_SEG_ID_TO_CONTIGUOUS)] = range(19)
        label_file = records(tmp_path)[0]["sem_seg_file_name"]
        label_file = label_file.replace("_labelIds", "_labelTrainIds")
        assert cv2.imwrite(label_file, train_ids[labels_of(ids)])
    (record,) = records(tmp_path)
    name = "labelTrainIds" if made_by_script else "labelIds"
    assert record["sem_seg_file_name"].endswith(f"_{name}.png")
    path, output = record["instance_ids_file_name"], model_output(labels_of(ids))
    evaluator = CityscapesSemSegEvaluator(dataset)

    # Labels that aren't scored may differ, and how instances are numbered is theirs alone.
    same = ids.copy()
    same[0] = 1
    same[box(10, 30, 10, 20)] = CAR * 1000 + 2
    same[box(10, 30, 70, 90)] = PARKING
    assert cv2.imwrite(path, same)
    evaluator.process([record], [output])
    assert evaluator.evaluate()["cityscapes_sem_seg"]["IoU"] == 100

    both = rf"town_000000_000019_gtFine_instanceIds\.png and .*_gtFine_{name}\.png disagree in"
    for change, where in (
        # Without stuff, as some make it.
        ({ROAD: 0, BUILDING: 0}, "10860 pixels: at x 0, y 1 the first has the id 0 and .* 'road'"),
        ({CAR * 1000 + 1: TRUCK * 1000}, "600 pixels: at x 10, y 10 .* id 27000 and .* 'car'"),
        ({3: ROAD}, "128 pixels: at x 0, y 0 .* id 7 and the second no class"),
    ):
        other = ids.copy()
        for before, after in change.items():
            other[ids == before] = after
        assert cv2.imwrite(path, other)
        evaluator.reset()
        with pytest.raises(UserError, match=f"{both} {where}"):
            evaluator.process([record], [output])
        assert evaluator.evaluate() == {}
    assert cv2.imwrite(path, ids[:, :-1])
    with pytest.raises(UserError, match=r"instanceIds\.png is 127 x 96, but its image"):
        evaluator.process([record], [output])


def test_evaluator_wants_label_ids(dataset):
    ids = MetadataCatalog.get(dataset).stuff_dataset_id_to_contiguous_id
    ids[9] = ids.pop(8)
    with pytest.raises(UserError, match=rf"{dataset} .* ids 7, 9, 11, .*, not all"):
        CityscapesSemSegEvaluator(dataset)
