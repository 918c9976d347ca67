"""What a report shows on an image: outlined regions in three layers, and what they add up to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.path import Path as Outline

from segtron.visualization.class_maps import resize_classes
from segtron.visualization.colors import Color, class_color, vary_color
from segtron.visualization.fates import NOT_SCORED
from segtron.visualization.outlines import mask_outline

# In pixels, of an image as it is shown.
LONGEST_SIDE = 1280

# The class that was predicted, the one that is there where it is another, and the fate.
TallyKey = tuple[int, int | None, str]


@dataclass(frozen=True)
class Region:
    """A part of an image with an outline.

    Attributes:
        outline: in pixels of the image.
        category: its class, a place among the gallery's classes; None for what has none.
        color: what it is drawn in.
        fate: what became of it, one of `FATES` or `NOT_SCORED`; None where nobody asks.
        is_category: the class that is there, where `category` was predicted in its place.
        score: of a prediction.
        iou: with what it was matched to.
    """

    outline: Outline
    category: int | None
    color: Color
    fate: str | None = None
    is_category: int | None = None
    score: float | None = None
    iou: float | None = None


@dataclass(frozen=True)
class Tally:
    """What is alike in class and fate on one image.

    Attributes:
        amount: number of regions, or percent of the pixels.
        highest_score: None where nothing has a score.
    """

    amount: float
    highest_score: float | None = None


@dataclass(frozen=True)
class ImageLayers:
    """One image with what is there and what was predicted, as outlines.

    Attributes:
        image: (H, W, 3) RGB uint8.
        ground_truth: what is there.
        prediction: what was predicted.
        errors: what became of both, in the colours of `FATES`.
        numbers: what the image can be sorted by, how good the prediction is first, in percent; None
            where undefined.
        tallies: what the image can be filtered by.
    """

    image: np.ndarray
    ground_truth: Sequence[Region]
    prediction: Sequence[Region]
    errors: Sequence[Region]
    numbers: Mapping[str, float | None]
    tallies: Mapping[TallyKey, Tally]


def count_regions(errors: Iterable[Region]) -> dict[TallyKey, Tally]:
    """Count the regions of each class and fate; what is not scored is left out."""
    tallies: dict[TallyKey, Tally] = {}
    for region in errors:
        if region.category is None or region.fate in (None, NOT_SCORED):
            continue
        key = region.category, region.is_category, region.fate
        before = tallies.get(key, Tally(0))
        scores = [s for s in (before.highest_score, region.score) if s is not None]
        tallies[key] = Tally(before.amount + 1, max(scores, default=None))
    return tallies


def shown_size(height: int, width: int) -> tuple[int, int]:
    """Height and width in which an image is shown, `LONGEST_SIDE` or less."""
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def map_outlines(numbers: np.ndarray) -> dict[int, Outline]:
    """The outline of each value in a map, as fine as it is shown.

    Args:
        numbers: (H, W) uint8 or uint16.

    Returns:
        Value -> outline in pixels of the map; a value whose few pixels are lost where the map is
        shrunk has none.
    """
    height, width = numbers.shape
    size = shown_size(height, width)
    small = resize_classes(numbers, size)
    outlines = {}
    for value in np.unique(small).tolist():
        outline = mask_outline(small == value)
        scaled = outline.vertices * (width / size[1], height / size[0])
        outlines[value] = Outline(scaled, outline.codes)
    return outlines


def largest_first(regions: Iterable[Region]) -> list[Region]:
    """Regions in the order in which they are drawn, so that nothing small is hidden."""

    def area(region: Region) -> float:
        extents = region.outline.get_extents()
        return extents.width * extents.height

    return sorted(regions, key=area, reverse=True)


def instance_color(
    category: int, number: int, colors: Sequence[Sequence[int]] | None, num_classes: int
) -> Color:
    """The colour of an image's instance `number`, a variant of its class's."""
    return vary_color(class_color(category, colors), number, max(num_classes, 1))
