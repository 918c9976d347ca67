from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np

from segtron.data.catalog import SEM_SEG_METADATA
from segtron.evaluation.cityscapes_instance import CityscapesInstanceMetric
from segtron.evaluation.cityscapes_sem_seg import CityscapesSemSegMetric
from segtron.evaluation.gather import merge_over_processes

from .scenes import ROAD, random_labelled_scene, random_scene


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

    results_on_main, results_on_other = (
        pickle.loads((tmp_path / f"results_{rank}.pickle").read_bytes()) for rank in range(2)
    )
    assert results_on_other == {}
    whole = CityscapesSemSegMetric()
    for number in range(5):
        instance_ids, prediction = random_labelled_scene(np.random.default_rng(number))
        # The evaluators' models know only the scored labels; they say road in place of others.
        known = np.isin(prediction, list(SEM_SEG_METADATA["stuff_dataset_id_to_contiguous_id"]))
        whole.update(number, np.where(known, prediction, ROAD), instance_ids)
    np.testing.assert_equal(results_on_main["cityscapes_sem_seg"], whole.compute().as_results())
    assert (tmp_path / "0" / "confusion_matrix.csv").is_file()
    saved_by_other = {path.name for path in (tmp_path / "1" / "labels").iterdir()}
    assert saved_by_other == {"0.png", "3.png", "4.png"}
    assert not (tmp_path / "1" / "confusion_matrix.csv").exists()
