"""What scoring costs: against the programs whose numbers it gives, and by the number of images and
predictions."""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from detectron2.evaluation import COCOEvaluator, DatasetEvaluator
from pycocotools.coco import COCO
from tqdm import tqdm

from segtron.benchmarks.frames import (
    INSTANCE_SET,
    PANOPTIC_SET,
    SEM_SEG_SET,
    Frames,
    Output,
    Record,
)
from segtron.benchmarks.official import OfficialScripts
from segtron.benchmarks.report import Growth, Row
from segtron.benchmarks.timing import median_seconds, time_pairs
from segtron.benchmarks.ways import (
    LabelScorer,
    OutputOf,
    Way,
    check_agreement,
    coco_metric_scores,
    coco_results,
    coco_set,
    in_memory,
    named,
    official_panoptic,
    over_files,
    pycocotools_scores,
    score_segment_files,
    timed,
    write_instance_files,
    write_label_file,
    write_labels,
    write_segment_file,
)
from segtron.data.cityscapes import INSTANCE_IDS_SUFFIX, LABEL_IDS_SUFFIX
from segtron.data.panoptic_png import read_panoptic_png
from segtron.evaluation import (
    CityscapesInstanceEvaluator,
    CityscapesSemSegEvaluator,
    CocoInstanceEvaluator,
    PanopticEvaluator,
    score_panoptic_files,
)
from segtron.evaluation.cityscapes_instance_files import score_cityscapes_instances
from segtron.evaluation.cityscapes_semantic_files import score_cityscapes_semantics
from segtron.evaluation.coco_ground_truth import load_coco_ground_truth
from segtron.evaluation.saved_png import read_saved_png

# Predicted instances an image, in the comparisons and by which growth is shown.
INSTANCES = 50
GROWING_INSTANCES = (10, 50, 300)
# What numbers of images growth is shown by, as multiples of the frames that there are.
GROWING_REPEATS = (2, 4, 8)
_GROWTH_RUNS = 3
# COCO results are scored on their own on more images: each frame so often.
_COCO_REPEATS = 10
# How far scores in percent may differ.
_SUM_TOLERANCE = 1e-9  # IoU, iIoU, PQ
_AP_TOLERANCE = 1e-6

_DETECTRON2 = "the work of Detectron2's evaluator"


class _Comparison(NamedTuple):
    """Two ways to a score. A tolerance of None: the other way gives no score."""

    work: str
    against: str
    ours: Way
    theirs: Way
    tolerance: float | None


def compare_evaluation(
    frames: Frames, scratch: Path, *, official: OfficialScripts | None, num_pairs: int
) -> list[Row]:
    """Time each way to score against what it stands in for. All scores are compared, too.

    Args:
        frames: with at least `INSTANCES` predicted instances each.
        scratch: an empty folder.
        official: the official Cityscapes scripts; None leaves out what is compared with them.
        num_pairs: runs of each way that count.

    Raises:
        RuntimeError: two ways don't give the same scores.
    """
    with contextlib.ExitStack() as stack:
        comparisons = [
            *(_against_scripts(frames, scratch, official) if official is not None else []),
            *_against_panoptic_scorer(frames, scratch, official),
            *_against_pycocotools(frames, scratch, stack),
        ]
        bar = tqdm(comparisons, unit=" rows", desc="comparing")
        rows = []
        for work, against, ours, theirs, tolerance in bar:
            bar.set_postfix_str(work)
            check = (
                functools.partial(check_agreement, tolerance=tolerance)
                if tolerance is not None
                else lambda *_: None
            )
            rows.append(Row(work, against, time_pairs(ours, theirs, num_pairs, check)))
    return rows


