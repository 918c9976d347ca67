#!/usr/bin/env python
"""Write Cityscapes' panoptic PNGs and JSON, for other programs; Segtron itself needs neither."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from segtron import command_line
from segtron.data.cityscapes_panoptic_files import write_panoptic_files


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and write the files."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Example:\n  python datasets/prepare_cityscapes.py datasets/cityscapes",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "root", metavar="ROOT", type=Path, help="the folder that holds leftImg8bit and gtFine"
    )
    parser.add_argument(
        "--splits",
        nargs="+",
        choices=("train", "val", "test"),
        default=["train", "val"],
        metavar="SPLIT",
        help="train, val, test (default: train val)",
    )
    arguments = parser.parse_args(argv)
    for split in arguments.splits:
        print(f"panoptic labels of {split} are in {write_panoptic_files(arguments.root, split)}")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
