from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np

from segtron.evaluation import CityscapesInstanceMetric
from segtron.evaluation.gather import merge_over_processes

from .scenes import random_scene


def test_one_process():
    metric = CityscapesInstanceMetric()
    assert merge_over_processes(metric) is metric


def test_two_processes(tmp_path):
    script = Path(__file__).with_name("merge_shard.py")
    processes = [
        subprocess.Popen([sys.executable, str(script), str(rank), str(tmp_path)])
        for rank in range(2)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    on_main, on_other = (
        pickle.loads((tmp_path / f"merged_{rank}.pickle").read_bytes()) for rank in range(2)
    )
    assert on_other is None
    assert len(on_main) == 5
    whole = CityscapesInstanceMetric()
    for number in range(5):
        scene = random_scene(np.random.default_rng(number))
        whole.update(number, scene.instance_ids, scene.masks, scene.label_ids, scene.scores)
    np.testing.assert_array_equal(on_main.average_precisions(), whole.average_precisions())
