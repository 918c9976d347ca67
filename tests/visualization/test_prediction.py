"""What is drawn of a model's output, by what stands in the picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from detectron2.data.catalog import Metadata
from detectron2.structures import Boxes, Instances
from matplotlib.legend import Legend

from segtron.visualization.drawing import MOST_LABELS, SegmentationVisualizer
from segtron.visualization.prediction import draw_prediction

HEIGHT, WIDTH = 300, 400
METADATA = Metadata(
    name="test",
    thing_classes=["fig"],
    stuff_classes=["sky", "fig"],
    panoptic_classes=["sky", "fig"],
)
SEGMENTS = [
    {"id": 1, "category_id": 0, "isthing": False},
    {"id": 2, "category_id": 1, "isthing": True, "score": 0.75},
]


def left_quarter() -> torch.Tensor:
    return torch.arange(WIDTH).expand(HEIGHT, WIDTH) < WIDTH // 4


def instances(*scores: float) -> Instances:
    """Copies of one square in the middle."""
    masks = torch.zeros(len(scores), HEIGHT, WIDTH, dtype=torch.bool)
    masks[:, 100:200, 150:250] = True
    found = Instances((HEIGHT, WIDTH))
    found.pred_masks, found.scores = masks, torch.tensor(scores)
    found.pred_boxes = Boxes(torch.tensor([[150.0, 100, 250, 200]]).repeat(len(scores), 1))
    found.pred_classes = torch.zeros(len(scores), dtype=torch.int64)
    return found


def drawn(output: dict[str, Any], min_score: float = 0.5) -> tuple[list[str], list[str]]:
    """Labels, and the entries of legends; classes are those of the left quarter and of the rest."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    visualizer = SegmentationVisualizer(image, METADATA, longest_side=WIDTH)
    draw_prediction(
        visualizer,
        output,
        classes=lambda: (~left_quarter()).numpy().astype(np.uint8),
        min_score=min_score,
    )
    axes = visualizer.output.ax
    legends = [text.get_text() for legend in axes.findobj(Legend) for text in legend.get_texts()]
    return [text.get_text() for text in axes.texts], legends


def test_nothing() -> None:
    assert drawn({}) == ([], [])
    assert drawn({"instances": instances()}) == ([], [])


def test_classes_with_their_shares() -> None:
    assert drawn({"sem_seg": torch.zeros(2, HEIGHT, WIDTH)}) == ([], ["fig  75.0 %", "sky  25.0 %"])


@pytest.mark.parametrize(("min_score", "labels"), [(0.75, ["fig 0.75"]), (0.76, [])])
def test_instances_of_a_score(min_score: float, labels: list[str]) -> None:
    assert drawn({"instances": instances(0.75, 0.5)}, min_score) == (labels, [])


def test_many_instances_are_counted() -> None:
    """Those that are drawn."""
    many = [0.9] * (MOST_LABELS + 1)
    assert drawn({"instances": instances(*many, 0.1)}) == ([], [f"fig: {MOST_LABELS + 1}"])
    labels, legends = drawn({"instances": instances(*many[1:], 0.1)})
    # They lie on each other: one finds room.
    assert set(labels) == {"fig 0.90"} and not legends


def test_classes_and_instances() -> None:
    output = {"sem_seg": torch.zeros(2, HEIGHT, WIDTH), "instances": instances(0.9)}
    assert drawn(output) == (["fig 0.90"], ["fig  75.0 %", "sky  25.0 %"])


def test_segments_stand_for_all_else() -> None:
    ids = torch.where(left_quarter(), 1, 2)
    output = {
        "panoptic_seg": (ids, SEGMENTS),
        "instances": instances(0.9),
        "sem_seg": torch.zeros(2, HEIGHT, WIDTH),
    }
    assert drawn(output) == (["fig 0.75"], ["fig: 1  75.0 %", "sky  25.0 %"])
