"""Scoring saved instances in COCO's result format: a JSON list of boxes and masks with scores
(https://cocodataset.org/#format-results, "Object Detection")."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtron.data.coco import categories_by_id, check_annotations, check_images_and_categories
from segtron.data.coco_results import RESULT_FIELDS, RESULTS_FORMAT, check_result, name_of_result
from segtron.data.json_file import Fields, check_fields, read_json, read_json_lists
from segtron.data.masks import as_rle
from segtron.errors import UserError
from segtron.evaluation.boundary_ap import compute_boundary_ap
from segtron.evaluation.coco import CocoInstanceMetric, Task
from segtron.evaluation.coco_ground_truth import CocoGroundTruth, completed_ground_truth
from segtron.evaluation.scores import InstanceScores

_GROUND_TRUTH: Mapping[str, Fields] = {
    "images": {"id": (int, str), "height": (int, float), "width": (int, float)},
    "categories": {"id": int, "name": str},
    "annotations": {"image_id": (int, str), "category_id": int, "bbox": list},
}
# What a result may be of: its field, and of which type that is.
_FIELD_OF: Mapping[Task, tuple[str, type]] = {
    "bbox": ("bbox", list),
    "segm": ("segmentation", dict),
}


@dataclass(frozen=True)
class CocoScores:
    """What COCO's protocol says of saved instances.

    Attributes:
        by_task: "segm" and "bbox", or one of them, as the results and the ground truth have them;
            and "boundary", if it was asked for.
        num_without_results: images for which the file has nothing. They count as images where
            nothing was found.
        num_without_mask: annotations of the ground truth that only count as boxes.
    """

    by_task: dict[str, InstanceScores]
    num_without_results: int
    num_without_mask: int

    def as_json(self) -> dict[str, Any]:
        """All numbers in a form that JSON has, undefined ones as None: by task those of
        `InstanceScores`, and beside them those of the first task."""
        content = {task: scores.as_json() for task, scores in self.by_task.items()}
        return next(iter(content.values())) | content

    def __str__(self) -> str:
        parts = [str(scores) for scores in self.by_task.values()]
        if self.num_without_results:
            parts.append(
                f"The file has no results for {self.num_without_results} images; they count as "
                "images where nothing was found."
            )
        if self.num_without_mask and "segm" in self.by_task:
            parts.append(
                f"segm: {self.num_without_mask} annotations of the ground truth have no mask and "
                "are left out."
            )
        return "\n\n".join(parts)


def score_coco_results(
    gt_json: Path, results_json: Path, *, boundary_ratio: float = 0.0
) -> CocoScores:
    """Score saved instances of any program.

    Masks are measured by their own area, boxes by theirs; so it is with COCO's own scorer where
    results of masks and boxes are in files apart.

    Args:
        gt_json: the ground truth in COCO's format, with masks or without.
        results_json: a list of results, each with `bbox`, `segmentation` (RLE), or both.
        boundary_ratio: how far boundaries reach in Boundary AP, as a part of the image's diagonal;
            0 to leave it out.

    Raises:
        UserError: a file is missing or not of its format, or a result is of no image or category of
            the ground truth, or isn't well-formed: names the entry. Or Boundary AP is asked for,
            and there are no masks.
    """
    ground_truth = _read_ground_truth(gt_json)
    results, tasks = check_coco_results(
        read_json(results_json, "results"),
        results_json,
        _sizes(ground_truth.images),
        set(ground_truth.category_ids),
    )
    metric = CocoInstanceMetric()
    for image in ground_truth.images:
        of_image = results.get(image["id"], [])
        metric.update(image["id"], of_image, has_masks="segm" in tasks)
    masked = ground_truth.with_masks()
    truth_of: dict[Task, CocoGroundTruth] = {"bbox": ground_truth}
    if masked.annotations or not ground_truth.annotations:
        truth_of["segm"] = masked
    comparisons = {
        task: metric.compare(truth_of[task], task)
        for task in ("segm", "bbox")
        if task in tasks and task in truth_of
    }
    if not comparisons:
        raise UserError(
            f"{results_json} has masks and no boxes, and {gt_json} has boxes and no masks, so "
            "there is nothing to compare"
        )
    by_task = {task: comparison.score() for task, comparison in comparisons.items()}
    if boundary_ratio:
        if "segm" not in comparisons:
            raise UserError(
                f"{gt_json if 'segm' in tasks else results_json} has no masks, so there are no "
                "boundaries to compare; leave --boundary out"
            )
        by_task["boundary"] = compute_boundary_ap(comparisons["segm"], boundary_ratio)
    return CocoScores(
        by_task,
        num_without_results=len(ground_truth.images) - len(results),
        num_without_mask=len(ground_truth.annotations) - len(masked.annotations),
    )


def _read_ground_truth(json_file: Path) -> CocoGroundTruth:
    content = read_json_lists(json_file, _GROUND_TRUTH, "COCO")
    check_images_and_categories(content, json_file)
    if not content["images"]:
        raise UserError(f"{json_file} lists no images, so there is nothing to score")
    categories = categories_by_id(content)
    for name, count in Counter(category["name"] for category in categories).items():
        if count > 1:
            raise UserError(f"{json_file}: {count} categories are called {name!r}; rename one")
    category_ids = [category["id"] for category in categories]
    sizes = _sizes(content["images"])
    known = set(category_ids)
    for number, annotation in enumerate(content["annotations"]):
        if "segmentation" in annotation and not isinstance(annotation["segmentation"], list | dict):
            raise UserError(
                f"{json_file}: annotations[{number}]: 'segmentation' is neither polygons nor RLE"
            )
    check_annotations(
        content["annotations"], sizes, known, lambda i: f"{json_file}: annotations[{i}]"
    )
    return completed_ground_truth(
        [{key: image[key] for key in ("id", "height", "width")} for image in content["images"]],
        content["annotations"],
        category_ids,
        [category["name"] for category in categories],
    )


def _sizes(images: list[dict[str, Any]]) -> dict[Any, tuple[int, int]]:
    return {image["id"]: (image["height"], image["width"]) for image in images}


def check_coco_results(
    results: Any,
    json_file: Path,
    sizes: Mapping[Any, tuple[int, int]],
    category_ids: Collection[int],
) -> tuple[dict[Any, list[dict[str, Any]]], list[Task]]:
    """Make sure that results can be used: pycocotools reads and writes beyond a mask that is none.

    Args:
        results: what the file holds.
        json_file: where they are from.
        sizes: of the images, id -> height and width.
        category_ids: what they may be of.

    Returns:
        Image id -> its results, with masks as compressed RLE; and what can be scored.

    Raises:
        UserError: it is no list of results, or one is of no image or category, isn't well-formed,
            has a mask of another size than its image, or a score that is not finite: names the
            entry.
    """
    if not isinstance(results, list):
        raise UserError(
            f"{json_file} is no COCO results: it holds a JSON {type(results).__name__}, not a list"
        )
    for number, result in enumerate(results):
        check_result(result, name_of_result(json_file, number))
    tasks = _tasks(results, json_file)
    fields = dict(_FIELD_OF[task] for task in tasks)
    checked: list[dict[str, Any]] = []
    for number, result in enumerate(results):
        check_fields(result, fields, name_of_result(json_file, number), RESULTS_FORMAT)
        names = (*RESULT_FIELDS, *fields, "box_score")
        checked.append({n: result[n] for n in names if result.get(n) is not None})
    check_annotations(checked, sizes, category_ids, lambda i: name_of_result(json_file, i))
    by_image: dict[Any, list[dict[str, Any]]] = {}
    for result in checked:
        if "segm" in tasks:
            result["segmentation"] = as_rle(result["segmentation"], *sizes[result["image_id"]])
        by_image.setdefault(result["image_id"], []).append(result)
    return by_image, tasks


def _tasks(results: list[dict[str, Any]], json_file: Path) -> list[Task]:
    """What can be scored: what all results have a field for. Without results it is all."""
    tasks: list[Task] = []
    for task, (field, _) in _FIELD_OF.items():
        has_field = [field in result for result in results]
        if all(has_field):
            tasks.append(task)
        elif any(has_field):
            raise UserError(
                f"{name_of_result(json_file, has_field.index(False))} has no {field!r}, but entry "
                f"{has_field.index(True)} has one; give it to all results or to none"
            )
    if not tasks:
        raise UserError(f"{name_of_result(json_file, 0)} has neither 'bbox' nor 'segmentation'")
    return tasks
