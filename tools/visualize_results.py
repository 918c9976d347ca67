#!/usr/bin/env python
"""Draw a run's predictions beside the ground truth, worst images first. See `--help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from detectron2.utils.logger import setup_logger

from segtron import command_line
from segtron.config import load_config
from segtron.errors import UserError
from segtron.visualization.report import REPORT_FILE
from segtron.visualization.results import last_scores, visualize_results


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Draw a run's predictions beside the ground truth, worst images first.",
        epilog="Example:\n  python tools/visualize_results.py output/first --number 50",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "output_dir",
        type=Path,
        metavar="OUTPUT_DIR",
        help="of a run that was scored; the pictures go to its folder visualizations",
    )
    parser.add_argument(
        "--number",
        type=command_line.positive_int,
        default=24,
        metavar="N",
        help="how many images of each test set (default: %(default)s)",
    )
    parser.add_argument(
        "--score-threshold",
        type=command_line.fraction,
        metavar="T",
        help="lowest score of an instance that counts (default: TEST.DRAW_SCORE_THRESH)",
    )
    return parser.parse_args()


def main() -> None:
    """Draw the run that the command line names."""
    args = parse_args()
    setup_logger(name="segtron")
    config = args.output_dir / "config.yaml"
    if not config.is_file():
        raise UserError(
            f"{config} does not exist; OUTPUT_DIR must be that of a run of tools/train_net.py"
        )
    cfg = load_config(config)
    threshold = args.score_threshold
    folders = visualize_results(
        cfg,
        args.output_dir,
        number=args.number,
        min_score=cfg.TEST.DRAW_SCORE_THRESH if threshold is None else threshold,
    )
    for score in last_scores(args.output_dir / "metrics.json"):
        print(score)
    for folder in folders:
        print(
            f"pictures, worst first, are in {folder}; {folder / 'overview.png'} shows the worst, "
            f"{folder / REPORT_FILE} all of them side by side with the ground truth"
        )


if __name__ == "__main__":
    sys.exit(command_line.run(main))
