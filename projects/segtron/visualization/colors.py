"""Colours of classes and instances."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence

# RGB in 0..1.
Color = tuple[float, float, float]

# Of what is ignored in training and scoring.
IGNORED_COLOR: Color = (0.75, 0.75, 0.75)
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
# Roberts's number: its multiples are spread evenly, and differently from the golden ratio's.
_PLASTIC_RATIO = 0.7548776662466927


def class_color(index: int, colors: Sequence[Sequence[int]] | None = None) -> Color:
    """The colour of a class: the data set's own, or one of an endless series of distinct colours.

    Args:
        index: contiguous class id.
        colors: the data set's `thing_colors` or `stuff_colors`, RGB in 0..255.

    Returns:
        RGB in 0..1.
    """
    if colors is not None and index < len(colors):
        red, green, blue = (channel / 255 for channel in colors[index])
        return red, green, blue
    hue = (0.57 + index * _GOLDEN_RATIO) % 1
    return colorsys.hls_to_rgb(hue, 0.55 + 0.4 * _spread(index), 0.85)


def vary_color(color: Color, index: int, num_classes: int) -> Color:
    """A variant of a class's colour for one of its instances, so that neighbours can be told apart.

    Hue and lightness move along low-discrepancy sequences: the same index gives the same colour,
    and indices that follow each other give colours far apart. The fewer classes, the freer the hue.
    Colours too dark or too pale for an overlay are brought into a middle range.

    Args:
        color: RGB in 0..1.
        index: number of the instance in its image.
        num_classes: number of classes that have to share the circle of hues.
    """
    hue, lightness, saturation = colorsys.rgb_to_hls(*color)
    hue_range = 0.3 / num_classes if num_classes > 1 else 0.5
    hue += hue_range / 2 * (2 * ((index * _GOLDEN_RATIO) % 1) - 1)
    lightness = min(max(lightness, 0.5), 0.62) + 0.1 * (2 * ((index * _PLASTIC_RATIO) % 1) - 1)
    return colorsys.hls_to_rgb(hue % 1, lightness, max(saturation, 0.55) if saturation else 0.0)


def _spread(index: int) -> float:
    """The index-th number of a series that fills -0.5..0.5 evenly; it starts with 0."""
    return (index * _PLASTIC_RATIO + 0.5) % 1 - 0.5
