from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from detectron2.data.catalog import Metadata
from detectron2.structures import Boxes, Instances
from PIL import Image
from pycocotools.coco import COCO

from segtron.data.coco_panoptic import read_coco_panoptic
from segtron.data.panoptic_png import read_panoptic_png
from segtron.errors import UserError
from segtron.inference import ImageFile, Images, Prediction, build_sinks, category_ids

METADATA = Metadata(
    name="test",
    thing_classes=["fig", "date, dried"],
    thing_dataset_id_to_contiguous_id={4: 0, 9: 1},
)


def prediction(name="sub/ä.png", number=1, scores=(0.9, 0.3)):
    masks = torch.zeros(len(scores), 40, 60, dtype=torch.bool)
    masks[:, 10:20, 5:35] = True
    instances = Instances((40, 60))
    instances.pred_masks = masks
    instances.pred_boxes = Boxes(torch.tensor([[5.0, 10.0, 35.0, 20.0]] * len(scores)))
    instances.pred_classes = torch.arange(len(scores)) % 2
    instances.scores = torch.tensor(scores)
    image = np.full((40, 60, 3), 50, np.uint8)
    return Prediction(ImageFile(Path("in") / name, name), number, image, {"instances": instances})


def write(name, tmp_path, predictions, metadata=METADATA, draw_score=0.5, save_score=0.0):
    (sink,) = build_sinks([name], tmp_path, metadata, draw_score=draw_score, save_score=save_score)
    records = [sink.write(one) for one in predictions]
    # What is kept between processes.
    sink.finish(json.loads(json.dumps([record for record in records if record is not None])))
    expected = sink.files_of_all([Images([one.file for one in predictions])])
    expected += [path for one in predictions for path in sink.files_of(one.file.name)]
    assert sorted(expected) == [path for path in sorted(tmp_path.rglob("*")) if path.is_file()]


def test_overlays_keep_folders_and_names(tmp_path):
    write("overlay", tmp_path, [prediction()])
    with Image.open(tmp_path / "sub" / "ä.png") as image:
        assert image.size == (768, 512)
        assert image.getpixel((200, 200)) != image.getpixel((700, 400)) == (50, 50, 50)


def test_weak_instances_are_not_drawn(tmp_path):
    write("overlay", tmp_path, [prediction(scores=(0.4,))])
    with Image.open(tmp_path / "sub" / "ä.png") as image:
        assert image.getcolors() == [(768 * 512, (50, 50, 50))]


def test_coco_results_load_in_pycocotools(tmp_path):
    write("coco", tmp_path, [prediction(), prediction("b.png", 2, ())])
    path = tmp_path / "predictions.json"
    entries = json.loads(path.read_text(encoding="utf-8"))
    assert [entry["category_id"] for entry in entries] == [4, 9]
    assert [entry["category_name"] for entry in entries] == ["fig", "date, dried"]
    assert entries[0]["file_name"] == "sub/ä.png"
    assert entries[0]["bbox"] == [5, 10, 30, 10]
    assert entries[0]["score"] == pytest.approx(0.9)
    mask = mask_util.decode(entries[0]["segmentation"])
    assert mask.shape == (40, 60)
    assert mask.sum() == mask[10:20, 5:35].sum() == 300
    truth = COCO()
    truth.dataset = {
        "images": [{"id": 1}, {"id": 2}],
        "categories": [{"id": 4}, {"id": 9}],
        "annotations": [],
    }
    truth.createIndex()
    assert len(truth.loadRes(str(path)).getAnnIds(imgIds=[1])) == 2


def test_the_table_has_a_line_an_instance(tmp_path):
    write("csv", tmp_path, [prediction()], save_score=0.5)
    with open(tmp_path / "predictions.csv", encoding="utf-8", newline="") as file:
        header, line = csv.reader(file)
    assert dict(zip(header, line, strict=True)) == {
        "file_name": "sub/ä.png",
        "class": "fig",
        "score": "0.9000",
        "x": "5.00",
        "y": "10.00",
        "width": "30.00",
        "height": "10.00",
        "area": "300",
    }


