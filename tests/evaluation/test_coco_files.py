from __future__ import annotations

import contextlib
import copy
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from segtron.errors import UserError
from segtron.evaluation.boundary_ap import compute_boundary_ap
from segtron.evaluation.coco_files import score_coco_results
from segtron.evaluation.coco_ground_truth import completed_ground_truth

from .coco_results import metric_of
from .scenes import HEIGHT, WIDTH, ellipse, shifted

CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}, {"id": 12, "name": "unseen"}]
METRICS = ["AP", "AP50", "AP75", "APs", "APm", "APl"]


def encoded(mask: np.ndarray) -> dict[str, Any]:
    rle = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def random_files() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Ground truth and results with crowds, equal scores, and images that lack one or both."""
    rng = np.random.default_rng(9)
    images = [
        {"id": 10 * n + 4, "file_name": f"{n}.jpg", "height": HEIGHT, "width": WIDTH}
        for n in range(6)
    ]
    annotations, results = [], []
    for number, image in enumerate(images):
        for _ in range(0 if number in (1, 4) else 7):
            mask = ellipse(rng, 3, 45)
            rle = encoded(mask)
            category = int(rng.choice([3, 7]))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image["id"],
                    "category_id": category,
                    "iscrowd": int(rng.random() < 0.2),
                    "area": float(mask.sum()),
                    "bbox": mask_util.toBbox(rle).tolist(),
                    "segmentation": rle,
                }
            )
            for guess in (shifted(rng, mask), ellipse(rng)):
                if number in (2, 4):
                    continue
                rle = encoded(guess)
                results.append(
                    {
                        "image_id": image["id"],
                        "category_id": category if rng.random() < 0.8 else 12,
                        "bbox": mask_util.toBbox(rle).tolist(),
                        "segmentation": rle,
                        "score": round(rng.random(), 1),
                    }
                )
    rng.shuffle(results)
    return {"images": images, "annotations": annotations, "categories": CATEGORIES}, results


@pytest.fixture
def write(tmp_path) -> Callable[[Any, Any], tuple[Path, Path]]:
    def write_files(ground_truth: Any, results: Any) -> tuple[Path, Path]:
        paths = tmp_path / "instances.json", tmp_path / "results.json"
        for path, content in zip(paths, (ground_truth, results), strict=True):
            path.write_text(json.dumps(content))
        return paths

    return write_files


def official(ground_truth: Any, results: Any, task: str, tmp_path: Path) -> dict[str, list[float]]:
    """COCO's own six numbers, of all classes and of each, from files; masks and boxes apart."""
    field = {"segm": "segmentation", "bbox": "bbox"}[task]
    kept = ("image_id", "category_id", "score", field)
    paths = tmp_path / "official_gt.json", tmp_path / f"official_{task}.json"
    paths[0].write_text(json.dumps({"info": {}} | ground_truth))
    paths[1].write_text(json.dumps([{key: result[key] for key in kept} for result in results]))
    numbers = {}
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(paths[0]))
        found = truth.loadRes(str(paths[1]))
        for name, ids in {"all": [], **{c["name"]: [c["id"]] for c in CATEGORIES}}.items():
            scorer = COCOeval(truth, found, task)
            if ids:
                scorer.params.catIds = ids
            for step in (scorer.evaluate, scorer.accumulate, scorer.summarize):
                step()
            numbers[name] = [100 * s if s > -1 else float("nan") for s in scorer.stats[:6]]
    return numbers


def test_equals_pycocotools(write, tmp_path):
    ground_truth, results = random_files()
    scores = score_coco_results(*write(ground_truth, results))
    assert list(scores.by_task) == ["segm", "bbox"]
    for task, found in scores.by_task.items():
        expected = official(ground_truth, results, task, tmp_path)
        for name, row in {"all": found.overall, **found.per_class}.items():
            assert list(row) == METRICS
            np.testing.assert_allclose(list(row.values()), expected[name], rtol=0, atol=1e-9)
    assert 5 < scores.by_task["segm"].overall["AP"] < 95
    assert scores.by_task["segm"].overall != scores.by_task["bbox"].overall


