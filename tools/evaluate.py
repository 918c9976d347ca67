#!/usr/bin/env python
"""Score saved predictions of any program. See `--help`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from segtron import command_line
from segtron.evaluation.panoptic_files import score_panoptic_files
from segtron.evaluation.scores import PanopticScores
from segtron.files import refuse_overwriting, replacing


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Score saved predictions of any program; no model is needed.",
        epilog="Example:\n  python tools/evaluate.py panoptic --gt panoptic_val2017.json "
        "--pred output/first/inference/coco_2017_val_panoptic/panoptic.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    tasks = parser.add_subparsers(dest="task", metavar="TASK", required=True)
    panoptic = tasks.add_parser(
        "panoptic",
        help="PQ, SQ and RQ of COCO's panoptic format",
        description="PQ, SQ and RQ of predictions in COCO's panoptic format: a JSON, and beside it "
        "a folder of the same name with the PNGs.",
        epilog="Example:\n  python tools/evaluate.py panoptic --gt panoptic_val2017.json "
        "--pred predicted/panoptic.json --json scores.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    panoptic.set_defaults(score=_score_panoptic)
    panoptic.add_argument(
        "--gt", type=Path, required=True, metavar="PATH", help="the JSON of the ground truth"
    )
    panoptic.add_argument(
        "--pred", type=Path, required=True, metavar="PATH", help="the JSON of the predictions"
    )
    panoptic.add_argument(
        "--gt-png", type=Path, metavar="DIR", help="PNGs of the ground truth, if they lie elsewhere"
    )
    panoptic.add_argument(
        "--pred-png",
        type=Path,
        metavar="DIR",
        help="PNGs of the predictions, if they lie elsewhere",
    )
    panoptic.add_argument("--json", type=Path, metavar="OUT", help="write the scores there, too")
    return parser.parse_args()


def _score_panoptic(args: argparse.Namespace) -> PanopticScores:
    return score_panoptic_files(
        args.gt, args.pred, gt_folder=args.gt_png, pred_folder=args.pred_png
    )


def main() -> None:
    """Score what the command line names."""
    args = parse_args()
    if args.json is not None:
        refuse_overwriting([args.json], option="--json")
    scores = args.score(args)
    print(scores)
    if args.json is not None:
        with replacing(args.json) as temporary:
            temporary.write_text(json.dumps(scores.as_json(), indent=1), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
