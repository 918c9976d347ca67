from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances
from detectron2.utils import comm

from segtron.config.defaults import get_default_config
from segtron.data.catalog import INSTANCE_METADATA, PANOPTIC_METADATA
from segtron.data.cityscapes import load_instances, load_panoptic
from segtron.data.cityscapes_panoptic_files import write_panoptic_files
from segtron.data.classes import class_metadata, things_in_sem_seg
from segtron.data.panoptic import read_pan_seg
from segtron.data.panoptic_png import read_panoptic_png
from segtron.data.register import register_datasets
from segtron.data.toytown import make_toytown
from segtron.errors import UserError
from segtron.evaluation import score_panoptic_files
from segtron.evaluation.build import build_evaluators
from segtron.evaluation.coco_ground_truth import load_coco_ground_truth
from segtron.evaluation.panoptic import PanopticEvaluator
from segtron.evaluation.panoptic_files import SavedSegments, panoptic_entries, panoptic_file

from .panoptic_scenes import (
    CATEGORIES,
    assert_equal_scores,
    official_scores,
    random_scene,
    write_files,
)

NUM_CLASSES = 19


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("toytown")
    make_toytown(root, train=1, val=4, size=(96, 192), seed=5)
    return root


@pytest.fixture
def toytown(root, request):
    """A small toytown as a panoptic set; without the files of the official converter."""
    name = f"panoptic_for_{request.node.name}"
    DatasetCatalog.register(name, lambda: load_panoptic(root, "val"))
    MetadataCatalog.get(name).set(**PANOPTIC_METADATA)
    yield name
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def model_output(record: dict, seed: int) -> dict:
    """What a model might say: the ground truth moved by a pixel or two, some of it of a class
    beside the right one, some of it left out."""
    rng = np.random.default_rng(seed)
    truth = np.roll(read_pan_seg(record), rng.integers(-2, 3, size=2), axis=(0, 1))
    things = things_in_sem_seg(class_metadata("toytown_panoptic_val"))
    ids, segments_info = np.zeros_like(truth), []
    sem_seg = np.zeros((NUM_CLASSES, *truth.shape), np.float32)
    masks, classes, scores = [], [], []
    for segment in record["segments_info"]:
        mask = truth == segment["id"]
        category = segment["category_id"]
        sem_seg[category][mask] = 1
        if rng.random() < 0.1 or segment["iscrowd"] or not mask.any():
            continue
        if rng.random() < 0.1:
            category = things[3] if segment["isthing"] else 1
        number = len(segments_info) + 1
        ids[mask] = number
        info = {"id": number, "isthing": segment["isthing"], "category_id": category}
        if segment["isthing"]:
            info |= {"score": float(rng.random()), "instance_id": len(masks)}
            masks.append(mask)
            classes.append(things.index(category))
            scores.append(info["score"])
        else:
            info["area"] = int(mask.sum())
        segments_info.append(info)
    instances = Instances(truth.shape)
    instances.pred_masks = torch.from_numpy(np.array(masks).reshape(-1, *truth.shape))
    instances.pred_boxes = Boxes(torch.tensor([[0.0, 0.0, 9.0, 9.0]] * len(masks)))
    instances.pred_classes = torch.tensor(classes, dtype=torch.int64)
    instances.scores = torch.tensor(scores)
    return {
        "instances": instances,
        "sem_seg": torch.from_numpy(sem_seg),
        "panoptic_seg": (torch.from_numpy(ids), segments_info),
    }


def config(**test) -> CfgNode:
    cfg = get_default_config()
    cfg.MODEL.META_ARCHITECTURE = "UnifiedPanopticFPN"
    for key, value in test.items():
        cfg.TEST[key] = value
    return cfg


def run(evaluator, name: str) -> dict:
    evaluator.reset()
    for number, record in enumerate(DatasetCatalog.get(name)):
        evaluator.process([record], [model_output(record, number)])
    return evaluator.evaluate()


def table_of(log: str) -> dict[str, list[str]]:
    """The rows of the last table of a log, by their first cell."""
    start = log.rindex("Panoptic quality: ")
    lines = [line for line in log[start:].split("\n") if line.startswith("|")]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return {line[0]: line[1:] for line in cells}


