"""The losses of semantic segmentation against slow implementations in float64, pixel by pixel."""

import math

import numpy as np
import pytest
import torch

from segtron.modeling.losses import (
    sem_seg_bce,
    sem_seg_brier_score,
    sem_seg_cross_entropy,
    sem_seg_dice_loss,
    sem_seg_focal_loss,
    sem_seg_lovasz_softmax,
    sem_seg_ohem_cross_entropy,
    soft_dice_loss,
)

# The references take scores (P, K) and labels (P,) of labelled pixels, and a weight for each class.


def softmax(scores):
    shares = [math.exp(score - max(scores)) for score in scores]
    return [share / sum(shares) for share in shares]


def mean_by_label(losses, labels, weights):
    total = sum(weights[label] for label in labels)
    if total == 0:
        return 0.0
    return sum(weights[y] * loss for loss, y in zip(losses, labels, strict=True)) / total


def cross_entropy(scores, labels, weights):
    losses = [-math.log(softmax(row)[y]) for row, y in zip(scores, labels, strict=True)]
    return mean_by_label(losses, labels, weights)


def ohem(scores, labels, weights, threshold, min_kept):
    hardest_first = sorted(
        (softmax(row)[y], place) for place, (row, y) in enumerate(zip(scores, labels, strict=True))
    )
    kept = []
    for p, place in hardest_first:
        if p < threshold or len(kept) < min_kept * len(labels):
            kept.append(place)
    return cross_entropy([scores[i] for i in kept], [labels[i] for i in kept], weights)


def bce(scores, labels, weights):
    total = 0.0
    for row, y in zip(scores, labels, strict=True):
        for c, score in enumerate(row):
            p = 1 / (1 + math.exp(-score))
            total += weights[c] * (-math.log(p) if c == y else -math.log(1 - p))
    scale = len(labels) * sum(weights)
    return total / scale if scale else 0.0


def focal(scores, labels, weights, gamma):
    losses = []
    for row, y in zip(scores, labels, strict=True):
        p = softmax(row)[y]
        losses.append((1 - p) ** gamma * -math.log(p))
    return mean_by_label(losses, labels, weights)


def brier(scores, labels, weights):
    losses = []
    for row, y in zip(scores, labels, strict=True):
        losses.append(sum((p - float(c == y)) ** 2 for c, p in enumerate(softmax(row))))
    return mean_by_label(losses, labels, weights)


def dice(scores, labels, weights):
    by_class = []
    for c in sorted(set(labels)):
        p = [softmax(row)[c] for row in scores]
        g = [float(y == c) for y in labels]
        overlap = sum(a * b for a, b in zip(p, g, strict=True))
        by_class.append(1 - 2 * overlap / (sum(a * a for a in p) + sum(b * b for b in g)))
    return sum(by_class) / len(by_class) if by_class else 0.0


def lovasz(scores, labels, weights):
    by_class = []
    for c in sorted(set(labels)):
        of_class = {i for i, y in enumerate(labels) if y == c}
        errors = [
            abs(softmax(row)[c] - float(y == c)) for row, y in zip(scores, labels, strict=True)
        ]
        wrong, jaccard, loss = set(), 0.0, 0.0
        for i in sorted(range(len(labels)), key=lambda i: -errors[i]):
            wrong.add(i)
            grown = len(wrong) / len(of_class | wrong)
            loss += errors[i] * (grown - jaccard)
            jaccard = grown
        by_class.append(loss)
    return sum(by_class) / len(by_class) if by_class else 0.0


LOSSES = {
    "cross_entropy": (sem_seg_cross_entropy, cross_entropy, {}),
    "ohem": (sem_seg_ohem_cross_entropy, ohem, {"threshold": 0.5, "min_kept": 0.1}),
    "ohem_share": (sem_seg_ohem_cross_entropy, ohem, {"threshold": 0.05, "min_kept": 0.55}),
    "bce": (sem_seg_bce, bce, {}),
    "focal": (sem_seg_focal_loss, focal, {"gamma": 2.0}),
    "focal_half": (sem_seg_focal_loss, focal, {"gamma": 0.5}),
    "focal_zero": (sem_seg_focal_loss, focal, {"gamma": 0.0}),
    "dice": (sem_seg_dice_loss, dice, {}),
    "lovasz": (sem_seg_lovasz_softmax, lovasz, {}),
    "brier": (sem_seg_brier_score, brier, {}),
}
WEIGHTED = [name for name in LOSSES if name not in ("dice", "lovasz")]


