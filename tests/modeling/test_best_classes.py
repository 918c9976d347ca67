"""The most likely class of each pixel, against torch."""

import pytest
import torch

from segtron.modeling.best_classes import best_classes

SHAPES = [(1, 3, 4), (2, 1, 1), (19, 33, 20), (255, 17, 2), (256, 5, 3), (300, 18, 3), (3, 0, 5)]
LAYOUTS = {
    "by class": torch.Tensor.contiguous,
    "by pixel": lambda scores: scores.permute(1, 2, 0).contiguous().permute(2, 0, 1),
}


@pytest.fixture(params=LAYOUTS)
def lay_out(request):
    return LAYOUTS[request.param]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_equals_torch(shape, dtype, lay_out):
    # Few values, so that many are equal: of those torch takes the first.
    scores = torch.randint(-3, 3, shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    classes = best_classes(lay_out(scores))
    assert classes.dtype == (torch.uint8 if shape[0] <= 256 else torch.int32)
    assert classes.shape == shape[1:]
    if scores.numel():
        first = (scores == scores.amax(dim=0)).int().argmax(dim=0)
        torch.testing.assert_close(classes.long(), first, rtol=0, atol=0)


def test_takes_views_and_what_needs_gradients(lay_out):
    scores = torch.rand(4, 40, 6, generator=torch.Generator().manual_seed(1), requires_grad=True)
    window = lay_out(scores)[:, 3:21, 1:5]
    assert torch.equal(best_classes(window).long(), window.argmax(dim=0))
    turned = lay_out(scores).permute(0, 2, 1)
    assert torch.equal(best_classes(turned).long(), turned.argmax(dim=0))


@pytest.mark.parametrize("num_classes", [4, 100])
def test_what_is_no_number(lay_out, num_classes):
    values = torch.rand(num_classes, 40, 6, generator=torch.Generator().manual_seed(1))
    values[2, 20, 3] = float("nan")
    values[1, 5, 5] = float("inf")
    classes = best_classes(lay_out(values))
    assert classes[5, 5] == 1
    assert classes.max() < num_classes
    # A score of minus infinity rules a class out, and is no fault.
    values = torch.full((num_classes, 2, 2), -torch.inf)
    values[1] = 0
    assert (best_classes(lay_out(values)) == 1).all()