def test_json_and_table(write):
    ground_truth, results = random_files()
    scores = score_coco_results(*write(ground_truth, results))
    content = json.loads(json.dumps(scores.as_json()))
    assert content["AP"] == content["segm"]["AP"] != content["bbox"]["AP"]
    assert list(content["per_class"]) == ["cat", "dog", "unseen"]
    assert content["per_class"]["unseen"]["AP"] is None
    cats = [a for a in ground_truth["annotations"] if a["category_id"] == 3]
    assert content["per_class"]["cat"]["ground_truth"] == sum(not a["iscrowd"] for a in cats)
    assert content["per_class"]["cat"]["predicted"] == sum(r["category_id"] == 3 for r in results)
    assert content["num_images"] == 6
    text = str(scores)
    assert text.index("COCO protocol, segm: 6 images") < text.index("COCO protocol, bbox: 6 images")
    assert text.endswith(
        "The file has no results for 3 images; they count as images where nothing was found."
    )


def without(entries: list[dict[str, Any]], field: str) -> list[dict[str, Any]]:
    return [{key: value for key, value in e.items() if key != field} for e in entries]


@pytest.mark.parametrize(("field", "task"), [("bbox", "segm"), ("segmentation", "bbox")])
def test_masks_or_boxes_alone(write, field, task):
    ground_truth, results = random_files()
    both = score_coco_results(*write(ground_truth, results))
    one = score_coco_results(*write(ground_truth, without(results, field)))
    assert list(one.by_task) == [task]
    assert str(one.by_task[task]) == str(both.by_task[task])
    assert one.as_json()["AP"] == both.as_json()[task]["AP"]


def test_ground_truth_without_masks(write):
    ground_truth, results = random_files()
    both = score_coco_results(*write(ground_truth, results))
    ground_truth["annotations"] = without(ground_truth["annotations"], "segmentation")
    boxes = score_coco_results(*write(ground_truth, results))
    assert list(boxes.by_task) == ["bbox"]
    assert str(boxes.by_task["bbox"]) == str(both.by_task["bbox"])
    with pytest.raises(UserError, match=r"results\.json has masks and no boxes, and .*instances\."):
        score_coco_results(*write(ground_truth, without(results, "bbox")))


def test_some_annotations_without_masks(write):
    ground_truth, results = random_files()
    ground_truth["annotations"][0]["segmentation"] = []
    scores = score_coco_results(*write(ground_truth, results))
    assert str(scores).endswith(
        "segm: 1 annotations of the ground truth have no mask and are left out."
    )


def test_uncompressed_masks(write):
    ground_truth, results = random_files()
    expected = str(score_coco_results(*write(ground_truth, results)))
    for entry in (*ground_truth["annotations"], *results):
        mask = mask_util.decode(entry["segmentation"])
        edges = np.flatnonzero(np.diff(mask.T.ravel(), prepend=0, append=2))
        entry["segmentation"]["counts"] = np.diff(edges, prepend=0).tolist()
    assert str(score_coco_results(*write(ground_truth, results))) == expected


def test_no_results(write):
    ground_truth, _ = random_files()
    scores = score_coco_results(*write(ground_truth, []))
    assert scores.as_json()["segm"]["AP"] == scores.as_json()["bbox"]["AP"] == 0
    assert scores.num_without_results == 6


def test_no_ground_truth(write):
    ground_truth, results = random_files()
    ground_truth["annotations"] = []
    content = score_coco_results(*write(ground_truth, results)).as_json()
    assert content["segm"]["AP"] is content["bbox"]["AP"] is content["AP"] is None


# Faulty input -------------------------------------------------------------------------------------


def change(**changed):
    return lambda results: results[2].update(copy.deepcopy(changed))


def change_mask(**changed):
    return lambda results: results[2]["segmentation"].update(changed)


