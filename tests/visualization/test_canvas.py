from __future__ import annotations

import numpy as np
import pytest
from detectron2.data.catalog import Metadata
from matplotlib.legend import Legend
from matplotlib.path import Path as Outline
from matplotlib.transforms import Bbox

from segtron.visualization.canvas import LEGEND_HEIGHT, Canvas, enlargement

RED = (1.0, 0.0, 0.0)


def canvas(height=600, width=1000, **kwargs):
    return Canvas(np.zeros((height, width, 3), np.uint8), Metadata(name="test"), **kwargs)


def box(x0, y0, x1, y1):
    return Outline([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)], closed=True)


def legend(drawn):
    (found,) = drawn.output.ax.findobj(Legend)
    return found


def extents(drawn, artists):
    renderer = drawn.output.canvas.get_renderer()
    return [artist.get_window_extent(renderer) for artist in artists]


def test_small_images_are_enlarged_within_limits():
    assert enlargement(600, 1000) == 1
    assert enlargement(256, 128) == 4
    assert enlargement(16, 1024) == 2
    assert canvas(128, 256).output.get_image().shape == (512, 1024, 3)
    assert canvas(1000, 500, longest_side=100).output.get_image().shape == (100, 50, 3)


@pytest.mark.parametrize("size", [(600, 1000), (150, 250)])
def test_labels_cover_neither_each_other_nor_the_legend(size):
    drawn = canvas(*size)
    drawn.draw_legend([("found: 20", RED)] * 5)
    step = size[1] / 66
    for x in range(20):
        drawn.draw_label("hazelnut", box(step * x, size[0] / 5, step * x + 4, size[0] / 4), RED)
    taken = extents(drawn, [*drawn.output.ax.texts, legend(drawn)])
    assert 3 < len(taken) <= 21
    for i, one in enumerate(taken):
        assert not any(Bbox.intersection(one, other) for other in taken[:i])


def test_labels_stay_in_the_picture():
    drawn = canvas()
    for x, y in [(0, 0), (980, 0), (0, 580), (980, 580)]:
        drawn.draw_label("hazelnut", box(x, y, x + 20, y + 20), RED)
    for extent in extents(drawn, drawn.output.ax.texts):
        assert extent.x0 >= 0 and extent.y0 >= 0
        assert extent.x1 <= 1000 and extent.y1 <= 600


@pytest.mark.parametrize("size", [(600, 1000), (64, 96), (1024, 2048), (2000, 300)])
def test_a_long_legend_keeps_within_its_share(size):
    drawn = canvas(*size)
    drawn.draw_legend([(f"a class with the long name {i} and its share", RED) for i in range(200)])
    lines = [text.get_text() for text in legend(drawn).get_texts()]
    assert lines[-1] == f"and {200 - len(lines) + 1} more"
    assert len(lines) > 5
    (extent,) = extents(drawn, [legend(drawn)])
    height, width = drawn.output.get_image().shape[:2]
    assert 0.8 * LEGEND_HEIGHT * height < extent.height <= (LEGEND_HEIGHT + 0.03) * height
    assert extent.x0 >= 0 and extent.y1 <= height
    assert extent.x1 < 0.75 * width


def test_a_second_legend_adds_to_the_first():
    drawn = canvas()
    drawn.draw_legend([("one $", RED)])
    drawn.draw_legend([("two $", (0.0, 0.0, 1.0))])
    assert [text.get_text() for text in legend(drawn).get_texts()] == ["one $", "two $"]
    picture = drawn.output.get_image().reshape(-1, 3).tolist()
    assert [255, 0, 0] in picture and [0, 0, 255] in picture


def test_no_entries_no_legend():
    drawn = canvas()
    drawn.draw_legend([])
    assert not drawn.output.get_image().any()
