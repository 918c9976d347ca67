from __future__ import annotations

import csv
import logging
import math
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import SemSegEvaluator as Detectron2Evaluator
from detectron2.utils import comm

from segtron.data.sem_seg import IdEncoding
from segtron.errors import UserError
from segtron.evaluation.boundary_sem_seg import SemSegBoundaryMetric
from segtron.evaluation.sem_seg import SemSegEvaluator, SemSegMetric

NAMES = ["sky", "ground", "tree", "animal"]
Case = list[tuple[np.ndarray, np.ndarray]]  # ground truth with 255, and prediction, of each image


def metric_of(case: Case) -> SemSegMetric:
    metric = SemSegMetric(NAMES)
    for number, (ground_truth, prediction) in enumerate(case):
        metric.update(number, prediction, ground_truth)
    return metric


def noisy(num_classes: int = 4) -> Case:
    """Blocks of classes, some ignored, and predictions that are right for two thirds."""
    rng = np.random.default_rng(1)
    case = []
    for number in range(4):
        height, width = 4 + number, 6
        blocks = rng.choice([*range(num_classes), 255], size=(height, width)).astype(np.uint8)
        ground_truth = np.kron(blocks, np.ones((5, 7), np.uint8))
        guess = rng.integers(0, num_classes, ground_truth.shape)
        right = (rng.random(ground_truth.shape) < 0.67) & (ground_truth != 255)
        case.append((ground_truth, np.where(right, ground_truth, guess).astype(np.uint8)))
    return case


def without_ground_truth_of_one_class() -> Case:
    return [(np.where(truth == 2, 255, truth), guess) for truth, guess in noisy()]


def class_neither_there_nor_predicted() -> Case:
    return noisy(num_classes=3)


def one_class() -> Case:
    return [(np.full((4, 5), 1, np.uint8), np.full((4, 5), 1, np.uint8))]


def only_false() -> Case:
    return [(np.full((4, 5), 1, np.uint8), np.full((4, 5), 2, np.uint8))]


CASES = [
    noisy,
    without_ground_truth_of_one_class,
    class_neither_there_nor_predicted,
    one_class,
    only_false,
]


@pytest.fixture
def dataset(request):
    """A registered set without dicts; more metadata by `MetadataCatalog.get(...).set`."""
    name = f"sem_seg_for_{request.node.name}"
    DatasetCatalog.register(name, list)
    MetadataCatalog.get(name).set(stuff_classes=NAMES, ignore_label=255, evaluator_type="sem_seg")
    yield name
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


@pytest.mark.filterwarnings("ignore:invalid value encountered")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_equals_detectron2(case, dataset):
    """Only its counting of pixels fails on numpy 2, and is done here pixel by pixel."""
    counts = np.zeros((5, 5), dtype=np.int64)
    for ground_truth, prediction in case():
        for gt, predicted in zip(ground_truth.flat, prediction.flat, strict=True):
            counts[predicted, min(gt, 4)] += 1
    reference = Detectron2Evaluator(dataset, distributed=False)
    reference.reset()
    reference._conf_matrix = counts
    expected = reference.evaluate()["sem_seg"]

    metric = metric_of(case())
    np.testing.assert_array_equal(metric.confusion_matrix(), counts[:4, :4].T)
    results = metric.compute().as_results()
    keys = [f"{score}-{name}" for score in ("IoU", "ACC") for name in NAMES]
    assert list(results) == ["mIoU", "fwIoU", "mACC", "pACC", *keys]
    for name, value in results.items():
        np.testing.assert_allclose(value, expected[name], rtol=0, atol=1e-10, err_msg=name)


