#!/usr/bin/env python
"""Generate toytown: street scenes in Cityscapes' layout, to try everything on."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from segtron import command_line
from segtron.data.toytown import make_toytown
from segtron.files import refuse_full_folder


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and make the data."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Example:\n  python datasets/make_toytown.py datasets/toytown --train 200 --val 50",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder to make")
    parser.add_argument(
        "--train", type=int, default=200, metavar="N", help="training images (default: %(default)s)"
    )
    parser.add_argument(
        "--val", type=int, default=50, metavar="N", help="validation images (default: %(default)s)"
    )
    parser.add_argument(
        "--size",
        type=command_line.positive_int,
        nargs=2,
        default=(256, 512),
        metavar=("H", "W"),
        help="height and width in pixels (default: 256 512)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="the same seed gives the same bytes (default: %(default)s)",
    )
    arguments = parser.parse_args(argv)
    refuse_full_folder(arguments.out)
    make_toytown(
        arguments.out,
        train=arguments.train,
        val=arguments.val,
        size=tuple(arguments.size),
        seed=arguments.seed,
    )
    print(f"toytown is in {arguments.out}")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
