from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from detectron2.data.catalog import Metadata
from PIL import Image

from segtron.config import load_config
from segtron.errors import UserError
from segtron.evaluation.image_quality import match_instances
from segtron.evaluation.masks import encode_mask
from segtron.visualization.instance_comparison import draw_instance_comparison
from segtron.visualization.instance_results import load_instance_results
from segtron.visualization.results import last_scores, visualize_results


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


def page_content(run):
    text = (run / "report" / "report.html").read_text(encoding="utf-8")
    return json.loads(text.partition('id="content">')[2].partition("</script>")[0])


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


def test_the_worst_image_comes_first(run):
    cfg = load_config(run / "config.yaml")
    (folder,) = visualize_results(cfg, run, number=5, min_score=0.5)
    assert folder == run / "visualizations" / "tiny"
    assert sorted(path.name for path in folder.iterdir()) == [
        "001_q0.67_a.png",
        "002_q1.00_b.png",
        "overview.png",
    ]


def test_scores_below_the_threshold_do_not_count(run):
    load_config(run / "config.yaml")
    qualities = {}
    for min_score in (0.1, 0.5, 0.95):
        results = load_instance_results("tiny", run / "inference" / "tiny", min_score)
        qualities[min_score] = [round(r.match.quality, 3) for r in results]
    assert qualities == {0.1: [0.5, 1.0], 0.5: [0.667, 1.0], 0.95: [0.0, 0.0]}


def test_older_pictures_are_replaced(run):
    cfg = load_config(run / "config.yaml")
    visualize_results(cfg, run, number=5, min_score=0.5)
    (folder,) = visualize_results(cfg, run, number=1, min_score=0.5)
    assert sorted(path.name for path in folder.glob("*.png")) == ["001_q0.67_a.png", "overview.png"]


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
    assert not (run / "visualizations").exists()


def test_images_go_by_their_paths_below_the_folder_that_they_share(run):
    content = json.loads((run / "annotations.json").read_text())
    for image, name in zip(content["images"], ("seq1/1.png", "seq2/1.png"), strict=True):
        (run / "images" / name).parent.mkdir()
        (run / "images" / image["file_name"]).rename(run / "images" / name)
        image["file_name"] = name
    (run / "annotations.json").write_text(json.dumps(content))
    cfg = load_config(run / "config.yaml")
    visualize_results(cfg, run, number=None, min_score=0.5)
    images = page_content(run)["galleries"][0]["images"]
    assert [image["name"] for image in images] == ["seq1/1.png", "seq2/1.png"]


def test_found_missed_invented_and_confused_have_their_colours():
    places = {"found": (0, 0), "missed": (32, 0), "confused": (64, 0)}
    truth = {name: square(*place) for name, place in places.items()}
    annotations = [{"category_id": 0, "segmentation": mask} for mask in truth.values()]
    for annotation in annotations:
        annotation |= {"bbox": [0, 0, 1, 1], "bbox_mode": 1, "iscrowd": 0}
    masks = [truth["found"], truth["confused"], square(32, 40)]
    classes = [0, 1, 0]
    match = match_instances(
        [a["segmentation"] for a in annotations], [0, 0, 0], [False] * 3, masks, classes
    )
    predictions = [
        {"category_id": c, "score": 0.9, "segmentation": mask}
        for c, mask in zip(classes, masks, strict=True)
    ]
    metadata = Metadata(name="test", thing_classes=["fig", "date"])
    image = np.zeros((64, 96, 3), np.uint8)
    comparison = draw_instance_comparison(image, annotations, predictions, match, metadata)
    sheet, errors = comparison.sheet(), comparison.panels[-1].picture
    assert comparison.facts == {
        "quality": "0.33",
        "found": "1",
        "missed": "1",
        "invented": "1",
        "wrong class": "1",
    }
    scale = errors.shape[0] / 64
    assert sheet.shape[1] > 3 * errors.shape[1]

    def color_at(x, y):
        return errors[int(y * scale), int(x * scale)].astype(int)

    red, green, blue = color_at(10, 18)
    assert green > red and green > blue
    red, green, blue = color_at(42, 18)
    assert red > 2 * green and red > 2 * blue
    red, green, blue = color_at(42, 58)
    assert red > green > 2 * blue
    red, green, blue = color_at(74, 18)
    assert red > green and blue > green


def test_pictures_can_be_opened(run):
    (folder,) = visualize_results(load_config(run / "config.yaml"), run, number=5, min_score=0.5)
    for path in folder.glob("*.png"):
        with Image.open(path) as image:
            image.load()


def test_last_scores_name_their_protocol(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.json"
    assert last_scores(metrics) == []
    metrics.write_text(
        '{"iteration": 1, "segm/AP": 10.0}\n'
        '{"iteration": 2, "segm/AP": 36.21, "a/cityscapes_segm/AP": 30.0, "segm/AP50": 60.0, '
        '"sem_seg/mIoU": 71.16, "sem_seg/IoU-AP": 1, "cityscapes_sem_seg/IoU": 70.0, '
        '"cityscapes_sem_seg/iIoU": 50.0}\n'
        '{"iteration": 2, "total_loss": 1.0}\n'
    )
    assert last_scores(metrics, "a") == last_scores(metrics)
    assert len(last_scores(metrics, "b")) == 3
    assert last_scores(metrics) == [
        "segm/AP 36.2 by COCO's protocol",
        "a/cityscapes_segm/AP 30.0 by Cityscapes' protocol",
        "sem_seg/mIoU 71.2 by Detectron2's rules",
        "cityscapes_sem_seg/IoU 70.0 by Cityscapes' protocol",
    ]


def test_last_scores_pass_over_a_line_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text('{"segm/AP": 3.25}\n{"segm/AP": 5')
    assert last_scores(path) == ["segm/AP 3.2 by COCO's protocol"]
