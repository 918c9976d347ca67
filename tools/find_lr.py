#!/usr/bin/env python
"""Find the learning rate that a config's model learns fastest with. See `--help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from detectron2.utils.logger import setup_logger

from segtron import command_line
from segtron.config import load_config
from segtron.engine.lr_finder import find_learning_rate, plot_range_test
from segtron.errors import UserError
from segtron.files import refuse_overwriting, write_json
from segtron.parts import load_parts


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = command_line.config_parser(
        "Find the learning rate that a config's model learns fastest with: train for some steps "
        "with a rate that rises, and see where the loss falls fastest. OUTPUT_DIR stays as it is.",
        "python tools/find_lr.py --config-file configs/toytown/unet_lite0.yaml --output lr.png",
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="PNG",
        help="picture of the curve; its numbers are written beside it as JSON",
    )
    parser.add_argument(
        "--min",
        type=float,
        default=1e-6,
        metavar="RATE",
        help="rate of the first step (default: %(default)s)",
    )
    parser.add_argument(
        "--max",
        type=float,
        default=1.0,
        metavar="RATE",
        help="rate of the last step (default: %(default)s)",
    )
    parser.add_argument(
        "--steps",
        type=command_line.positive_int,
        default=200,
        metavar="N",
        help="how many steps at most; the test ends early once the loss is 4 times its best "
        "(default: %(default)s)",
    )
    return parser.parse_intermixed_args()


def main() -> None:
    """Test the range that the command line names."""
    args = parse_args()
    load_parts(args.parts)
    if args.output.suffix.lower() != ".png":
        raise UserError(f"--output {args.output} is no picture; let its name end in .png")
    numbers = args.output.with_suffix(".json")
    refuse_overwriting([args.output, numbers])
    setup_logger(name="segtron")
    cfg = load_config(args.config_file, args.opts)
    found = find_learning_rate(cfg, minimum=args.min, maximum=args.max, steps=args.steps)
    plot_range_test(found, args.output)
    write_json(numbers, found.as_json())
    if found.suggestion is None:
        print(f"There is no learning rate to suggest, since {found.problem} ({args.output}).")
    else:
        print(
            f"The loss falls fastest at a learning rate of {found.suggestion:g} ({args.output}); "
            f"to train with it: SOLVER.BASE_LR {found.base_lr:g}"
        )


if __name__ == "__main__":
    sys.exit(command_line.run(main))
