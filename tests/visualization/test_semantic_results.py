from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from detectron2.data.catalog import Metadata
from matplotlib.legend import Legend
from PIL import Image

from segtron.config import load_config
from segtron.errors import UserError
from segtron.visualization.drawing import SegmentationVisualizer
from segtron.visualization.results import visualize_results
from segtron.visualization.semantic_comparison import draw_semantic_comparison
from segtron.visualization.semantic_results import load_semantic_results

METADATA = Metadata(
    name="test",
    stuff_classes=["road", "cost in $", "car"],
    stuff_colors=[(0, 200, 0), (0, 0, 200), (200, 0, 0)],
)


def draw(run, **kwargs):
    return visualize_results(
        load_config(run / "config.yaml"), run, **{"number": 5, "min_score": 0.5} | kwargs
    )


def test_the_worst_image_comes_first(semantic_run):
    (folder,) = draw(semantic_run)
    assert folder == semantic_run / "visualizations" / "fields"
    # In a.png grass has an IoU of one half and the other class of nothing.
    assert sorted(path.name for path in folder.glob("*.png")) == [
        "001_q0.25_a.png",
        "002_q1.00_b.png",
        "overview.png",
    ]
    for path in folder.glob("*.png"):
        with Image.open(path) as image:
            image.load()
    draw(semantic_run, number=1)
    assert sorted(path.name for path in folder.glob("*.png")) == ["001_q0.25_a.png", "overview.png"]


def test_images_without_a_labelled_pixel_come_last(semantic_run):
    label = semantic_run / "labels" / "a.png"
    Image.fromarray(np.full((64, 96), 255, np.uint8)).save(label)
    load_config(semantic_run / "config.yaml")
    results = load_semantic_results("fields", semantic_run / "inference" / "fields")
    assert [result.quality for result in results] == [1, 1]
    draw(semantic_run)


def test_predictions_of_other_data_are_refused(semantic_run):
    file = semantic_run / "inference" / "fields" / "labels" / "b.png"
    good = np.array(Image.open(file))
    strange = good.copy()
    strange[5, 5] = 4
    for bad, message in (
        (strange, r"b\.png has the value 4, which is no class.*Score the model again"),
        (good[:60], r"b\.png is 96 x 60, but its image .*b\.png is 96 x 64"),
    ):
        Image.fromarray(bad).save(file)
        with pytest.raises(UserError, match=message):
            draw(semantic_run)
    file.unlink()
    with pytest.raises(UserError, match=r"label file .*b\.png does not exist"):
        draw(semantic_run)
    shutil.rmtree(file.parent)
    with pytest.raises(UserError, match="labels of fields; score the model first"):
        draw(semantic_run)
    assert not (semantic_run / "visualizations").exists()


def test_a_set_may_have_classes_and_instances(semantic_run):
    content = semantic_run / "inference" / "fields" / "coco_instances_results.json"
    content.write_text(json.dumps([]))
    folders = draw(semantic_run)
    base = semantic_run / "visualizations" / "fields"
    assert folders == [base / "instances", base / "classes"]
    for folder in folders:
        assert (folder / "overview.png").is_file()
    assert sorted(path.name for path in base.iterdir()) == ["classes", "instances"]
    pictures = semantic_run / "report" / "pictures"
    assert sorted(path.name for path in pictures.iterdir()) == ["1", "2"]


@pytest.fixture
def comparison():
    """Upper half road, of which the left is taken for the next class; car, found; ignored rows."""
    truth = np.zeros((600, 1000), np.uint8)
    truth[300:] = 2
    truth[500:] = 255
    prediction = np.where(truth == 255, 1, truth).astype(np.uint8)
    prediction[:300, :400] = 1
    return np.full((600, 1000, 3), (90, 60, 30), np.uint8), truth, prediction


def test_errors_have_the_colour_of_what_was_predicted(comparison):
    drawn = draw_semantic_comparison(*comparison, METADATA)
    sheet, errors = drawn.sheet(), drawn.panels[-1].picture
    assert errors.shape == (600, 1000, 3)
    assert sheet.shape[0] > 1200 and sheet.shape[1] > 2000
    red, green, blue = errors[250, 200].astype(int)
    assert blue > 150 and blue > 4 * max(red, green)
    # What is right is pale grey, what is ignored hatched.
    for y, x in ((250, 700), (400, 200), (400, 700)):
        assert errors[y, x].min() == errors[y, x].max() > 150
    assert len(np.unique(errors[510:590, 600:990])) > 2
    assert len(np.unique(errors[320:480, 600:990])) == 1


def test_panels_say_what_is_where(comparison, monkeypatch):
    visualizers = []

    class Remembered(SegmentationVisualizer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            visualizers.append(self)

    module = "segtron.visualization.semantic_comparison"
    monkeypatch.setattr(f"{module}.SegmentationVisualizer", Remembered)
    drawn = draw_semantic_comparison(*comparison, METADATA)
    legends = [
        [text.get_text() for legend in v.output.ax.findobj(Legend) for text in legend.get_texts()]
        for v in visualizers
    ]
    # Of 300 rows of road 40 % are wrong; they are 24 % of the 500 labelled rows.
    assert legends == [
        [],
        ["road  50.0 %", "car  33.3 %", "ignored  16.7 %"],
        ["road  IoU 60.0 %", "car  IoU 100.0 %", "cost in $  invented"],
        ["road taken for cost in $  24.0 %"],
    ]
    assert [panel.title for panel in drawn.panels] == [
        "image",
        "ground truth",
        "prediction: mean IoU 80.0 %, pixel accuracy 76.0 %",
        "errors, in the colour of what was predicted",
    ]


def test_the_worst_confusions_come_first(monkeypatch):
    truth = np.repeat(np.arange(3, dtype=np.uint8), [200, 200, 200])[:, None].repeat(1000, axis=1)
    prediction = truth.copy()
    prediction[:10] = 1
    prediction[10:40] = 2
    prediction[590:] = 0
    prediction[580:590] = 0
    legends = []
    monkeypatch.setattr(
        SegmentationVisualizer, "draw_legend", lambda self, entries: legends.append(entries)
    )
    draw_semantic_comparison(np.zeros((600, 1000, 3), np.uint8), truth, prediction, METADATA)
    assert [text for text, _ in legends[-1]] == [
        "road taken for car  5.0 %",
        "car taken for road  3.3 %",
        "road taken for cost in $  1.7 %",
    ]
    assert legends[-1][1][1] == pytest.approx((0, 200 / 255, 0))
