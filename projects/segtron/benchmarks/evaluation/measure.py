"""What scoring costs: against the programs whose numbers it gives, on one core and on several, and
by the number of images and predictions."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from pathlib import Path

from segtron.benchmarks.comparison import Comparison, time_comparisons
from segtron.benchmarks.evaluation.coco import coco_comparisons
from segtron.benchmarks.evaluation.growth import GROWING_INSTANCES, measure_growth
from segtron.benchmarks.evaluation.memory import measure_scoring_memory
from segtron.benchmarks.evaluation.workers import compare_workers
from segtron.benchmarks.frames import (
    INSTANCE_SET,
    PANOPTIC_SET,
    SEM_SEG_SET,
    Frames,
    Output,
)
from segtron.benchmarks.limits import SCORED_SIZES
from segtron.benchmarks.machine import OtherPrograms, describe_machine, one_core
from segtron.benchmarks.official import OfficialScorers, prepare_official_scorers
from segtron.benchmarks.report import Report, Row
from segtron.benchmarks.saved_frames import SavedFrames
from segtron.benchmarks.timing import garbage_collected_between
from segtron.benchmarks.ways import (
    LabelScorer,
    decoding,
    in_memory,
    named,
    official_panoptic,
    over_files,
    score_segment_files,
    timed,
    write_instance_files,
    write_label_file,
    write_labels,
    write_segment_file,
)
from segtron.data.cityscapes import INSTANCE_IDS_SUFFIX
from segtron.data.panoptic_png import segment_ids
from segtron.errors import UserError
from segtron.evaluation.boundary import CITYSCAPES_DILATION_RATIO
from segtron.evaluation.cityscapes_instance import CityscapesInstanceEvaluator
from segtron.evaluation.cityscapes_sem_seg import CityscapesSemSegEvaluator
from segtron.evaluation.panoptic import PanopticEvaluator
from segtron.evaluation.saved_png import read_saved_colors, read_saved_png

# Predicted instances an image, unless growth is shown.
INSTANCES = 50
# How far scores in percent may differ.
_SUM_TOLERANCE = 1e-9  # IoU, iIoU, PQ
_AP_TOLERANCE = 1e-6

_DETECTRON2 = "the work of Detectron2's evaluator"


def measure_evaluation(
    num_frames: int,
    size: tuple[int, int],
    seed: int,
    *,
    num_pairs: int,
    with_official_scorers: bool = True,
) -> Report:
    """Time scoring against all that it stands in for.

    Args:
        num_frames: frames that are made up for it.
        size: their height and width in pixels, one of `SCORED_SIZES`.
        seed: the same seed gives the same frames.
        num_pairs: how often each pair of ways is timed.
        with_official_scorers: whether to use those that need an environment of their own, which is
            made if there is none.

    Raises:
        RuntimeError: two ways don't give the same scores.
        UserError: frames can't be of this size.
    """
    SCORED_SIZES.check(size)
    official, left_out = None, []
    if not with_official_scorers:
        left_out.append(
            "Left out: the official Cityscapes scripts, TIDE and faster-coco-eval "
            "(--skip-official-scripts)."
        )
    else:
        try:
            official = prepare_official_scorers()
        except UserError as error:
            left_out.append(
                "Left out: the official Cityscapes scripts, TIDE and faster-coco-eval: "
                f"{error.sentence}."
            )
    with one_core():
        machine = describe_machine()
    with tempfile.TemporaryDirectory() as folder, garbage_collected_between():
        scratch = Path(folder)
        frames = Frames(
            scratch / "frames",
            num_frames,
            size=size,
            most_instances=max(INSTANCES, *GROWING_INSTANCES),
            seed=seed,
        )
        with OtherPrograms() as others:
            workers = compare_workers(
                frames, scratch / "workers", num_instances=INSTANCES, num_pairs=num_pairs
            )
        if workers:
            machine["cores_used_by_others"] = others.cores
        with one_core():
            rows = compare_evaluation(frames, scratch, official=official, num_pairs=num_pairs)
            growth = measure_growth(frames, scratch / "growth", num_instances=INSTANCES)
            memory = measure_scoring_memory(
                SavedFrames(frames, scratch / "memory", num_instances=INSTANCES), official
            )
    if official is not None:
        machine["versions"]["numpy of the official scripts"] = official.numpy
    settings = {"images": num_frames, "pairs": num_pairs, "size": size, "seed": seed}
    return Report(machine, settings, [*rows, *workers], growth, left_out, memory=memory)


def compare_evaluation(
    frames: Frames, scratch: Path, *, official: OfficialScorers | None, num_pairs: int
) -> list[Row]:
    """Time each way to score against what it stands in for. All scores are compared, too.

    Args:
        frames: with at least `INSTANCES` predicted instances each.
        scratch: a folder, in which names of its own are free.
        official: those in an environment of their own; None leaves out what is compared with them.
        num_pairs: runs of each way that count.

    Raises:
        RuntimeError: two ways don't give the same scores.
    """
    saved = SavedFrames(frames, scratch / "saved", num_instances=INSTANCES)
    with contextlib.ExitStack() as stack:
        return time_comparisons(
            [
                *(_against_scripts(frames, saved, scratch, official) if official else []),
                *_against_panoptic_scorer(frames, saved, scratch, official),
                *_against_no_boundaries(frames),
                *coco_comparisons(
                    frames,
                    scratch / "coco",
                    stack,
                    num_instances=INSTANCES,
                    official=official,
                    tolerance=_AP_TOLERANCE,
                ),
            ],
            num_pairs,
        )


def _against_scripts(
    frames: Frames, saved: SavedFrames, scratch: Path, official: OfficialScorers
) -> list[Comparison]:
    """Cityscapes' AP, IoU and iIoU."""

    def labels_of(number: int) -> Output:
        return {"labels": frames.label_ids(number)}

    instances = functools.partial(frames.instances, num_instances=INSTANCES)
    score_instances = named(
        "cityscapes_segm", functools.partial(official.score_instances, saved.gt_folder)
    )
    score_labels = named(
        "cityscapes_sem_seg", functools.partial(official.score_labels, saved.gt_folder)
    )
    files = "the official script on the same files"
    scorers = saved.scorers()
    from_instance_files, from_label_files = (
        timed(functools.partial(scorers[task], 1))
        for task in ("cityscapes-instance", "cityscapes-semantic")
    )
    gt_pngs = sorted(saved.gt_folder.glob("*/*.png"))
    gt_ids = [path for path in gt_pngs if path.name.endswith(INSTANCE_IDS_SUFFIX)]
    return [
        Comparison(
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
        Comparison(
            "cityscapes-semantic in memory",
            f"{_DETECTRON2}: a PNG an image, then the official script",
            in_memory(
                CityscapesSemSegEvaluator(SEM_SEG_SET), frames.sem_seg_records, frames.sem_seg
            ),
            over_files(
                frames.sem_seg_records, frames.sem_seg, write_label_file, score_labels, scratch
            ),
            _SUM_TOLERANCE,
        ),
        Comparison(
            "cityscapes-semantic in memory, of labels",
            f"{_DETECTRON2} after argmax: a PNG an image, then the official script",
            in_memory(LabelScorer(), frames.sem_seg_records, labels_of),
            over_files(frames.sem_seg_records, labels_of, write_labels, score_labels, scratch),
            _SUM_TOLERANCE,
        ),
        Comparison(
            "cityscapes-instance from files",
            files,
            from_instance_files,
            lambda: score_instances(saved.instances),
            _AP_TOLERANCE,
        ),
        Comparison(
            "cityscapes-instance from files",
            "decoding the PNGs",
            from_instance_files,
            decoding(read_saved_png, gt_ids + saved.masks()),
            None,
        ),
        Comparison(
            "cityscapes-semantic from files",
            files,
            from_label_files,
            lambda: score_labels(saved.labels),
            _SUM_TOLERANCE,
        ),
        Comparison(
            "cityscapes-semantic from files",
            "decoding the PNGs",
            from_label_files,
            decoding(read_saved_png, gt_pngs + sorted(saved.labels.glob("*.png"))),
            None,
        ),
    ]


def _against_panoptic_scorer(
    frames: Frames, saved: SavedFrames, scratch: Path, official: OfficialScorers | None
) -> list[Comparison]:
    """PQ. The official scorer works with this numpy, too; there it is some times as fast."""
    records, pred_folder = frames.panoptic_records, saved.pred_json.with_suffix("")
    pngs = sorted([*saved.gt_json.with_suffix("").glob("*.png"), *pred_folder.glob("*.png")])
    ours = {
        "in memory": in_memory(PanopticEvaluator(PANOPTIC_SET), records, frames.panoptic),
        "from files": timed(functools.partial(saved.scorers()["panoptic"], 1)),
    }
    scorers = {"this numpy": official_panoptic(saved.gt_json, saved.pred_json, pred_folder)}
    if official is not None:
        score = named("panoptic_seg", official.score_panoptic)
        scorers["numpy<2"] = functools.partial(score, saved.gt_json, saved.pred_json, pred_folder)
    return [
        *(
            Comparison(
                f"panoptic {place}",
                f"the official scorer with {numpy}, on PNGs written before",
                way,
                scorer,
                _SUM_TOLERANCE,
            )
            for place, way in ours.items()
            for numpy, scorer in scorers.items()
        ),
        Comparison(
            "panoptic in memory",
            f"{_DETECTRON2}: a PNG an image, then the official scorer with this numpy",
            ours["in memory"],
            over_files(
                records,
                frames.panoptic,
                write_segment_file,
                functools.partial(score_segment_files, frames.panoptic_json),
                scratch,
            ),
            _SUM_TOLERANCE,
        ),
        Comparison(
            "panoptic from files",
            "decoding the PNGs",
            ours["from files"],
            decoding(lambda png: segment_ids(read_saved_colors(png)), pngs),
            None,
        ),
    ]


def _against_no_boundaries(frames: Frames) -> list[Comparison]:
    """What Boundary AP and Boundary IoU of Cityscapes take besides; no index has a reference."""
    return [
        Comparison(
            f"{name} in memory, with boundaries",
            "the same without boundaries",
            *(
                in_memory(evaluator(dataset, boundary_ratio=ratio), records, output_of)
                for ratio in (CITYSCAPES_DILATION_RATIO, 0.0)
            ),
            0.0,
        )
        for name, evaluator, dataset, records, output_of in (
            (
                "cityscapes-instance",
                CityscapesInstanceEvaluator,
                INSTANCE_SET,
                frames.instance_records,
                functools.partial(frames.instances, num_instances=INSTANCES),
            ),
            (
                "cityscapes-semantic",
                CityscapesSemSegEvaluator,
                SEM_SEG_SET,
                frames.sem_seg_records,
                frames.sem_seg,
            ),
        )
    ]