@pytest.mark.parametrize("name", ["coco", "csv"])
def test_nothing_predicted_is_a_valid_file(tmp_path, name):
    write(name, tmp_path, [prediction(scores=())])
    (path,) = tmp_path.iterdir()
    text = path.read_text()
    assert json.loads(text) == [] if name == "coco" else len(text.splitlines()) == 1


@pytest.mark.parametrize("name", ["coco", "csv", "panoptic"])
def test_a_failure_leaves_nothing(tmp_path, name):
    (sink,) = build_sinks([name], tmp_path, METADATA, draw_score=0, save_score=0)

    def records():
        raise RuntimeError
        yield

    with pytest.raises(RuntimeError):
        sink.finish(records())
    assert list(tmp_path.iterdir()) == []


def test_ids_are_the_data_sets_or_counted_from_one():
    assert category_ids(METADATA, 2) == [4, 9]
    assert category_ids(Metadata(name="unknown"), 3) == [1, 2, 3]


def test_unknown_classes_go_by_their_number(tmp_path):
    write("coco", tmp_path, [prediction()], metadata=Metadata(name="unknown"))
    entries = json.loads((tmp_path / "predictions.json").read_text())
    assert [(e["category_id"], e["category_name"]) for e in entries] == [(1, "0"), (2, "1")]


def test_unknown_sinks_are_refused(tmp_path):
    with pytest.raises(
        UserError, match="'film' is unknown; known are coco, labels, overlay, panoptic, csv, video"
    ):
        build_sinks(["coco", "film"], tmp_path, METADATA, draw_score=0, save_score=0)


@pytest.mark.parametrize(
    ("name", "outputs", "message"),
    [
        (
            "coco",
            ["sem_seg"],
            "predicts sem_seg but no instances, .* coco .*: labels, overlay, video$",
        ),
        (
            "csv",
            ["sem_seg"],
            "predicts sem_seg but no instances, .* csv .*: labels, overlay, video$",
        ),
        (
            "panoptic",
            ["instances"],
            "but no panoptic_seg, .* panoptic .*: coco, overlay, csv, video$",
        ),
        (
            "labels",
            ["instances"],
            "instances but no sem_seg, .* labels .*: coco, overlay, csv, video$",
        ),
        (
            "overlay",
            ["proposals"],
            "proposals but no panoptic_seg or instances or sem_seg, .*: none$",
        ),
    ],
)
def test_sinks_say_what_a_model_can_be_saved_as(tmp_path, name, outputs, message):
    (sink,) = build_sinks([name], tmp_path, METADATA, draw_score=0, save_score=0)
    given = Prediction(ImageFile(Path("a.png"), "a.png"), 1, None, dict.fromkeys(outputs))
    with pytest.raises(UserError, match=message):
        sink.check(given)
    sink.check(
        replace(given, output=dict.fromkeys([*outputs, "instances", "sem_seg", "panoptic_seg"]))
    )


def semantic(name="sub/ä.jpg", number=1):
    """Class 0 above class 1, with scores of no order."""
    scores = torch.zeros(2, 40, 60)
    scores[0, :20] = 3.5
    scores[1, 20:] = 0.1
    image = np.zeros((40, 60, 3), np.uint8)
    return Prediction(ImageFile(Path("in") / name, name), number, image, {"sem_seg": scores})


STUFF = {"stuff_classes": ["road", "cost in $"], "stuff_colors": [(200, 0, 0), (0, 0, 200)]}


