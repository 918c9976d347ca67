"""What metrics have in common that keep a small state of each image."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, Self, TypeVar

State = TypeVar("State")


class ImageMetric(Generic[State]):
    """States by image: an image counts once, in whatever shards it was seen.

    A subclass has `update`, which puts an image's state into `_images` unless there is one, and
    `compute`, whose result must not depend on the order of images.
    """

    def __init__(self) -> None:
        self._images: dict[Hashable, State] = {}

    def __len__(self) -> int:
        """The number of images."""
        return len(self._images)

    @property
    def image_ids(self) -> list[Hashable]:
        """The images, in the order in which they came."""
        return list(self._images)

    def merge(self, other: Self) -> None:
        """Take over another metric's images; those in both are counted once, as they are here.

        The time grows with the other's images alone, so that one can be added after the other.
        """
        for image_id, state in other._images.items():
            self._images.setdefault(image_id, state)