def test_one_run_gives_all_scores_in_one_table(toytown, tmp_path, caplog):
    evaluators = build_evaluators(config(), toytown, tmp_path / "out")
    with caplog.at_level(logging.INFO, logger="segtron"):
        results = run(evaluators, toytown)
    assert set(results) == {
        "bbox", "segm", "cityscapes_segm", "sem_seg", "cityscapes_sem_seg", "panoptic_seg",
    }  # fmt: skip
    assert caplog.text.count("Panoptic quality: 4 images") == 1
    rows = table_of(caplog.text)
    assert rows["class"] == ["PQ", "SQ", "RQ", "IoU", "AP", "ground truth", "predicted"]
    metadata = class_metadata(toytown)
    assert list(rows)[2:] == ["all", "things", "stuff", *metadata.panoptic_classes]
    panoptic, iou, ap = (results[key] for key in ("panoptic_seg", "sem_seg", "segm"))
    assert rows["all"][:5] == [
        f"{value:.2f}"
        for value in (*(panoptic[m] for m in ("PQ", "SQ", "RQ")), iou["mIoU"], ap["AP"])
    ]
    thing_iou = np.nanmean([iou[f"IoU-{name}"] for name in metadata.thing_classes])
    assert rows["things"][3:5] == [f"{thing_iou:.2f}", f"{ap['AP']:.2f}"]
    stuff = [n for n in metadata.panoptic_classes if n not in metadata.thing_classes]
    stuff_iou = np.nanmean([iou[f"IoU-{name}"] for name in stuff])
    assert rows["stuff"][3:5] == [f"{stuff_iou:.2f}", "-"]
    assert rows["car"][0] == f"{panoptic['PQ-car']:.2f}"
    assert rows["car"][3:5] == [f"{iou['IoU-car']:.2f}", f"{ap['AP-car']:.2f}"]
    assert rows["road"][4] == "-"
    assert 0 < panoptic["PQ"] < 100
    assert 0 < ap["AP"] < 100

    # Neither segments nor classes are written unasked.
    assert {path.suffix for path in (tmp_path / "out").rglob("*")} == {".json", ".csv"}
    assert not (tmp_path / "out" / "panoptic.json").exists()


def test_saved_segments_pass_through_the_official_scorer(toytown, root, tmp_path):
    results = run(build_evaluators(config(SAVE_PANOPTIC=True), toytown, tmp_path / "out"), toytown)
    # The official converter's files; where they lie the set's records would be read from them.
    copy = tmp_path / "cityscapes"
    _copy_labels(root, copy)
    gt_json = write_panoptic_files(copy, "val")
    pred_json = tmp_path / "out" / "panoptic.json"
    assert not (tmp_path / "out" / "labels").exists()
    expected = official_scores(gt_json, pred_json)
    for metric, value in expected["overall"].items():
        np.testing.assert_allclose(results["panoptic_seg"][metric], value, rtol=0, atol=1e-9)
    scores = score_panoptic_files(gt_json, pred_json)
    assert_equal_scores(scores, expected)
    for metric, value in scores.as_results().items():
        np.testing.assert_allclose(results["panoptic_seg"][metric], value, rtol=0, atol=1e-12)

    content = json.loads(pred_json.read_text())
    truth = json.loads(gt_json.read_text())
    assert [i["id"] for i in content["images"]] == [i["id"] for i in truth["images"]]
    assert [i["file_name"] for i in content["images"]] == [
        f"{i['id']}_leftImg8bit.png" for i in truth["images"]
    ]
    assert content["categories"] == [
        {key: category[key] for key in ("id", "name", "isthing")}
        for category in truth["categories"]
    ]
    for number, record in enumerate(DatasetCatalog.get(toytown)):
        annotation = content["annotations"][number]
        ids, segments_info = model_output(record, number)["panoptic_seg"]
        png = tmp_path / "out" / "panoptic" / annotation["file_name"]
        assert png == panoptic_file(tmp_path / "out", record["image_id"])
        np.testing.assert_array_equal(read_panoptic_png(png), ids.numpy())
        assert len(annotation["segments_info"]) == len(segments_info)
        for saved, info in zip(annotation["segments_info"], segments_info, strict=True):
            rows, columns = np.nonzero(ids.numpy() == info["id"])
            assert saved["area"] == len(rows)
            x, y, width, height = saved["bbox"]
            assert (x, y) == (columns.min(), rows.min())
            assert (x + width, y + height) == (columns.max() + 1, rows.max() + 1)
            assert saved["iscrowd"] == 0
            assert saved.get("score") == info.get("score")


