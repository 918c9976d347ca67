"""The ways to a score that a benchmark compares: Segtron's, and those that it stands in for.

A way is called without arguments, does the whole work once, and gives its time and its scores as
{"task/metric": percent}.

Detectron2's own Cityscapes evaluators can't be called: their module imports names that exist
nowhere. So what they do to an output is done here: the same files, by the same library.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from detectron2.evaluation import DatasetEvaluator
from PIL import Image

from segtron.benchmarks.frames import Output, Record
from segtron.benchmarks.official_worker import panoptic_scores
from segtron.benchmarks.timing import Run, Stopwatch
from segtron.data.cityscapes import SEM_SEG_ID_TO_CONTIGUOUS, THING_LABELS
from segtron.data.image_io import read_ids
from segtron.evaluation.cityscapes_sem_seg import CityscapesSemSegMetric

Way = Callable[[], Run]
# Gives the output for the image of a number.
OutputOf = Callable[[int], Output]
# Writes what was predicted in an image to a folder.
WriteFiles = Callable[[Path, Record, Output], None]
# Scores such a folder.
ScoreFiles = Callable[[Path], Run]

_LABEL_IDS = {contiguous: label_id for label_id, contiguous in SEM_SEG_ID_TO_CONTIGUOUS.items()}


def check_agreement(
    ours: Mapping[str, float], theirs: Mapping[str, float], *, tolerance: float
) -> None:
    """Make sure that two ways found the same.

    Args:
        ours: may have more scores than theirs.
        theirs: one that is undefined need not be in ours.
        tolerance: how far scores in percent may differ.

    Raises:
        RuntimeError: a score differs.
    """
    for name, their_score in theirs.items():
        our_score = ours.get(name, math.nan)
        if math.isnan(our_score) and math.isnan(their_score):
            continue
        if not abs(our_score - their_score) <= tolerance:
            raise RuntimeError(
                f"the two ways disagree: {name} is {our_score!r} here and {their_score!r} there, "
                "so their times can't be compared"
            )


def in_memory(evaluator: DatasetEvaluator, records: Sequence[Record], output_of: OutputOf) -> Way:
    """An evaluator's work in a run: `process` of each output, then `evaluate`."""

    def run() -> Run:
        watch = Stopwatch()
        evaluator.reset()
        for number, record in enumerate(records):
            output = output_of(number)
            with watch:
                evaluator.process([record], [output])
        with contextlib.redirect_stdout(io.StringIO()), watch:
            results = evaluator.evaluate()
        return Run(watch.seconds, _flat(results))

    return run


def over_files(
    records: Sequence[Record],
    output_of: OutputOf,
    write: WriteFiles,
    score: ScoreFiles,
    scratch: Path,
) -> Way:
    """The work of an evaluator of Detectron2's that saves each output, and in the end runs a
    program over the files."""

    def run() -> Run:
        watch = Stopwatch()
        folder = scratch / uuid.uuid4().hex
        folder.mkdir()
        for number, record in enumerate(records):
            output = output_of(number)
            with watch:
                write(folder, record, output)
        scored = score(folder)
        shutil.rmtree(folder)
        return Run(watch.seconds + scored.seconds, scored.result)

    return run


def timed(
    work: Callable[[], Mapping[str, Mapping[str, float]]],
    clock: Callable[[], float] = time.process_time,
) -> Way:
    """All that a function does; it gives task -> metric -> percent.

    Args:
        work: the function.
        clock: gives the time in seconds.
    """

    def run() -> Run:
        watch = Stopwatch(clock)
        quiet = io.StringIO()
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet), watch:
            results = work()
        return Run(watch.seconds, _flat(results))

    return run


def decoding(read: Callable[[Path], object], paths: Sequence[Path]) -> Way:
    """Reading files and nothing else."""

    def decode() -> dict[str, dict[str, float]]:
        for path in paths:
            read(path)
        return {}

    return timed(decode)


