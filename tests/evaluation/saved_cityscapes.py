"""Cityscapes' ground truth and results as files, and what the official scripts say of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from cityscapesscripts.evaluation import evalInstanceLevelSemanticLabeling as instance_script
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as semantic_script
from cityscapesscripts.evaluation.instances2dict import instances2dict

from .scenes import Scene, labels_of


def frame_of(number: int) -> str:
    return f"{('aville', 'bville')[number % 2]}_{number:06d}_000019"


def write_png(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), values)


def write_ground_truth(split: Path, number: int, instance_ids: np.ndarray) -> None:
    frame = frame_of(number)
    stem = split / frame.split("_")[0] / f"{frame}_gtFine"
    write_png(stem.with_name(f"{stem.name}_instanceIds.png"), instance_ids)
    write_png(stem.with_name(f"{stem.name}_labelIds.png"), labels_of(instance_ids))


def write_instances(root: Path, scenes: list[Scene]) -> tuple[Path, Path]:
    """Write scenes; the text files and the masks lie in folders of their own.

    Returns:
        The ground truth's folder and the results'.
    """
    split, results = root / "gtFine" / "val", root / "results"
    (results / "lists").mkdir(parents=True)
    for number, scene in enumerate(scenes):
        write_ground_truth(split, number, scene.instance_ids)
        lines = []
        for place, (mask, label_id, score) in enumerate(scene.predictions):
            name = f"masks/{number}_{place}.png"
            write_png(results / name, mask.astype(np.uint8) * 255)
            lines.append(f"../{name} {label_id} {score!r}\n")
        (results / "lists" / f"{frame_of(number)}_pred.txt").write_text("".join(lines))
    return split, results


def write_semantics(
    root: Path, case: list[tuple[np.ndarray, np.ndarray]], suffix: str = "_leftImg8bit.png"
) -> tuple[Path, Path]:
    """Write pairs of instance ids and predicted label ids.

    Returns:
        The ground truth's folder and the results'.
    """
    split, results = root / "gtFine" / "val", root / "results"
    for number, (instance_ids, prediction) in enumerate(case):
        write_ground_truth(split, number, instance_ids)
        write_png(results / f"{frame_of(number)}{suffix}", prediction)
    return split, results


def official_instances(monkeypatch: pytest.MonkeyPatch, split: Path, results: Path) -> dict:
    """The official averages of saved instances, 0 to 1, and as "matrix" the APs of each class at
    each overlap."""
    # The scripts were written for numpy 1.
    monkeypatch.setattr(np, "in1d", np.isin, raising=False)
    args = instance_script.args
    for name, value in (
        ("quiet", True),
        ("predictionPath", str(results)),
        ("predictionWalk", None),
    ):
        monkeypatch.setattr(args, name, value)
    instance_script.setInstanceLabels(args)
    truth = sorted(str(path) for path in split.glob("*/*_instanceIds.png"))
    predictions = [instance_script.getPrediction(path, args) for path in truth]
    matches = instance_script.matchGtWithPreds(
        predictions, truth, instances2dict(truth, False), args
    )
    precisions = instance_script.evaluateMatches(matches, args)
    return instance_script.computeAverages(precisions, args) | {"matrix": precisions[0]}


def official_semantics(monkeypatch: pytest.MonkeyPatch, split: Path, results: Path) -> dict:
    """The official results of saved label maps, 0 to 1."""
    monkeypatch.setattr(np, "in1d", np.isin, raising=False)
    args = semantic_script.args
    for name, value in (
        ("quiet", True),
        ("JSONOutput", False),
        ("predictionPath", str(results)),
        ("predictionWalk", None),
    ):
        monkeypatch.setattr(args, name, value)
    truth = sorted(str(path) for path in split.glob("*/*_labelIds.png"))
    predictions = [semantic_script.getPrediction(args, path) for path in truth]
    return semantic_script.evaluateImgLists(predictions, truth, args)
