#!/usr/bin/env python
"""Show a run's scores, and its predictions beside the ground truth. See `--help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from detectron2.utils.logger import setup_logger

from segtron import command_line
from segtron.config import load_config
from segtron.errors import UserError
from segtron.parts import load_parts
from segtron.run_files import CONFIG_FILE, METRICS_FILE
from segtron.visualization.report.scores import last_scores
from segtron.visualization.results import visualize_results


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Show a run's scores, and its predictions beside the ground truth, worst "
        "first, on one page that a browser opens from disk.",
        epilog="Example:\n  python tools/visualize_results.py output/first --number 50",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "output_dir",
        type=Path,
        metavar="OUTPUT_DIR",
        help="of a run that was scored; the page goes to its folder report",
    )
    parser.add_argument(
        "--number",
        type=_number_or_all,
        default=24,
        metavar="N",
        help="how many images of each test set, or all (default: %(default)s)",
    )
    parser.add_argument(
        "--score-threshold",
        type=command_line.number_between(0, 1),
        metavar="T",
        help="lowest score of an instance that counts (default: TEST.DRAW_SCORE_THRESH)",
    )
    command_line.add_parts(parser)
    return parser.parse_args()


def _number_or_all(text: str) -> int | None:
    return None if text == "all" else command_line.positive_int(text)


def main() -> None:
    """Show the run that the command line names."""
    args = parse_args()
    load_parts(args.parts)
    setup_logger(name="segtron")
    config = args.output_dir / CONFIG_FILE
    if not config.is_file():
        raise UserError(
            f"{config} does not exist; OUTPUT_DIR must be that of a run of tools/train_net.py"
        )
    cfg = load_config(config)
    threshold = args.score_threshold
    page = visualize_results(
        cfg,
        args.output_dir,
        number=args.number,
        min_score=cfg.TEST.DRAW_SCORE_THRESH if threshold is None else threshold,
    )
    for score in last_scores(args.output_dir / METRICS_FILE):
        print(score)
    print(f"open {page} in a browser")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
