"""The most likely class of each pixel, against torch."""

import numpy as np
import pytest
import torch

from segtron.evaluation.best_classes import best_classes


@pytest.mark.parametrize("shape", [(1, 3, 4), (2, 1, 1), (19, 33, 20), (255, 17, 2), (3, 0, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_equals_torch(shape, dtype):
    # Few values, so that many are equal: of those torch takes the first.
    scores = torch.randint(-3, 3, shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    best, classes = best_classes(scores)
    assert best.dtype == np.float32
    assert classes.dtype == np.uint8
    if scores.numel():
        np.testing.assert_array_equal(best, scores.float().amax(dim=0).numpy())
        first = (scores == scores.amax(dim=0)).int().argmax(dim=0)
        np.testing.assert_array_equal(classes, first.numpy())
    assert classes.shape == shape[1:]


def test_layouts_and_what_is_no_number():
    scores = torch.rand(4, 40, 6, generator=torch.Generator().manual_seed(1), requires_grad=True)
    flipped = scores.permute(0, 2, 1)
    np.testing.assert_array_equal(best_classes(flipped)[1], best_classes(scores)[1].T)
    values = scores.detach().clone()
    values[2, 20, 3] = float("nan")
    values[1, 5, 5] = float("inf")
    best, classes = best_classes(values)
    assert np.argwhere(~np.isfinite(best)).tolist() == [[5, 5], [20, 3]]
    assert classes[5, 5] == 1
    # A score of minus infinity rules a class out, and is no fault.
    values = torch.full((3, 2, 2), -torch.inf)
    values[1] = 0
    assert (best_classes(values)[1] == 1).all()
