#!/usr/bin/env python
"""Predict images with a trained model. See `--help`."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from detectron2.utils.logger import setup_logger

from segtron import command_line
from segtron.config import load_config
from segtron.inference import (
    SINKS,
    Predictor,
    build_sinks,
    find_images,
    model_metadata,
    predict_files,
    refuse_existing,
)
from segtron.memory import keep_freed_memory
from segtron.modeling.checkpoint import choose_weights


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = command_line.config_parser(
        "Predict images with a trained model: draw what it finds, or write it to files.",
        "python tools/predict.py --config-file output/first/config.yaml "
        "--input photos 'frames/*.png' --output predicted --save overlay,coco",
    )
    parser.add_argument(
        "--input",
        nargs="+",
        required=True,
        metavar="PATH",
        help="images, folders (searched to any depth), or patterns in quotes",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder for the results"
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="checkpoint (default: what was trained in OUTPUT_DIR, else MODEL.WEIGHTS)",
    )
    parser.add_argument(
        "--save",
        default="overlay",
        metavar="LIST",
        help=f"what to write, separated by commas: {', '.join(SINKS)} (default: %(default)s)",
    )
    parser.add_argument(
        "--score-threshold",
        type=command_line.fraction,
        metavar="T",
        help="lowest score of an instance, 0 to 1 (default: TEST.DRAW_SCORE_THRESH for overlays, "
        "all that the model gives for other files); panoptic segments stay as the model gives them",
    )
    parser.add_argument(
        "--batch-size",
        type=command_line.positive_int,
        default=1,
        metavar="N",
        help="images at once (default: %(default)s)",
    )
    args = parser.parse_intermixed_args()
    args.input, keys_and_values = _split_at_key(args.input)
    args.opts = [*args.opts, *keys_and_values]
    return args


def _split_at_key(inputs: list[str]) -> tuple[list[str], list[str]]:
    """Paths, and the KEY VALUE pairs that follow them; argparse takes both for paths."""
    for i, given in enumerate(inputs):
        if re.fullmatch(r"[A-Z0-9_]+(\.[A-Z0-9_]+)+", given) and not Path(given).exists():
            return inputs[:i], inputs[i:]
    return inputs, []


def main() -> None:
    """Predict what the command line names."""
    args = parse_args()
    setup_logger(name="segtron")
    keep_freed_memory()
    images = find_images(args.input, skip=args.output)
    opts = [*args.opts, *(("MODEL.WEIGHTS", args.weights) if args.weights else ())]
    cfg = load_config(args.config_file, opts)
    threshold = args.score_threshold
    sinks = build_sinks(
        args.save.split(","),
        args.output,
        model_metadata(cfg),
        draw_score=cfg.TEST.DRAW_SCORE_THRESH if threshold is None else threshold,
        save_score=0.0 if threshold is None else threshold,
    )
    # Before the model is loaded, which takes time.
    refuse_existing(images, sinks)
    predictor = Predictor(cfg, choose_weights(cfg, opts))
    summary = predict_files(predictor, images, sinks, batch_size=args.batch_size)
    for sentence in summary.unreadable:
        print(f"left out: {sentence}", file=sys.stderr)
    print(f"{summary.predicted} of {len(images)} images predicted; results are in {args.output}")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
