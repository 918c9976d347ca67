"""Runs an official scorer on files, in an environment that has it.

This file is started on its own, by `segtron.benchmarks.official`, and must not import Segtron.

    python official_worker.py {instances,labels} GT_FOLDER PREDICTIONS_FOLDER
    python official_worker.py panoptic GT_JSON PREDICTIONS_JSON PREDICTIONS_FOLDER
    python official_worker.py {boundary,error_types} GT_JSON RESULTS_JSON [DILATION_RATIO]

prints {"seconds", "scores", "numpy", "peak_bytes"} as JSON; scores in percent, null where they are
undefined, and bytes null where the system doesn't say.
Seconds are those of the processor, without starting Python and importing the scorer. Files that the
scorer leaves behind go to the current folder.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import glob
import importlib
import json
import math
import os
import sys
import time
from collections.abc import Callable
from unittest import mock

Work = Callable[[], dict[str, float]]

_SCRIPTS = {
    "instances": ("evalInstanceLevelSemanticLabeling", "instanceIds"),
    "labels": ("evalPixelLevelSemanticLabeling", "labelIds"),
}
# TIDE's names, and Segtron's.
_ERROR_TYPES = {
    "Cls": "classification",
    "Loc": "localization",
    "Both": "both",
    "Dupe": "duplicate",
    "Bkg": "background",
    "Miss": "missed",
    "FalsePos": "false_positives",
    "FalseNeg": "false_negatives",
}
# What TIDE draws with. It is imported there, but not needed for its numbers.
_DRAWING = (
    "appdirs",
    "cv2",
    "matplotlib",
    "matplotlib.lines",
    "matplotlib.pyplot",
    "pandas",
    "seaborn",
)


def main() -> None:
    task, *paths = sys.argv[1:]
    work = _WORKS[task](*paths)
    gc.collect()
    gc.disable()
    start = time.process_time()
    with contextlib.redirect_stdout(sys.stderr):
        scores = work()
    seconds = time.process_time() - start
    content = {
        "seconds": seconds,
        "scores": {
            name: None if math.isnan(value) else float(value) for name, value in scores.items()
        },
        "numpy": importlib.import_module("numpy").__version__,
        "peak_bytes": _peak_bytes(),
    }
    print(json.dumps(content))


def _peak_bytes() -> int | None:
    """The most that this process has held, as `segtron.benchmarks.peak_memory` reads it."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            [peak] = (line.split()[1] for line in status if line.startswith("VmHWM:"))
    except OSError:
        return None
    return int(peak) * 1024


def _script_work(task: str, gt_folder: str, predictions_folder: str) -> Work:
    """One of the scripts for label images, imported and set up as Detectron2 does it."""
    script_name, kind = _SCRIPTS[task]
    script = importlib.import_module(f"cityscapesscripts.evaluation.{script_name}")
    args = script.args
    args.predictionPath = os.path.abspath(predictions_folder)
    args.predictionWalk = None
    args.JSONOutput = False
    args.quiet = True
    args.gtInstancesFile = os.path.abspath("gtInstances.json")

    def work() -> dict[str, float]:
        truth = sorted(glob.glob(os.path.join(gt_folder, "*", f"*_gtFine_{kind}.png")))
        # The two scripts have the parameters the other way round.
        predictions = [
            script.getPrediction(file, args)
            if task == "instances"
            else script.getPrediction(args, file)
            for file in truth
        ]
        results = script.evaluateImgLists(predictions, truth, args)
        return _instance_scores(results) if task == "instances" else _label_scores(results)

    return work


def _panoptic_work(gt_json: str, pred_json: str, pred_folder: str) -> Work:
    """The panoptic scorer on one core, imported."""
    importlib.import_module("cityscapesscripts.evaluation.evalPanopticSemanticLabeling")
    return lambda: panoptic_scores(gt_json, pred_json, pred_folder)


