#!/usr/bin/env python
"""Train and evaluate the model of a config. See `--help`."""

from __future__ import annotations

import argparse
import sys
from functools import partial

from segtron import command_line
from segtron.engine import launch, run_job


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = command_line.config_parser(
        "Train and evaluate the model of a config, on one CPU or many GPUs.",
        "python tools/train_net.py --config-file configs/toytown/mask_rcnn_lite0_FPN.yaml "
        "OUTPUT_DIR output/first\n\n"
        "Also under torchrun:\n"
        "  torchrun --nproc-per-node 2 tools/train_net.py --config-file FILE",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from OUTPUT_DIR's last checkpoint"
    )
    parser.add_argument(
        "--eval-only",
        action="store_true",
        help="score MODEL.WEIGHTS, or what was trained in OUTPUT_DIR, without training",
    )
    parser.add_argument(
        "--num-gpus",
        type=int,
        default=1,
        metavar="N",
        help="GPUs to use on this machine; without GPUs, processes to share its CPUs (default: 1)",
    )
    parser.add_argument(
        "--num-machines", type=int, default=1, metavar="N", help="machines of the job (default: 1)"
    )
    parser.add_argument(
        "--machine-rank", type=int, default=0, metavar="N", help="which of them this is, from 0"
    )
    parser.add_argument(
        "--dist-url", metavar="URL", help="where several machines meet, tcp://HOST:PORT"
    )
    return parser.parse_intermixed_args()


def main() -> None:
    """Launch the job that the command line describes."""
    args = parse_args()
    launch(
        partial(run_job, resume=args.resume, eval_only=args.eval_only, parts=args.parts),
        (args.config_file, args.opts),
        num_processes=args.num_gpus,
        num_machines=args.num_machines,
        machine_rank=args.machine_rank,
        dist_url=args.dist_url,
    )


if __name__ == "__main__":
    sys.exit(command_line.run(main))
