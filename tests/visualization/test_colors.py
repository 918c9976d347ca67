from __future__ import annotations

import numpy as np
import pytest

from segtron.visualization.colors import class_color, vary_color


def test_variants_of_a_colour_are_distinct_and_repeatable():
    variants = [vary_color((0.0, 0.0, 0.55), i, 8) for i in range(20)]
    assert variants == [vary_color((0.0, 0.0, 0.55), i, 8) for i in range(20)]
    assert len(set(variants)) == 20
    # Too dark a colour is lifted, but stays blue.
    assert all(blue > 0.7 and blue > 1.3 * max(red, green) for red, green, blue in variants)


def test_the_data_sets_own_colours_come_first():
    assert class_color(1, [(0, 0, 0), (255, 0, 51)]) == pytest.approx((1, 0, 0.2))


def test_classes_without_a_colour_get_distinct_ones():
    colors = np.array([class_color(i, [(0, 0, 0)] if i == 0 else None) for i in range(40)])
    distances = np.linalg.norm(colors[:, None] - colors[None], axis=2) + 9 * np.eye(40)
    assert distances.min() > 0.1
    # Neighbours in the list of classes are often neighbours in images, too.
    assert np.diagonal(distances, 1).min() > 0.4