def _against_scripts(frames: Frames, scratch: Path, official: OfficialScripts) -> list[_Comparison]:
    """Cityscapes' AP, IoU and iIoU."""

    def labels_of(number: int) -> Output:
        return {"labels": frames.label_ids(number)}

    gt, sem_seg = frames.gt_folder, frames.sem_seg
    instances = functools.partial(frames.instances, num_instances=INSTANCES)
    score_instances = named("cityscapes_segm", functools.partial(official.score_instances, gt))
    score_labels = named("cityscapes_sem_seg", functools.partial(official.score_labels, gt))
    # What the scorers of files get.
    saved = {"instances": scratch / "instances", "labels": scratch / "labels"}
    for folder in saved.values():
        folder.mkdir()
    for i, record in enumerate(frames.instance_records):
        write_instance_files(saved["instances"], record, instances(i))
        write_label_file(saved["labels"], record, sem_seg(i))
    gt_ids, gt_labels = (
        sorted(gt.glob(f"*/*{suffix}")) for suffix in (INSTANCE_IDS_SUFFIX, LABEL_IDS_SUFFIX)
    )
    masks, labels = (sorted(folder.glob("*.png")) for folder in saved.values())
    files = "the official script on the same files"
    from_instance_files = timed(
        lambda: {
            "cityscapes_segm": score_cityscapes_instances(
                gt, saved["instances"], workers=1
            ).as_results(("AP", "AP50"))
        }
    )
    from_label_files = timed(
        lambda: {
            "cityscapes_sem_seg": score_cityscapes_semantics(
                gt, saved["labels"], workers=1
            ).as_results()
        }
    )
    return [
        _Comparison(
            "cityscapes-instance in memory",
            f"{_DETECTRON2}: a PNG an instance, then the official script",
            in_memory(
                CityscapesInstanceEvaluator(INSTANCE_SET), frames.instance_records, instances
            ),
            over_files(
                frames.instance_records, instances, write_instance_files, score_instances, scratch
            ),
            _AP_TOLERANCE,
        ),
        _Comparison(
            "cityscapes-semantic in memory",
            f"{_DETECTRON2}: a PNG an image, then the official script",
            in_memory(CityscapesSemSegEvaluator(SEM_SEG_SET), frames.sem_seg_records, sem_seg),
            over_files(frames.sem_seg_records, sem_seg, write_label_file, score_labels, scratch),
            _SUM_TOLERANCE,
        ),
        _Comparison(
            "cityscapes-semantic in memory, of labels",
            f"{_DETECTRON2} after argmax: a PNG an image, then the official script",
            in_memory(LabelScorer(), frames.sem_seg_records, labels_of),
            over_files(frames.sem_seg_records, labels_of, write_labels, score_labels, scratch),
            _SUM_TOLERANCE,
        ),
        _Comparison(
            "cityscapes-instance from files",
            files,
            from_instance_files,
            lambda: score_instances(saved["instances"]),
            _AP_TOLERANCE,
        ),
        _Comparison(
            "cityscapes-instance from files",
            "decoding the PNGs",
            from_instance_files,
            timed(_decoding(read_saved_png, gt_ids + masks)),
            None,
        ),
        _Comparison(
            "cityscapes-semantic from files",
            files,
            from_label_files,
            lambda: score_labels(saved["labels"]),
            _SUM_TOLERANCE,
        ),
        _Comparison(
            "cityscapes-semantic from files",
            "decoding the PNGs",
            from_label_files,
            timed(_decoding(read_saved_png, gt_ids + gt_labels + labels)),
            None,
        ),
    ]


def _against_panoptic_scorer(
    frames: Frames, scratch: Path, official: OfficialScripts | None
) -> list[_Comparison]:
    """PQ. The official scorer works with this numpy, too; there it is some times as fast."""
    gt_json, records = frames.panoptic_json, frames.panoptic_records
    pred_json = frames.save_panoptic(scratch / "panoptic_run")
    pred_folder = pred_json.with_suffix("")
    pngs = sorted([*gt_json.with_suffix("").glob("*.png"), *pred_folder.glob("*.png")])
    ours = {
        "in memory": in_memory(PanopticEvaluator(PANOPTIC_SET), records, frames.panoptic),
        "from files": timed(
            lambda: {"panoptic_seg": score_panoptic_files(gt_json, pred_json).as_results()}
        ),
    }
    scorers = {"this numpy": official_panoptic(gt_json, pred_json, pred_folder)}
    if official is not None:
        score = named("panoptic_seg", official.score_panoptic)
        scorers["numpy<2"] = functools.partial(score, gt_json, pred_json, pred_folder)
    return [
        *(
            _Comparison(
                f"panoptic {place}",
                f"the official scorer with {numpy}, on PNGs written before",
                way,
                scorer,
                _SUM_TOLERANCE,
            )
            for place, way in ours.items()
            for numpy, scorer in scorers.items()
        ),
        _Comparison(
            "panoptic in memory",
            f"{_DETECTRON2}: a PNG an image, then the official scorer with this numpy",
            ours["in memory"],
            over_files(
                records,
                frames.panoptic,
                write_segment_file,
                functools.partial(score_segment_files, gt_json),
                scratch,
            ),
            _SUM_TOLERANCE,
        ),
        _Comparison(
            "panoptic from files",
            "decoding the PNGs",
            ours["from files"],
            timed(_decoding(read_panoptic_png, pngs)),
            None,
        ),
    ]


