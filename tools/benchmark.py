#!/usr/bin/env python
"""Time Segtron against the programs that do the same work. See `--help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from segtron import command_line
from segtron.benchmarks.data.measure import measure_data
from segtron.benchmarks.evaluation.measure import measure_evaluation
from segtron.benchmarks.inference import measure_inference
from segtron.benchmarks.limits import MAPPED_SIZES, MODEL_SIZES, SCORED_SIZES, Sizes
from segtron.benchmarks.report import Report
from segtron.benchmarks.train import measure_train
from segtron.files import refuse_overwriting, write_json


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Time Segtron against the programs that do the same work, both in turn.",
        epilog="Example:\n  python tools/benchmark.py inference --json benchmark.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    works = parser.add_subparsers(dest="work", metavar="WORK", required=True)
    train = _add_work(
        works,
        "train",
        "steps of a training",
        "Time training steps of Mask R-CNN R50-FPN against Detectron2 and torchvision, with the "
        "same weights and images, by default and in float32.",
        measure=_measure_train,
        sizes=MODEL_SIZES,
        size=(256, 512),
        pairs=5,
    )
    _add_device(train)
    inference = _add_work(
        works,
        "inference",
        "predicting",
        "Time prediction against Detectron2 and torchvision, with the same weights and images, by "
        "default and in float32.",
        measure=_measure_inference,
        sizes=MODEL_SIZES,
        size=(512, 1024),
        pairs=5,
    )
    _add_device(inference)
    data = _add_work(
        works,
        "data",
        "reading data sets, and making of images what models are fed",
        "Time loading Cityscapes' annotations and mapping images against Detectron2, with equal "
        "results.",
        measure=_measure_data,
        sizes=MAPPED_SIZES,
        size=(1024, 2048),
        pairs=5,
    )
    _add_images(data, default=6)
    evaluate = _add_work(
        works,
        "evaluate",
        "scoring predictions",
        "Time scoring against the official scorers and Detectron2's evaluators, on the same "
        "made-up predictions, whose scores have to be equal: on one core, and on all cores "
        "against one.",
        measure=_measure_evaluation,
        sizes=SCORED_SIZES,
        size=(1024, 2048),
        pairs=3,
    )
    _add_images(evaluate, default=5)
    evaluate.add_argument(
        "--skip-official-scripts",
        action="store_true",
        help="leave out what needs an environment with numpy<2, which is made the first time",
    )
    return parser.parse_args()


def _add_work(
    works: argparse._SubParsersAction,
    name: str,
    summary: str,
    description: str,
    *,
    measure: Callable[[argparse.Namespace], Report],
    sizes: Sizes,
    size: tuple[int, int],
    pairs: int,
) -> argparse.ArgumentParser:
    """A work with the options that all have."""
    work = works.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"Example:\n  python tools/benchmark.py {name} --pairs 7 --json benchmark.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    work.set_defaults(measure=measure)
    work.add_argument("--json", type=Path, metavar="OUT", help="write the report there, too")
    work.add_argument(
        "--pairs",
        type=command_line.positive_int,
        default=pairs,
        metavar="N",
        help="how often each pair is timed (default: %(default)s)",
    )
    work.add_argument(
        "--size",
        type=command_line.positive_int,
        nargs=2,
        default=size,
        metavar=("H", "W"),
        help=f"of an image in pixels, {sizes} (default: {size[0]} {size[1]})",
    )
    work.add_argument(
        "--seed",
        type=command_line.seed,
        default=0,
        metavar="N",
        help="of all that is made up (default: %(default)s)",
    )
    return work


def _add_device(work: argparse.ArgumentParser) -> None:
    work.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="what computes; cuda is a GPU (default: %(default)s)",
    )


def _add_images(work: argparse.ArgumentParser, default: int) -> None:
    work.add_argument(
        "--images",
        type=command_line.positive_int,
        default=default,
        metavar="N",
        help="how many frames (default: %(default)s)",
    )


def _measure_train(args: argparse.Namespace) -> Report:
    return measure_train(tuple(args.size), args.seed, num_pairs=args.pairs, device=args.device)


def _measure_inference(args: argparse.Namespace) -> Report:
    return measure_inference(tuple(args.size), args.seed, num_pairs=args.pairs, device=args.device)


def _measure_data(args: argparse.Namespace) -> Report:
    return measure_data(args.images, tuple(args.size), args.seed, num_pairs=args.pairs)


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