def test_hand_computed():
    ground_truth = np.array([[0, 0, 0, 0], [1, 1, 255, 255], [3, 3, 3, 3]], np.uint8)
    prediction = np.array([[0, 0, 0, 2], [1, 0, 2, 1], [3, 3, 0, 2]], np.uint8)
    scores = metric_of([(ground_truth, prediction)]).compute()
    # sky: 3 of 4 found, 2 more predicted. ground: 1 of 2. animal: 2 of 4. tree is nowhere.
    iou, accuracy = [3 / 6, 1 / 2, 2 / 4], [3 / 4, 1 / 2, 2 / 4]
    assert scores.overall == pytest.approx(
        {
            "mIoU": 100 * sum(iou) / 3,
            "fwIoU": 10 * (4 * iou[0] + 2 * iou[1] + 4 * iou[2]),
            "mACC": 100 * sum(accuracy) / 3,
            "pACC": 60,
        }
    )
    assert scores.per_class["sky"] == {"IoU": 50, "ACC": 75}
    assert all(math.isnan(value) for value in scores.per_class["tree"].values())
    assert scores.num_ground_truth == {"sky": 4, "ground": 2, "tree": 0, "animal": 4}
    assert scores.num_predicted == {"sky": 5, "ground": 1, "tree": 2, "animal": 2}
    lines = str(scores).split("\n")
    assert lines[0].startswith("Semantic segmentation: 1 images, 10 pixels of the 4 classes")
    assert lines[1] == "mIoU 50.00, fwIoU 50.00, mACC 58.33, pACC 60.00"
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]
    assert cells[:1] + cells[2:] == [
        ["class", "IoU", "ACC", "ground truth", "predicted"],
        ["mean", "50.00", "58.33", "", ""],
        ["sky", "50.00", "75.00", "40.00", "50.00"],
        ["ground", "50.00", "50.00", "20.00", "10.00"],
        ["tree", "-", "-", "0.00", "20.00"],
        ["animal", "50.00", "50.00", "40.00", "20.00"],
    ]


def test_sharding_and_order_change_no_bit():
    case = noisy() + without_ground_truth_of_one_class()
    whole = metric_of(case)
    rng = np.random.default_rng(0)
    for num_shards in (1, 2, 3, 5):
        order = rng.permutation(len(case))
        merged = SemSegMetric(NAMES)
        for part in np.array_split(order, num_shards):
            metric = SemSegMetric(NAMES)
            for number in [*part, order[0]]:  # every shard is padded with the same image
                metric.update(int(number), case[number][1], case[number][0])
            merged.merge(pickle.loads(pickle.dumps(metric)))
        assert len(merged) == len(case)
        np.testing.assert_array_equal(merged.confusion_matrix(), whole.confusion_matrix())
        np.testing.assert_equal(merged.compute().as_results(), whole.compute().as_results())


def test_an_image_counts_once():
    metric = metric_of(noisy()[:1])
    before = metric.confusion_matrix()
    other = noisy()[1]
    metric.update(0, other[1], other[0])
    metric.merge(metric_of([other]))
    assert len(metric) == 1
    np.testing.assert_array_equal(metric.confusion_matrix(), before)


def test_state_is_small():
    large = [np.kron(array, np.ones((9, 9), np.uint8)) for array in noisy()[0]]
    assert len(pickle.dumps(metric_of([tuple(large)]))) < 1000 < large[0].size / 50


def test_many_classes_and_another_ignored_label():
    rng = np.random.default_rng(2)
    ground_truth, prediction = rng.integers(0, 300, (2, 90, 90))
    metric = SemSegMetric([str(i) for i in range(300)], ignore_label=1000)
    metric.update("a", prediction, np.where(ground_truth == 0, 1000, ground_truth))
    expected = np.zeros((300, 300), int)
    np.add.at(expected, (ground_truth.ravel(), prediction.ravel()), 1)
    expected[0] = 0
    np.testing.assert_array_equal(metric.confusion_matrix(), expected)


def test_nothing_to_score():
    for metric in (SemSegMetric(NAMES), metric_of([(np.full((2, 2), 255), np.zeros((2, 2), int))])):
        scores = metric.compute()
        assert all(math.isnan(value) for value in scores.as_results().values())
        assert not any(scores.num_ground_truth.values())
        assert "0 pixels" in str(scores)


@pytest.mark.parametrize(
    ("prediction", "ground_truth", "message"),
    [
        (np.zeros((5, 6), int), np.zeros((4, 6), int), "frame: the prediction is 6x5 and .* 6x4"),
        (
            np.full((2, 2), 4),
            np.zeros((2, 2), int),
            "frame: the prediction has the class 4, but .*",
        ),
        (np.full((2, 2), 255), np.zeros((2, 2), int), "frame: the prediction has the class 255"),
        # Also where the ground truth is ignored.
        (np.full((2, 2), -1), np.full((2, 2), 255), "frame: the prediction has the class -1"),
        (np.zeros((2, 2), int), np.full((2, 2), 4), r"ground truth has the class 4, .* \(255: ign"),
        (np.zeros((2, 2)), np.zeros((2, 2), int), "frame: the prediction .* type float64"),
    ],
)
def test_bad_input_is_named(prediction, ground_truth, message):
    metric = SemSegMetric(NAMES)
    with pytest.raises(ValueError, match=message):
        metric.update("frame", prediction, ground_truth)
    assert len(metric) == 0