@pytest.mark.parametrize(
    ("ids", "mode", "values"),
    [({7: 0, 26: 1}, "L", [7, 26]), ({7: 0, 300: 1}, "I;16", [7, 300]), (None, "L", [0, 1])],
)
def test_labels_have_the_data_sets_own_ids(tmp_path, ids, mode, values):
    known = {} if ids is None else {"stuff_dataset_id_to_contiguous_id": ids}
    write("labels", tmp_path, [semantic()], metadata=Metadata(name="test", **STUFF, **known))
    with Image.open(tmp_path / "labels" / "sub" / "ä.png") as image:
        assert image.mode == mode
        labels = np.asarray(image)
    assert labels.shape == (40, 60)
    assert (labels[:20] == values[0]).all() and (labels[20:] == values[1]).all()


def test_overlays_show_classes(tmp_path):
    write("overlay", tmp_path, [semantic("a.png")], metadata=Metadata(name="test", **STUFF))
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (768, 512)
        red, green, blue = image.getpixel((600, 100))
        assert red > 90 and green == blue == 0
        red, green, blue = image.getpixel((600, 400))
        assert blue > 90 and green == red == 0
        # The legend.
        assert (200, 0, 0) in {color for _, color in image.getcolors(2**24)}


def test_overlays_show_classes_and_instances(tmp_path):
    instances = prediction().output["instances"]
    both = replace(semantic("a.png"), output={"instances": instances, **semantic().output})
    write("overlay", tmp_path / "both", [both], metadata=Metadata(name="test", **STUFF))
    write("overlay", tmp_path / "one", [semantic("a.png")], metadata=Metadata(name="test", **STUFF))
    pictures = [np.asarray(Image.open(tmp_path / name / "a.png")) for name in ("both", "one")]
    changed = (pictures[0] != pictures[1]).any(axis=2)
    # Beside the instance's own pixels, its outline and label.
    scale = 512 / 40
    assert changed[int(13 * scale) : int(18 * scale), int(25 * scale) : int(33 * scale)].all()
    assert not changed[int(25 * scale) :].any()


def test_scores_that_are_no_numbers_are_refused(tmp_path):
    given = semantic()
    given.output["sem_seg"][0, 3, 3] = float("nan")
    (sink,) = build_sinks(["labels"], tmp_path, METADATA, draw_score=0, save_score=0)
    with pytest.raises(UserError, match="not finite"):
        sink.write(given)
    assert list(tmp_path.iterdir()) == []


PANOPTIC = Metadata(
    name="panoptic",
    thing_classes=["fig"],
    thing_dataset_id_to_contiguous_id={30: 0},
    stuff_classes=["sky", "fig", "cost in $"],
    stuff_dataset_id_to_contiguous_id={10: 0, 30: 1, 20: 2},
    panoptic_classes=["sky", "fig", "cost in $"],
    panoptic_colors=[(0, 0, 200), (0, 200, 0), (200, 0, 0)],
)


def panoptic(name="sub/ä.jpg", number=1, **more):
    """Sky, in it a fig; the lower rows are void. A third segment has no pixel."""
    ids = torch.full((40, 60), 5, dtype=torch.int32)
    ids[10:20, 5:35] = 300
    ids[30:] = 0
    segments = [
        {"id": 300, "category_id": 1, "isthing": True, "score": 0.25, "instance_id": 0},
        {"id": 5, "category_id": 0, "isthing": False, "area": 900},
        {"id": 6, "category_id": 2, "isthing": False, "area": 0},
    ]
    image = np.zeros((40, 60, 3), np.uint8)
    output = {"panoptic_seg": (ids, segments), **more}
    return Prediction(ImageFile(Path("in") / name, name), number, image, output)


