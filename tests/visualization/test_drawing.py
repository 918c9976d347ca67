from __future__ import annotations

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from detectron2.data.catalog import Metadata
from detectron2.structures import BitMasks, Boxes, BoxMode, Instances
from matplotlib.legend import Legend
from PIL import Image

from segtron.data.panoptic_png import write_panoptic_png
from segtron.data.sem_seg import IdEncoding
from segtron.visualization.drawing import CLASS_OPACITY, MOST_LABELS, SegmentationVisualizer

METADATA = Metadata(
    name="test",
    thing_classes=["fig", "cost in $", "date^2_$x"],
    stuff_classes=["sky", "road", "$\\frac{x"],
    stuff_colors=[(0, 0, 200), (0, 200, 0), (200, 0, 0)],
)


def rectangle(x0, y0, x1, y1, height=100, width=200):
    mask = np.zeros((height, width), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def visualizer(height=600, width=1000, **kwargs):
    return SegmentationVisualizer(np.zeros((height, width, 3), np.uint8), METADATA, **kwargs)


def texts(drawn):
    return [text.get_text() for text in drawn.output.ax.texts]


def legend_texts(drawn):
    (legend,) = drawn.output.ax.findobj(Legend)
    return [text.get_text() for text in legend.get_texts()]


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


def test_counts_stand_in_for_too_many_labels():
    masks = [rectangle(5 * i, 0, 5 * i + 3, 3, 600, 1000) for i in range(MOST_LABELS + 1)]
    drawn = visualizer()
    drawn.overlay_instances(masks=masks, labels=["fig"] * len(masks))
    assert texts(drawn) == []
    drawn.draw_class_counts([0] * 3 + [1] * 40)
    assert legend_texts(drawn) == ["cost in $: 40", "fig: 3"]


def is_color(pixels, color):
    """Whether all of some pixels have a colour, up to rounding."""
    return np.abs(pixels.astype(int) - np.array(color)).max() < 1.01


def two_halves(height=600, width=1000):
    """Sky over road, the road three times as high."""
    classes = np.ones((height, width), np.uint8)
    classes[: height // 4] = 0
    return classes


def test_classes_have_their_colours_and_a_border_between_them():
    drawn = visualizer()
    picture = drawn.draw_sem_seg(two_halves()).get_image()
    assert is_color(picture[:145], [0, 0, 200 * CLASS_OPACITY])
    assert is_color(picture[155:], [0, 200 * CLASS_OPACITY, 0])
    assert (picture[148:152].min(axis=2).max(axis=0) > 100).all()


def test_the_opacity_can_be_chosen():
    drawn = SegmentationVisualizer(np.full((600, 1000, 3), 100, np.uint8), METADATA)
    picture = drawn.draw_sem_seg(two_halves(), alpha=0.25).get_image()
    assert is_color(picture[:145], [75, 75, 125])


@pytest.mark.parametrize("kind", [torch.from_numpy, np.int64, np.uint8, np.int32])
def test_class_maps_may_be_of_any_integers(kind):
    classes = two_halves()
    classes[300:] = 255
    given = kind(classes) if kind is torch.from_numpy else classes.astype(kind)
    expected = visualizer().draw_sem_seg(classes).get_image()
    np.testing.assert_array_equal(visualizer().draw_sem_seg(given).get_image(), expected)


def test_ignored_pixels_are_hatched_grey():
    classes = two_halves()
    classes[300:, 500:] = 255
    picture = visualizer().draw_sem_seg(classes).get_image()
    inside = picture[310:590, 510:990]
    assert len(np.unique(inside)) > 2
    assert (inside.min(axis=2) == inside.max(axis=2)).all()
    assert is_color(picture[310:590, 10:490], [0, 200 * CLASS_OPACITY, 0])


def test_small_regions_can_be_left_out():
    classes = two_halves()
    classes[400:410, 400:410] = 2
    picture = visualizer().draw_sem_seg(classes, area_threshold=100).get_image()
    assert is_color(picture[405, 405], [110, 0, 0])
    picture = visualizer().draw_sem_seg(classes, area_threshold=101).get_image()
    assert is_color(picture[405, 405], [0, 0, 0])
    assert is_color(picture[300, 100], [0, 110, 0])


def test_the_legend_has_the_shares_of_all_pixels():
    classes = two_halves()
    classes[0, :250] = 2
    classes[300:450] = 255
    drawn = visualizer()
    drawn.draw_class_shares(classes)
    assert legend_texts(drawn) == [
        "road  50.0 %",
        "ignored  25.0 %",
        "sky  25.0 %",
        "$\\frac{x  <0.1 %",
    ]
    # The renderer would take the dollar sign for a formula and fail.
    drawn.output.get_image()


def test_classes_without_a_name_go_by_their_number():
    drawn = visualizer()
    classes = two_halves() + 5
    drawn.draw_sem_seg(classes)
    drawn.draw_class_shares(classes)
    assert legend_texts(drawn) == ["6  75.0 %", "5  25.0 %"]
    picture = drawn.output.get_image()
    assert picture[140, 900].tolist() != picture[500, 900].tolist()


@pytest.mark.parametrize("size", [(1, 1), (16, 24), (3, 900), (700, 2)])
def test_images_of_any_size_can_have_classes(size):
    drawn = SegmentationVisualizer(np.zeros((*size, 3), np.uint8), METADATA)
    classes = np.ones(size, np.uint8)
    drawn.draw_sem_seg(classes)
    drawn.draw_class_shares(classes)
    picture = drawn.output.get_image()
    assert is_color(picture[-1, -1], [0, 110, 0])


def test_a_dict_may_have_classes_and_instances(tmp_path):
    Image.fromarray(np.where(two_halves() == 0, 7, 9).astype(np.uint8)).save(tmp_path / "a.png")
    record = {
        "file_name": "a.jpg",
        "height": 600,
        "width": 1000,
        "sem_seg_file_name": str(tmp_path / "a.png"),
        "sem_seg_encoding": IdEncoding(values=(7, 9)),
        "annotations": [
            {
                "bbox": [400, 200, 100, 100],
                "bbox_mode": BoxMode.XYWH_ABS,
                "category_id": 0,
                "segmentation": [[400, 200, 500, 200, 500, 300, 400, 300]],
            }
        ],
    }
    drawn = visualizer()
    picture = drawn.draw_dataset_dict(record).get_image()
    assert texts(drawn) == ["fig"]
    assert is_color(picture[50, 50], [0, 0, 110])
    assert is_color(picture[500, 50], [0, 110, 0])
    assert not is_color(picture[280, 480], [0, 110, 0])


# As `segtron.data.classes.class_metadata` has it: two things among three classes.
UNIFIED = Metadata(
    name="unified",
    thing_classes=["fig", "cost in $"],
    stuff_classes=["sky", "fig", "cost in $"],
    panoptic_classes=["sky", "fig", "cost in $"],
    panoptic_colors=[(0, 0, 200), (0, 200, 0), (200, 0, 0)],
    label_divisor=1000,
)


def two_figs_below_the_sky():
    """Sky of the id 7, two figs side by side of the ids 3 and 90000, void in the last rows."""
    ids = np.full((600, 1000), 7, np.int64)
    ids[200:400, 100:400] = 3
    ids[200:400, 400:700] = 90000
    ids[500:] = 0
    segments = [
        {"id": 3, "category_id": 1, "isthing": True, "score": 0.876},
        {"id": 7, "category_id": 0, "isthing": False, "area": 1},
        {"id": 90000, "category_id": 1, "isthing": True},
    ]
    return ids, segments


def panoptic_visualizer(metadata=UNIFIED):
    return SegmentationVisualizer(np.zeros((600, 1000, 3), np.uint8), metadata)


def test_segments_have_the_colours_of_their_classes():
    drawn = panoptic_visualizer()
    picture = drawn.draw_panoptic_seg(*two_figs_below_the_sky()).get_image()
    assert is_color(picture[5:100, 5:995], [0, 0, 200 * CLASS_OPACITY])
    figs = [picture[300, x].astype(int) for x in (150, 650)]
    for red, green, blue in figs:
        assert green > red and green > blue
    # Things of one class differ, and a white line parts them.
    assert np.abs(figs[0] - figs[1]).max() > 20
    assert picture[250:350, 398:402].min(axis=2).max(axis=1).min() > 100
    hatched = picture[510:590, 10:990]
    assert len(np.unique(hatched)) > 2 and (hatched.min(axis=2) == hatched.max(axis=2)).all()
    assert texts(drawn) == ["fig 0.88", "fig"]


@pytest.mark.parametrize("kind", [torch.from_numpy, lambda ids: ids.astype(np.int32)])
def test_maps_of_segments_may_be_of_any_integers(kind):
    ids, segments = two_figs_below_the_sky()
    expected = panoptic_visualizer().draw_panoptic_seg(ids, segments).get_image()
    drawn = panoptic_visualizer()
    picture = drawn.draw_panoptic_seg_predictions(panoptic_seg=kind(ids), segments_info=segments)
    np.testing.assert_array_equal(picture.get_image(), expected)


def test_segments_may_come_as_numbers_of_classes():
    ids, _ = two_figs_below_the_sky()
    codes = np.select([ids == 3, ids == 90000, ids == 7], [1001, 1002, 0], -1)
    drawn = panoptic_visualizer()
    picture = drawn.draw_panoptic_seg(torch.from_numpy(codes), None).get_image()
    assert texts(drawn) == ["fig", "fig"]
    assert is_color(picture[5:100, 5:995], [0, 0, 200 * CLASS_OPACITY])
    drawn.draw_panoptic_shares(codes, None)
    assert legend_texts(drawn) == ["sky  63.3 %", "fig: 2  20.0 %", "void  16.7 %"]
    # Detectron2's own metadata: both kinds name all classes.
    raw = Metadata(
        name="raw",
        thing_classes=["sky", "fig", "cost in $"],
        stuff_classes=["sky", "fig", "cost in $"],
        thing_dataset_id_to_contiguous_id={11: 1, 12: 2},
        label_divisor=1000,
    )
    drawn = panoptic_visualizer(raw)
    drawn.draw_panoptic_seg(codes, None)
    drawn.draw_panoptic_shares(codes, None)
    assert texts(drawn) == ["fig", "fig"]
    assert legend_texts(drawn)[:2] == ["sky  63.3 %", "fig: 2  20.0 %"]


def test_things_and_stuff_may_be_numbered_apart():
    ids, segments = two_figs_below_the_sky()
    segments[0]["category_id"] = segments[2]["category_id"] = 0
    apart = Metadata(
        name="apart", thing_classes=["fig"], stuff_classes=["sky"], stuff_colors=[(90, 0, 0)]
    )
    drawn = panoptic_visualizer(apart)
    picture = drawn.draw_panoptic_seg(ids, segments).get_image()
    drawn.draw_panoptic_shares(ids, segments)
    assert texts(drawn) == ["fig 0.88", "fig"]
    assert legend_texts(drawn)[:2] == ["sky  63.3 %", "fig: 2  20.0 %"]
    assert is_color(picture[5:100, 500:995], [90 * CLASS_OPACITY, 0, 0])


def test_small_segments_can_be_left_out():
    ids, segments = two_figs_below_the_sky()
    ids[50:60, 50:60] = 8
    segments.append({"id": 8, "category_id": 2, "isthing": True})
    drawn = panoptic_visualizer()
    picture = drawn.draw_panoptic_seg(ids, segments, area_threshold=101, alpha=0.5).get_image()
    assert is_color(picture[53:57, 53:57], [0, 0, 0])
    assert is_color(picture[5:40, 5:995], [0, 0, 100])
    assert texts(drawn) == ["fig 0.88", "fig"]
    drawn = panoptic_visualizer()
    picture = drawn.draw_panoptic_seg(ids, segments, area_threshold=100).get_image()
    assert picture[55, 55, 0] > 90
    assert "cost in $" in texts(drawn)


def test_many_things_have_no_labels():
    ids = np.zeros((600, 1000), np.int64)
    segments = []
    for i in range(MOST_LABELS + 1):
        ids[100:105, 10 * i : 10 * i + 5] = i + 1
        segments.append({"id": i + 1, "category_id": i % 2 + 1, "isthing": True})
    drawn = panoptic_visualizer()
    drawn.draw_panoptic_seg(ids, segments)
    drawn.draw_panoptic_shares(ids, segments)
    assert texts(drawn) == []
    assert legend_texts(drawn) == ["void  99.9 %", "fig: 16  0.1 %", "cost in $: 15  0.1 %"]


@pytest.mark.parametrize("segments", [[], [{"id": 4, "category_id": 0, "isthing": False}]])
def test_segments_may_be_missing(segments):
    drawn = panoptic_visualizer()
    picture = drawn.draw_panoptic_seg(np.zeros((600, 1000), np.int32), segments).get_image()
    assert (picture.min(axis=2) == picture.max(axis=2)).all() and picture.max() > 100


def test_a_dict_may_have_segments(tmp_path):
    ids, segments = two_figs_below_the_sky()
    segments[1].pop("area")
    segments[2]["iscrowd"] = 1
    write_panoptic_png(tmp_path / "a.png", ids)
    record = {
        "file_name": "a.jpg",
        "height": 600,
        "width": 1000,
        "pan_seg_file_name": str(tmp_path / "a.png"),
        "segments_info": segments,
        "sem_seg_file_name": "not read.png",
    }
    drawn = panoptic_visualizer()
    picture = drawn.draw_dataset_dict(record).get_image()
    assert texts(drawn) == ["fig 0.88"]
    crowd = picture[210:390, 410:690]
    assert len(np.unique(crowd)) > 2 and (crowd.min(axis=2) == crowd.max(axis=2)).all()
    assert is_color(picture[5:100, 500:995], [0, 0, 200 * CLASS_OPACITY])
