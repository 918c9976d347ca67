"""What scoring files holds in memory at its peak."""

from __future__ import annotations

import functools

from segtron.benchmarks.official import OfficialScorers
from segtron.benchmarks.peak_memory import peak_of
from segtron.benchmarks.report import Memory
from segtron.benchmarks.saved_frames import SavedFrames
from segtron.evaluation import score_panoptic_files
from segtron.evaluation.cityscapes_instance_files import score_cityscapes_instances
from segtron.evaluation.cityscapes_semantic_files import score_cityscapes_semantics


def measure_scoring_memory(saved: SavedFrames, official: OfficialScorers | None) -> list[Memory]:
    """Peak memory of processes that do nothing but score files, Segtron's with one worker.

    Args:
        saved: the files.
        official: the official scorers; None leaves them out.
    """
    instances = saved.gt_folder, saved.instances
    semantics = saved.gt_folder, saved.labels
    panoptic = saved.gt_json, saved.pred_json
    found = [Memory("no work, libraries alone", "Segtron", *peak_of(int))]
    for task, score, files in (
        ("cityscapes-instance", score_cityscapes_instances, instances),
        ("cityscapes-semantic", score_cityscapes_semantics, semantics),
        ("panoptic", score_panoptic_files, panoptic),
    ):
        peak = peak_of(functools.partial(score, workers=1), *files)
        found.append(Memory(f"{task} from files", "Segtron", *peak))
    if official is None:
        return found
    for task, score in (
        ("cityscapes-instance", functools.partial(official.score_instances, *instances)),
        ("cityscapes-semantic", functools.partial(official.score_labels, *semantics)),
        (
            "panoptic",
            functools.partial(official.score_panoptic, *panoptic, saved.pred_json.with_suffix("")),
        ),
    ):
        score()
        if official.peak_bytes is not None:
            found.append(Memory(f"{task} from files", "the official script", official.peak_bytes))
    return found
