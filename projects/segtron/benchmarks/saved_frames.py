"""Frames and what was predicted of them as files in the official formats."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from segtron.benchmarks.frames import Frames
from segtron.benchmarks.ways import write_instance_files, write_label_file
from segtron.evaluation import score_panoptic_files
from segtron.evaluation.cityscapes_instance_files import score_cityscapes_instances
from segtron.evaluation.cityscapes_semantic_files import score_cityscapes_semantics
from segtron.files import write_json


class SavedFrames:
    """What scorers of files get: ground truth and predictions.

    Each frame is there several times, as an image of its own: scoring on several cores needs more
    images than there have to be frames for it.

    Attributes:
        gt_folder: `gtFine/val` with label ids and instance ids.
        instances: folder with a text file for each image; the repeats of a frame share its masks.
        labels: folder with a PNG of label ids for each image.
        gt_json, pred_json: COCO's panoptic format, each with its PNGs in the folder of its name,
            which the repeats share.
    """

    def __init__(self, frames: Frames, root: Path, *, num_instances: int, repeats: int = 1) -> None:
        """Write the files.

        Args:
            frames: with at least so many predicted instances.
            root: an empty folder, or one that isn't there yet.
            num_instances: predicted in each frame.
            repeats: how often each frame is there.
        """
        self.gt_folder = root / "gtFine" / "val"
        self.instances, self.labels = root / "instances", root / "labels"
        for folder in (self.instances, self.labels):
            folder.mkdir(parents=True)
        for i, record in enumerate(frames.instance_records):
            write_instance_files(self.instances, record, frames.instances(i, num_instances))
            write_label_file(self.labels, record, frames.sem_seg(i))
        for folder, pattern in (
            (self.instances, "*.txt"),
            (self.labels, "*.png"),
        ):
            for path in sorted(folder.glob(pattern)):
                for name in _names(path.name, repeats)[1:]:
                    shutil.copyfile(path, folder / name)
        for path in frames.gt_folder.glob("*/*.png"):
            city = self.gt_folder / path.parent.name
            city.mkdir(parents=True, exist_ok=True)
            for name in _names(path.name, repeats):
                shutil.copyfile(path, city / name)

        predicted = frames.save_panoptic(root / "panoptic_run")
        self.gt_json, self.pred_json = (
            _repeat_panoptic(source, root / name, repeats)
            for source, name in (
                (frames.panoptic_json, "panoptic_truth.json"),
                (predicted, "panoptic_predicted.json"),
            )
        )

    def scorers(self) -> dict[str, Callable[[int], dict[str, dict[str, float]]]]:
        """Segtron's ways to score the files: task of `tools/evaluate.py` -> what scores it with so
        many workers, and gives the scores in percent."""

        def instances(workers: int) -> dict[str, dict[str, float]]:
            scores = score_cityscapes_instances(self.gt_folder, self.instances, workers=workers)
            return {"cityscapes_segm": scores.as_results(("AP", "AP50"))}

        def semantics(workers: int) -> dict[str, dict[str, float]]:
            scores = score_cityscapes_semantics(self.gt_folder, self.labels, workers=workers)
            return {"cityscapes_sem_seg": scores.as_results()}

        def panoptic(workers: int) -> dict[str, dict[str, float]]:
            scores = score_panoptic_files(self.gt_json, self.pred_json, workers=workers)
            return {"panoptic_seg": scores.as_results()}

        return {
            "cityscapes-instance": instances,
            "cityscapes-semantic": semantics,
            "panoptic": panoptic,
        }

    def masks(self) -> list[Path]:
        """The PNGs of all predicted instances."""
        return sorted(self.instances.glob("*.png"))


def _names(name: str, repeats: int) -> list[str]:
    """The names of a frame's repeats, as if they were later ones: the first is its own."""
    city, sequence, number, *rest = name.split("_")
    return ["_".join([city, sequence, f"{int(number) + i:06d}", *rest]) for i in range(repeats)]


def _repeat_panoptic(source: Path, json_file: Path, repeats: int) -> Path:
    content = json.loads(source.read_text(encoding="utf-8"))
    content["images"] = list(_repeated(content["images"], "id", repeats))
    content["annotations"] = list(_repeated(content["annotations"], "image_id", repeats))
    write_json(json_file, content)
    shutil.copytree(source.with_suffix(""), json_file.with_suffix(""))
    return json_file


def _repeated(
    entries: list[dict[str, Any]], id_field: str, repeats: int
) -> Iterator[dict[str, Any]]:
    for repeat in range(repeats):
        for entry in entries:
            yield {**entry, id_field: f"{entry[id_field]}-{repeat}"}