def case(shape, ignore_value=255, absent=(), unlabelled=(), ignored=0.3, seed=0):
    """Random logits in float64, and labels: all but `absent`; some pixels, some images ignored."""
    rng = np.random.default_rng(seed)
    n, k, h, w = shape
    classes = [c for c in range(k) if c not in (*absent, ignore_value)]
    targets = rng.choice(classes, (n, h, w))
    targets[rng.random((n, h, w)) < ignored] = ignore_value
    targets[list(unlabelled)] = ignore_value
    return torch.from_numpy(rng.normal(0, 2, shape)), torch.from_numpy(targets)


CASES = {
    "all labelled": (case((2, 3, 3, 2), ignored=0), 255),
    "some ignored": (case((2, 4, 2, 4), seed=1), 255),
    "classes absent": (case((2, 5, 3, 2), absent=(0, 3), seed=2), 255),
    "ignored is -1": (case((1, 3, 2, 4), ignore_value=-1, seed=3), -1),
    "ignored is 0": (case((1, 3, 2, 4), ignore_value=0, seed=4), 0),
    "an image without labels": (case((2, 3, 2, 4), unlabelled=(1,), seed=5), 255),
    "one pixel": (case((1, 3, 1, 1), ignored=0, seed=6), 255),
    "one class": (case((2, 1, 2, 2), seed=7), 255),
    "two classes": (case((1, 2, 3, 3), seed=8), 255),
}


def reference(loss, logits, targets, ignore_value, weights, options):
    rows = np.moveaxis(logits, 1, 3).reshape(-1, logits.shape[1]).tolist()
    labels = targets.flatten().tolist()
    labelled = [(row, y) for row, y in zip(rows, labels, strict=True) if y != ignore_value]
    return loss([row for row, _ in labelled], [y for _, y in labelled], weights, **options)


def reference_gradient(loss, logits, *arguments, step=1e-6):
    gradient = np.zeros_like(logits)
    for place in np.ndindex(*logits.shape):
        ends = []
        for sign in (1, -1):
            moved = logits.copy()
            moved[place] += sign * step
            ends.append(reference(loss, moved, *arguments))
        gradient[place] = (ends[0] - ends[1]) / (2 * step)
    return gradient


def loss_and_gradient(loss, logits, targets, **options):
    logits = logits.detach().clone().requires_grad_()
    value = loss(logits, targets, **options)
    value.backward()
    return value.detach(), logits.grad


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", LOSSES)
def test_values_and_gradients(name, case):
    (logits, targets), ignore_value = CASES[case]
    check_value_and_gradient(name, logits, targets, ignore_value)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", WEIGHTED)
def test_values_and_gradients_with_class_weights(name, case):
    (logits, targets), ignore_value = CASES[case]
    weights = [0.5, 2.0, 0.0, 3.0, 1.25][: logits.shape[1]]
    check_value_and_gradient(name, logits, targets, ignore_value, weights)


