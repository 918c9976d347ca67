#!/usr/bin/env python
"""Draw a run's curves: losses of training and validation, learning rate, scores. See `--help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from segtron import command_line
from segtron.errors import UserError
from segtron.run_files import METRICS_FILE
from segtron.visualization.curves import plot_curves


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Draw a run's curves: losses of training and validation, learning rate, and "
        "scores. It may still be running.",
        epilog="Example:\n  python tools/plot_curves.py output/first",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "output_dir", type=Path, metavar="OUTPUT_DIR", help="of a run; has its metrics.json"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder for the pictures, which replaces those there (default: OUTPUT_DIR)",
    )
    return parser.parse_args()


def main() -> None:
    """Draw the curves that the command line names."""
    args = parse_args()
    metrics_json = args.output_dir / METRICS_FILE
    written = plot_curves(metrics_json, args.output or args.output_dir)
    if not written:
        raise UserError(
            f"{metrics_json} has nothing to draw; a training writes a line every 20 iterations, "
            "and one after each evaluation"
        )
    for path in written:
        print(path)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
