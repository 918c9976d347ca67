"""Runs without a model: what they predict follows from the images, and from those beside them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data.catalog import Metadata
from detectron2.structures import Boxes, Instances
from PIL import Image

from segtron.inference import build_sinks, find_sources, overlays, predict_files

METADATA = Metadata(
    name="fake",
    thing_classes=["fig", "date"],
    stuff_classes=["sky", "fig", "date"],
    panoptic_classes=["sky", "fig", "date"],
)
ALL = ("overlay", "coco", "csv", "labels", "panoptic", "video")


def predict(images):
    """One or two instances an image. Scores depend on the whole batch, as they do with padding."""
    batch = sum(int(image[::7, ::5].sum()) + image.shape[0] for image in images) % 997
    return [_output(image, batch / 2000) for image in images]


def _output(image, part):
    height, width = image.shape[:2]
    count = 1 + int(image[0, 0, 0]) % 2
    masks = torch.zeros(count, height, width, dtype=torch.bool)
    masks[:, 2 : height // 2, 3 : width // 2] = True
    instances = Instances((height, width))
    instances.pred_boxes = Boxes(torch.tensor([[3.0, 2.0, width // 2, height // 2]] * count))
    instances.pred_masks = masks
    instances.scores = torch.tensor([0.5 + part, 0.2 + part][:count])
    instances.pred_classes = torch.arange(count)
    classes = masks.any(0).long()
    segments = [
        {"id": 1, "category_id": 0, "isthing": False},
        {"id": 2, "category_id": 1, "isthing": True, "score": 0.5 + part},
    ]
    return {
        "instances": instances,
        "sem_seg": torch.nn.functional.one_hot(classes, 3).permute(2, 0, 1).float(),
        "panoptic_seg": (classes.int() + 1, segments),
    }


def make_images(folder: Path, number: int, broken=(), seed=0) -> Path:
    """Small images in two sizes and two folders, some of which can't be read."""
    random = np.random.default_rng(seed)
    for i in range(number):
        path = folder / f"{'ab'[i % 2]}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = (20, 30, 3) if random.random() < 0.6 else (30, 20, 3)
        Image.fromarray(random.integers(0, 255, size, np.uint8)).save(path)
        if i in broken:
            path.write_bytes(path.read_bytes()[:60])
    return folder


def run(inputs, out, *, predictor=predict, save=ALL, batch_size=2, description=None, **keys):
    """Predict with the sinks named."""
    resume = keys.pop("resume", False)
    sources = find_sources([str(i) for i in inputs], **keys)
    sinks = build_sinks(save, out, METADATA, draw_score=0.3, save_score=0.0)
    return predict_files(
        predictor,
        sources,
        sinks,
        batch_size=batch_size,
        resume=resume,
        description=description,
    )


def draw_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let overlays take no time."""

    def draw(style, prediction, metadata, min_score):
        picture = prediction.image[:, :, ::-1].copy()
        for x0, y0, x1, y1 in prediction.instances(min_score).pred_boxes.tensor.int().tolist():
            picture[y0:y1, x0:x1] //= 2
        return picture

    monkeypatch.setattr(overlays, "_draw", draw)


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


class Killed(BaseException):
    """Ends a run as nothing but a kill does."""


def stopping_after(number: int):
    """A model that a run survives only so many images of."""
    seen = 0

    def predictor(images):
        nonlocal seen
        seen += len(images)
        if seen > number:
            raise Killed
        return predict(images)

    return predictor


def run_and_stop(number: int, *args, **keys) -> None:
    """A run that ends after so many images."""
    with contextlib.suppress(Killed):
        run(*args, predictor=stopping_after(number), **keys)
        raise AssertionError("it came to its end")
