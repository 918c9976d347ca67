"""Outlines of masks, against the masks."""

import cv2
import numpy as np
import pytest

from segtron.data.converters.shapes import segmentation_of
from segtron.data.converters.tracing import trace


def painted(parts, height: int, width: int, pixels) -> np.ndarray:
    """What COCO's tools see of polygons with holes."""
    mask = np.zeros((height, width), np.uint8)
    for part in parts:
        mask |= pixels([np.array(part.exterior.coords).ravel().tolist()], height, width)
        for ring in part.interiors:
            mask &= 1 - pixels([np.array(ring.coords).ravel().tolist()], height, width)
    return mask


@pytest.mark.parametrize("kind", ["noise", "blobs"])
def test_outlines_cover_the_very_pixels(kind: str, pixels) -> None:
    random = np.random.default_rng(3)
    for _ in range(100):
        height, width = random.integers(1, 25, 2)
        mask = random.random((height, width)) < random.choice([0.2, 0.5, 0.8])
        if kind == "blobs":
            mask = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.5) > 0.5
        parts = trace(mask)
        assert all(part.is_valid for part in parts)
        assert sum(part.area for part in parts) == mask.sum()
        assert (painted(parts, height, width, pixels) == mask).all()


def test_corners_are_those_of_pixels_and_no_more_than_needed() -> None:
    mask = np.zeros((9, 12), bool)
    mask[2:6, 3:11] = True
    (part,) = trace(mask)
    assert len(part.exterior.coords) == 5 and part.bounds == (3, 2, 11, 6)
    mask[3:5, 4:6] = False
    ((ring,),) = [part.interiors for part in trace(mask)]
    assert len(ring.coords) == 5 and ring.bounds == (4, 3, 6, 5)


def test_pixels_that_touch_at_a_corner_are_parts_of_their_own() -> None:
    assert len(trace(np.eye(3, dtype=bool))) == 3
    hole = np.ones((4, 4), bool)
    hole[1, 1] = hole[2, 2] = False
    assert sorted(part.area for part in trace(hole)) == [14]
    assert len(trace(hole)[0].interiors) == 2


def test_nothing_has_no_outline() -> None:
    assert trace(np.zeros((4, 5), bool)) == []


def test_a_tolerance_saves_corners_and_moves_edges_by_no_more(pixels) -> None:
    disc = np.zeros((100, 100), np.uint8)
    cv2.circle(disc, (50, 50), 40, 1, -1)
    (exact,), (coarse,) = trace(disc > 0), trace(disc > 0, 1.0)
    assert len(coarse.exterior.coords) < len(exact.exterior.coords) / 4
    assert coarse.exterior.hausdorff_distance(exact.exterior) <= 1.0
    outline = np.array(coarse.exterior.coords)[:-1]
    found = pixels(segmentation_of([outline], 100, 100), 100, 100)
    assert (found & disc).sum() / (found | disc).sum() > 0.97
