"""Runs an official Cityscapes script on files, in an environment that has it.

This file is started on its own, by `segtron.benchmarks.official`, and must not import Segtron.

    python official_worker.py {instances,labels} GT_FOLDER PREDICTIONS_FOLDER
    python official_worker.py panoptic GT_JSON PREDICTIONS_JSON PREDICTIONS_FOLDER

prints {"seconds", "scores", "numpy"} as JSON; scores in percent, null where they are undefined.
Seconds are those of the processor, without starting Python and importing the script. Files that the
script leaves behind go to the current folder.
"""

from __future__ import annotations

import contextlib
import gc
import glob
import importlib
import json
import math
import os
import sys
import time
from collections.abc import Callable

Work = Callable[[], dict[str, float]]

_SCRIPTS = {
    "instances": ("evalInstanceLevelSemanticLabeling", "instanceIds"),
    "labels": ("evalPixelLevelSemanticLabeling", "labelIds"),
}


def main() -> None:
    task, *paths = sys.argv[1:]
    work = _panoptic_work(*paths) if task == "panoptic" else _script_work(task, *paths)
    gc.collect()
    gc.disable()
    start = time.process_time()
    with contextlib.redirect_stdout(sys.stderr):
        scores = work()
    seconds = time.process_time() - start
    content = {
        "seconds": seconds,
        "scores": {
            name: None if math.isnan(value) else 100 * float(value)
            for name, value in scores.items()
        },
        "numpy": importlib.import_module("numpy").__version__,
    }
    print(json.dumps(content))


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
        {"PQ", "SQ", "RQ", "PQ_th", ..., "RQ_st"}, at most 1; nan where the scorer divides by zero.
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
        scores.update({f"{name.upper()}{suffix}": means[name] for name in ("pq", "sq", "rq")})
    return scores


def _instance_scores(results: dict) -> dict[str, float]:
    averages = results["averages"]
    scores = {"AP": averages["allAp"], "AP50": averages["allAp50%"]}
    for name, values in averages["classes"].items():
        scores |= {f"AP-{name}": values["ap"], f"AP50-{name}": values["ap50%"]}
    return scores


def _label_scores(results: dict) -> dict[str, float]:
    scores = {
        "IoU": results["averageScoreClasses"],
        "iIoU": results["averageScoreInstClasses"],
        "IoU_sup": results["averageScoreCategories"],
        "iIoU_sup": results["averageScoreInstCategories"],
    }
    for metric, per_class in (("IoU", "classScores"), ("iIoU", "classInstScores")):
        scores |= {f"{metric}-{name}": value for name, value in results[per_class].items()}
    return scores


if __name__ == "__main__":
    main()