ENTRY = r"results\.json: entry 2"
BAD_RESULTS = {
    "image unknown": (change(image_id=5), f"{ENTRY}: no image has the id 5"),
    "image of text": (change(image_id="4"), f"{ENTRY}: no image has the id '4'"),
    "category unknown": (change(category_id=1), f"{ENTRY}: no category has the id 1"),
    "score nan": (
        change(score=float("nan")),
        f"{ENTRY}: 'score' is nan; it must be a finite",
    ),
    "score inf": (
        change(score=float("-inf")),
        f"{ENTRY}: 'score' is -inf; it must be a finite",
    ),
    "score text": (
        change(score="0.5"),
        f"{ENTRY}: 'score' is '0.5', which COCO's",
    ),
    "score true": (change(score=True), f"{ENTRY}: 'score' is True"),
    "score huge": (change(score=10**400), f"{ENTRY}: 'score' is 1"),
    "box score true": (
        change(box_score=True),
        f"{ENTRY}: 'box_score' is True; it must be",
    ),
    "box score nan": (
        change(box_score=float("nan")),
        f"{ENTRY}: 'box_score' is nan; it must be",
    ),
    "box score": (change(box_score="x"), f"{ENTRY}: 'box_score' is 'x'; it must be"),
    "no score": (lambda results: results[2].pop("score"), f"{ENTRY} has no 'score'"),
    "no image": (lambda results: results[2].pop("image_id"), f"{ENTRY} has no 'image_id'"),
    "no mask": (lambda results: results[2].pop("segmentation"), f"{ENTRY} has no 'segmentation'"),
    "no box": (lambda results: results[2].pop("bbox"), f"{ENTRY} has no 'bbox'"),
    "box nan": (change(bbox=[0, 0, float("nan"), 1]), rf"{ENTRY}: 'bbox' is not \[x, y, width"),
    "box short": (change(bbox=[0, 0, 1]), rf"{ENTRY}: 'bbox' is not \[x, y, width, height\]"),
    "polygon": (change(segmentation=[[0, 0, 9, 0, 9, 9]]), rf"{ENTRY}: 'segmentation' is \[\["),
    "mask of another size": (
        change_mask(size=[WIDTH, HEIGHT]),
        rf"{ENTRY}: 'segmentation' has the size \[{WIDTH}, {HEIGHT}\] .* its image \[{HEIGHT}, ",
    ),
    "mask too short": (change_mask(counts="0"), f"{ENTRY}: 'counts' .* do not add up to"),
    "mask no code": (change_mask(counts="\x7f"), f"{ENTRY}: 'counts' .* do not add up to"),
    "mask too long": (change_mask(counts=[HEIGHT * WIDTH, 1]), f"{ENTRY}: 'counts' .* add up to"),
    "mask of fractions": (
        change_mask(counts=[0.5, HEIGHT * WIDTH - 0.5]),
        f"{ENTRY}: 'counts' .* do not add up to",
    ),
    "mask of flags": (
        change_mask(counts=[0, True, HEIGHT * WIDTH - 1]),
        f"{ENTRY}: 'counts' .* do not add up to",
    ),
    "no object": (lambda results: results.insert(2, 7), f"{ENTRY} is not an object but a int"),
}


@pytest.mark.parametrize("fault", BAD_RESULTS)
def test_results_that_are_refused(write, fault):
    ground_truth, results = random_files()
    spoil, message = BAD_RESULTS[fault]
    spoil(results)
    with pytest.raises(UserError, match=message):
        score_coco_results(*write(ground_truth, results))


@pytest.mark.parametrize("field", ["bbox", "segmentation"])
@pytest.mark.parametrize("having", [[0], [1], [0, 1], [0, 2], [1, 2]])
def test_what_only_some_results_have_is_refused(write, field, having):
    """Whatever the order: else masks that the first result lacks would all be left out."""
    ground_truth, results = random_files()
    results = results[:3]
    for number, result in enumerate(results):
        if number not in having:
            del result[field]
    lacking = min({0, 1, 2} - set(having))
    message = rf"entry {lacking} has no '{field}', but entry {having[0]} has one; give it to all"
    with pytest.raises(UserError, match=message):
        score_coco_results(*write(ground_truth, results))


