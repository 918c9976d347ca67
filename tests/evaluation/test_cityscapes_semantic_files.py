from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from segtron.data.cityscapes import SEM_SEG_LABELS
from segtron.errors import UserError
from segtron.evaluation.cityscapes_semantic_files import score_cityscapes_semantics

from .reference import boundary_by_erosion
from .saved_cityscapes import frame_of, official_semantics, write_png, write_semantics
from .scenes import BUILDING, CAR, HEIGHT, ROAD, WIDTH, labels_of, random_labelled_scene


@pytest.fixture
def files(tmp_path) -> tuple[Path, Path]:
    rng = np.random.default_rng(1)
    return write_semantics(tmp_path, [random_labelled_scene(rng) for _ in range(4)])


def assert_equals_the_official_script(monkeypatch, split, results):
    expected = official_semantics(monkeypatch, split, results)
    scores = score_cityscapes_semantics(split, results)
    for ours, theirs in (
        ("IoU", "averageScoreClasses"),
        ("iIoU", "averageScoreInstClasses"),
        ("IoU_sup", "averageScoreCategories"),
        ("iIoU_sup", "averageScoreInstCategories"),
    ):
        assert scores.overall[ours] == pytest.approx(100 * expected[theirs], abs=1e-9)
    for rows, theirs in ((scores.per_class, "class"), (scores.per_category, "category")):
        for name, row in rows.items():
            for metric, key in (("IoU", "Scores"), ("iIoU", "InstScores")):
                np.testing.assert_allclose(
                    row.get(metric, math.nan), 100 * expected[theirs + key][name], atol=1e-9
                )
    return scores


def test_equals_the_official_script(files, monkeypatch):
    scores = assert_equals_the_official_script(monkeypatch, *files)
    assert 1 < scores.overall["iIoU"] < 99
    assert (scores.num_images, scores.num_missing) == (4, 0)


@pytest.mark.parametrize("kind", ["palette", "16 bits"])
def test_other_pngs_that_the_official_script_takes(files, monkeypatch, kind):
    split, results = files
    for path in results.iterdir():
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if kind == "palette":
            image = Image.fromarray(labels, mode="P")
            image.putpalette([(5 * i) % 256 for i in range(768)])
            image.save(path, bits=8)
        else:
            write_png(path, labels.astype(np.uint16))
    assert_equals_the_official_script(monkeypatch, split, results)


def test_counts(tmp_path):
    ids = np.full((HEIGHT, WIDTH), ROAD, dtype=np.uint16)
    ids[:10] = 0  # not scored
    ids[10:20, :10] = CAR * 1000
    ids[10:20, 20:30] = CAR * 1000 + 1
    ids[10:20, 40:50] = CAR  # a group
    prediction = np.full((HEIGHT, WIDTH), ROAD, dtype=np.uint8)
    prediction[:20, :15] = CAR
    prediction[50:52, :10] = BUILDING
    scores = score_cityscapes_semantics(*write_semantics(tmp_path, [(ids, prediction)]))
    num_road = (HEIGHT - 10) * WIDTH - 300
    assert scores.num_ground_truth["car"] == 300
    assert scores.num_ground_truth["road"] == num_road
    assert scores.num_predicted["car"] == 150
    assert scores.num_predicted["building"] == 20
    assert scores.num_instances["car"] == 2 and scores.num_instances["person"] == 0
    content = scores.as_json()
    assert content["per_class"]["car"] == {
        "IoU": 100 * 100 / 350,
        "iIoU": pytest.approx(100 * 12794.0202738185 / (2 * 12794.0202738185 + 50)),
        "ground_truth": 300,
        "predicted": 150,
        "instances": 2,
    }
    assert content["per_class"]["road"]["iIoU"] is content["per_class"]["road"]["instances"] is None
    assert content["per_class"]["sky"]["IoU"] is None
    assert content["per_category"]["flat"]["iIoU"] is None
    car = next(line for line in str(scores).splitlines() if line.startswith("| car"))
    shares = [f"{100 * n / (num_road + 300):.2f}" for n in (300, 150)]
    assert [cell.strip() for cell in car.split("|")[4:7]] == [*shares, "2"]


@pytest.mark.parametrize("workers", [2, 5])
def test_workers_change_nothing(files, workers):
    alone = score_cityscapes_semantics(*files, workers=1, boundary_ratio=0.02)
    several = score_cityscapes_semantics(*files, workers=workers, boundary_ratio=0.02)
    assert str(several) == str(alone)
    assert several.as_json() == alone.as_json()


