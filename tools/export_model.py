#!/usr/bin/env python
"""Export a trained model to ONNX or torch.export. See `--help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from detectron2.utils.logger import setup_logger

from segtron import command_line
from segtron.config import load_config
from segtron.inference.export import FORMATS, DisagreementError, export_model, run_exported
from segtron.modeling.checkpoint import choose_weights
from segtron.parts import load_parts


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = command_line.config_parser(
        "Export a trained model to a file that runs without Segtron and Detectron2, and compare it "
        "with the model.",
        "python tools/export_model.py --config-file output/first/config.yaml --format onnx "
        "--output first.onnx --check street.png",
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="checkpoint (default: what was trained in OUTPUT_DIR, else MODEL.WEIGHTS)",
    )
    parser.add_argument(
        "--format", choices=FORMATS, required=True, help="onnx, or torch for torch.export's .pt2"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="ends in .onnx or .pt2"
    )
    parser.add_argument(
        "--check",
        nargs="+",
        default=[],
        metavar="IMAGE",
        help="images to compare on (default: a generated street scene)",
    )
    parser.add_argument(
        "--size",
        nargs=2,
        type=command_line.positive_int,
        metavar=("H", "W"),
        help="the only input size of the network (default: the file takes any)",
    )
    args = parser.parse_intermixed_args()
    images, keys_and_values = command_line.split_at_key(args.check)
    args.check, args.opts = [Path(image) for image in images], [*args.opts, *keys_and_values]
    return args


def main() -> int:
    """Export what the command line names. Returns 1 where the file is not what the model is."""
    args = parse_args()
    load_parts(args.parts)
    setup_logger(name="segtron")
    opts = [*args.opts, *(("MODEL.WEIGHTS", args.weights) if args.weights else ())]
    cfg = load_config(args.config_file, opts)
    try:
        agreement = export_model(
            cfg,
            choose_weights(cfg, opts),
            args.format,
            args.output,
            images=args.check,
            size=tuple(args.size) if args.size else None,
        )
    except DisagreementError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(agreement)
    print(f"{args.output} is written; {run_exported.__file__} runs it anywhere")
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