# The evaluator -----------------------------------------------------------------------------------


def model_output(classes: np.ndarray, num_classes: int = 4) -> dict[str, torch.Tensor]:
    return {"sem_seg": torch.from_numpy((classes == np.arange(num_classes)[:, None, None]) * 2.0)}


def write_record(folder: Path, name: str, values: np.ndarray, **more) -> dict:
    path = folder / "annotations" / f"{Path(name).stem}.png"
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), values)
    return {
        "file_name": str(folder / "images" / name),
        "sem_seg_file_name": str(path),
        "height": values.shape[0],
        "width": values.shape[1],
        **more,
    }


def test_evaluator(dataset, tmp_path, caplog):
    MetadataCatalog.get(dataset).set(stuff_dataset_id_to_contiguous_id={40: 3, 7: 0, 300: 1, 21: 2})
    values = np.zeros(256, np.uint16)
    values[:4] = (7, 300, 21, 40)
    encoding = IdEncoding(values=(7, 300, 21, 40), ignored=(0,))
    case = noisy()
    evaluator = SemSegEvaluator(dataset, output_dir=str(tmp_path / "out"))
    for number, (ground_truth, prediction) in enumerate(case):
        image_id = f"city {number}/{number}.jpg"
        record = write_record(
            tmp_path, image_id, values[ground_truth], image_id=image_id, sem_seg_encoding=encoding
        )
        scores = model_output(prediction)["sem_seg"].to(torch.bfloat16)
        evaluator.process([record], [{"sem_seg": scores}])
    with caplog.at_level(logging.INFO, logger="segtron"):
        results = evaluator.evaluate()
    np.testing.assert_equal(results, {"sem_seg": metric_of(case).compute().as_results()})
    assert "Semantic segmentation: 4 images" in caplog.text

    for number, (_, prediction) in enumerate(case):
        saved = tmp_path / "out" / "labels" / f"city {number}" / f"{number}.png"
        read = cv2.imread(str(saved), cv2.IMREAD_UNCHANGED)
        assert read.dtype == np.uint16
        np.testing.assert_array_equal(read, values[prediction])
        assert len(list(saved.parent.iterdir())) == 1
    with (tmp_path / "out" / "confusion_matrix.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0][1:] == NAMES
    assert [[int(n) for n in row[1:]] for row in rows[1:]] == (
        metric_of(case).confusion_matrix().tolist()
    )

    evaluator.reset()
    assert evaluator.evaluate() == {}


def evaluator_with_boundaries(dataset: str, tmp_path: Path, numbers: list[int]) -> SemSegEvaluator:
    """An evaluator that has seen some of the noisy images."""
    evaluator = SemSegEvaluator(dataset, boundary_ratio=0.05)
    for number in numbers:
        ground_truth, prediction = noisy()[number]
        record = write_record(tmp_path, f"{number}.jpg", ground_truth, image_id=number)
        evaluator.process([record], [model_output(prediction)])
    return evaluator


def boundary_scores_of(case: Case) -> dict[str, float]:
    metric = SemSegBoundaryMetric(NAMES, 0.05)
    for number, (ground_truth, prediction) in enumerate(case):
        metric.update(number, prediction, ground_truth)
    return metric.compute().as_results()


def test_evaluator_with_boundaries(dataset, tmp_path, caplog):
    evaluator = evaluator_with_boundaries(dataset, tmp_path, [0, 1, 2, 3])
    with caplog.at_level(logging.INFO, logger="segtron"):
        results = evaluator.evaluate()
    assert list(results) == ["sem_seg", "sem_seg_boundary"]
    np.testing.assert_equal(results["sem_seg"], metric_of(noisy()).compute().as_results())
    expected = boundary_scores_of(noisy())
    assert list(expected) == ["mBIoU", *(f"BIoU-{name}" for name in NAMES)]
    np.testing.assert_equal(results["sem_seg_boundary"], expected)
    assert 0 < expected["mBIoU"] != results["sem_seg"]["mIoU"]
    assert caplog.text.count("boundary within 5% of the diagonal: 4 images") == 1
    evaluator.reset()
    assert evaluator.evaluate() == {}


def test_evaluators_of_two_processes_with_boundaries(dataset, tmp_path, monkeypatch):
    """What the main process is sent in the order in which the other sends it."""
    main, other = (
        evaluator_with_boundaries(dataset, tmp_path, numbers) for numbers in ([2, 0], [1, 3, 0])
    )
    sent = []
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    monkeypatch.setattr(comm, "synchronize", lambda: None)
    monkeypatch.setattr(comm, "is_main_process", lambda: False)
    monkeypatch.setattr(comm, "gather", lambda metric, dst: sent.append(pickle.dumps(metric)) or [])
    assert other.evaluate() == {}
    monkeypatch.setattr(comm, "is_main_process", lambda: True)
    monkeypatch.setattr(comm, "gather", lambda metric, dst: [metric, pickle.loads(sent.pop(0))])
    results = main.evaluate()
    assert not sent
    np.testing.assert_equal(results["sem_seg"], metric_of(noisy()).compute().as_results())
    np.testing.assert_equal(results["sem_seg_boundary"], boundary_scores_of(noisy()))


def test_evaluator_on_detectron2s_own_dicts(dataset, tmp_path, monkeypatch):
    """No ids, no encoding; two images of one name count twice and are saved twice."""
    monkeypatch.chdir(tmp_path)
    case, records = noisy(), []
    for number, (ground_truth, _) in enumerate(case):
        records.append(write_record(tmp_path, f"{number}.jpg", ground_truth))
        records[-1]["file_name"] = f"../data/town {number % 2}/{number // 2}.jpg"
    DatasetCatalog.remove(dataset)
    DatasetCatalog.register(dataset, lambda: records)
    evaluator = SemSegEvaluator(dataset, output_dir="out")
    for record, (_, prediction) in zip(records, case, strict=True):
        evaluator.process([record], [model_output(prediction)])
    results = evaluator.evaluate()
    np.testing.assert_equal(results, {"sem_seg": metric_of(case).compute().as_results()})
    for number, (_, prediction) in enumerate(case):
        saved = Path("out/labels") / f"town {number % 2}" / f"{number // 2}.png"
        np.testing.assert_array_equal(cv2.imread(str(saved), cv2.IMREAD_UNCHANGED), prediction)


def test_evaluator_without_ground_truth_saves_and_says_so(dataset, tmp_path, caplog):
    record = {"file_name": "a.jpg", "image_id": "a.jpg", "height": 4, "width": 5}
    output = model_output(np.full((4, 5), 3))
    evaluator = SemSegEvaluator(dataset, output_dir=str(tmp_path / "out"))
    evaluator.process([record], [output])
    with caplog.at_level(logging.INFO, logger="segtron"):
        assert evaluator.evaluate() == {}
    assert f"no image of {dataset} has ground truth" in caplog.text
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["labels"]
    assert cv2.imread(str(tmp_path / "out" / "labels" / "a.png"), cv2.IMREAD_UNCHANGED).min() == 3

    saves_nothing = SemSegEvaluator(dataset)
    record = write_record(tmp_path, "a.jpg", np.full((4, 5), 255, np.uint8), image_id="a.jpg")
    saves_nothing.process([record], [output])
    with caplog.at_level(logging.INFO, logger="segtron"):
        assert saves_nothing.evaluate() == {}
    assert f"no pixel of {dataset} has a class" in caplog.text


def test_evaluator_names_what_does_not_fit(dataset, tmp_path):
    evaluator = SemSegEvaluator(dataset)
    record = write_record(tmp_path, "a.jpg", np.zeros((4, 5), np.uint8), image_id="a.jpg")
    with pytest.raises(UserError, match=r"annotations/a\.png: a\.jpg: the prediction is 6x5 and"):
        evaluator.process([record], [model_output(np.zeros((5, 6)))])
    record = write_record(tmp_path, "b.jpg", np.full((4, 5), 9, np.uint8), image_id="b.jpg")
    with pytest.raises(UserError, match=rf"b\.png: b\.jpg: .* class 9, .*classes of {dataset}"):
        evaluator.process([record], [model_output(np.zeros((4, 5)))])
    with pytest.raises(UserError, match=r"predicts 5 classes, but .* has 4"):
        evaluator.process([record], [model_output(np.zeros((4, 5)), num_classes=5)])


def test_evaluator_knows_its_limit(dataset):
    del MetadataCatalog.get(dataset).stuff_classes
    MetadataCatalog.get(dataset).set(stuff_classes=[str(i) for i in range(256)])
    with pytest.raises(UserError, match="256 classes.* up to 255"):
        SemSegEvaluator(dataset)