def test_boundaries(tmp_path):
    rng = np.random.default_rng(1)
    case = [random_labelled_scene(rng) for _ in range(4)]
    files = write_semantics(tmp_path, case)
    regions = score_cityscapes_semantics(*files)
    assert regions.boundary is None
    scores = score_cityscapes_semantics(*files, boundary_ratio=0.02)
    expected = {}
    scored = [label.id for label in SEM_SEG_LABELS]
    # Labels that aren't scored are predicted on ones that are.
    assert any((np.isin(labels_of(i), scored) & ~np.isin(p, scored)).any() for i, p in case)
    for label in SEM_SEG_LABELS:
        common = union = wanted = 0
        for instance_ids, prediction in case:
            labels = labels_of(instance_ids)
            # 0.02 of the diagonal of 160 pixels
            truth = boundary_by_erosion(labels == label.id, 3)
            found = boundary_by_erosion((prediction == label.id) & np.isin(labels, scored), 3)
            common += (truth & found).sum()
            union += (truth | found).sum()
            wanted += truth.sum()
        expected[label.name] = 100 * common / union if wanted else math.nan
    found = {name: row["BIoU"] for name, row in scores.boundary.per_class.items()}
    assert found == pytest.approx(expected, nan_ok=True, abs=1e-9)
    mean = np.nanmean(list(expected.values()))
    assert scores.boundary.overall["mBIoU"] == pytest.approx(mean, abs=1e-9)
    content = scores.as_json()
    boundary = content.pop("boundary")
    assert content == regions.as_json()
    assert list(boundary) == ["mBIoU", "num_images", "num_missing", "per_class"]
    assert boundary["per_class"]["car"] == {
        "BIoU": found["car"],
        "ground_truth": scores.boundary.num_ground_truth["car"],
        "predicted": scores.boundary.num_predicted["car"],
    }
    absent = next(name for name, value in expected.items() if math.isnan(value))
    assert boundary["per_class"][absent]["BIoU"] is None
    assert str(scores) == f"{regions}\n\n{scores.boundary}"
    assert "boundary within 2% of the diagonal: 4 images" in str(scores)


def test_missing_predictions(files):
    split, results = files
    (results / f"{frame_of(2)}_leftImg8bit.png").unlink()
    with pytest.raises(UserError, match=rf"no prediction for 1 of 4 images, .* {frame_of(2)}"):
        score_cityscapes_semantics(split, results)
    scores = score_cityscapes_semantics(split, results, allow_missing=True)
    assert (scores.num_images, scores.num_missing) == (3, 1)
    assert str(scores).startswith(
        "Cityscapes protocol, semantics: PARTIAL: 3 of 4 images, 1 have no prediction, "
    )
    assert scores.as_json()["num_missing"] == 1
    scores = score_cityscapes_semantics(split, results, allow_missing=True, boundary_ratio=0.005)
    assert str(scores).count("PARTIAL: 3 of 4 images") == 2
    assert scores.as_json()["boundary"]["num_missing"] == 1


def change_labels(label_id: int):
    def change(split, results):
        path = results / f"{frame_of(0)}_leftImg8bit.png"
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        labels[3, 5] = label_id
        write_png(path, labels)

    return change


def replace_prediction(values):
    return lambda split, results: write_png(results / f"{frame_of(0)}_leftImg8bit.png", values)


def disagree(split, results):
    stem = split / "aville" / f"{frame_of(0)}_gtFine"
    ids = cv2.imread(f"{stem}_instanceIds.png", cv2.IMREAD_UNCHANGED)
    labels = labels_of(ids)
    labels[ids == ROAD] = BUILDING
    write_png(Path(f"{stem}_labelIds.png"), labels)


def shrink_labels(split, results):
    write_png(
        split / "aville" / f"{frame_of(0)}_gtFine_labelIds.png", np.zeros((8, 9), dtype=np.uint8)
    )


PREDICTION, TRUTH = r"aville_000000_000019_leftImg8bit\.png", "aville_000000_000019_gtFine"
BAD_FILES = {
    "label unknown": (change_labels(34), f"{PREDICTION} and .* the prediction has the label id 34"),
    "train id of void": (change_labels(255), f"{PREDICTION} and .*label id 255.*train ids are non"),
    "another size": (
        replace_prediction(np.zeros((HEIGHT - 1, WIDTH), dtype=np.uint8)),
        f"{PREDICTION} is {WIDTH} x {HEIGHT - 1}, but .*labelIds\\.png is {WIDTH} x {HEIGHT}; save",
    ),
    "colour": (
        replace_prediction(np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)),
        f"{PREDICTION} is a PNG of 8 bits a channel, colour; .* one-channel or with a palette",
    ),
    "cut off": (
        lambda split, results: (results / f"{frame_of(0)}_leftImg8bit.png").write_bytes(
            (results / f"{frame_of(0)}_leftImg8bit.png").read_bytes()[:-30]
        ),
        rf"{PREDICTION} is damaged \(it is cut off\)",
    ),
    "two files": (
        lambda split, results: write_png(
            results / "colours" / f"{frame_of(0)}.png", np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        ),
        f"{PREDICTION} and .*colours/aville.* are both predictions",
    ),
    "no instance ids": (
        lambda split, results: (
            split / "aville" / f"{frame_of(0)}_gtFine_instanceIds.png"
        ).unlink(),
        rf"{TRUTH}_instanceIds\.png does not exist",
    ),
    "ground truth disagrees": (
        disagree,
        rf"{TRUTH}_instanceIds\.png and .*{TRUTH}_labelIds\.png disagree in \d+ pixels: where the "
        f"first has the id {ROAD}, the second has {BUILDING}",
    ),
    "ground truth of two sizes": (shrink_labels, rf"{TRUTH}_labelIds\.png is 9 x 8; make both"),
}


@pytest.mark.parametrize("fault", BAD_FILES)
def test_files_that_are_refused(files, fault):
    spoil, message = BAD_FILES[fault]
    spoil(*files)
    with pytest.raises(UserError, match=message):
        score_cityscapes_semantics(*files)


def test_void_may_be_called_differently(files, monkeypatch):
    """Labels that aren't scored may differ between both files of the ground truth."""
    split, results = files
    before = score_cityscapes_semantics(split, results)
    path = split / "aville" / f"{frame_of(0)}_gtFine_labelIds.png"
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    is_void = labels < 7
    assert is_void.any()
    labels[is_void] = 4
    write_png(path, labels)
    assert str(score_cityscapes_semantics(split, results)) == str(before)