def test_numbers_of_too_many_digits_are_refused(write):
    ground_truth, results = random_files()
    gt_json, results_json = write(ground_truth, results)
    results_json.write_text(f'[{{"image_id": {"9" * 5000}}}]')
    with pytest.raises(UserError, match=r"results\.json has a whole number of more than 4300 dig"):
        score_coco_results(gt_json, results_json)


def test_files_that_are_no_results(write, tmp_path):
    ground_truth, results = random_files()
    gt_json, results_json = write(ground_truth, {"annotations": results})
    with pytest.raises(UserError, match=r"results\.json is no COCO results: it holds a JSON dict"):
        score_coco_results(gt_json, results_json)
    with pytest.raises(UserError, match=r"entry 0 has neither 'bbox' nor 'segmentation'"):
        score_coco_results(*write(ground_truth, [{"image_id": 4, "category_id": 3, "score": 1}]))
    with pytest.raises(UserError, match=r"entry 0 is not an object"):
        score_coco_results(*write(ground_truth, [None]))
    results_json.write_text("[{")
    with pytest.raises(UserError, match=r"results\.json is not valid JSON"):
        score_coco_results(gt_json, results_json)
    with pytest.raises(UserError, match=r"cannot read the results .*none\.json"):
        score_coco_results(gt_json, tmp_path / "none.json")


BAD_GROUND_TRUTH = {
    "no images": (lambda content: content["images"].clear(), r"lists no images"),
    "no list": (lambda content: content.pop("annotations"), r"has no list 'annotations'"),
    "image unknown": (
        lambda content: content["annotations"][1].update(image_id=1),
        r"annotations\[1\]: no image has the id 1",
    ),
    "area negative": (
        lambda content: content["annotations"][1].update(area=-0.5),
        r"annotations\[1\]: 'area' is -0\.5; it must be a number of pixels, 0 or more",
    ),
    "area huge": (
        lambda content: content["annotations"][1].update(area=10**400),
        r"annotations\[1\]: 'area' is 10{38,39}; it must be",
    ),
    "mask broken": (
        lambda content: content["annotations"][1]["segmentation"].update(counts="0"),
        r"annotations\[1\]: 'counts' of its 'segmentation' do not add up",
    ),
    "mask a number": (
        lambda content: content["annotations"][1].update(segmentation=3),
        r"annotations\[1\]: 'segmentation' is neither polygons nor RLE",
    ),
    "one name twice": (
        lambda content: content["categories"].append({"id": 99, "name": "dog"}),
        r"2 categories are called 'dog'; rename one",
    ),
}


@pytest.mark.parametrize("fault", BAD_GROUND_TRUTH)
def test_ground_truth_that_is_refused(write, fault):
    ground_truth, results = random_files()
    ground_truth["categories"] = list(CATEGORIES)
    spoil, message = BAD_GROUND_TRUTH[fault]
    spoil(ground_truth)
    with pytest.raises(UserError, match=rf"instances\.json.*{message}"):
        score_coco_results(*write(ground_truth, results))


def test_boundaries(write):
    """Those of the metric in memory, beside the others."""
    ground_truth, results = random_files()
    scores = score_coco_results(*write(ground_truth, results), boundary_ratio=0.02)
    assert list(scores.by_task) == ["segm", "bbox", "boundary"]
    truth = completed_ground_truth(
        ground_truth["images"],
        ground_truth["annotations"],
        [category["id"] for category in CATEGORIES],
        [category["name"] for category in CATEGORIES],
    )
    comparison = metric_of(results).compare(truth, "segm")
    expected = compute_boundary_ap(comparison, 0.02)
    found = scores.as_json()
    assert found["boundary"]["AP"] == pytest.approx(expected.overall["AP"], abs=1e-9)
    assert 0 < found["boundary"]["AP"] < found["AP"] == found["segm"]["AP"]
    assert found["boundary"]["per_class"].keys() == {"dog", "cat", "unseen"}


def test_boundaries_need_masks(write):
    ground_truth, results = random_files()
    for result in results:
        del result["segmentation"]
    with pytest.raises(UserError, match=r"results.json has no masks.*leave --boundary out"):
        score_coco_results(*write(ground_truth, results), boundary_ratio=0.02)