def test_panoptic_files_are_cocos(tmp_path):
    write("panoptic", tmp_path, [panoptic(), panoptic("b.png", 3)], metadata=PANOPTIC)
    content = read_coco_panoptic(tmp_path / "panoptic.json")
    assert content["categories"] == [
        {"id": 10, "name": "sky", "isthing": 0},
        {"id": 30, "name": "fig", "isthing": 1},
        {"id": 20, "name": "cost in $", "isthing": 0},
    ]
    assert content["images"] == [
        {"id": 1, "file_name": "sub/ä.jpg", "height": 40, "width": 60},
        {"id": 3, "file_name": "b.png", "height": 40, "width": 60},
    ]
    first, second = content["annotations"]
    assert (first["image_id"], first["file_name"]) == (1, "sub/ä.png")
    assert (second["image_id"], second["file_name"]) == (3, "b.png")
    assert sorted(first["segments_info"], key=lambda s: s["id"]) == [
        {
            "category_name": "fig",
            "id": 1,
            "category_id": 30,
            "area": 300,
            "bbox": [5, 10, 30, 10],
            "iscrowd": 0,
            "score": 0.25,
        },
        {
            "category_name": "sky",
            "id": 2,
            "category_id": 10,
            "area": 1500,
            "bbox": [0, 0, 60, 30],
            "iscrowd": 0,
        },
    ]
    ids = read_panoptic_png(tmp_path / "panoptic" / "sub" / "ä.png")
    expected = np.full((40, 60), 2)
    expected[10:20, 5:35] = 1
    expected[30:] = 0
    np.testing.assert_array_equal(ids, expected)


def test_the_score_threshold_is_not_for_segments(tmp_path):
    write("panoptic", tmp_path, [panoptic()], metadata=PANOPTIC, save_score=0.9)
    (annotation,) = json.loads((tmp_path / "panoptic.json").read_text())["annotations"]
    assert len(annotation["segments_info"]) == 2


def test_categories_of_unknown_data_are_counted_from_one(tmp_path):
    names = {key: PANOPTIC.get(key) for key in ("thing_classes", "panoptic_classes")}
    write("panoptic", tmp_path / "a", [panoptic()], metadata=Metadata(name="model", **names))
    content = read_coco_panoptic(tmp_path / "a" / "panoptic.json")
    assert [(c["id"], c["isthing"]) for c in content["categories"]] == [(1, 0), (2, 1), (3, 0)]
    # Numbered apart, and with no names at all: stuff comes after the things.
    apart = panoptic()
    apart.output["panoptic_seg"][1][0]["category_id"] = 0
    metadata = Metadata(name="apart", thing_classes=["fig"], stuff_classes=["sky"])
    write("panoptic", tmp_path / "b", [apart], metadata=metadata)
    content = read_coco_panoptic(tmp_path / "b" / "panoptic.json")
    assert content["categories"] == [
        {"id": 1, "name": "fig", "isthing": 1},
        {"id": 2, "name": "sky", "isthing": 0},
    ]


def test_nothing_found_is_a_valid_panoptic_file(tmp_path):
    empty = panoptic()
    empty.output["panoptic_seg"] = (torch.zeros(40, 60, dtype=torch.int32), [])
    write("panoptic", tmp_path, [empty], metadata=PANOPTIC)
    (annotation,) = read_coco_panoptic(tmp_path / "panoptic.json")["annotations"]
    assert annotation["segments_info"] == []
    assert not read_panoptic_png(tmp_path / "panoptic" / "sub" / "ä.png").any()


def test_overlays_of_segments_show_nothing_else(tmp_path):
    others = {**prediction().output, **semantic().output}
    write("overlay", tmp_path / "a", [panoptic("a.png")], metadata=PANOPTIC, draw_score=0.9)
    write("overlay", tmp_path / "b", [panoptic("a.png", **others)], metadata=PANOPTIC, draw_score=0)
    alone, beside = (np.asarray(Image.open(tmp_path / name / "a.png")) for name in "ab")
    np.testing.assert_array_equal(alone, beside)
    red, green, blue = alone[13 * 13, 25 * 13].astype(int)
    assert green > red and green > blue
    red, green, blue = alone[13 * 25, 700].astype(int)
    assert blue > 90 and red == green == 0
