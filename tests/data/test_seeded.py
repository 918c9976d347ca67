"""Random numbers that depend on what they are drawn for."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from segtron.data.seeded import Purpose, derive, generator_of, seeded_generators


def draw() -> tuple[float, float, float]:
    return float(np.random.rand()), random.random(), float(torch.rand(()))


def test_the_same_source_gives_the_same_numbers_wherever_the_generators_were() -> None:
    with seeded_generators(derive(3, Purpose.AUGMENTATION, 8)):
        first = draw()
    draw()
    with seeded_generators(derive(3, Purpose.AUGMENTATION, 8)):
        assert draw() == first


def test_seed_purpose_and_key_each_change_all_numbers() -> None:
    sources = [
        derive(3, Purpose.AUGMENTATION, 8),
        derive(4, Purpose.AUGMENTATION, 8),
        derive(3, Purpose.AUGMENTATION, 9),
        derive(3, Purpose.REPLACEMENT, 8),
    ]
    drawn = []
    for source in sources:
        with seeded_generators(source):
            drawn += draw()
    assert len(set(drawn)) == 3 * len(sources)


def test_generators_are_put_back_even_after_an_error() -> None:
    np.random.seed(1)
    random.seed(1)
    torch.manual_seed(1)
    np.random.randn()  # leaves a second normal number waiting
    expected = [*draw(), np.random.randn()]
    np.random.seed(1)
    random.seed(1)
    torch.manual_seed(1)
    np.random.randn()
    with pytest.raises(ZeroDivisionError), seeded_generators(derive(0, Purpose.ORDER)):
        draw()
        np.random.randn()
        raise ZeroDivisionError
    assert [*draw(), np.random.randn()] == expected


def test_numbers_stay_the_same_for_ever() -> None:
    # A training that goes on with another version must not see other images.
    generator = generator_of(derive(0, Purpose.ORDER, 0))
    assert generator.permutation(8).tolist() == [1, 0, 6, 5, 7, 3, 4, 2]
    with seeded_generators(derive(2**40, Purpose.AUGMENTATION, 2**33)):
        drawn = [np.random.randint(1000), random.randrange(1000), int(torch.randint(1000, ()))]
    assert drawn == [627, 800, 929]
