"""Which pixels OHEM keeps."""

import math

import pytest
import torch

from segtron.modeling.losses import sem_seg_cross_entropy, sem_seg_ohem_cross_entropy


def kept(logits, targets, **options):
    """The places of the pixels that the loss reaches, and the loss."""
    logits = logits.clone().requires_grad_()
    loss = sem_seg_ohem_cross_entropy(logits, targets, ignore_value=255, **options)
    loss.backward()
    return logits.grad.abs().sum(dim=1).flatten().nonzero().flatten().tolist(), loss.item()


def row(*probabilities):
    """Pixels of class 0 with these probabilities: logits (1, 2, 1, P) and targets."""
    p = torch.tensor(probabilities, dtype=torch.float64)
    return torch.stack([p, 1 - p]).log()[None, :, None], torch.zeros(1, 1, len(p)).long()


def minus_log_mean(*probabilities):
    return -sum(math.log(p) for p in probabilities) / len(probabilities)


def test_pixels_below_the_threshold_are_kept():
    places, loss = kept(*row(0.9, 0.3, 0.69, 0.71), threshold=0.7, min_kept=0.0)
    assert places == [1, 2]
    assert loss == pytest.approx(minus_log_mean(0.3, 0.69), rel=1e-12)


def test_the_threshold_itself_is_not_below_it():
    logits = torch.zeros(1, 2, 1, 3)
    places, loss = kept(logits, torch.zeros(1, 1, 3).long(), threshold=0.5, min_kept=0.0)
    assert places == []
    assert loss == 0.0


def test_the_hardest_are_kept_where_too_few_are_below():
    pixels = row(0.9, 0.8, 0.99, 0.95, 0.5)
    assert kept(*pixels, threshold=0.7, min_kept=0.6)[0] == [0, 1, 4]
    assert kept(*pixels, threshold=0.7, min_kept=0.2)[0] == [4]
    # 0.41 of five pixels is a little more than two.
    assert kept(*pixels, threshold=0.7, min_kept=0.41)[0] == [0, 1, 4]
    assert kept(*pixels, threshold=0.0, min_kept=0.4)[0] == [1, 4]


def test_a_share_of_nothing_and_of_all():
    pixels = row(0.9, 0.8, 0.99, 0.95, 0.5)
    assert kept(*pixels, threshold=0.0, min_kept=0.0) == ([], 0.0)
    assert kept(*pixels, threshold=0.4, min_kept=0.0) == ([], 0.0)
    places, loss = kept(*pixels, threshold=0.0, min_kept=1.0)
    assert places == [0, 1, 2, 3, 4]
    assert loss == pytest.approx(sem_seg_cross_entropy(*pixels, ignore_value=255).item(), rel=1e-12)


def test_a_threshold_of_one_leaves_out_what_is_sure():
    logits = torch.tensor([[2.0, 1e3], [0.0, 0.0]])[None, :, None]
    places, loss = kept(logits, torch.zeros(1, 1, 2).long(), threshold=1.0, min_kept=0.0)
    assert places == [0]
    assert loss == pytest.approx(math.log1p(math.exp(-2)), rel=1e-6)


def test_a_share_is_not_rounded_up_for_floating_point():
    # 0.07 * 100 is 7.000000000000001.
    pixels = row(*[0.5 + i / 1000 for i in range(100)])
    assert kept(*pixels, threshold=0.0, min_kept=0.07)[0] == list(range(7))


def test_at_least_one_pixel_of_any_share():
    assert kept(*row(0.9, 0.8, 0.99), threshold=0.0, min_kept=1e-3)[0] == [1]


def test_ties_with_the_last_are_kept():
    assert kept(*row(0.9, 0.8, 0.9, 0.95, 0.9), threshold=0.0, min_kept=0.4)[0] == [0, 1, 2, 4]


def test_ignored_pixels_are_no_part_of_the_share():
    logits, targets = row(0.1, 0.8, 0.2, 0.9, 0.3, 0.95)
    targets[..., [0, 2, 4]] = 255
    # Two thirds of the three that are labelled.
    assert kept(logits, targets, threshold=0.0, min_kept=2 / 3)[0] == [1, 3]


def test_the_share_is_of_the_batch_not_of_each_image():
    logits, targets = row(0.1, 0.2, 0.8, 0.9)
    logits = logits.reshape(2, 2, 2).permute(1, 0, 2).unsqueeze(2)
    assert kept(logits, targets.view(2, 1, 2), threshold=0.0, min_kept=0.5)[0] == [0, 1]


def test_class_weights_do_not_choose():
    logits, targets = row(0.5, 0.6, 0.9, 0.2)
    targets[..., 3] = 1  # whose probability is 0.8
    weights = torch.tensor([1.0, 100.0])
    options = {"threshold": 0.0, "class_weights": weights}
    assert kept(logits, targets, min_kept=0.5, **options)[0] == [0, 1]
    _, loss = kept(logits, targets, min_kept=0.75, **options)
    total = math.log(0.5) + math.log(0.6) + 100 * math.log(0.8)
    assert loss == pytest.approx(-total / 102, rel=1e-12)
