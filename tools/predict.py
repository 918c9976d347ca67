#!/usr/bin/env python
"""Predict images and videos with a trained model. See `--help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from detectron2.utils.logger import setup_logger

from segtron import command_line
from segtron.config import load_config
from segtron.errors import UserError
from segtron.inference import (
    SINKS,
    FrameChoice,
    Predictor,
    TiledPredictor,
    build_sinks,
    check_sinks,
    describe_model,
    find_sources,
    is_finished,
    is_unfinished,
    model_metadata,
    predict_files,
    refuse_existing,
    with_large_images,
)
from segtron.inference.tiling import DEFAULT_SIZE, tile_overlap
from segtron.memory import keep_freed_memory
from segtron.modeling.checkpoint import choose_weights
from segtron.parts import load_parts
from segtron.wording import printable


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = command_line.config_parser(
        "Predict images and videos with a trained model: draw what it finds, or write it to files.",
        "python tools/predict.py --config-file output/first/config.yaml "
        "--input photos 'frames/*.png' street.mp4 --output predicted --save overlay,coco",
    )
    parser.add_argument(
        "--input",
        nargs="+",
        required=True,
        metavar="PATH",
        help="images, videos, folders (searched to any depth), patterns in quotes, or cameras "
        "(camera:0; Ctrl-C ends them)",
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
        help="what to write, separated by commas: "
        f"{', '.join(name for name, _ in SINKS)}, or a sink of your own from --parts "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--score-threshold",
        type=command_line.number_between(0, 1),
        metavar="T",
        help="lowest score of an instance, 0 to 1 (default: TEST.DRAW_SCORE_THRESH for overlays "
        "and videos, all that the model gives for other files); panoptic segments stay as the "
        "model gives them",
    )
    parser.add_argument(
        "--batch-size",
        type=command_line.positive_int,
        default=1,
        metavar="N",
        help="images at once (default: %(default)s)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in --output that was interrupted, if there is one; one that is "
        "over stays as it is",
    )
    _add_tile_options(parser)
    _add_video_options(parser)
    args = parser.parse_intermixed_args()
    args.input, keys_and_values = command_line.split_at_key(args.input)
    args.opts = [*args.opts, *keys_and_values]
    for option, value in (("--overlap", args.overlap), ("--tile-scale", args.tile_scale)):
        if value is not None and args.tile is None:
            raise UserError(f"{option} {value} is of tiles, so it needs --tile, too")
    if args.tile is not None:
        args.overlap = tile_overlap(args.tile, args.overlap)
    return args


def _add_tile_options(parser: argparse.ArgumentParser) -> None:
    tiles = parser.add_argument_group("images of any size", "see docs/large_images.md")
    tiles.add_argument(
        "--tile",
        type=_tile_size,
        nargs="?",
        const=DEFAULT_SIZE,
        metavar="SIZE",
        help="predict larger images in overlapping tiles of so many pixels, 128 to 8192 "
        "(default: %(const)s), --batch-size tiles at once",
    )
    tiles.add_argument(
        "--overlap",
        type=command_line.positive_int,
        metavar="PIXELS",
        help="what neighbouring tiles share at least, 32 to half of --tile (default: half of it)",
    )
    tiles.add_argument(
        "--tile-scale",
        type=command_line.number_between(0.05, 20),
        metavar="S",
        help="by what the model sees tiles enlarged, as it saw images in training: "
        "INPUT.MIN_SIZE_TEST / their short side (default: 1)",
    )


def _add_video_options(parser: argparse.ArgumentParser) -> None:
    videos = parser.add_argument_group("videos and cameras")
    videos.add_argument(
        "--every",
        type=command_line.positive_int,
        default=1,
        metavar="N",
        help="take each N-th frame (default: all)",
    )
    videos.add_argument(
        "--start", type=_seconds, default=0.0, metavar="SECONDS", help="where to begin"
    )
    videos.add_argument(
        "--end", type=_seconds, metavar="SECONDS", help="where to end, counted from the beginning"
    )
    videos.add_argument(
        "--max-frames",
        type=command_line.positive_int,
        metavar="N",
        help="take at most N frames of each video or camera",
    )
    videos.add_argument(
        "--frame-rate",
        type=command_line.number_between(0.1, 240),
        default=25.0,
        metavar="R",
        help="images a second, where --save video makes a video of images (default: %(default)g)",
    )


def _tile_size(text: str) -> int:
    try:
        return command_line.positive_int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text} is no number of pixels; before what is not meant for --tile, write --tile "
            f"{DEFAULT_SIZE}"
        ) from error


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return value


def main() -> None:
    """Predict what the command line names."""
    args = parse_args()
    setup_logger(name="segtron")
    # The small masks that stay of each tile would lie in the gaps that large arrays leave.
    if args.tile is None:
        keep_freed_memory()
    load_parts(args.parts)
    choice = FrameChoice(args.every, args.start, args.end, args.max_frames)
    sources = find_sources(args.input, skip=args.output, choice=choice, rate=args.frame_rate)
    opts = [*args.opts, *(("MODEL.WEIGHTS", args.weights) if args.weights else ())]
    cfg = load_config(args.config_file, opts)
    threshold = args.score_threshold
    sinks = build_sinks(
        [name.strip() for name in args.save.split(",")],
        args.output,
        model_metadata(cfg),
        draw_score=cfg.TEST.DRAW_SCORE_THRESH if threshold is None else threshold,
        save_score=0.0 if threshold is None else threshold,
    )
    weights = choose_weights(cfg, opts)
    if args.tile is not None:
        sources = with_large_images(sources)
    # Before the model is loaded, which takes time.
    check_sinks(sinks, cfg)
    if args.resume and is_finished(sources, sinks):
        print(f"nothing is left to do: all results are in {printable(str(args.output))} already")
        return
    refuse_existing(sources, sinks, resume=args.resume)
    predictor = Predictor(cfg, weights)
    description = describe_model(predictor.cfg, args.parts)
    description["--frame-rate"] = str(args.frame_rate)
    predict, batch_size = predictor, args.batch_size
    if args.tile is not None:
        predict = TiledPredictor(
            predictor,
            size=args.tile,
            overlap=args.overlap,
            scale=1.0 if args.tile_scale is None else args.tile_scale,
            batch_size=args.batch_size,
        )
        batch_size = 1
        description |= predict.description
    try:
        summary = predict_files(
            predict,
            sources,
            sinks,
            batch_size=batch_size,
            resume=args.resume,
            read_ahead=args.tile is None,
            description=description,
        )
    except KeyboardInterrupt:
        if is_unfinished(args.output):
            print("the same command with --resume goes on where this run was", file=sys.stderr)
        raise
    for sentence in summary.unreadable:
        print(f"left out: {printable(sentence)}", file=sys.stderr)
    print(
        f"{summary.predicted} of {summary.images} images predicted; results are in "
        + printable(str(args.output))
    )


if __name__ == "__main__":
    sys.exit(command_line.run(main))
