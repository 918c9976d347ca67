#!/usr/bin/env python
"""Time Segtron against the programs that do the same work. See `--help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from segtron import command_line
from segtron.benchmarks.evaluation import measure_evaluation
from segtron.benchmarks.report import Report
from segtron.files import refuse_overwriting, write_json


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Time Segtron against the programs that do the same work, both in turn.",
        epilog="Example:\n  python tools/benchmark.py evaluate --json benchmark.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    works = parser.add_subparsers(dest="work", metavar="WORK", required=True)
    evaluate = works.add_parser(
        "evaluate",
        help="scoring predictions",
        description="Time scoring against the official scorers and Detectron2's evaluators, on the "
        "same made-up predictions, whose scores have to be equal: on one core, and on all cores "
        "against one.",
        epilog="Example:\n  python tools/benchmark.py evaluate --images 10 --json benchmark.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    evaluate.set_defaults(measure=_measure_evaluation)
    evaluate.add_argument("--json", type=Path, metavar="OUT", help="write the report there, too")
    evaluate.add_argument(
        "--images",
        type=command_line.positive_int,
        default=5,
        metavar="N",
        help="how many frames (default: %(default)s)",
    )
    evaluate.add_argument(
        "--pairs",
        type=command_line.positive_int,
        default=3,
        metavar="N",
        help="how often each pair is timed (default: %(default)s)",
    )
    evaluate.add_argument(
        "--size",
        type=command_line.positive_int,
        nargs=2,
        default=(1024, 2048),
        metavar=("H", "W"),
        help="of a frame in pixels (default: 1024 2048)",
    )
    evaluate.add_argument(
        "--seed", type=int, default=0, help="of the frames (default: %(default)s)"
    )
    evaluate.add_argument(
        "--skip-official-scripts",
        action="store_true",
        help="leave out what needs an environment with numpy<2, which is made the first time",
    )
    return parser.parse_args()


def _measure_evaluation(args: argparse.Namespace) -> Report:
    return measure_evaluation(
        args.images,
        tuple(args.size),
        args.seed,
        num_pairs=args.pairs,
        with_official_scorers=not args.skip_official_scripts,
    )


def main() -> None:
    """Measure the work that the command line names."""
    args = parse_args()
    if args.json is not None:
        refuse_overwriting([args.json], option="--json")
    report = args.measure(args)
    print(report)
    if args.json is not None:
        write_json(args.json, report.as_dict(), indent=1)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