def _copy_labels(root: Path, copy: Path) -> None:
    for path in root.glob("gtFine/val/*/*_instanceIds.png"):
        target = copy / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())


def test_detectron2s_other_form_of_segments(toytown, tmp_path):
    """Panoptic-DeepLab gives class * label_divisor + number, -1 in void, and no list."""
    expected = run(PanopticEvaluator(toytown), toytown)
    evaluator = PanopticEvaluator(toytown, output_dir=tmp_path)
    for number, record in enumerate(DatasetCatalog.get(toytown)):
        ids, segments_info = model_output(record, number)["panoptic_seg"]
        codes = torch.full_like(ids, -1)
        for segment in segments_info:
            codes[ids == segment["id"]] = segment["category_id"] * 1000 + segment["id"]
        evaluator.process([record], [{"panoptic_seg": (codes, None)}])
    np.testing.assert_equal(evaluator.evaluate(), expected)
    saved = json.loads((tmp_path / "panoptic.json").read_text())["annotations"][0]
    assert not any("score" in segment for segment in saved["segments_info"])


def test_perfect_predictions(toytown):
    evaluator = PanopticEvaluator(toytown)
    for record in DatasetCatalog.get(toytown):
        listed = [s for s in record["segments_info"] if not s["iscrowd"]]
        ids = read_pan_seg(record)
        ids[~np.isin(ids, [s["id"] for s in listed])] = 0
        evaluator.process([record], [{"panoptic_seg": (torch.from_numpy(ids), listed)}])
    results = evaluator.evaluate()["panoptic_seg"]
    assert {name for name, value in results.items() if value != 100} == {
        name for name, value in results.items() if np.isnan(value)
    }
    assert results["PQ"] == 100


def test_instances_of_a_panoptic_set_are_those_of_the_instance_set(toytown, root, tmp_path):
    """For AP, a panoptic set without a JSON of instances takes its segments."""
    name = f"{toytown}_instances"
    DatasetCatalog.register(name, lambda: load_instances(root, "val"))
    MetadataCatalog.get(name).set(**INSTANCE_METADATA)
    try:
        expected = load_coco_ground_truth(name)
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    MetadataCatalog.get(toytown).json_file = str(tmp_path / "instances.json")  # isn't there
    found = load_coco_ground_truth(toytown)
    assert (found.category_ids, found.class_names) == (expected.category_ids, expected.class_names)
    for ours, theirs in zip(found.images, expected.images, strict=True):
        assert ours | {"id": f"{ours['id']}_leftImg8bit.png"} == theirs
    for ours, theirs in zip(found.annotations, expected.annotations, strict=True):
        assert ours | {"image_id": f"{ours['image_id']}_leftImg8bit.png"} == theirs
    assert len(found.annotations) > 10

    content = {"images": found.images, "annotations": found.annotations[:3]}
    for annotation in content["annotations"]:
        counts = annotation["segmentation"]["counts"].decode()
        annotation["segmentation"] = annotation["segmentation"] | {"counts": counts}
    (tmp_path / "instances.json").write_text(json.dumps(content))
    assert len(load_coco_ground_truth(toytown).annotations) == 3


def test_evaluator_starts_anew(toytown):
    evaluator = PanopticEvaluator(toytown)
    first = run(evaluator, toytown)
    assert evaluator.scores is not None
    np.testing.assert_equal(run(evaluator, toytown), first)
    evaluator.reset()
    assert evaluator.scores is None
    assert evaluator.evaluate() == {}


