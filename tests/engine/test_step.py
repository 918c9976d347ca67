from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest
import torch
from detectron2.utils.events import EventStorage
from torch import nn

from segtron.engine.randomness import seed_iteration
from segtron.engine.step import TIMES, TrainingStep
from segtron.modeling.losses import SemSegLoss


class Segmentor(nn.Module):
    """As little as learns classes of pixels, with a second loss that is a mean over images."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        self.layer = nn.Conv2d(2, 3, 3, padding=1, dtype=dtype)
        self.loss = SemSegLoss(ignore_value=255, weights={"cross_entropy": 1.0})

    def forward(self, batch):
        images = torch.stack([image["image"] for image in batch])
        logits = self.layer(images.to(self.layer.weight.dtype))
        losses = self.loss(logits, torch.stack([image["sem_seg"] for image in batch]))
        return losses | {"loss_size": 0.01 * logits.float().square().mean()}


def batch_of(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = []
    for number in range(size):
        labels = torch.randint(0, 3, (6, 8), generator=generator)
        labels[torch.rand(labels.shape, generator=generator) < number / size] = 255
        image = torch.randn((2, 6, 8), dtype=torch.float64, generator=generator)
        images.append({"image": image, "sem_seg": labels, "file_name": f"{number}.png"})
    return images


def trained(steps=3, size=6, dtype=torch.float64, **settings):
    """A model after some steps, and what was written."""
    torch.manual_seed(0)
    model = Segmentor(dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    batches = (batch_of(size, seed) for seed in itertools.count())
    step = TrainingStep(model, batches, optimizer, seed=0, **settings)
    with EventStorage() as storage:
        for step.iter in range(steps):
            storage.iter = step.iter
            step.run_step()
    return model, storage, step


@pytest.mark.parametrize("num_parts", [2, 3, 6])
def test_parts_learn_what_the_whole_batch_learns(num_parts):
    """Though labelled pixels are shared out unevenly."""
    whole, expected, _ = trained()
    model, storage, _ = trained(num_parts=num_parts)
    for name in ("loss_sem_seg", "loss_size", "total_loss"):
        values = [value for value, _ in storage.history(name).values()]
        wanted = [value for value, _ in expected.history(name).values()]
        assert values == pytest.approx(wanted, rel=1e-6)
    torch.testing.assert_close(
        model.layer.weight, whole.layer.weight, rtol=1e-9, atol=1e-12, check_dtype=True
    )


def test_equal_shares_would_not():
    """What the test above is for."""
    _, _, step = trained(steps=1, num_parts=2)
    first, second = step.model(batch_of(6)[:3]), step.model(batch_of(6)[3:])
    halves = (first["loss_sem_seg"] + second["loss_sem_seg"]) / 2
    whole = step.model(batch_of(6))["loss_sem_seg"]
    assert abs(halves - whole).item() > 1e-3


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_lower_precision_learns_nearly_the_same(precision):
    whole, expected, _ = trained(dtype=torch.float32)
    model, storage, step = trained(dtype=torch.float32, precision=precision)
    assert step.grad_scaler.is_enabled() == (precision == torch.float16)
    loss, wanted = storage.history("loss_sem_seg"), expected.history("loss_sem_seg")
    assert loss.latest() == pytest.approx(wanted.latest(), rel=0.02)
    assert loss.latest() != wanted.latest()
    torch.testing.assert_close(model.layer.weight, whole.layer.weight, rtol=0.05, atol=0.01)


def test_a_scalers_state_is_kept():
    _, _, step = trained(dtype=torch.float32, precision=torch.float16)
    state = step.state_dict()
    _, _, other = trained(steps=0, dtype=torch.float32, precision=torch.float16)
    other.load_state_dict(state)
    assert other.grad_scaler.state_dict() == step.grad_scaler.state_dict()
    # A run in another precision, or an older one, has none.
    _, _, other = trained(steps=0)
    other.load_state_dict(state)
    del state["grad_scaler"]
    other.load_state_dict(state)


def test_times_are_those_of_the_iteration_before():
    _, storage, _ = trained(steps=3, num_parts=2)
    for name in TIMES:
        values = storage.history(name).values()
        assert [iteration for _, iteration in values] == [1, 2]
        assert all(value > 0 for value, _ in values)


@pytest.mark.parametrize(("value", "word"), [(math.nan, "NaN"), (math.inf, "infinite")])
def test_a_loss_that_is_no_number_is_named(value, word):
    batch = batch_of(4)
    batch[2]["image"][0, 0, 0] = value
    model = Segmentor()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model.layer.weight.clone()
    step = TrainingStep(model, [batch], optimizer, seed=0, num_parts=2)
    step.iter = 7
    with (
        EventStorage(),
        pytest.raises(FloatingPointError, match=r"became .* on 2.png, 3.png, at iteration 7") as e,
    ):
        step.run_step()
    assert "loss_" in str(e.value)
    assert word in str(e.value) or value == math.inf  # an infinite input can make NaN
    assert torch.equal(model.layer.weight, before)


def test_images_that_could_not_be_read_are_counted():
    class Loader(list):
        pass

    loader = Loader([batch_of(2), batch_of(2), batch_of(2)])
    loader.skipped = Counter()
    model = Segmentor()
    step = TrainingStep(model, loader, torch.optim.SGD(model.parameters(), lr=0.1), seed=0)
    with EventStorage() as storage:
        for step.iter in range(3):
            storage.iter = step.iter
            step.run_step()
            loader.skipped["a.png"] += 2
            loader.skipped["b.png"] += step.iter
    assert storage.history("skipped_images").values() == [(2, 1), (5, 2)]


def test_a_batch_that_cannot_be_shared_out():
    with pytest.raises(ValueError, match="batch of 6 can't be run in 4 equal parts"):
        trained(num_parts=4)


def test_randomness_is_the_iterations():
    def draw(*place):
        seed_iteration(*place)
        import random

        import numpy as np

        return torch.rand(3).tolist(), np.random.rand(), random.random()

    first = draw(5, 10, 0)
    torch.rand(7)
    assert draw(5, 10, 0) == first
    others = [draw(6, 10, 0), draw(5, 11, 0), draw(5, 10, 1)]
    for other in others:
        assert all(a != b for a, b in zip(first, other, strict=True))
