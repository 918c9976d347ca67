"""Which masks of two tiles are compared."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from segtron.data.pixels import Window
from segtron.inference.seam_merging import SAME_OBJECT, _Part, _similar


def random_parts(rng, number):
    parts = []
    for i in range(number):
        left, top = rng.integers(0, 6, 2).tolist()
        width, height = rng.integers(1, 6, 2).tolist()
        pixels = rng.random((height, width)) < rng.choice([0.0, 0.6, 1.0])
        window = Window(left, top, left + width, top + height)
        parts.append(_Part(i, int(rng.integers(2)), window, pixels, int(pixels.sum())))
    return parts


def in_image(part):
    image = np.zeros((12, 12), bool)
    part.window.of(image)[:] = part.pixels
    return image


@pytest.mark.parametrize("seed", range(20))
def test_no_pair_of_one_object_is_passed_over(seed):
    rng = np.random.default_rng(seed)
    first, second = (random_parts(rng, int(rng.integers(0, 40))) for _ in range(2))
    compared = [(a.instance, b.instance) for a, b in _similar(first, second)]
    same = set()
    for a, b in itertools.product(first, second):
        overlap = np.count_nonzero(in_image(a) & in_image(b))
        union = np.count_nonzero(in_image(a) | in_image(b))
        if a.class_index == b.class_index and overlap and overlap >= SAME_OBJECT * union:
            same.add((a.instance, b.instance))
    assert same <= set(compared)
    assert len(set(compared)) == len(compared) <= max(len(first) * len(second) // 2, 4)
