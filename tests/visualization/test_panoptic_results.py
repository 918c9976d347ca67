from __future__ import annotations

import json
import logging

import numpy as np
import pycocotools.mask as mask_util
import pytest
from detectron2.data import MetadataCatalog
from matplotlib.legend import Legend
from PIL import Image

from segtron.config import load_config
from segtron.data.panoptic_png import read_panoptic_png, write_panoptic_png
from segtron.errors import UserError
from segtron.evaluation.panoptic_quality import Outcome
from segtron.visualization.drawing import SegmentationVisualizer
from segtron.visualization.panoptic_comparison import shown_segments
from segtron.visualization.panoptic_map import PanopticMap
from segtron.visualization.panoptic_results import load_panoptic_results
from segtron.visualization.results import visualize_results

# Of the first image: a third of the cars' PQ, nothing for buses; the road's IoU is 3840 / 4768.
QUALITY = (1 / 3 + 0 + 3840 / 4768) / 3


def draw(run, **kwargs):
    return visualize_results(
        load_config(run / "config.yaml"), run, **{"number": 5, "min_score": 0.5} | kwargs
    )


def load(run):
    load_config(run / "config.yaml")
    return load_panoptic_results("town", run / "inference" / "town")


def test_the_worst_image_comes_first(panoptic_run):
    (folder,) = draw(panoptic_run)
    assert folder == panoptic_run / "visualizations" / "town"
    assert sorted(path.name for path in folder.iterdir()) == [
        "001_q0.38_a.png",
        "002_q1.00_b.png",
        "overview.png",
    ]
    for path in folder.glob("*.png"):
        with Image.open(path) as image:
            image.load()


def test_quality_is_the_images_pq(panoptic_run):
    assert [result.quality for result in load(panoptic_run)] == pytest.approx([QUALITY, 1])


def test_errors_have_their_colours(panoptic_run):
    comparison = load(panoptic_run)[0].draw()
    assert comparison.facts == {
        "PQ": f"{100 * QUALITY:.1f} %",
        "found": "2",
        "missed": "1",
        "invented": "1",
        "wrong class": "1",
        "poor mask": "1",
    }
    assert [panel.name for panel in comparison.panels] == [
        "image",
        "ground_truth",
        "prediction",
        "errors",
    ]
    errors = comparison.panels[-1].picture.astype(int)
    assert errors.shape == (512, 768, 3)

    def color_at(x, y):
        return errors[8 * y : 8 * y + 8, 8 * x : 8 * x + 8].reshape(-1, 3).mean(axis=0)

    red, green, blue = color_at(36, 24)  # missed
    assert red > 2 * green and red > 2 * blue
    red, green, blue = color_at(60, 24)  # wrong class
    assert red > 1.3 * green and blue > 1.3 * green
    for x in (78, 88):  # poor mask, what is found of it and what is not
        red, green, blue = color_at(x, 24)
        assert blue > 1.3 * green > 1.3 * red
    red, green, blue = color_at(60, 52)  # invented
    assert red > green > 1.5 * blue
    for x, y in ((12, 24), (30, 60)):  # found: a thing, and stuff
        red, green, blue = color_at(x, y)
        assert green > red + 20 and green > blue + 10 and red > 100
    for rows, columns in ((slice(4, 60), slice(300, 760)), (slice(330, 440), slice(40, 150))):
        hatched = errors[rows, columns]  # void, crowd
        assert len(np.unique(hatched)) > 2
        assert (hatched.max(axis=2) == hatched.min(axis=2)).all()


def test_panels_say_what_is_where(panoptic_run, monkeypatch):
    visualizers = []

    class Remembered(SegmentationVisualizer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            visualizers.append(self)

    module = "segtron.visualization.panoptic_comparison"
    monkeypatch.setattr(f"{module}.SegmentationVisualizer", Remembered)
    comparison = load(panoptic_run)[0].draw()
    legends = [
        [text.get_text() for legend in v.output.ax.findobj(Legend) for text in legend.get_texts()]
        for v in visualizers
    ]
    assert legends == [
        [],
        ["road  66.7 %", "car: 4  16.7 %", "void  12.5 %", "crowd  4.2 %"],
        ["road  PQ 80.5 %", "car  PQ 33.3 %", "bus & $  PQ 0.0 %"],
        ["found: 2", "missed: 1", "invented: 1", "wrong class: 1", "poor mask: 1"]
        + ["not scored  16.7 %"],
    ]
    labels = [sorted(text.get_text() for text in v.output.ax.texts) for v in visualizers]
    assert labels == [
        [],
        ["car"] * 4,
        ["bus & $ 0.60", "bus & $ 0.80", "car 0.70", "car 0.90"],
        ["bus & $ 0.60", "bus & $ 0.80, is car", "car", "car, IoU 0.38"],
    ]
    assert [panel.title for panel in comparison.panels] == [
        "image",
        "ground truth: 5 segments",
        "prediction: 5 segments, PQ 38.0 %",
        "2 found, 1 missed, 1 invented, 1 wrong class, 1 poor mask",
    ]


def test_of_two_wrong_segments_the_smaller_is_shown():
    # Ground truth: void, a crowd, found, missed. Prediction: none, found, invented, invented.
    truth = np.repeat(np.arange(4, dtype=np.uint16)[:, None], 4, axis=1)
    prediction = np.repeat(np.arange(4, dtype=np.uint16)[None], 4, axis=0)
    shown = shown_segments(
        PanopticMap(truth, [{}] * 3, np.array([4, 4, 4, 100])),
        PanopticMap(prediction, [{}] * 3, np.array([4, 4, 99, 101])),
        np.array([Outcome.NOT_SCORED, Outcome.FOUND, Outcome.MISSED]),
        np.array([Outcome.FOUND, Outcome.INVENTED, Outcome.INVENTED]),
    )
    assert shown.tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [2, 2, 5, 6], [3, 3, 5, 3]]


