#!/usr/bin/env python
"""Convert what a labelling tool saved to COCO's files, to train on; or predictions to a tool's
files, to correct them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from segtron import command_line
from segtron.data.converters.class_files import read_class_file
from segtron.data.converters.coco_files import write_coco
from segtron.data.converters.coco_source import open_coco
from segtron.data.converters.cvat_files import write_cvat
from segtron.data.converters.formats import FORMATS, Format
from segtron.data.converters.labelled_image import Dropped
from segtron.data.converters.labelme_files import write_labelme
from segtron.data.converters.split import Split
from segtron.data.converters.summary import summarise, summarise_way_back
from segtron.errors import UserError
from segtron.parts import load_parts

# The commands of the way back, the tool and the function of each.
WAYS_BACK = {"to-labelme": ("LabelMe", write_labelme), "to-cvat": ("CVAT", write_cvat)}
EXAMPLE = "Example:\n  python datasets/convert.py "


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    # Parts may register formats, which are commands below; and --parts may stand anywhere.
    own = argparse.ArgumentParser(
        add_help=False, allow_abbrev=False, usage="%(prog)s [-h] [--parts FILE] FORMAT ..."
    )
    command_line.add_parts(own)
    given, others = own.parse_known_args(argv)
    load_parts(given.parts)
    parser = argparse.ArgumentParser(
        parents=[own],
        description=__doc__,
        epilog=f"{EXAMPLE}{FORMATS['labelme'].example}\n\n"
        "python datasets/convert.py FORMAT --help tells more of a format.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # of --parts, which would not be loaded
    )
    commands = parser.add_subparsers(metavar="FORMAT", required=True)
    for name, format in FORMATS.items():
        command = commands.add_parser(
            name,
            help=format.summary,
            description=f"Convert {format.summary}, to COCO's files.",
            epilog=f"{EXAMPLE}{format.example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(work=convert, format=format)
        command.add_argument("src", metavar="SRC", type=Path, help=format.source)
        command.add_argument(
            "out", metavar="OUT", type=Path, help="the folder to make, which gets annotations.json"
        )
        _add_options(command, format)
    for name, (tool, _) in WAYS_BACK.items():
        _add_way_back(commands, name, tool)
    return parser.parse_args(others)


def _add_way_back(commands: argparse._SubParsersAction, name: str, tool: str) -> None:
    command = commands.add_parser(
        name,
        help=f"COCO's files or predictions for {tool}, to correct them",
        description=f"Write COCO's files, or predictions in COCO's format, for {tool}.",
        epilog=f"{EXAMPLE}{name} predicted/predictions.json corrected --images photos "
        "--min-score 0.5",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(work=convert_back, way_back=name)
    command.add_argument(
        "src", metavar="SRC", type=Path, help="a COCO JSON file, or predictions.json of predict.py"
    )
    command.add_argument("out", metavar="OUT", type=Path, help="the folder to make")
    command.add_argument(
        "--dataset",
        type=Path,
        metavar="FILE",
        help="the COCO JSON that predictions are for, if they don't name images and classes",
    )
    command.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="the folder of the pictures (default: images beside the COCO JSON)",
    )
    command.add_argument(
        "--min-score",
        type=command_line.number_between(0, 1),
        default=0.0,
        metavar="SCORE",
        help="leave out predictions below it (default: %(default)s)",
    )
    command.add_argument(
        "--tolerance",
        type=command_line.number_between(0, 100),
        default=0.0,
        metavar="PX",
        help="by how many pixels polygons may leave the masks that they are traced from, for fewer "
        "corners (default: the same pixels)",
    )
    command.add_argument(
        "--link", action="store_true", help="make links to the pictures instead of copies"
    )


def _add_options(parser: argparse.ArgumentParser, format: Format) -> None:
    own = parser.add_argument_group("of this format")
    for option in format.options:
        # What isn't given is left to the reader's own default.
        own.add_argument(
            option.flag, help=option.help, default=argparse.SUPPRESS, **option.settings
        )
    parser.add_argument(
        "--link", action="store_true", help="make links to the pictures instead of copies"
    )
    parser.add_argument(
        "--class-list",
        type=Path,
        metavar="FILE",
        help="all classes in the order they shall have, one a line, so that several conversions "
        "fit together",
    )
    split = parser.add_argument_group("training and validation data")
    part = split.add_mutually_exclusive_group()
    part.add_argument(
        "--val-share",
        type=command_line.number_between(0, 1),
        metavar="SHARE",
        help="write train.json and val.json, too, which gets this share of the images",
    )
    part.add_argument(
        "--val-list",
        type=Path,
        metavar="FILE",
        help="likewise, but it gets the images that this text file names, one a line",
    )
    split.add_argument(
        "--group-by",
        metavar="folder|REGEX",
        help="keep images together that are in one folder, or in whose paths the group of a "
        "regular expression finds the same, such as '^(.*)_\\d+' (default: what the source says)",
    )
    split.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the split (default: %(default)s)"
    )


def convert(args: argparse.Namespace) -> str:
    """Convert to COCO; returns what to say of it."""
    dropped = Dropped()
    arguments = [option.argument for option in args.format.options]
    options = {name: getattr(args, name) for name in arguments if hasattr(args, name)}
    classes = None
    if args.class_list is not None:
        classes = list(read_class_file(args.class_list).names.values())
    split = None
    if args.val_share is None and args.val_list is None:
        if args.group_by is not None:
            raise UserError("--group-by is for a split; give --val-share or --val-list, too")
    else:
        split = Split(args.val_share, args.val_list, args.group_by, args.seed)
    written = write_coco(
        args.format.open(args.src, dropped, **options),
        args.out,
        dropped,
        link=args.link,
        split=split,
        classes=classes,
    )
    return summarise(written, args.out)


def convert_back(args: argparse.Namespace) -> str:
    """Convert from COCO; returns what to say of it."""
    dropped = Dropped()
    labelling = open_coco(
        args.src,
        dropped,
        dataset=args.dataset,
        min_score=args.min_score,
        images=args.images,
    )
    write = WAYS_BACK[args.way_back][1]
    images, objects = write(labelling, args.out, dropped, tolerance=args.tolerance, link=args.link)
    return summarise_way_back(images, objects, dropped, args.out)


def main(argv: list[str] | None = None) -> None:
    """Do what the command line asks for."""
    args = parse_args(argv)
    print(args.work(args))


if __name__ == "__main__":
    sys.exit(command_line.run(main))