def check_value_and_gradient(name, logits, targets, ignore_value, weights=None):
    loss, slow, options = LOSSES[name]
    used = weights or [1.0] * logits.shape[1]
    arguments = (logits.numpy(), targets.numpy(), ignore_value, used, options)
    value = reference(slow, *arguments)
    gradient = torch.from_numpy(reference_gradient(slow, *arguments))
    given = {"ignore_value": ignore_value} | options
    if weights:
        given["class_weights"] = torch.tensor(weights)

    ours, slopes = loss_and_gradient(loss, logits, targets, **given)
    assert ours.dtype == torch.float64
    assert ours.shape == ()
    assert ours.item() == pytest.approx(value, rel=1e-12, abs=1e-14)
    torch.testing.assert_close(slopes, gradient, rtol=1e-6, atol=1e-8)

    ours, slopes = loss_and_gradient(loss, logits.float(), targets, **given)
    assert ours.dtype == torch.float32
    assert ours.item() == pytest.approx(value, rel=1e-5, abs=1e-6)
    torch.testing.assert_close(slopes.double(), gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", WEIGHTED)
def test_only_ratios_of_class_weights_matter(name):
    loss, _, options = LOSSES[name]
    (logits, targets), _ = CASES["some ignored"]
    weights = torch.tensor([0.5, 2.0, 1.0, 3.0])
    small, large, none, ones = (
        loss(logits, targets, ignore_value=255, class_weights=w, **options).item()
        for w in (weights, weights * 40, None, torch.full((4,), 7.0))
    )
    assert large == pytest.approx(small, rel=1e-12)
    assert ones == pytest.approx(none, rel=1e-12)
    assert small != pytest.approx(none, rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 3, 0, 4), (2, 3, 4, 4)], ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_without_a_labelled_pixel_it_is_zero_and_connected(name, shape, dtype):
    targets = torch.full((shape[0], *shape[2:]), 255)
    check_zero_and_connected(name, shape, targets, dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("name", WEIGHTED)
def test_where_all_weights_are_zero_it_is_zero_and_connected(name, dtype):
    weights = torch.tensor([0.0, 0.0, 0.0] if name == "bce" else [1.0, 0.0, 1.0])
    targets = torch.ones(2, 4, 4, dtype=torch.int64)
    check_zero_and_connected(name, (2, 3, 4, 4), targets, dtype, class_weights=weights)


def check_zero_and_connected(name, shape, targets, dtype, **given):
    loss, _, options = LOSSES[name]
    # Far out, so that 0 times a sum of half floats would be no number.
    logits = torch.full(shape, 1e4, dtype=dtype)
    parameter = torch.ones((), dtype=dtype, requires_grad=True)
    value = loss(logits * parameter, targets, ignore_value=255, **given, **options)
    value.backward()
    assert value.item() == 0.0
    assert parameter.grad.item() == 0.0


# All scores are 10^4 or -10^4. Where all is wrong, the true class has -10^4, one other 10^4, and
# the third -10^4: two of three binary problems cost 10^4 each.
SATURATED = {
    "cross_entropy": 2e4,
    "ohem": 2e4,
    "ohem_share": 2e4,
    "bce": 2e4 / 3,
    "focal": 2e4,
    "focal_half": 2e4,
    "focal_zero": 2e4,
    "dice": 1.0,
    "lovasz": 1.0,
    "brier": 2.0,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_saturated_logits(name, dtype):
    loss, _, options = LOSSES[name]
    targets = torch.tensor([[[0, 1, 2], [2, 255, 0]]])
    one_hot = torch.nn.functional.one_hot(targets % 3, 3).movedim(3, 1)
    right = (2e4 * one_hot - 1e4).to(dtype)
    value, gradient = loss_and_gradient(loss, right, targets, ignore_value=255, **options)
    assert value.item() == 0.0
    assert gradient.abs().max() < 1e-6
    wrong = right.roll(1, dims=1)
    value, gradient = loss_and_gradient(loss, wrong, targets, ignore_value=255, **options)
    assert value.item() == pytest.approx(SATURATED[name], rel=1e-6)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_half_floats_are_computed_in_float32(name, dtype):
    loss, _, options = LOSSES[name]
    (logits, targets), _ = CASES["some ignored"]
    half = logits.to(dtype)
    value, gradient = loss_and_gradient(loss, half, targets, ignore_value=255, **options)
    full, slopes = loss_and_gradient(loss, half.float(), targets, ignore_value=255, **options)
    assert value.dtype == torch.float32
    assert value == full
    assert gradient.dtype == dtype
    assert torch.equal(gradient, slopes.to(dtype))


@pytest.mark.parametrize("name", LOSSES)
def test_sums_over_many_half_floats_do_not_overflow(name):
    loss, _, options = LOSSES[name]
    logits = torch.zeros(1, 2, 400, 400, dtype=torch.float16)
    targets = torch.zeros(1, 400, 400, dtype=torch.int64)
    targets[:, :, 200:] = 1
    # All p are 1/2. Dice: 1 - 2 * (P/4) / (P/4 + P/2).
    expected = {"dice": 1 / 3, "lovasz": 0.5, "brier": 0.5, "focal": math.log(2) / 4}
    expected |= {"focal_half": math.log(2) / math.sqrt(2)}
    if name == "ohem":  # nothing is below 1/2, and all tie with the hardest tenth
        expected[name] = math.log(2)
    value = loss(logits, targets, ignore_value=255, **options)
    assert value.item() == pytest.approx(expected.get(name, math.log(2)), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_autocast_changes_nothing(name):
    loss, _, options = LOSSES[name]
    (logits, targets), _ = CASES["some ignored"]
    logits = logits.float()
    plain = loss_and_gradient(loss, logits, targets, ignore_value=255, **options)
    with torch.autocast("cpu", torch.bfloat16):
        cast = loss_and_gradient(loss, logits, targets, ignore_value=255, **options)
    assert cast[0].dtype == torch.float32
    assert torch.equal(cast[0], plain[0])
    assert torch.equal(cast[1], plain[1])


@pytest.mark.parametrize("name", LOSSES)
def test_channels_last_changes_nothing_but_rounding(name):
    loss, _, options = LOSSES[name]
    (logits, targets), _ = CASES["some ignored"]
    plain = loss_and_gradient(loss, logits, targets, ignore_value=255, **options)
    last = logits.contiguous(memory_format=torch.channels_last)
    other = loss_and_gradient(loss, last, targets, ignore_value=255, **options)
    torch.testing.assert_close(other, plain, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", LOSSES)
def test_inputs_stay_as_they_are(name):
    loss, _, options = LOSSES[name]
    (logits, targets), _ = CASES["some ignored"]
    weights = torch.tensor([0.5, 2.0, 1.0, 3.0])
    if name in WEIGHTED:
        options = options | {"class_weights": weights}
    before = logits.clone(), targets.clone(), weights.clone()
    loss_and_gradient(loss, logits, targets, ignore_value=255, **options)
    loss(logits, targets, ignore_value=255, **options)
    for now, then in zip((logits, targets, weights), before, strict=True):
        assert torch.equal(now, then)


@pytest.mark.parametrize("label", [3, 254, -1])
@pytest.mark.parametrize("name", LOSSES)
def test_a_label_outside_the_classes_is_an_error(name, label):
    loss, _, options = LOSSES[name]
    targets = torch.tensor([[[0, 1], [255, label]]])
    with pytest.raises((IndexError, RuntimeError)):
        loss(torch.zeros(1, 3, 2, 2), targets, ignore_value=255, **options)


@pytest.mark.parametrize("name", LOSSES)
def test_shapes_that_do_not_match_are_named(name):
    loss, _, options = LOSSES[name]
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 4\).*\(2, 8, 8\)"):
        loss(torch.zeros(2, 3, 4, 4), torch.zeros(2, 8, 8).long(), ignore_value=255, **options)
    with pytest.raises(ValueError, match=r"\(3, 4, 4\).*\(4, 4\)"):
        loss(torch.zeros(3, 4, 4), torch.zeros(4, 4).long(), ignore_value=255, **options)
    if name in WEIGHTED:
        options = options | {"class_weights": torch.ones(2)}
        with pytest.raises(ValueError, match=r"\(2,\).*3 classes"):
            loss(torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4).long(), ignore_value=255, **options)


def test_cross_entropy_is_torchs():
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 16, 16)
    targets = torch.randint(4, (2, 16, 16))
    targets[:, :3] = 255
    weights = torch.tensor([0.5, 2.0, 1.0, 3.0])
    ours = sem_seg_cross_entropy(logits, targets, ignore_value=255, class_weights=weights)
    theirs = torch.nn.functional.cross_entropy(logits, targets, weights, ignore_index=255)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)