def test_images_without_ground_truth_are_saved_and_said_so(toytown, tmp_path, caplog):
    record = DatasetCatalog.get(toytown)[0]
    output = model_output(record, 0)
    bare = {k: record[k] for k in ("file_name", "image_id", "height", "width")}
    evaluator = PanopticEvaluator(toytown, output_dir=tmp_path)
    evaluator.process([bare], [output])
    with caplog.at_level(logging.INFO, logger="segtron"):
        assert evaluator.evaluate() == {}
    assert f"no image of {toytown} has ground truth: predictions are not scored" in caplog.text
    assert (tmp_path / "panoptic" / f"{record['image_id']}.png").is_file()
    assert len(json.loads((tmp_path / "panoptic.json").read_text())["annotations"]) == 1

    void = tmp_path / "void.png"
    cv2.imwrite(str(void), np.zeros((record["height"], record["width"]), np.uint16))
    evaluator = PanopticEvaluator(toytown)
    evaluator.process([record | {"pan_seg_file_name": str(void), "segments_info": []}], [output])
    with caplog.at_level(logging.INFO, logger="segtron"):
        assert evaluator.evaluate() == {}
    assert f"no image of {toytown} has a segment: predictions are not scored" in caplog.text


def test_predictions_that_cannot_be_scored(toytown):
    record = DatasetCatalog.get(toytown)[0]
    evaluator = PanopticEvaluator(toytown)

    def process(ids, **changed):
        segment = {"id": 1, "isthing": True, "category_id": 11} | changed
        evaluator.process([record], [{"panoptic_seg": (torch.from_numpy(ids), [segment])}])

    ids = np.ones((record["height"], record["width"]), np.int32)
    with pytest.raises(UserError, match=f"thing class number 3, which {toytown} doesn't have"):
        process(ids, category_id=3)
    with pytest.raises(UserError, match="stuff class number 19, which"):
        process(ids, isthing=False, category_id=19)
    with pytest.raises(UserError, match="a score that is no number"):
        process(ids, score=float("nan"))
    file = record["pan_seg_file_name"]
    with pytest.raises(UserError, match=rf"^{file}: the prediction is 192x90 and the ground truth"):
        process(ids[:90])
    with pytest.raises(UserError, match=rf"^{file}: the prediction has pixels of the segment 2, w"):
        process(ids * 2)
    with pytest.raises(UserError, match=f"{toytown} is scored by its panoptic segmentation and"):
        evaluator.process([record], [{"sem_seg": None}])
    process(ids)
    assert evaluator.evaluate()


# Sets whose dicts have no segments ----------------------------------------------------------------


@pytest.fixture
def separated(request, tmp_path):
    """As Detectron2's `coco_2017_val_panoptic_separated`: things and stuff are numbered apart."""
    rng = np.random.default_rng(9)
    case = [random_scene(rng, CATEGORIES) for _ in range(4)]
    gt_json, pred_json = write_files(tmp_path, case, CATEGORIES)
    name = f"separated_for_{request.node.name}"
    things = [c for c in CATEGORIES if c.is_thing]
    stuff = [c for c in CATEGORIES if not c.is_thing]
    MetadataCatalog.get(name).set(
        evaluator_type="coco_panoptic_seg",
        thing_classes=[c.name for c in things],
        thing_dataset_id_to_contiguous_id={c.id: i for i, c in enumerate(things)},
        stuff_classes=["things", *(c.name for c in stuff)],
        stuff_dataset_id_to_contiguous_id={c.id: i + 1 for i, c in enumerate(stuff)} | {0: 0},
        panoptic_json=str(gt_json),
        panoptic_root=str(tmp_path / "gt"),
    )
    yield name, case, official_scores(gt_json, pred_json)
    MetadataCatalog.remove(name)


def separated_output(name: str, scene) -> dict:
    metadata = MetadataCatalog.get(name)
    infos = []
    for segment in scene.pred_segments:
        isthing = segment["category_id"] in metadata.thing_dataset_id_to_contiguous_id
        kind = "thing" if isthing else "stuff"
        numbers = metadata.get(f"{kind}_dataset_id_to_contiguous_id")
        infos.append(
            {
                "id": segment["id"],
                "isthing": isthing,
                "category_id": numbers[segment["category_id"]],
            }
        )
    return {"panoptic_seg": (torch.from_numpy(scene.pred_ids), infos)}


