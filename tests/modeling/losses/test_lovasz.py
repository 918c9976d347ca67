"""Lovász-softmax against values computed by hand, and on many pixels."""

import itertools

import numpy as np
import pytest
import torch

from segtron.modeling.losses import sem_seg_lovasz_softmax


def loss_and_gradient(logits, targets):
    logits = logits.clone().requires_grad_()
    loss = sem_seg_lovasz_softmax(logits, targets, ignore_value=255)
    loss.backward()
    return loss.item(), logits.grad


def of_two_classes(probabilities):
    """Logits (1, 2, 1, P) whose softmax gives class 0 these probabilities."""
    p = torch.tensor([probabilities, [1 - p for p in probabilities]], dtype=torch.float64)
    return p.log()[None, :, None]


def test_a_case_by_hand():
    # Three pixels of classes 0, 0, 1 whose class 0 has p = 0.8, 0.4, 0.3.
    #
    # Class 0 has two pixels. Errors: a 0.2, b 0.6, and outside of it c 0.3. In falling order:
    #   b wrong:       wrong 1 of a union of {a, b}, 2:    J = 1/2
    #   b, c wrong:    wrong 2 of a union of {a, b, c}, 3: J = 2/3
    #   b, c, a wrong: wrong 3 of 3:                       J = 1
    #   0.6 * 1/2 + 0.3 * 1/6 + 0.2 * 1/3 = 5/12
    # Class 1 has one pixel. Errors: c 0.3, and outside of it a 0.2, b 0.6. In falling order:
    #   b wrong:       wrong 1 of a union of {c, b}, 2:    J = 1/2
    #   b, c wrong:    wrong 2 of 2:                       J = 1
    #   b, c, a wrong: wrong 3 of 3:                       J = 1
    #   0.6 * 1/2 + 0.3 * 1/2 + 0.2 * 0 = 9/20
    # The mean of 5/12 and 9/20 is 13/30.
    targets = torch.tensor([[[0, 0, 1]]])
    loss, gradient = loss_and_gradient(of_two_classes([0.8, 0.4, 0.3]), targets)
    assert loss == pytest.approx(13 / 30, abs=1e-12)
    # The derivative by p[a, 0] is -1/3, by p[b, 0] -1/2, by p[c, 0] 1/6 (an error falls as p rises
    # in the class, and rises outside of it); by p[a, 1] 0, by p[b, 1] 1/2, by p[c, 1] -1/2; all
    # halved by the mean. The derivative by the logit of class 0 is p0 * p1 times the difference of
    # the two: a 0.16 * -1/6, b 0.24 * -1/2, c 0.21 * 1/3.
    slopes = torch.tensor([-0.16 / 6, -0.12, 0.07], dtype=torch.float64)
    torch.testing.assert_close(gradient[0, 0, 0], slopes, rtol=0, atol=1e-12)
    torch.testing.assert_close(gradient[0, 1, 0], -slopes, rtol=0, atol=1e-12)


def test_ignored_pixels_and_absent_classes_by_hand():
    # Pixels of classes 0, ignored, 0 with p0 = 0.5, 0.1, 0.75; class 1 has no pixel.
    # Class 0, errors 0.5 and 0.25: J = 1/2, then 1: 0.5 / 2 + 0.25 / 2 = 3/8, the mean over one.
    targets = torch.tensor([[[0, 255, 0]]])
    loss, gradient = loss_and_gradient(of_two_classes([0.5, 0.1, 0.75]), targets)
    assert loss == pytest.approx(3 / 8, abs=1e-12)
    # p0 * p1 * -1/2 each.
    expected = torch.tensor([-0.125, 0.0, -0.09375], dtype=torch.float64)
    torch.testing.assert_close(gradient[0, 0, 0], expected, rtol=0, atol=1e-12)


def test_all_images_of_a_batch_are_one():
    logits = of_two_classes([0.8, 0.4, 0.3])
    targets = torch.tensor([[[0, 0, 1]]])
    apart = logits[..., [0, 1, 2]].permute(3, 1, 2, 0), targets.permute(2, 1, 0)
    assert apart[0].shape == (3, 2, 1, 1)
    assert loss_and_gradient(*apart)[0] == pytest.approx(13 / 30, abs=1e-12)


def test_ties():
    # Three pixels of classes 0, 0, 1, everywhere p = 1/2: all errors are 1/2, so that whatever the
    # order, each class has 1/2 * (J[3] - J[0]) = 1/2.
    targets = [0, 0, 1]
    loss, gradient = loss_and_gradient(of_two_classes([0.5] * 3), torch.tensor([[targets]]))
    assert loss == pytest.approx(0.5, abs=1e-12)

    def slopes(index, order):
        of_class = {i for i, y in enumerate(targets) if y == index}
        wrong, jaccard, slopes = set(), 0.0, [0.0] * 3
        for i in order:
            wrong.add(i)
            grown = len(wrong) / len(of_class | wrong)
            slopes[i] = (grown - jaccard) * (-1 if i in of_class else 1)
            jaccard = grown
        return np.array(slopes)

    # The gradient is what one of the possible orders gives.
    orders = list(itertools.permutations(range(3)))
    possible = [
        0.25 * (slopes(0, first) - slopes(1, second)) / 2
        for first, second in itertools.product(orders, orders)
    ]
    assert any(np.allclose(gradient[0, 0, 0], p, rtol=0, atol=1e-12) for p in possible)


@pytest.mark.parametrize("scale", [100.0, 1e4])
def test_it_is_the_jaccard_loss_where_the_softmax_is_sure(scale):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, (2, 6, 7))
    truth[truth == 2] = 1
    predicted = rng.integers(0, 4, (2, 6, 7))
    truth[0, :2] = 255
    logits = torch.nn.functional.one_hot(torch.from_numpy(predicted), 4).movedim(3, 1) * scale
    loss, gradient = loss_and_gradient(logits.float(), torch.from_numpy(truth))
    labelled = truth != 255
    ious = []
    for index in (0, 1, 3):
        p, t = predicted[labelled] == index, truth[labelled] == index
        ious.append((p & t).sum() / (p | t).sum())
    assert loss == pytest.approx(1 - np.mean(ious), abs=1e-6)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_many_pixels(dtype):
    """PyTorch sorts many integers in another way than few."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (2, 3, 150, 200))
    logits[:, :, :, :50] = np.round(logits[:, :, :, :50])  # many ties
    truth = rng.integers(0, 2, (2, 150, 200))
    truth[rng.random(truth.shape) < 0.1] = 255
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    losses = []
    for index in (0, 1):
        of_class = (truth == index)[truth != 255]
        errors = np.abs(p[:, index][truth != 255] - of_class)
        order = np.argsort(-errors)
        union = of_class.sum() + np.cumsum(~of_class[order])
        jaccard = 1 - (of_class.sum() - np.cumsum(of_class[order])) / union
        losses.append(errors[order] @ np.diff(jaccard, prepend=0))
    targets = torch.from_numpy(truth)
    loss, gradient = loss_and_gradient(torch.from_numpy(logits).to(dtype), targets)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    assert loss == pytest.approx(np.mean(losses), rel=tolerance)
    assert (gradient[targets.unsqueeze(1).expand_as(gradient) == 255] == 0).all()