def test_nothing_predicted_and_nothing_there_can_be_drawn(panoptic_run):
    for part, file in (("truth", "a.png"), ("inference/town/panoptic", "a.png")):
        write_panoptic_png(panoptic_run / part / file, np.zeros((64, 96), np.int32))
        json_file = panoptic_run / f"{part}.json"
        content = json.loads(json_file.read_text())
        content["annotations"][0]["segments_info"] = []
        json_file.write_text(json.dumps(content))
    first, _ = load(panoptic_run)
    assert first.quality == 1
    comparison = first.draw()
    assert comparison.facts["PQ"] == "none"
    assert comparison.panels[-1].title == "nothing there"


def test_predictions_of_other_data_are_refused(panoptic_run):
    folder = panoptic_run / "inference" / "town"
    png, json_file = folder / "panoptic" / "b.png", folder / "panoptic.json"
    ids, text = read_panoptic_png(png), json_file.read_text()

    def assert_refused(message, change=lambda entries: None, ids=ids):
        content = json.loads(text)
        change(content["annotations"])
        json_file.write_text(json.dumps(content))
        write_panoptic_png(png, ids)
        with pytest.raises(UserError, match=message):
            draw(panoptic_run)

    again = "Score the model again"
    assert_refused(rf"only one of them has 32; .*{again}", lambda entries: entries.pop())
    assert_refused(
        "only one of them has 33", lambda entries: entries.append({**entries[0], "image_id": 33})
    )
    assert_refused(
        rf"b\.png: .* of the category 6, .*{again}",
        lambda entries: entries[1]["segments_info"][0].update(category_id=6),
    )
    assert_refused(r"b\.png is 96 x 60, but its image", ids=ids[:60])
    assert_refused(rf"b\.png: .* segment 99, .*{again}", ids=np.where(ids == 1, 99, ids))
    assert_refused(
        "outside|below|leads", lambda entries: entries[1].update(file_name="../../truth/b.png")
    )
    png.unlink()
    json_file.write_text(text)
    with pytest.raises(UserError, match=r"b\.png does not exist"):
        draw(panoptic_run)
    assert not (panoptic_run / "visualizations").exists()


def test_unsaved_predictions_can_be_asked_for(panoptic_run, caplog):
    inference = panoptic_run / "inference" / "town"
    (inference / "panoptic.json").unlink()
    with pytest.raises(UserError, match=r"score the model first: .*TEST\.SAVE_PANOPTIC True"):
        draw(panoptic_run)
    # What else was saved is drawn.
    (inference / "coco_instances_results.json").write_text("[]")
    with caplog.at_level(logging.WARNING):
        (folder,) = draw(panoptic_run)
    assert "TEST.SAVE_PANOPTIC True" in caplog.text
    # Four cars, none of them found; the crowd is no instance.
    assert (folder / "001_q0.00_a.png").is_file()


def test_sets_with_two_numberings_have_no_panoptic_pictures(panoptic_run, caplog):
    """As Detectron2's `coco_2017_val_panoptic_separated`."""
    cfg = load_config(panoptic_run / "config.yaml")
    metadata = MetadataCatalog.get("town")
    for kind, names, ids in (
        ("thing", ["car", "bus & $"], {5: 0, 9: 1}),
        ("stuff", ["things", "road"], {0: 0, 11: 1}),
    ):
        for key, value in (("classes", names), ("dataset_id_to_contiguous_id", ids)):
            delattr(metadata, f"{kind}_{key}")
            setattr(metadata, f"{kind}_{key}", value)
    inference = panoptic_run / "inference" / "town"

    def draw_apart():
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            return visualize_results(cfg, panoptic_run, number=5, min_score=0.5)

    with pytest.raises(UserError) as refused:
        draw_apart()
    assert "panoptic" not in str(refused.value).split("holds no")[1].lower()
    (inference / "coco_instances_results.json").write_text("[]")
    (folder,) = draw_apart()
    assert (folder / "001_q0.00_a.png").is_file()
    assert "town numbers things and stuff apart" in caplog.text
    assert "SAVE_PANOPTIC" not in caplog.text
    (inference / "panoptic.json").unlink()
    draw_apart()
    assert "panoptic" not in caplog.text


def test_instances_go_by_the_classes_of_things(panoptic_run):
    mask = {"size": [64, 96], "counts": [4 * 64 + 12, 16, *[48, 16] * 15, 36 + 76 * 64]}
    rle = mask_util.frPyObjects(mask, 64, 96)
    rle["counts"] = rle["counts"].decode()
    result = {"image_id": 31, "category_id": 5, "score": 0.9, "segmentation": rle}
    folder = panoptic_run / "inference" / "town"
    (folder / "coco_instances_results.json").write_text(json.dumps([result]))
    folders = draw(panoptic_run)
    assert [folder.name for folder in folders] == ["panoptic", "instances"]
    # One of four cars, and none: 1 / (1 + 3 / 2).
    assert (folders[1] / "002_q0.40_a.png").is_file()
