"""One of two processes that evaluate a shard each: python merge_shard.py RANK FOLDER."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
import torch.distributed as dist
from scenes import random_scene

from segtron.evaluation import CityscapesInstanceMetric
from segtron.evaluation.gather import merge_over_processes

SHARDS = ([0, 1, 2], [3, 4, 0])  # image 0 pads the second


def metric_of(numbers: list[int]) -> CityscapesInstanceMetric:
    metric = CityscapesInstanceMetric()
    for number in numbers:
        scene = random_scene(np.random.default_rng(number))
        metric.update(number, scene.instance_ids, scene.masks, scene.label_ids, scene.scores)
    return metric


def main(rank: int, folder: Path) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=len(SHARDS)
    )
    merged = merge_over_processes(metric_of(SHARDS[rank]))
    (folder / f"merged_{rank}.pickle").write_bytes(pickle.dumps(merged))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
