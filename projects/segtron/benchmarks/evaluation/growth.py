"""What scoring costs by the number of images and of predictions."""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from detectron2.evaluation import DatasetEvaluator
from tqdm import tqdm

from segtron.benchmarks.coco_ways import coco_results, coco_set, file_scores, listed_results
from segtron.benchmarks.frames import (
    INSTANCE_SET,
    PANOPTIC_SET,
    SEM_SEG_SET,
    Frames,
    Output,
    Record,
)
from segtron.benchmarks.report import Growth
from segtron.benchmarks.saved_frames import SavedFrames
from segtron.benchmarks.timing import median_seconds
from segtron.benchmarks.ways import OutputOf, Way, in_memory, timed
from segtron.evaluation.cityscapes_instance import CityscapesInstanceEvaluator
from segtron.evaluation.cityscapes_sem_seg import CityscapesSemSegEvaluator
from segtron.evaluation.coco_evaluator import CocoInstanceEvaluator
from segtron.evaluation.panoptic import PanopticEvaluator
from segtron.files import write_json

# Predicted instances an image.
GROWING_INSTANCES = (10, 50, 300)
# What numbers of images growth is shown by, as multiples of the frames that there are.
GROWING_REPEATS = (1, 2, 4)
_RUNS = 3


class _Point(NamedTuple):
    """A piece of work at one size."""

    work: str
    num_images: int
    num_predictions: int | None
    way: Way
    state_bytes: int | None


def measure_growth(frames: Frames, folder: Path, *, num_instances: int) -> list[Growth]:
    """Time each way to score by the number of images and of predicted instances, and measure what a
    metric in memory keeps.

    Args:
        frames: with at least `num_instances`, and the most of `GROWING_INSTANCES`, predicted
            instances each.
        folder: for files, one that isn't there yet.
        num_instances: predicted in each frame where images grow.
    """
    folder.mkdir()
    growth = []
    with contextlib.ExitStack() as stack:
        points = itertools.chain(
            _instance_points(frames, folder, stack, num_instances),
            _map_points(frames),
            _file_points(frames, folder, num_instances),
        )
        for work, num_images, num_predictions, way, state_bytes in tqdm(
            points, unit=" rows", desc="growth"
        ):
            seconds = median_seconds(way, _RUNS)
            growth.append(Growth(work, num_images, num_predictions, seconds, state_bytes))
    return sorted(growth, key=lambda entry: entry.work)  # else as they came


def _instance_points(
    frames: Frames, folder: Path, stack: contextlib.ExitStack, num_instances: int
) -> Iterator[_Point]:
    """Cityscapes' and COCO's AP in memory, and COCO's from files."""
    sizes = [(repeats, num_instances) for repeats in GROWING_REPEATS]
    sizes += [(GROWING_REPEATS[0], n) for n in GROWING_INSTANCES if n != num_instances]
    for repeats, instances in sizes:

        def output_of(i: int, instances: int = instances) -> Output:
            return frames.instances(i % len(frames), instances)

        gt_json = folder / f"coco_{repeats}_{instances}.json"
        results_json = gt_json.with_stem(f"{gt_json.stem}_results")
        coco_records = frames.write_coco_json(gt_json, repeats)
        name = stack.enter_context(coco_set(gt_json))
        write_json(
            results_json, listed_results(coco_results(name, coco_records, output_of), "segm")
        )
        num_predictions = len(coco_records) * instances
        for work, evaluator, records in (
            (
                "cityscapes-instance in memory",
                CityscapesInstanceEvaluator(INSTANCE_SET),
                _repeated(frames.instance_records, repeats),
            ),
            ("coco bbox and segm in memory", CocoInstanceEvaluator(name), coco_records),
        ):
            yield _in_memory_point(work, evaluator, records, output_of, num_predictions)
        yield _Point(
            "coco segm from files",
            len(coco_records),
            num_predictions,
            timed(functools.partial(file_scores, gt_json, results_json)),
            None,
        )


def _map_points(frames: Frames) -> Iterator[_Point]:
    """IoU, iIoU and PQ in memory."""
    num_segments = sum(frames.num_segments(i) for i in range(len(frames)))
    for repeats in GROWING_REPEATS:
        yield _in_memory_point(
            "cityscapes-semantic in memory",
            CityscapesSemSegEvaluator(SEM_SEG_SET),
            _repeated(frames.sem_seg_records, repeats),
            lambda i: frames.sem_seg(i % len(frames)),
            None,
        )
        yield _in_memory_point(
            "panoptic in memory",
            PanopticEvaluator(PANOPTIC_SET),
            _repeated(frames.panoptic_records, repeats),
            lambda i: frames.panoptic(i % len(frames)),
            repeats * num_segments,
        )


def _file_points(frames: Frames, folder: Path, num_instances: int) -> Iterator[_Point]:
    """Cityscapes' AP, IoU and iIoU, and PQ, from files."""
    num_segments = sum(frames.num_segments(i) for i in range(len(frames)))
    num_predictions = {
        "cityscapes-instance": len(frames) * num_instances,
        "cityscapes-semantic": None,
        "panoptic": num_segments,
    }
    for repeats in GROWING_REPEATS:
        saved = SavedFrames(
            frames, folder / f"saved_{repeats}", num_instances=num_instances, repeats=repeats
        )
        for task, score in saved.scorers().items():
            of_frames = num_predictions[task]
            yield _Point(
                f"{task} from files",
                repeats * len(frames),
                None if of_frames is None else repeats * of_frames,
                timed(functools.partial(score, 1)),
                None,
            )


def _in_memory_point(
    work: str,
    evaluator: DatasetEvaluator,
    records: list[Record],
    output_of: OutputOf,
    num_predictions: int | None,
) -> _Point:
    return _Point(
        work,
        len(records),
        num_predictions,
        in_memory(evaluator, records, output_of),
        _state_bytes(evaluator, records, output_of),
    )


def _repeated(records: list[Record], repeats: int) -> list[Record]:
    """The frames several times, each time as images of their own."""
    return [
        {**record, "image_id": f"{record['image_id']}-{repeat}"}
        for repeat in range(repeats)
        for record in records
    ]


def _state_bytes(evaluator: DatasetEvaluator, records: list[Record], output_of: OutputOf) -> int:
    """What an evaluator keeps of images between `process` and `evaluate`."""
    evaluator.reset()
    gc.collect()
    tracemalloc.start()
    try:
        for number, record in enumerate(records):
            evaluator.process([record], [output_of(number)])
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        evaluator.reset()
