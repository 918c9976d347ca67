from __future__ import annotations

import json
import logging

import numpy as np
import pycocotools.mask as mask_util
import pytest
from detectron2.data import MetadataCatalog

from segtron.config import load_config
from segtron.data.panoptic_png import read_panoptic_png, write_panoptic_png
from segtron.errors import UserError
from segtron.visualization.fates import NOT_SCORED
from segtron.visualization.panoptic_results import load_panoptic_results
from segtron.visualization.results import visualize_results

# Of the first image: a third of the cars' PQ, nothing for buses; the road's IoU is 3840 / 4768.
QUALITY = (1 / 3 + 0 + 3840 / 4768) / 3


def show(run, **kwargs):
    return visualize_results(
        load_config(run / "config.yaml"), run, **{"number": 5, "min_score": 0.5} | kwargs
    )


def load(run):
    load_config(run / "config.yaml")
    return load_panoptic_results("town", run / "inference" / "town")


def test_quality_is_the_images_pq(panoptic_run):
    assert [result.quality for result in load(panoptic_run)] == pytest.approx([QUALITY, 1])


def test_nothing_predicted_and_nothing_there_can_be_shown(panoptic_run):
    for part, file in (("truth", "a.png"), ("inference/town/panoptic", "a.png")):
        write_panoptic_png(panoptic_run / part / file, np.zeros((64, 96), np.int32))
        json_file = panoptic_run / f"{part}.json"
        content = json.loads(json_file.read_text())
        content["annotations"][0]["segments_info"] = []
        json_file.write_text(json.dumps(content))
    first, _ = load(panoptic_run)
    assert first.quality == 1
    layers = first.layers()
    assert layers.numbers["PQ"] is None and not layers.prediction
    assert {region.fate for region in layers.errors} == {NOT_SCORED}


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
            show(panoptic_run)

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
        show(panoptic_run)
    assert not (panoptic_run / "report").exists()


def test_unsaved_predictions_can_be_asked_for(panoptic_run, report_content, caplog):
    inference = panoptic_run / "inference" / "town"
    (inference / "panoptic.json").unlink()
    with pytest.raises(UserError, match=r"score the model first: .*TEST\.SAVE_PANOPTIC True"):
        show(panoptic_run)
    # What else was saved is shown.
    (inference / "coco_instances_results.json").write_text("[]")
    with caplog.at_level(logging.WARNING):
        show(panoptic_run)
    assert "TEST.SAVE_PANOPTIC True" in caplog.text
    (gallery,) = report_content(panoptic_run)["galleries"]
    # Four cars, none of them found; the crowd is no instance.
    assert [image["numbers"]["missed"] for image in gallery["images"]] == [4, 4]


def test_sets_with_two_numberings_have_no_panoptic_pictures(panoptic_run, report_content, caplog):
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

    def show_apart():
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            return visualize_results(cfg, panoptic_run, number=5, min_score=0.5)

    with pytest.raises(UserError) as refused:
        show_apart()
    assert "panoptic" not in str(refused.value).split("holds no")[1].lower()
    (inference / "coco_instances_results.json").write_text("[]")
    show_apart()
    (gallery,) = report_content(panoptic_run)["galleries"]
    assert gallery["kind"] == "instances"
    assert "town numbers things and stuff apart" in caplog.text
    assert "SAVE_PANOPTIC" not in caplog.text
    (inference / "panoptic.json").unlink()
    show_apart()
    assert "panoptic" not in caplog.text


def test_instances_go_by_the_classes_of_things(panoptic_run, report_content):
    mask = {"size": [64, 96], "counts": [4 * 64 + 12, 16, *[48, 16] * 15, 36 + 76 * 64]}
    rle = mask_util.frPyObjects(mask, 64, 96)
    rle["counts"] = rle["counts"].decode()
    result = {"image_id": 31, "category_id": 5, "score": 0.9, "segmentation": rle}
    folder = panoptic_run / "inference" / "town"
    (folder / "coco_instances_results.json").write_text(json.dumps([result]))
    show(panoptic_run)
    panoptic, instances = report_content(panoptic_run)["galleries"]
    assert (panoptic["kind"], instances["kind"]) == ("panoptic", "instances")
    # None of four cars, and one: 1 / (1 + 3 / 2), in percent.
    shown = [(image["name"], image["numbers"]["quality"]) for image in instances["images"]]
    assert shown == [("b.png", 0), ("a.png", 40)]
