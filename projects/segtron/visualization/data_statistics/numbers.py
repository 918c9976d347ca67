"""What is in a data set, in numbers: classes, sizes, shapes, and what comes together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from segtron.data.checks.checked_set import CheckedSet, Objects
from segtron.evaluation.coco_protocol import SIZES
from segtron.wording import printable

# Sides of histograms' bars: areas and aspect ratios double from one to the next, areas from 1 to
# 2**26 pixels.
AREA_EDGES = 2.0 ** np.arange(0, 27)
ASPECT_EDGES = 2.0 ** np.arange(-5.25, 5.5, 0.5)


@dataclass(frozen=True)
class SetStatistics:
    """The numbers of a set of I images, K classes and N objects.

    Attributes:
        name: of the set.
        kind: "instances", "panoptic" or "labels"; with labels, all pixels of a class in an image
            are an object.
        class_names: of the classes, printable.
        objects: (K,) int64, objects of each class.
        images: (K,) int64, images that have an object of it.
        pixels: (K,) float64, pixels of each class.
        by_size: size -> objects of it, by COCO's limits.
        areas: (26,) int64, objects by area, between `AREA_EDGES`.
        aspects: (21,) int64, objects by width / height of their boxes, between `ASPECT_EDGES`.
        per_image: number of objects -> images that have so many.
        image_sizes: (width, height) -> images of this size.
        together: (K, K) int64, images that have both classes.
        crowds: how many of the objects are crowds.
    """

    name: str
    kind: str
    class_names: list[str]
    objects: np.ndarray
    images: np.ndarray
    pixels: np.ndarray
    by_size: dict[str, int]
    areas: np.ndarray
    aspects: np.ndarray
    per_image: dict[int, int]
    image_sizes: dict[tuple[int, int], int]
    together: np.ndarray
    crowds: int

    @property
    def num_images(self) -> int:
        """How many images there are."""
        return sum(self.per_image.values())

    @property
    def num_objects(self) -> int:
        """How many objects there are."""
        return int(self.objects.sum())

    def as_json(self) -> dict[str, Any]:
        """All numbers in a form that JSON has."""
        return {
            "name": self.name,
            "kind": self.kind,
            "images": self.num_images,
            "objects": self.num_objects,
            "crowds": self.crowds,
            "classes": [
                {"name": name, "objects": objects, "images": images, "pixels": pixels}
                for name, objects, images, pixels in zip(
                    self.class_names,
                    self.objects.tolist(),
                    self.images.tolist(),
                    self.pixels.tolist(),
                    strict=True,
                )
            ],
            "by_size": self.by_size,
            "area_histogram": {"edges": AREA_EDGES.tolist(), "objects": self.areas.tolist()},
            "aspect_histogram": {"edges": ASPECT_EDGES.tolist(), "objects": self.aspects.tolist()},
            "objects_per_image": {str(n): images for n, images in sorted(self.per_image.items())},
            "image_sizes": [
                {"width": width, "height": height, "images": images}
                for (width, height), images in sorted(self.image_sizes.items())
            ],
            "images_with_both_classes": self.together.tolist(),
        }


def count(checked: CheckedSet) -> SetStatistics:
    """The numbers of a set.

    Args:
        checked: with `objects`.
    """
    objects = checked.objects
    number = len(objects.names)
    presence = _presence(objects)
    widths, heights = (objects.boxes[:, 2:] - objects.boxes[:, :2]).T
    has_box = (widths > 0) & (heights > 0)
    aspects = np.clip(widths[has_box] / heights[has_box], ASPECT_EDGES[0], ASPECT_EDGES[-1])
    per_image = np.bincount(objects.image, minlength=len(objects.sizes))
    sizes = Counter((width, height) for height, width in objects.sizes.tolist() if width)
    return SetStatistics(
        name=printable(checked.name),
        kind=checked.kind,
        class_names=[printable(name) for name in objects.names],
        objects=np.bincount(objects.category, minlength=number),
        images=presence.sum(axis=0, dtype=np.int64),
        pixels=np.bincount(objects.category, objects.areas, number),
        by_size=_by_size(objects.areas),
        areas=np.histogram(np.clip(objects.areas, 1, AREA_EDGES[-1]), AREA_EDGES)[0],
        aspects=np.histogram(aspects, ASPECT_EDGES)[0],
        per_image=dict(Counter(per_image.tolist())),
        image_sizes=dict(sizes),
        together=_together(presence),
        crowds=int(objects.is_crowd.sum()),
    )


def _presence(objects: Objects) -> np.ndarray:
    """(I, K) bool: which classes an image has."""
    presence = np.zeros((len(objects.sizes), len(objects.names)), bool)
    presence[objects.image, objects.category] = True
    return presence


def _together(presence: np.ndarray) -> np.ndarray:
    # In floats, which are multiplied many times as fast as integers, and exact up to 2**24 images.
    shares = presence.astype(np.float32)
    return (shares.T @ shares).round().astype(np.int64)


def _by_size(areas: np.ndarray) -> dict[str, int]:
    # An area that is a limit counts for the larger size here, as no object is to count twice.
    limits = [low for low, _ in SIZES.values()][1:]
    counts = np.bincount(np.searchsorted(limits, areas, side="right"), minlength=len(SIZES))
    return dict(zip(SIZES, counts.tolist(), strict=True))