def test_ground_truth_from_the_json_of_a_set(separated):
    name, case, expected = separated
    evaluator = PanopticEvaluator(name)
    for number, scene in enumerate(case):
        height, width = scene.gt_ids.shape
        record = {"file_name": f"{number}.jpg", "image_id": number}
        record |= {"height": height, "width": width}
        evaluator.process([record], [separated_output(name, scene)])
    evaluator.evaluate()
    assert_equal_scores(evaluator.scores, expected)

    evaluator.reset()
    stranger = {"file_name": "x.jpg", "image_id": 77, "height": 60, "width": 90}
    evaluator.process([stranger], [separated_output(name, case[0])])
    assert evaluator.evaluate() == {}, "an image that the JSON doesn't have is not scored"
    with pytest.raises(UserError, match=r"gt_0\.png is 90 x 60, but its image x\.jpg is 90 x 50"):
        evaluator.process(
            [stranger | {"image_id": 0, "height": 50}], [separated_output(name, case[0])]
        )


def test_a_set_without_panoptic_ground_truth(separated):
    name = separated[0]
    metadata = MetadataCatalog.get(name)
    json_file = Path(metadata.panoptic_json)
    json_file.unlink()
    with pytest.raises(UserError, match=r"cannot read the annotations .*gt\.json"):
        PanopticEvaluator(name)
    del metadata.panoptic_json
    with pytest.raises(UserError, match="numbered apart .* no panoptic_json and panoptic_root"):
        PanopticEvaluator(name)


# Saving -------------------------------------------------------------------------------------------


def test_shards_are_saved_as_one(tmp_path):
    rng = np.random.default_rng(3)
    case = [random_scene(rng, CATEGORIES) for _ in range(5)]

    def shard(numbers: list[int]) -> SavedSegments:
        saved = SavedSegments(tmp_path / "pred", CATEGORIES)
        for number in numbers:
            record = {"image_id": number, "file_name": f"/somewhere/{number}.jpg"}
            saved.add(record, case[number].pred_ids, case[number].pred_segments)
        return pickle.loads(pickle.dumps(saved))

    merged = shard([3, 1, 0])
    merged.merge(shard([4, 2, 3]))
    path = merged.write_json()
    content = json.loads(path.read_text())
    assert [a["image_id"] for a in content["annotations"]] == [0, 1, 2, 3, 4]
    assert [i["id"] for i in content["images"]] == [0, 1, 2, 3, 4]
    assert "/somewhere" not in path.read_text()
    gt_json, pred_json = write_files(tmp_path / "as written", case, CATEGORIES)
    assert_equal_scores(
        score_panoptic_files(gt_json, path, pred_folder=tmp_path / "pred" / "panoptic"),
        official_scores(gt_json, pred_json),
    )


@pytest.mark.parametrize(
    ("image_id", "message"),
    [
        ("a.png", r"'a\.jpg' and 'a\.png' would both be saved as .*a\.png"),
        ("../x", r"'\.\./x' would be saved outside of .*panoptic"),
        ("/x", r"'/x' would be saved outside of .*panoptic"),
    ],
)
def test_files_are_checked_before_anything_is_predicted(toytown, tmp_path, image_id, message):
    records = DatasetCatalog.get(toytown)
    records[1]["image_id"], records[3]["image_id"] = "a.jpg", image_id
    DatasetCatalog.remove(toytown)
    DatasetCatalog.register(toytown, lambda: records)
    with pytest.raises(UserError, match=message):
        PanopticEvaluator(toytown, output_dir=tmp_path)
    PanopticEvaluator(toytown)  # saves nothing


def test_scores_are_known_before_anything_can_fail_to_be_saved(toytown, tmp_path, caplog):
    evaluators = build_evaluators(config(SAVE_PANOPTIC=True), toytown, tmp_path)
    evaluators.reset()
    record = DatasetCatalog.get(toytown)[0]
    evaluators.process([record], [model_output(record, 0)])
    (tmp_path / "panoptic.json").mkdir()
    with (
        caplog.at_level(logging.INFO, logger="segtron"),
        pytest.raises(UserError, match=r"cannot write .*panoptic\.json"),
    ):
        evaluators.evaluate()
    assert "car" in table_of(caplog.text)


