from __future__ import annotations

import torch

from segtron.modeling.test_time_augmentation.views import View, views_of


def test_views_of_an_image():
    image = torch.arange(3 * 10 * 20, dtype=torch.uint8).reshape(3, 10, 20)
    views = list(views_of(image, (0, 20), 30, flip=True))
    assert [tuple(view.image.shape[1:]) for view in views] == [(10, 20)] * 2 + [(15, 30)] * 2
    assert [view.is_mirrored for view in views] == [False, True, False, True]
    assert torch.equal(views[1].image.flip(-1), image)
    assert torch.equal(views[1].pixels_in_output(views[1].image), image)
    assert len(list(views_of(image, (5,), 30, flip=False))) == 1


def test_boxes_of_a_mirrored_view():
    view = View(torch.zeros(3, 50, 100), is_mirrored=True)
    boxes = torch.tensor([[10.0, 5.0, 30.0, 25.0]])
    # Of an output of 100 x 400: twice as high, four times as wide.
    output = view.boxes_in_output(boxes, 100, 400)
    assert output.tolist() == [[280.0, 10.0, 360.0, 50.0]]
    assert torch.equal(view.boxes_in_view(output, 100, 400), boxes)
