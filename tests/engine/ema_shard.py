"""Trainings by two processes, one after the other: python ema_shard.py CONFIG...

Of each, a process's averaged weights and buffers go to the config's OUTPUT_DIR.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from detectron2.utils import comm

from segtron.config import load_config
from segtron.engine import Trainer, launch


def train(config: str) -> None:
    """Train as a job does, and keep what this process has."""
    cfg = load_config(config)
    output_dir = Path(cfg.OUTPUT_DIR)
    output_dir.mkdir(exist_ok=True)
    torch.manual_seed(cfg.SEED)
    trainer = Trainer(cfg, cfg.SEED)
    trainer.load()
    trainer.train()
    torch.save(trainer.average.model.state_dict(), output_dir / f"average_{comm.get_rank()}.pth")


def train_all(configs: Sequence[str]) -> None:
    """Train by each config."""
    torch.set_num_threads(1)
    for config in configs:
        train(config)
        # The main process has written what the test reads.
        comm.synchronize()


if __name__ == "__main__":
    launch(train_all, (sys.argv[1:],), num_processes=2)
