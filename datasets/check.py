#!/usr/bin/env python
"""Find what is wrong with data sets before it breaks a training or its scores. See `--help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from segtron import command_line
from segtron.data.checks.check import check
from segtron.data.checks.coco_file import CocoFile
from segtron.data.checks.codes import Severity
from segtron.data.checks.mend import mend_and_check
from segtron.data.checks.report import as_json, as_text, changes_as_json, mended_text
from segtron.data.checks.sources import sets_of_config, sets_of_paths
from segtron.errors import UserError
from segtron.files import refuse_overwriting, write_json
from segtron.visualization.data_statistics.page import write_statistics

FOUND_EXIT_CODE = 1


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Find what is wrong with data sets before it breaks a training or its scores. "
        "Exit code: 0 without errors, 1 with errors (with --strict also with warnings), 2 if the "
        "command line is wrong.",
        epilog="Examples:\n"
        "  python datasets/check.py mine\n"
        "  python datasets/check.py train.json val.json --images photos --statistics pages\n"
        "  python datasets/check.py train.json --fix train_mended.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths",
        nargs="*",
        type=Path,
        metavar="PATH",
        help="a COCO JSON (instances or panoptic), or a folder that datasets/convert.py has "
        "written; several are compared, the first as the one to learn from",
    )
    parser.add_argument(
        "--config-file",
        type=Path,
        metavar="FILE",
        help="check the sets of this config's DATASETS.TRAIN and DATASETS.TEST",
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="the images' folder (default: looked for)"
    )
    parser.add_argument(
        "--panoptic",
        type=Path,
        metavar="DIR",
        help="the panoptic PNGs' folder (default: the one beside the JSON)",
    )
    parser.add_argument(
        "--skip-images", action="store_true", help="check the JSON alone, which takes seconds"
    )
    parser.add_argument(
        "--show",
        type=command_line.positive_int,
        default=5,
        metavar="N",
        help="how many problems of a kind to print (default: %(default)s)",
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write the problems, up to 20,000 of a kind, and what --fix changes, there",
    )
    parser.add_argument(
        "--fix",
        type=Path,
        metavar="OUT.json",
        help="write a copy of the JSON with all put right that has one right answer",
    )
    parser.add_argument(
        "--statistics", type=Path, metavar="DIR", help="write a page of charts and examples there"
    )
    parser.add_argument("--strict", action="store_true", help="warnings end with exit code 1, too")
    return parser.parse_args()


def main() -> int:
    """Check what the command line names."""
    args = parse_args()
    if bool(args.paths) == (args.config_file is not None):
        raise UserError("name either a PATH or a --config-file")
    for folder in (args.images, args.panoptic):
        if folder is not None and not folder.is_dir():
            raise UserError(f"folder {folder} does not exist; correct the path")
    if args.config_file is not None:
        sets = sets_of_config(args.config_file)
    else:
        sets = sets_of_paths(args.paths, args.images, args.panoptic)
    if args.fix is not None:
        if len(sets) != 1 or not isinstance(sets[0], CocoFile):
            raise UserError("--fix mends one COCO JSON; name it as the only PATH")
        refuse_overwriting([args.fix], "--fix")
    if args.json is not None:
        # An earlier report may be overwritten, data may not.
        others = [
            args.fix,
            args.config_file,
            *(s.json_file for s in sets if isinstance(s, CocoFile)),
        ]
        if args.json.resolve() in [path.resolve() for path in others if path is not None]:
            raise UserError(f"--json names {args.json}, which is no report; choose another --json")
    found = check(sets, with_pixels=not args.skip_images)
    print(as_text(found, args.show))
    content = as_json(found)
    if args.fix is not None:
        found, changes = mend_and_check(
            sets[0], found.pictures, args.fix, with_pixels=not args.skip_images
        )
        print(f"\n{mended_text(args.fix, changes, args.show)}\n")
        print(as_text(found, args.show))
        content["changes"] = changes_as_json(changes)
    if args.json is not None:
        write_json(args.json, content, indent=1)
    if args.statistics is not None:
        print(f"\nstatistics are in {write_statistics(args.statistics, found.sets)}")
    is_bad = found.problems.count(Severity.ERROR) or (
        args.strict and found.problems.count(Severity.WARNING)
    )
    return FOUND_EXIT_CODE if is_bad else 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
