from __future__ import annotations

import pickle

import numpy as np
import torch.distributed as dist
import torch.multiprocessing as mp
from scenes import random_scene
from segtron.evaluation import CityscapesInstanceMetric
from segtron.evaluation.gather import merge_over_processes


def metric_of(numbers) -> CityscapesInstanceMetric:
    metric = CityscapesInstanceMetric()
    for number in numbers:
        scene = random_scene(np.random.default_rng(number))
        metric.update(number, scene.instance_ids, scene.masks, scene.label_ids, scene.scores)
    return metric


def evaluate_shard(rank: int, folder: str) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    merged = merge_over_processes(metric_of([[0, 1, 2], [3, 4, 0]][rank]))
    with open(f"{folder}/{rank}.pickle", "wb") as file:
        pickle.dump(merged, file)
    dist.destroy_process_group()


def test_one_process():
    metric = metric_of([0])
    assert merge_over_processes(metric) is metric


def test_two_processes(tmp_path):
    mp.spawn(evaluate_shard, args=(str(tmp_path),), nprocs=2)
    on_main, on_other = (pickle.loads((tmp_path / f"{r}.pickle").read_bytes()) for r in (0, 1))
    assert on_other is None
    assert len(on_main) == 5
    np.testing.assert_array_equal(
        on_main.average_precisions(), metric_of(range(5)).average_precisions()
    )