def test_dice_of_masks_and_of_classes_agree(monkeypatch):
    # Two classes whose logits are x and 0 are one sigmoid of x. Without a smooth term, one mask
    # with foreground gives the loss of class 0.
    (logits, targets), _ = CASES["two classes"]
    logits[:, 1] = 0
    targets = targets.clamp(max=1)
    monkeypatch.setattr("segtron.modeling.losses.dice._SMOOTH", 0.0)
    foreground = soft_dice_loss(logits[:, 0], targets == 0)
    background = soft_dice_loss(-logits[:, 0], targets == 1)
    both = sem_seg_dice_loss(logits, targets, ignore_value=255)
    assert both.item() == pytest.approx((foreground + background).item() / 2, rel=1e-6)


def test_focal_slope_where_the_softmax_is_sure():
    # From x = 17 on p is 1 in float32, where a power of 1 - p below 1 has no finite slope.
    x = torch.tensor([5.0, 10.0, 20.0, 90.0, 1e4])
    for gamma in (0.1, 0.5, 1.0, 2.0):
        logits = torch.zeros(1, 2, 1, 5)
        logits[0, 0, 0] = x
        _, gradient = loss_and_gradient(
            sem_seg_focal_loss, logits, torch.zeros(1, 1, 5).long(), ignore_value=255, gamma=gamma
        )
        # With q = exp(-x) small, the loss of a pixel is about q ** (1 + gamma).
        slopes = -(1 + gamma) * torch.exp(-(1 + gamma) * x.double())
        torch.testing.assert_close(gradient[0, 0, 0].double(), slopes / 5, rtol=0.02, atol=1e-8)
