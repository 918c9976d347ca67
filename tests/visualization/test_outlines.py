from __future__ import annotations

import numpy as np
import pytest

from segtron.visualization.outlines import mask_outline


@pytest.mark.parametrize("smoothness", [1, 2, 5])
@pytest.mark.parametrize("box", [(0, 0, 200, 100), (3, 4, 50, 60), (7, 7, 8, 8), (0, 99, 200, 100)])
def test_an_outline_runs_along_the_pixels_edges(box, smoothness):
    x0, y0, x1, y1 = box
    mask = np.zeros((100, 200), bool)
    mask[y0:y1, x0:x1] = True
    extents = mask_outline(mask, smoothness).get_extents()
    assert (extents.x0, extents.y0, extents.x1, extents.y1) == pytest.approx(box, abs=0.3)


def test_an_empty_mask_has_no_outline():
    assert mask_outline(np.zeros((5, 5), bool)) is None
