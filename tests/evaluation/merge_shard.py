"""One of two processes that evaluate a shard each: python merge_shard.py RANK FOLDER."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.distributed as dist
from detectron2.data import MetadataCatalog

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.evaluation.scenes import labels_of, random_labelled_scene, random_scene
from tests.process_end import leave_together

from segtron.data.catalog import SEM_SEG_METADATA
from segtron.data.cityscapes import LABEL_IDS
from segtron.evaluation.cityscapes_instance import CityscapesInstanceMetric
from segtron.evaluation.cityscapes_sem_seg import CityscapesSemSegEvaluator
from segtron.evaluation.gather import merge_over_processes

SHARDS = ([0, 1, 2], [3, 4, 0])  # image 0 pads the second


def metric_of(numbers: list[int]) -> CityscapesInstanceMetric:
    metric = CityscapesInstanceMetric()
    for number in numbers:
        scene = random_scene(np.random.default_rng(number))
        metric.update(number, scene.instance_ids, scene.masks, scene.label_ids, scene.scores)
    return metric


def evaluate_sem_seg(numbers: list[int], folder: Path) -> dict[str, dict[str, float]]:
    MetadataCatalog.get("shard").set(**SEM_SEG_METADATA)
    label_ids = np.array(list(SEM_SEG_METADATA["stuff_dataset_id_to_contiguous_id"]))
    evaluator = CityscapesSemSegEvaluator("shard", output_dir=str(folder))
    for number in numbers:
        instance_ids, prediction = random_labelled_scene(np.random.default_rng(number))
        ids_file, labels_file = (
            str(folder / f"{number}_{kind}Ids.png") for kind in ("instance", "label")
        )
        cv2.imwrite(ids_file, instance_ids)
        cv2.imwrite(labels_file, labels_of(instance_ids))
        scores = torch.from_numpy((prediction == label_ids[:, None, None]).astype(np.float32))
        record = {
            "file_name": f"{number}.png",
            "image_id": f"{number}.png",
            "height": instance_ids.shape[0],
            "width": instance_ids.shape[1],
            "sem_seg_file_name": labels_file,
            "sem_seg_encoding": LABEL_IDS,
            "instance_ids_file_name": ids_file,
        }
        evaluator.process([record], [{"sem_seg": scores}])
    return evaluator.evaluate()


def main(rank: int, folder: Path) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=len(SHARDS)
    )
    merged = merge_over_processes(metric_of(SHARDS[rank]))
    (folder / f"merged_{rank}.pickle").write_bytes(pickle.dumps(merged))
    (folder / str(rank)).mkdir()
    results = evaluate_sem_seg(SHARDS[rank], folder / str(rank))
    (folder / f"results_{rank}.pickle").write_bytes(pickle.dumps(results))
    leave_together(rank, len(SHARDS), folder)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
