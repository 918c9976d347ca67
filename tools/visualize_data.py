#!/usr/bin/env python
"""Draw what a model is fed. See `--help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from detectron2.utils.logger import setup_logger

from segtron import command_line
from segtron.config import load_config
from segtron.parts import load_parts
from segtron.visualization.model_input import visualize_data


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = command_line.config_parser(
        "Draw what a model is fed: images after augmentation, with boxes and masks, or with the "
        "classes of all pixels.",
        "python tools/visualize_data.py --config-file configs/toytown/mask_rcnn_lite0_FPN.yaml "
        "--output pictures",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder for the pictures"
    )
    parser.add_argument(
        "--split",
        choices=("train", "test"),
        default="train",
        help="DATASETS.TRAIN, augmented, or DATASETS.TEST, resized only (default: %(default)s)",
    )
    parser.add_argument(
        "--source",
        choices=("model", "annotation"),
        default="model",
        help="what the model is fed, or images and annotations as they are stored, what is ignored "
        "hatched (default: %(default)s)",
    )
    parser.add_argument(
        "--number",
        type=command_line.positive_int,
        default=16,
        metavar="N",
        help="how many images, taken evenly from all (default: %(default)s)",
    )
    return parser.parse_intermixed_args()


def main() -> None:
    """Draw what the command line names."""
    args = parse_args()
    load_parts(args.parts)
    setup_logger(name="segtron")
    overview, *pictures = visualize_data(
        load_config(args.config_file, args.opts),
        args.output,
        split=args.split,
        source=args.source,
        number=args.number,
    )
    print(f"{len(pictures)} pictures are in {args.output}; {overview} shows them together")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
