from __future__ import annotations

import contextlib
import io

import pytest
from detectron2.data import MetadataCatalog
from pycocotools.coco import COCO

from segtron.benchmarks.coco_ways import (
    coco_results,
    coco_set,
    error_type_scores,
    file_scores,
    listed_results,
    metric_scores,
    pycocotools_file_scores,
    pycocotools_scores,
    without_ties,
)
from segtron.benchmarks.frames import Frames
from segtron.evaluation.coco_ground_truth import CocoGroundTruth, load_coco_ground_truth
from segtron.files import write_json


def test_coco_set_is_gone_afterwards(tmp_path):
    with coco_set(tmp_path / "coco.json") as name:
        assert MetadataCatalog.get(name).thing_dataset_id_to_contiguous_id[26] == 2
    assert name not in MetadataCatalog.list()


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """The folder of a JSON, its content, and results for it."""
    folder = tmp_path_factory.mktemp("coco")
    frames = Frames(folder / "frames", 2, size=(64, 128), most_instances=12, seed=1)
    records = frames.write_coco_json(folder / "truth.json", repeats=2)
    with coco_set(folder / "truth.json") as name:
        results = coco_results(name, records, lambda i: frames.instances(i % 2, 12))
        return folder, load_coco_ground_truth(name), results


@pytest.mark.parametrize("task", ["bbox", "segm"])
def test_all_ways_agree(scored, task):
    folder, ground_truth, results = scored
    results_json = folder / f"{task}.json"
    write_json(results_json, listed_results(results, task))
    expected = metric_scores(ground_truth, results, task)[task]
    assert 5 < expected["AP50"] < 95
    with contextlib.redirect_stdout(io.StringIO()):
        others = (
            pycocotools_scores(COCO(folder / "truth.json"), results, task),
            file_scores(folder / "truth.json", results_json),
            pycocotools_file_scores(folder / "truth.json", results_json, task),
        )
    for scores in others:
        assert list(scores) == [task]
        assert scores[task] == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_files_hold_what_a_task_is_about(scored):
    _, _, results = scored
    for task, fields in (
        ("bbox", {"image_id", "category_id", "bbox", "score"}),
        ("segm", {"image_id", "category_id", "segmentation", "score"}),
    ):
        listed = listed_results(results, task)
        assert len(listed) == 4 * 12
        assert all(set(result) == fields for result in listed)


def test_error_types(scored):
    _, ground_truth, results = scored
    scores = error_type_scores(ground_truth, results, "segm")["error_types"]
    assert scores["AP50"] == pytest.approx(
        metric_scores(ground_truth, results, "segm")["segm"]["AP50"], abs=1e-9
    )
    assert scores["number-missed"] > 0
    assert scores["number-background"] > 0


def test_without_ties():
    def result(category_id, score):
        return {"category_id": category_id, "score": score}

    annotations = [{"category_id": 3, "iscrowd": 0}, {"category_id": 4, "iscrowd": 1}]
    ground_truth = CocoGroundTruth([], annotations, [3, 4, 5], ["a", "b", "c"])
    results = {
        7: [result(3, 0.9), result(4, 0.95), result(3, 0.9)],
        8: [result(3, 0.1), result(5, 0.5), result(3, 0.9)],
        9: [],
    }
    found = without_ties(ground_truth, results)
    assert {image_id: [r["score"] for r in kept] for image_id, kept in found.items()} == {
        7: [2 / 5, 3 / 5],
        8: [1 / 5, 4 / 5],
        9: [],
    }
    assert results[7][0] == result(3, 0.9)
