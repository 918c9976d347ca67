#!/usr/bin/env python
"""Score saved predictions of any program. See `--help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from segtron import command_line
from segtron.evaluation.boundary import CITYSCAPES_DILATION_RATIO, DILATION_RATIO
from segtron.evaluation.cityscapes_instance_files import score_cityscapes_instances
from segtron.evaluation.cityscapes_semantic_files import score_cityscapes_semantics
from segtron.evaluation.coco_files import CocoScores, score_coco_results
from segtron.evaluation.panoptic_files import score_panoptic_files
from segtron.evaluation.scores import CityscapesSemSegScores, InstanceScores, PanopticScores
from segtron.files import refuse_overwriting, write_json


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Score saved predictions of any program; no model is needed.",
        epilog="Example:\n  python tools/evaluate.py panoptic --gt panoptic_val2017.json "
        "--pred output/first/inference/coco_2017_val_panoptic/panoptic.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    tasks = parser.add_subparsers(dest="task", metavar="TASK", required=True)

    instances = _add_task(
        tasks,
        "cityscapes-instance",
        summary="AP and AP50 of instances by the Cityscapes protocol",
        description="AP and AP50 of instances in the format of Cityscapes' benchmark: for each "
        "image <frame>*.txt, of which each line has the path of a mask's PNG, a label id and a "
        "score.",
        gt="datasets/cityscapes/gtFine/val",
        gt_help="the ground truth's folder of a split; in it <city>/*_gtFine_instanceIds.png",
        pred="results",
        pred_help="the folder of the text files, which are looked for at any depth",
    )
    instances.set_defaults(score=_score_instances)
    _add_images_options(instances)
    _add_boundary_option(instances, "Boundary AP", default=CITYSCAPES_DILATION_RATIO)

    semantics = _add_task(
        tasks,
        "cityscapes-semantic",
        summary="IoU and iIoU of label maps by the Cityscapes protocol",
        description="IoU and iIoU, of classes and of categories, of label maps in the format of "
        "Cityscapes' benchmark: for each image <frame>*.png with label ids (not train ids).",
        gt="datasets/cityscapes/gtFine/val",
        gt_help="the ground truth's folder of a split; in it <city>/*_gtFine_labelIds.png and "
        "*_gtFine_instanceIds.png",
        pred="results",
        pred_help="the folder of the PNGs, which are looked for at any depth",
    )
    semantics.set_defaults(score=_score_semantics)
    _add_images_options(semantics)
    _add_boundary_option(semantics, "Boundary IoU", default=CITYSCAPES_DILATION_RATIO)

    panoptic = _add_task(
        tasks,
        "panoptic",
        summary="PQ, SQ and RQ of COCO's panoptic format",
        description="PQ, SQ and RQ of predictions in COCO's panoptic format: a JSON, and beside it "
        "a folder of the same name with the PNGs.",
        gt="panoptic_val2017.json",
        gt_help="the JSON of the ground truth",
        pred="output/first/inference/coco_2017_val_panoptic/panoptic.json",
        pred_help="the JSON of the predictions",
    )
    panoptic.set_defaults(score=_score_panoptic)
    panoptic.add_argument(
        "--gt-png", type=Path, metavar="DIR", help="PNGs of the ground truth, if they lie elsewhere"
    )
    panoptic.add_argument(
        "--pred-png",
        type=Path,
        metavar="DIR",
        help="PNGs of the predictions, if they lie elsewhere",
    )
    _add_images_options(panoptic)

    coco = _add_task(
        tasks,
        "coco",
        summary="AP of masks and boxes by the COCO protocol",
        description="AP of masks and boxes in COCO's result format, a JSON list. Images that it "
        "has nothing for count as images where nothing was found.",
        gt="instances_val2017.json",
        gt_help="the JSON of the ground truth",
        pred="output/first/inference/coco_2017_val/coco_instances_results.json",
        pred_help="the JSON of the results",
    )
    coco.set_defaults(score=_score_coco)
    _add_boundary_option(coco, "Boundary AP", default=DILATION_RATIO)
    return parser.parse_args()


def _add_task(
    tasks: argparse._SubParsersAction,
    name: str,
    *,
    summary: str,
    description: str,
    gt: str,
    gt_help: str,
    pred: str,
    pred_help: str,
) -> argparse.ArgumentParser:
    """Add a task with what all tasks take; `gt` and `pred` are paths for its example."""
    task = tasks.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"Example:\n  python tools/evaluate.py {name} --gt {gt} --pred {pred} "
        "--json scores.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    task.add_argument("--gt", type=Path, required=True, metavar="PATH", help=gt_help)
    task.add_argument("--pred", type=Path, required=True, metavar="PATH", help=pred_help)
    task.add_argument("--json", type=Path, metavar="OUT", help="write the scores there, too")
    return task


def _add_images_options(task: argparse.ArgumentParser) -> None:
    task.add_argument(
        "--allow-missing",
        action="store_true",
        help="leave out images that have no prediction; the table says how many",
    )
    task.add_argument(
        "--workers",
        type=command_line.positive_int,
        metavar="N",
        help="images at once (default: one for each core)",
    )


def _add_boundary_option(task: argparse.ArgumentParser, score: str, *, default: float) -> None:
    task.add_argument(
        "--boundary",
        type=_boundary_ratio,
        nargs="?",
        const=default,
        default=0.0,
        metavar="RATIO",
        help=f"score boundaries, too ({score}): the pixels of a mask within this share of the "
        f"image's diagonal from its contour ({default} if no number follows)",
    )


def _boundary_ratio(text: str) -> float:
    """A share of the diagonal that leaves a mask both a boundary and an inside."""
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and below 1")
    return value


def _score_instances(args: argparse.Namespace) -> InstanceScores:
    return score_cityscapes_instances(
        args.gt,
        args.pred,
        allow_missing=args.allow_missing,
        workers=args.workers,
        boundary_ratio=args.boundary,
    )


def _score_semantics(args: argparse.Namespace) -> CityscapesSemSegScores:
    return score_cityscapes_semantics(
        args.gt,
        args.pred,
        allow_missing=args.allow_missing,
        workers=args.workers,
        boundary_ratio=args.boundary,
    )


def _score_panoptic(args: argparse.Namespace) -> PanopticScores:
    return score_panoptic_files(
        args.gt,
        args.pred,
        gt_folder=args.gt_png,
        pred_folder=args.pred_png,
        allow_missing=args.allow_missing,
        workers=args.workers,
    )


def _score_coco(args: argparse.Namespace) -> CocoScores:
    return score_coco_results(args.gt, args.pred, boundary_ratio=args.boundary)


def main() -> None:
    """Score what the command line names."""
    args = parse_args()
    if args.json is not None:
        refuse_overwriting([args.json], option="--json")
    scores = args.score(args)
    print(scores)
    if args.json is not None:
        write_json(args.json, scores.as_json(), indent=1)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