def panoptic_scores(
    gt_json: str | os.PathLike, pred_json: str | os.PathLike, pred_folder: str | os.PathLike
) -> dict[str, float]:
    """What the official panoptic scorer says of files, on one core.

    Args:
        gt_json: ground truth in COCO's panoptic format; its PNGs are in the folder beside it.
        pred_json: predictions.
        pred_folder: their PNGs.

    Returns:
        {"PQ", "SQ", "RQ", "PQ_th", ..., "RQ_st"} in percent; nan where the scorer divides by zero.
    """
    from cityscapesscripts.evaluation import evalPanopticSemanticLabeling as script

    with open(gt_json) as truth_file, open(pred_json) as predictions_file:
        truth, predictions = json.load(truth_file), json.load(predictions_file)
    categories = {category["id"]: category for category in truth["categories"]}
    by_image = {annotation["image_id"]: annotation for annotation in predictions["annotations"]}
    pairs = [(annotation, by_image[annotation["image_id"]]) for annotation in truth["annotations"]]
    gt_folder = os.path.splitext(gt_json)[0]
    stat = script.pq_compute_single_core(0, pairs, gt_folder, pred_folder, categories)
    scores = {}
    for suffix, is_thing in (("", None), ("_th", True), ("_st", False)):
        try:
            means, _ = stat.pq_average(categories, isthing=is_thing)
        except ZeroDivisionError:
            means = dict.fromkeys(("pq", "sq", "rq"), math.nan)
        scores.update({f"{name.upper()}{suffix}": 100 * means[name] for name in ("pq", "sq", "rq")})
    return scores


def _instance_scores(results: dict) -> dict[str, float]:
    averages = results["averages"]
    scores = {"AP": averages["allAp"], "AP50": averages["allAp50%"]}
    for name, values in averages["classes"].items():
        scores |= {f"AP-{name}": values["ap"], f"AP50-{name}": values["ap50%"]}
    return _percent(scores)


def _label_scores(results: dict) -> dict[str, float]:
    scores = {
        "IoU": results["averageScoreClasses"],
        "iIoU": results["averageScoreInstClasses"],
        "IoU_sup": results["averageScoreCategories"],
        "iIoU_sup": results["averageScoreInstCategories"],
    }
    for metric, per_class in (("IoU", "classScores"), ("iIoU", "classInstScores")):
        scores |= {f"{metric}-{name}": value for name, value in results[per_class].items()}
    return _percent(scores)


def _percent(scores: dict[str, float]) -> dict[str, float]:
    return {name: 100 * value for name, value in scores.items()}


def _boundary_work(gt_json: str, results_json: str, dilation_ratio: str) -> Work:
    """faster-coco-eval's Boundary AP, reading the files included."""
    from faster_coco_eval import COCO, COCOeval_faster

    def work() -> dict[str, float]:
        truth = COCO(gt_json)
        scorer = COCOeval_faster(
            truth,
            truth.loadRes(results_json),
            "boundary",
            boundary_dilation_ratio=float(dilation_ratio),
            boundary_cpu_count=1,
            rle_iou_max_workers=1,
        )
        scorer.evaluate()
        scorer.accumulate()
        scorer.summarize()
        names = ("AP", "AP50", "AP75", "APs", "APm", "APl")
        return {
            name: 100 * value if value >= 0 else math.nan
            for name, value in zip(names, scorer.stats[: len(names)], strict=True)
        }

    return work


def _error_types_work(gt_json: str, results_json: str) -> Work:
    """TIDE's error types of masks, without reading the files."""
    for name in _DRAWING:
        sys.modules[name] = mock.MagicMock()
    from tidecv.data import Data
    from tidecv.quantify import TIDERun

    with open(gt_json) as truth_file, open(results_json) as results_file:
        truth, results = json.load(truth_file), json.load(results_file)

    def work() -> dict[str, float]:
        wanted, predicted = Data("truth"), Data("predicted")
        for image in truth["images"]:
            wanted.add_image(image["id"], str(image["id"]))
        for entry in truth["annotations"]:
            add = wanted.add_ignore_region if entry["iscrowd"] else wanted.add_ground_truth
            add(entry["image_id"], entry["category_id"], mask=entry["segmentation"])
        for entry in results:
            predicted.add_detection(
                entry["image_id"], entry["category_id"], entry["score"], mask=entry["segmentation"]
            )
        run = TIDERun(wanted, predicted, 0.5, 0.1, "mask", wanted.max_dets)
        gains = {**run.fix_main_errors(), **run.fix_special_errors()}
        scores = {_ERROR_TYPES[kind.short_name]: gain for kind, gain in gains.items()}
        for kind, errors in run.error_dict.items():
            # Segtron doesn't count what lies in a crowd.
            counted = [e for e in errors if not hasattr(e, "pred") or e.pred["used"] is not None]
            scores[f"number-{_ERROR_TYPES[kind.short_name]}"] = len(counted)
        return {"AP50": run.ap, **scores}

    return work


_WORKS: dict[str, Callable[..., Work]] = {
    "instances": functools.partial(_script_work, "instances"),
    "labels": functools.partial(_script_work, "labels"),
    "panoptic": _panoptic_work,
    "boundary": _boundary_work,
    "error_types": _error_types_work,
}


if __name__ == "__main__":
    main()