def _against_pycocotools(
    frames: Frames, scratch: Path, stack: contextlib.ExitStack
) -> Iterator[_Comparison]:
    """COCO's AP. Detectron2 calls pycocotools, too, where its own extension isn't built."""
    instances = functools.partial(frames.instances, num_instances=INSTANCES)
    boxes = functools.partial(frames.boxes, num_instances=INSTANCES)
    json_file = scratch / "coco.json"
    records = frames.write_coco_json(json_file, repeats=1)
    name = stack.enter_context(coco_set(json_file))
    for work, tasks, output_of in (
        ("coco bbox in memory", ("bbox",), boxes),
        ("coco bbox and segm in memory", ("bbox", "segm"), instances),
    ):
        yield _Comparison(
            work,
            "Detectron2's COCOEvaluator, with pycocotools",
            in_memory(CocoInstanceEvaluator(name), records, output_of),
            in_memory(
                COCOEvaluator(name, tasks=tasks, distributed=False, use_fast_impl=False),
                records,
                output_of,
            ),
            _AP_TOLERANCE,
        )

    json_file = scratch / "coco_repeated.json"
    repeated = frames.write_coco_json(json_file, repeats=_COCO_REPEATS)
    name = stack.enter_context(coco_set(json_file))
    ground_truth = load_coco_ground_truth(name)
    with contextlib.redirect_stdout(io.StringIO()):
        index = COCO(json_file)
    results = coco_results(name, repeated, lambda i: instances(i % len(frames)))
    for task in ("bbox", "segm"):
        yield _Comparison(
            f"coco {task} of results in memory, {len(repeated)} images",
            "pycocotools",
            timed(functools.partial(coco_metric_scores, ground_truth, results, task)),
            timed(functools.partial(pycocotools_scores, index, results, task)),
            _AP_TOLERANCE,
        )


def _decoding(read: Callable[[Path], object], paths: list[Path]) -> Callable[[], dict]:
    """Reading files and nothing else."""

    def decode() -> dict:
        for path in paths:
            read(path)
        return {}

    return decode


def measure_growth(frames: Frames) -> list[Growth]:
    """Time each way in memory by the number of images and of predicted instances, and measure what
    its metric keeps.

    Args:
        frames: with at least the most of `GROWING_INSTANCES` predicted instances each.
    """
    growth = []
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        points = [*_instance_points(frames, Path(scratch), stack), *_map_points(frames)]
        for work, evaluator, records, output_of, num_predictions in tqdm(
            points, unit=" rows", desc="growth"
        ):
            growth.append(
                Growth(
                    work,
                    len(records),
                    num_predictions,
                    median_seconds(in_memory(evaluator, records, output_of), _GROWTH_RUNS),
                    _state_bytes(evaluator, records, output_of),
                )
            )
    return sorted(growth, key=lambda entry: entry.work)  # else as they came


class _Point(NamedTuple):
    work: str
    evaluator: DatasetEvaluator
    records: list[Record]
    output_of: OutputOf
    num_predictions: int | None


def _instance_points(
    frames: Frames, scratch: Path, stack: contextlib.ExitStack
) -> Iterator[_Point]:
    """Cityscapes' and COCO's AP."""
    sizes = [(repeats, INSTANCES) for repeats in GROWING_REPEATS]
    sizes += [
        (GROWING_REPEATS[0], instances) for instances in GROWING_INSTANCES if instances != INSTANCES
    ]
    for repeats, instances in sizes:

        def output_of(i: int, instances: int = instances) -> Output:
            return frames.instances(i % len(frames), instances)

        json_file = scratch / f"coco_{repeats}_{instances}.json"
        coco_records = frames.write_coco_json(json_file, repeats)
        coco_evaluator = CocoInstanceEvaluator(stack.enter_context(coco_set(json_file)))
        for work, evaluator, records in (
            (
                "cityscapes-instance",
                CityscapesInstanceEvaluator(INSTANCE_SET),
                _repeated(frames.instance_records, repeats),
            ),
            ("coco bbox and segm", coco_evaluator, coco_records),
        ):
            yield _Point(work, evaluator, records, output_of, len(records) * instances)


def _map_points(frames: Frames) -> Iterator[_Point]:
    """IoU, iIoU and PQ."""
    num_segments = sum(frames.num_segments(i) for i in range(len(frames)))
    for repeats in GROWING_REPEATS:
        yield _Point(
            "cityscapes-semantic",
            CityscapesSemSegEvaluator(SEM_SEG_SET),
            _repeated(frames.sem_seg_records, repeats),
            lambda i: frames.sem_seg(i % len(frames)),
            None,
        )
        yield _Point(
            "panoptic",
            PanopticEvaluator(PANOPTIC_SET),
            _repeated(frames.panoptic_records, repeats),
            lambda i: frames.panoptic(i % len(frames)),
            repeats * num_segments,
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
