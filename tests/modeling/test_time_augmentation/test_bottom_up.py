from __future__ import annotations

import torch

from segtron.modeling.test_time_augmentation import AveragingBottomUp

from ..same_outputs import assert_equal
from ..settled_models import batch


@torch.no_grad()
def test_one_view_of_a_bottom_up_model(build):
    model = build("bottom_up")
    expected = [output for inputs in batch() for output in model([inputs])]
    results = AveragingBottomUp(model, min_sizes=[0], max_size=0, flip=False)(batch())
    for result, output in zip(results, expected, strict=True):
        probabilities = output["sem_seg"].softmax(dim=0)
        torch.testing.assert_close(result["sem_seg"], probabilities, rtol=0, atol=1e-5)
        result["sem_seg"] = output["sem_seg"]
    assert_equal(results, expected)


@torch.no_grad()
def test_a_mirrored_image_gives_the_mirrored_maps(build):
    model = AveragingBottomUp(build("bottom_up"), min_sizes=[64, 80], max_size=200, flip=True)
    image = batch()[0]["image"]
    maps = []
    model.model.output = lambda *found: maps.append(found) or {}
    try:
        for x in (image, image.flip(-1)):
            model([{"image": x, "height": 128, "width": 192}])
    finally:
        del model.model.output
    (logits, heatmap, offsets), (others, other_heatmap, other_offsets) = maps
    other_offsets[1] *= -1
    for ours, theirs in ((others, logits), (other_heatmap, heatmap), (other_offsets, offsets)):
        torch.testing.assert_close(ours.flip(-1), theirs, rtol=0, atol=2e-3)
    assert offsets.abs().mean() > 1
