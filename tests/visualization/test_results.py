from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from segtron.config import load_config
from segtron.data.masks import encode_mask
from segtron.errors import UserError
from segtron.visualization.instance_results import load_instance_results
from segtron.visualization.results import visualize_results


def square(x0, y0, side=20):
    mask = np.zeros((64, 96), bool)
    mask[y0 : y0 + side, x0 : x0 + side] = True
    return encode_mask(mask)


def result(image_id, category_id, mask, score=0.9):
    return {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [0, 0, 1, 1],
        "score": score,
        "segmentation": mask,
    }


@pytest.fixture
def run(tiny_run, tmp_path):
    """A scored run: a.png half found, b.png found, and a prediction in its crowd."""
    shutil.copytree(tiny_run, tmp_path / "run")
    folder = tmp_path / "run" / "inference" / "tiny"
    folder.mkdir(parents=True)
    predictions = [
        result(11, 3, square(20, 10)),
        result(11, 3, square(50, 40)),
        result(11, 3, square(0, 40), score=0.2),
        result(12, 3, square(20, 10)),
        result(12, 7, square(60, 20)),
    ]
    (folder / "coco_instances_results.json").write_text(json.dumps(predictions))
    return tmp_path / "run"


def test_the_worst_image_comes_first(run, report_content):
    page = visualize_results(load_config(run / "config.yaml"), run, number=5, min_score=0.5)
    assert page == run / "report" / "report.html"
    (gallery,) = report_content(run)["galleries"]
    shown = [(image["name"], image["numbers"]["quality"]) for image in gallery["images"]]
    assert shown == [("a.png", 66.667), ("b.png", 100)]


def test_scores_below_the_threshold_do_not_count(run):
    load_config(run / "config.yaml")
    qualities = {}
    for min_score in (0.1, 0.5, 0.95):
        results = load_instance_results("tiny", run / "inference" / "tiny", min_score)
        qualities[min_score] = [round(r.match.quality, 3) for r in results]
    assert qualities == {0.1: [0.5, 1.0], 0.5: [0.667, 1.0], 0.95: [0.0, 0.0]}


def test_results_of_other_data_are_refused(run):
    cfg = load_config(run / "config.yaml")
    file = run / "inference" / "tiny" / "coco_instances_results.json"
    good = json.loads(file.read_text())

    def assert_refused(message, **fields):
        file.write_text(json.dumps([good[0], good[0] | fields]))
        with pytest.raises(UserError, match=rf"results\.json: entry 1.*{message}.*score the model"):
            visualize_results(cfg, run, number=5, min_score=0.5)

    mask = good[0]["segmentation"]
    assert_refused("no image has the id 99", image_id=99)
    assert_refused("no category has the id 1;", category_id=1)
    for score in (float("inf"), float("nan"), "0.9"):
        assert_refused("score", score=score)
    # pycocotools would ask for 40 GB, or write beyond what it has.
    assert_refused(r"has the size \[200000, 200000\]", segmentation=mask | {"size": [200000] * 2})
    assert_refused(r"has the size \[96, 64\]", segmentation=mask | {"size": [96, 64]})
    assert_refused("do not add up", segmentation=mask | {"counts": mask["counts"] + "99999"})
    assert_refused("do not add up", segmentation={"size": [64, 96]})
    for segmentation in ([[0, 0, 9, 0, 9, 9]], "b03", None):
        assert_refused("'segmentation'", segmentation=segmentation)
    without_masks = [{k: v for k, v in good[0].items() if k != "segmentation"}]
    for content, message in (
        (json.dumps(without_masks), r"results\.json has boxes and no masks"),
        (json.dumps([good[0], *without_masks]), "entry 1 has no 'segmentation'"),
        (json.dumps([5]), "entry 0 is not an object"),
        ("{}", "is no COCO results"),
        ("[{", r"results\.json is not valid JSON"),
    ):
        file.write_text(content)
        with pytest.raises(UserError, match=message):
            visualize_results(cfg, run, number=5, min_score=0.5)
    file.unlink()
    with pytest.raises(UserError, match="score the model first"):
        visualize_results(cfg, run, number=5, min_score=0.5)
    assert not (run / "report").exists()


def test_images_go_by_their_paths_and_a_broken_one_is_left_out(run, report_content, caplog):
    content = json.loads((run / "annotations.json").read_text())
    for image, name in zip(content["images"], ("seq1/1.png", "seq2/1.png"), strict=True):
        (run / "images" / name).parent.mkdir()
        (run / "images" / image["file_name"]).rename(run / "images" / name)
        image["file_name"] = name
    (run / "annotations.json").write_text(json.dumps(content))
    cfg = load_config(run / "config.yaml")

    def shown():
        visualize_results(cfg, run, number=None, min_score=0.5)
        return [image["name"] for image in report_content(run)["galleries"][0]["images"]]

    # Below the folder that they share.
    assert shown() == ["seq1/1.png", "seq2/1.png"]
    (run / "images" / "seq1" / "1.png").write_bytes(b"no picture")
    assert shown() == ["seq2/1.png"]
    assert "seq1/1.png is left out of the report" in caplog.text
