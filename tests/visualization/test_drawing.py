from __future__ import annotations

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from detectron2.data.catalog import Metadata
from detectron2.structures import BitMasks, Boxes, BoxMode, Instances
from matplotlib.transforms import Bbox

from segtron.visualization.drawing import (
    MOST_LABELS,
    InstanceVisualizer,
    class_color,
    enlargement,
    mask_outline,
    vary_color,
)

METADATA = Metadata(name="test", thing_classes=["fig", "cost in $", "date^2_$x"])


def rectangle(x0, y0, x1, y1, height=100, width=200):
    mask = np.zeros((height, width), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def visualizer(height=600, width=1000, **kwargs):
    return InstanceVisualizer(np.zeros((height, width, 3), np.uint8), METADATA, **kwargs)


def texts(drawn):
    return [text.get_text() for text in drawn.output.ax.texts]


@pytest.mark.parametrize("smoothness", [1, 2, 5])
@pytest.mark.parametrize("box", [(0, 0, 200, 100), (3, 4, 50, 60), (7, 7, 8, 8), (0, 99, 200, 100)])
def test_an_outline_runs_along_the_pixels_edges(box, smoothness):
    extents = mask_outline(rectangle(*box), smoothness).get_extents()
    assert (extents.x0, extents.y0, extents.x1, extents.y1) == pytest.approx(box, abs=0.3)


def test_an_empty_mask_has_no_outline():
    assert mask_outline(np.zeros((5, 5), bool)) is None


def test_holes_stay_free():
    ring = rectangle(100, 100, 500, 500, 600, 1000) & ~rectangle(200, 200, 400, 400, 600, 1000)
    drawn = visualizer()
    drawn.draw_mask(ring, (1.0, 0.0, 0.0))
    picture = drawn.output.get_image()
    assert picture[300, 300].tolist() == [0, 0, 0]
    assert picture[150, 150, 0] > 80


def test_masks_may_come_in_any_form():
    mask = rectangle(100, 100, 500, 500, 600, 1000)
    rle = mask_util.encode(np.asfortranarray(mask, np.uint8))
    forms = [
        mask[None],
        torch.from_numpy(mask[None]),
        BitMasks(torch.from_numpy(mask[None])),
        [rle],
        [{"size": [600, 1000], "counts": [int(n) for n in _run_lengths(mask)]}],
        [[[100, 100, 500, 100, 500, 500, 100, 500]]],
    ]
    pictures = []
    for form in forms:
        drawn = visualizer()
        drawn.overlay_instances(masks=form, labels=["fig"], assigned_colors=[(1.0, 0.0, 0.0)])
        pictures.append(drawn.output.get_image())
    for picture in pictures[1:]:
        np.testing.assert_array_equal(picture, pictures[0])


def _run_lengths(mask):
    flat = np.concatenate([[0], mask.T.ravel(), [0]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return np.diff(edges, prepend=0).tolist() + [mask.size - edges[-1]]


def test_predictions_have_names_and_scores():
    instances = Instances((600, 1000))
    instances.pred_masks = torch.from_numpy(rectangle(100, 100, 500, 500, 600, 1000)[None])
    instances.pred_boxes = Boxes(torch.tensor([[100.0, 100, 500, 500]]))
    instances.pred_classes = torch.tensor([1])
    instances.scores = torch.tensor([0.876])
    drawn = visualizer()
    drawn.draw_instance_predictions(instances)
    assert texts(drawn) == ["cost in $ 0.88"]
    # The renderer would take the dollar signs for a formula and fail.
    drawn.output.get_image()


def test_predictions_without_masks_have_boxes():
    instances = Instances((600, 1000))
    instances.pred_boxes = Boxes(torch.tensor([[100.0, 100, 500, 500]]))
    instances.pred_classes = torch.tensor([0])
    instances.scores = torch.tensor([0.5])
    drawn = visualizer()
    drawn.draw_instance_predictions(instances)
    picture = drawn.output.get_image()
    assert picture[300, 100].max() > 0
    assert picture[300, 300].max() == 0


def test_no_predictions_leave_the_image_as_it_is():
    instances = Instances((600, 1000))
    instances.pred_masks = torch.zeros(0, 600, 1000, dtype=torch.bool)
    instances.pred_boxes = Boxes(torch.zeros(0, 4))
    instances.pred_classes = torch.zeros(0, dtype=torch.int64)
    instances.scores = torch.zeros(0)
    drawn = visualizer()
    drawn.draw_instance_predictions(instances)
    assert not drawn.output.get_image().any()


def test_crowds_are_hatched_grey_and_nameless():
    crowd = {
        "bbox": [100, 100, 400, 400],
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": 0,
        "iscrowd": 1,
        "segmentation": [[100, 100, 500, 100, 500, 500, 100, 500]],
    }
    drawn = visualizer()
    drawn.draw_dataset_dict({"annotations": [crowd]})
    inside = drawn.output.get_image()[150:450, 150:450]
    assert texts(drawn) == []
    assert len(np.unique(inside)) > 2
    assert (inside.min(axis=2) == inside.max(axis=2)).all()


def test_labels_do_not_cover_each_other():
    masks = [rectangle(x, 300, x + 60, 330, 600, 1000) for x in range(100, 400, 15)]
    drawn = visualizer()
    drawn.draw_legend([("found: 20", (1.0, 0.0, 0.0))])
    drawn.overlay_instances(masks=masks, labels=["hazelnut"] * len(masks))
    renderer = drawn.output.canvas.get_renderer()
    extents = [text.get_window_extent(renderer) for text in drawn.output.ax.texts]
    assert 3 < len(extents) <= len(masks)
    for i, one in enumerate(extents):
        assert not any(Bbox.intersection(one, other) for other in extents[:i])


def test_labels_stay_in_the_picture():
    corners = [(0, 0), (980, 0), (0, 580), (980, 580)]
    masks = [rectangle(x, y, x + 20, y + 20, 600, 1000) for x, y in corners]
    drawn = visualizer()
    drawn.overlay_instances(masks=masks, labels=["hazelnut"] * 4)
    renderer = drawn.output.canvas.get_renderer()
    for text in drawn.output.ax.texts:
        extent = text.get_window_extent(renderer)
        assert extent.x0 >= 0 and extent.y0 >= 0
        assert extent.x1 <= 1000 and extent.y1 <= 600


def test_counts_stand_in_for_too_many_labels():
    masks = [rectangle(5 * i, 0, 5 * i + 3, 3, 600, 1000) for i in range(MOST_LABELS + 1)]
    drawn = visualizer()
    drawn.overlay_instances(masks=masks, labels=["fig"] * len(masks))
    assert texts(drawn) == []
    drawn.draw_class_counts([0] * 3 + [1] * 40)
    assert texts(drawn) == ["cost in $: 40", "fig: 3"]


def test_small_images_are_enlarged_within_limits():
    assert enlargement(600, 1000) == 1
    assert enlargement(256, 128) == 4
    assert enlargement(16, 1024) == 2
    assert visualizer(128, 256).output.get_image().shape == (512, 1024, 3)
    assert visualizer(1000, 500, longest_side=100).output.get_image().shape == (100, 50, 3)


def test_variants_of_a_colour_are_distinct_and_repeatable():
    variants = [vary_color((0.0, 0.0, 0.55), i, 8) for i in range(20)]
    assert variants == [vary_color((0.0, 0.0, 0.55), i, 8) for i in range(20)]
    assert len(set(variants)) == 20
    # Too dark a colour is lifted, but stays blue.
    assert all(blue > 0.7 and blue > 1.3 * max(red, green) for red, green, blue in variants)


def test_the_data_sets_own_colours_come_first():
    assert class_color(1, [(0, 0, 0), (255, 0, 51)]) == pytest.approx((1, 0, 0.2))
    assert len({class_color(i) for i in range(50)}) == 50
