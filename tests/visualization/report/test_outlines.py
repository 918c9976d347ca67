from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

from segtron.visualization.outlines import mask_outline
from segtron.visualization.report.outlines import UNITS, svg_path


def painted(path: str, height: int, width: int) -> np.ndarray:
    """What a path with relative lines covers by the rule nonzero, read by itself."""
    winding = np.zeros((height * UNITS, width * UNITS), np.int32)
    for x, y, steps in re.findall(r"M(-?\d+) (-?\d+)l([-\d ]+)z", path):
        moves = np.array(re.findall(r"-?\d+", steps), int).reshape(-1, 2)
        ring = np.cumsum([[int(x), int(y)], *moves], axis=0)
        inside = np.zeros_like(winding, np.uint8)
        # OpenCV fills pixels whose centres are on the edge.
        cv2.fillPoly(inside, [ring.astype(np.int32)], 1)
        following = np.roll(ring, -1, axis=0)
        area = ring[:, 0] @ following[:, 1] - ring[:, 1] @ following[:, 0]
        winding += np.sign(area).astype(np.int32) * inside
    return winding != 0


def iou(path: str, mask: np.ndarray) -> float:
    true = mask.repeat(UNITS, axis=0).repeat(UNITS, axis=1).astype(bool)
    found = painted(path, *mask.shape)
    return (true & found).sum() / (true | found).sum()


def test_a_square_has_four_corners() -> None:
    mask = np.zeros((40, 60), bool)
    mask[10:30, 20:50] = True
    path = svg_path(mask_outline(mask), 1.0)
    assert len(re.findall(r"-?\d+", path)) == 2 + 2 * 3 or len(path) < 60
    assert iou(path, mask) > 0.95


def test_holes_and_parts_are_kept() -> None:
    y, x = np.mgrid[:120, :160]
    ring = (np.hypot(y - 60, x - 60) < 50) & (np.hypot(y - 60, x - 60) > 25)
    mask = ring | ((x > 130) & (y > 90))
    path = svg_path(mask_outline(mask), 1.0)
    assert path.count("M") == path.count("z") == 3
    assert iou(path, mask) > 0.96
    # Joined with another one, as on cards, both are filled.
    other = np.zeros_like(mask)
    other[50:70, 50:70] = True
    assert iou(path + svg_path(mask_outline(other), 1.0), mask | other) > 0.95


def test_it_is_smaller_on_a_smaller_picture() -> None:
    mask = np.zeros((400, 600), bool)
    cv2.circle(mask.view(np.uint8), (300, 200), 150, 1, -1)
    small, large = (svg_path(mask_outline(mask), scale) for scale in (0.1, 1.0))
    assert len(small) < len(large)
    assert iou(small, mask[::10, ::10]) > 0.9


@pytest.mark.parametrize("scale", [1.0, 0.3, 0.001])
def test_a_single_pixel_is_never_lost(scale: float) -> None:
    mask = np.zeros((40, 60), bool)
    mask[20, 30] = True
    path = svg_path(mask_outline(mask), scale)
    assert path.startswith("M") and path.endswith("z")
    first = [int(n) for n in re.match(r"M(-?\d+) (-?\d+)", path).groups()]
    assert first == pytest.approx([30.5 * scale * UNITS, 20.5 * scale * UNITS], abs=3)


def test_masks_at_the_border_stay_inside() -> None:
    path = svg_path(mask_outline(np.ones((30, 50), bool)), 1.0)
    assert iou(path, np.ones((30, 50), bool)) > 0.98