def _flat(results: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {
        f"{task}/{metric}": value
        for task, metrics in results.items()
        for metric, value in metrics.items()
    }


def named(task: str, score: Callable[..., Run]) -> Callable[..., Run]:
    """The same with the task in the names of the scores."""

    def run(*paths: Path) -> Run:
        seconds, scores = score(*paths)
        return Run(seconds, _flat({task: scores}))

    return run


# ---- what Detectron2's evaluators write ----------------------------------------------------------


def write_instance_files(folder: Path, record: Record, output: Output) -> None:
    """Write a PNG for each predicted instance, and the text file that lists them."""
    stem = Path(record["file_name"]).stem
    instances = output["instances"]
    with open(folder / f"{stem}_pred.txt", "w", encoding="utf-8") as file:
        for i in range(len(instances)):
            label = THING_LABELS[int(instances.pred_classes[i])]
            mask = instances.pred_masks[i].numpy().astype("uint8")
            name = f"{stem}_{i}_{label.name}.png"
            Image.fromarray(mask * 255).save(folder / name)
            file.write(f"{name} {label.id} {float(instances.scores[i])}\n")


def write_label_file(folder: Path, record: Record, output: Output) -> None:
    """Write a PNG of the label ids that score best."""
    classes = output["sem_seg"].argmax(dim=0).numpy()
    labels = np.full(classes.shape, 255, dtype=np.uint8)
    for train_id, label_id in _LABEL_IDS.items():
        labels[classes == train_id] = label_id
    write_labels(folder, record, {"labels": labels})


def write_labels(folder: Path, record: Record, output: Output) -> None:
    """Write a PNG of label ids that are found already."""
    Image.fromarray(output["labels"]).save(folder / f"{Path(record['file_name']).stem}_pred.png")


def write_segment_file(folder: Path, record: Record, output: Output) -> None:
    """Write a PNG of segments, and beside it a JSON with their list, of this image alone."""
    ids, segments = output["panoptic_seg"]
    ids = ids.numpy()
    colors = np.zeros((*ids.shape, 3), dtype=np.uint8)
    for channel in range(3):
        colors[..., channel] = ids // 256**channel % 256
    name = f"{record['image_id']}.png"
    Image.fromarray(colors).save(folder / name)
    listed = [
        {"id": segment["id"], "category_id": _LABEL_IDS[segment["category_id"]]}
        for segment in segments
    ]
    annotation = {"image_id": record["image_id"], "file_name": name, "segments_info": listed}
    (folder / f"{record['image_id']}.json").write_text(json.dumps(annotation), encoding="utf-8")


class LabelScorer(DatasetEvaluator):
    """Scores maps of label ids that are found already, by Segtron's metric of the Cityscapes
    protocol."""

    def reset(self) -> None:
        self._metric = CityscapesSemSegMetric()

    def process(self, inputs: list[Record], outputs: list[Output]) -> None:
        for record, output in zip(inputs, outputs, strict=True):
            instance_ids = read_ids(record["instance_ids_file_name"])
            self._metric.update(record["image_id"], output["labels"], instance_ids)

    def evaluate(self) -> dict[str, dict[str, float]]:
        return {"cityscapes_sem_seg": self._metric.compute().as_results()}


# ---- what they are scored by ---------------------------------------------------------------------


def score_segment_files(gt_json: Path, folder: Path) -> Run:
    """Run the official panoptic scorer over what `write_segment_file` has written."""
    watch = Stopwatch()
    pred_json = folder / "predictions.json"
    with watch:
        annotations = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
        pred_json.write_text(json.dumps({"annotations": annotations}), encoding="utf-8")
    seconds, scores = official_panoptic(gt_json, pred_json, folder)()
    return Run(watch.seconds + seconds, scores)


def official_panoptic(gt_json: Path, pred_json: Path, pred_folder: Path) -> Way:
    """The official panoptic scorer in this process, which works with any numpy."""

    def work() -> dict[str, dict[str, float]]:
        return {"panoptic_seg": panoptic_scores(gt_json, pred_json, pred_folder)}

    return timed(work)
