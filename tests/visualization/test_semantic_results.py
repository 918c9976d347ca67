from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from segtron.config import load_config
from segtron.errors import UserError
from segtron.visualization.results import visualize_results
from segtron.visualization.semantic_results import load_semantic_results


def show(run, **kwargs):
    return visualize_results(
        load_config(run / "config.yaml"), run, **{"number": 5, "min_score": 0.5} | kwargs
    )


def test_the_worst_image_comes_first(semantic_run, report_content):
    show(semantic_run)
    (gallery,) = report_content(semantic_run)["galleries"]
    # In a.png grass has an IoU of one half and the other class of nothing.
    shown = [(image["name"], image["numbers"]["mean IoU"]) for image in gallery["images"]]
    assert shown == [("a.png", 25), ("b.png", 100)]


def test_images_without_a_labelled_pixel_come_last(semantic_run):
    label = semantic_run / "labels" / "a.png"
    Image.fromarray(np.full((64, 96), 255, np.uint8)).save(label)
    load_config(semantic_run / "config.yaml")
    results = load_semantic_results("fields", semantic_run / "inference" / "fields")
    assert [result.quality for result in results] == [1, 1]
    show(semantic_run)


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
            show(semantic_run)
    file.unlink()
    with pytest.raises(UserError, match=r"label file .*b\.png does not exist"):
        show(semantic_run)
    shutil.rmtree(file.parent)
    with pytest.raises(UserError, match="labels of fields; score the model first"):
        show(semantic_run)
    assert not (semantic_run / "report").exists()


def test_a_set_may_have_classes_and_instances(semantic_run, report_content):
    content = semantic_run / "inference" / "fields" / "coco_instances_results.json"
    content.write_text(json.dumps([]))
    show(semantic_run)
    galleries = report_content(semantic_run)["galleries"]
    assert [gallery["kind"] for gallery in galleries] == ["instances", "classes"]
    pictures = semantic_run / "report" / "pictures"
    assert sorted(path.name for path in pictures.iterdir()) == ["1", "2"]
