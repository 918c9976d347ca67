"""Comparisons of scoring by COCO's protocol."""

from __future__ import annotations

import contextlib
import functools
import io
from pathlib import Path

from detectron2.evaluation import COCOEvaluator
from pycocotools.coco import COCO

from segtron.benchmarks.coco_ways import (
    coco_results,
    coco_set,
    error_type_scores,
    file_scores,
    listed_results,
    metric_scores,
    pycocotools_file_scores,
    pycocotools_scores,
    without_ties,
)
from segtron.benchmarks.comparison import Comparison
from segtron.benchmarks.frames import Frames
from segtron.benchmarks.official import OfficialScorers
from segtron.benchmarks.ways import in_memory, named, timed
from segtron.evaluation.boundary import DILATION_RATIO
from segtron.evaluation.coco_evaluator import CocoInstanceEvaluator
from segtron.evaluation.coco_ground_truth import load_coco_ground_truth
from segtron.files import write_json

# Results on their own are scored on more images: each frame so often.
REPEATS = 10
# TIDE rounds the recalls 0.01, 0.02, ... otherwise than COCO, which moves gains by up to a tenth of
# a point. The numbers of errors, which are whole, have to be equal.
_TIDE_TOLERANCE = 0.5


def coco_comparisons(
    frames: Frames,
    folder: Path,
    stack: contextlib.ExitStack,
    *,
    num_instances: int,
    official: OfficialScorers | None,
    tolerance: float,
) -> list[Comparison]:
    """What is compared with pycocotools, with Detectron2, which calls it where its own extension
    isn't built, and with those that have Boundary AP and error types.

    Args:
        frames: with at least so many predicted instances.
        folder: for files, one that isn't there yet.
        stack: gives back what the comparisons need.
        num_instances: predicted in each frame.
        official: those in an environment of their own; None leaves out what is compared with them.
        tolerance: how far AP in percent may differ.
    """
    folder.mkdir()
    return [
        *_outputs(frames, folder, stack, num_instances, tolerance),
        *_results(frames, folder, stack, num_instances, official, tolerance),
    ]


def _outputs(
    frames: Frames,
    folder: Path,
    stack: contextlib.ExitStack,
    num_instances: int,
    tolerance: float,
) -> list[Comparison]:
    """A model's outputs."""
    json_file = folder / "frames.json"
    records = frames.write_coco_json(json_file, repeats=1)
    name = stack.enter_context(coco_set(json_file))
    return [
        Comparison(
            f"{work} in memory",
            "Detectron2's COCOEvaluator, with pycocotools",
            in_memory(CocoInstanceEvaluator(name), records, output_of),
            in_memory(
                COCOEvaluator(name, tasks=tasks, distributed=False, use_fast_impl=False),
                records,
                output_of,
            ),
            tolerance,
        )
        for work, tasks, output_of in (
            ("coco bbox", ("bbox",), functools.partial(frames.boxes, num_instances=num_instances)),
            (
                "coco bbox and segm",
                ("bbox", "segm"),
                functools.partial(frames.instances, num_instances=num_instances),
            ),
        )
    ]


def _results(
    frames: Frames,
    folder: Path,
    stack: contextlib.ExitStack,
    num_instances: int,
    official: OfficialScorers | None,
    tolerance: float,
) -> list[Comparison]:
    """COCO results, in memory and saved."""
    gt_json = folder / "repeated.json"
    records = frames.write_coco_json(gt_json, REPEATS)
    name = stack.enter_context(coco_set(gt_json))
    results = coco_results(
        name, records, lambda i: frames.instances(i % len(frames), num_instances)
    )
    ground_truth = load_coco_ground_truth(name)
    with contextlib.redirect_stdout(io.StringIO()):
        index = COCO(gt_json)
    images = f"{len(records)} images"
    in_turn = []
    for task in ("bbox", "segm"):
        results_json = folder / f"{task}.json"
        write_json(results_json, listed_results(results, task))
        in_turn += [
            Comparison(
                f"coco {task} of results in memory, {images}",
                "pycocotools",
                timed(functools.partial(metric_scores, ground_truth, results, task)),
                timed(functools.partial(pycocotools_scores, index, results, task)),
                tolerance,
            ),
            Comparison(
                f"coco {task} from files, {images}",
                "pycocotools on the same files",
                timed(functools.partial(file_scores, gt_json, results_json)),
                timed(functools.partial(pycocotools_file_scores, gt_json, results_json, task)),
                tolerance,
            ),
        ]
    if official is None:
        return in_turn

    # The results of the first of the repeats, for the other one decodes each mask as a whole frame.
    few_json, few_results_json = folder / "frames.json", folder / "frames_segm.json"
    few = {image_id: results[image_id] for image_id in list(results)[: len(frames)]}
    write_json(few_results_json, listed_results(few, "segm"))
    distinct = without_ties(ground_truth, results)
    distinct_json = folder / "distinct.json"
    write_json(distinct_json, listed_results(distinct, "segm"))
    return [
        *in_turn,
        Comparison(
            f"coco segm and boundary from files, {len(frames)} images",
            "faster-coco-eval, boundary alone, on the same files",
            timed(functools.partial(file_scores, few_json, few_results_json, DILATION_RATIO)),
            functools.partial(
                named("boundary", official.score_boundaries),
                few_json,
                few_results_json,
                DILATION_RATIO,
            ),
            tolerance,
        ),
        Comparison(
            f"error types of masks, of results in memory, {images}",
            "TIDE",
            timed(functools.partial(error_type_scores, ground_truth, distinct, "segm")),
            functools.partial(
                named("error_types", official.score_error_types), gt_json, distinct_json
            ),
            _TIDE_TOLERANCE,
        ),
    ]