def test_an_interrupted_evaluation_leaves_no_json_of_an_older_one(toytown, tmp_path):
    evaluator = PanopticEvaluator(toytown, output_dir=tmp_path)
    run(evaluator, toytown)
    pngs = sorted((tmp_path / "panoptic").iterdir())
    (tmp_path / "panoptic" / "a").mkdir()
    pngs[3].rename(tmp_path / "panoptic" / "a" / "removed since.png")

    evaluator = PanopticEvaluator(toytown, output_dir=tmp_path)
    assert (tmp_path / "panoptic.json").is_file(), "nothing has begun"
    evaluator.reset()
    record = DatasetCatalog.get(toytown)[1]
    evaluator.process([record], [model_output(record, 1)])
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == [pngs[1]]


def test_one_process_removes_what_was_saved_and_the_others_wait(tmp_path, monkeypatch):
    left = []
    monkeypatch.setattr(comm, "synchronize", lambda: left.append(json_file.exists()))
    json_file = tmp_path / "panoptic.json"
    json_file.write_text("{}")
    saved = SavedSegments(tmp_path, CATEGORIES)
    monkeypatch.setattr(comm, "is_main_process", lambda: False)
    saved.remove_earlier()
    monkeypatch.setattr(comm, "is_main_process", lambda: True)
    saved.remove_earlier()
    assert left == [True, False]
    json_file.mkdir()
    with pytest.raises(UserError, match=r"cannot replace .*panoptic\.json, which an earlier"):
        saved.remove_earlier()


def test_saved_segments_can_be_registered_as_a_set(toytown, root, tmp_path):
    """The images' names in the JSON are paths below the folder that the set has them in."""
    images = tmp_path / "images"
    records = DatasetCatalog.get(toytown)
    for record, name in zip(records, ("a/1.png", "b/1.png", "b/c/1.png", "1.png"), strict=True):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).write_bytes(Path(record["file_name"]).read_bytes())
        record["file_name"] = str(images / name)
    DatasetCatalog.remove(toytown)
    DatasetCatalog.register(toytown, lambda: records)
    MetadataCatalog.get(toytown).image_root = str(images)
    run(PanopticEvaluator(toytown, output_dir=tmp_path / "out"), toytown)

    name = f"saved_from_{toytown}"
    entry = {"name": name, "type": "coco_panoptic", "json": str(tmp_path / "out" / "panoptic.json")}
    entry |= {"panoptic": str(tmp_path / "out" / "panoptic"), "images": str(images)}
    register_datasets([entry])
    found = DatasetCatalog.get(name)
    assert {r["image_id"]: r["file_name"] for r in found} == {
        r["image_id"]: r["file_name"] for r in records
    }
    for record in found:
        read_pan_seg(record)


def test_images_of_cityscapes_layout_are_named_with_their_city(toytown, root, tmp_path):
    metadata = MetadataCatalog.get(toytown)
    metadata.image_root, metadata.image_dir = "elsewhere", str(root / "leftImg8bit" / "val")
    run(PanopticEvaluator(toytown, output_dir=tmp_path), toytown)
    for image in json.loads((tmp_path / "panoptic.json").read_text())["images"]:
        city = image["id"].split("_")[0]
        assert image["file_name"] == f"{city}/{image['id']}_leftImg8bit.png"


def test_entries_of_segments():
    ids = np.array([[0, 5, 5], [7, 5, 0]], np.int32)
    listed = [
        {"id": 7, "category_id": 24, "score": 0.25, "isthing": True},
        {"id": 5, "category_id": 7},
        {"id": 9, "category_id": 7},  # covered by others
    ]
    assert panoptic_entries(ids, listed) == [
        {"id": 7, "category_id": 24, "area": 1, "bbox": [0, 1, 1, 1], "iscrowd": 0, "score": 0.25},
        {"id": 5, "category_id": 7, "area": 3, "bbox": [1, 0, 2, 2], "iscrowd": 0},
    ]
