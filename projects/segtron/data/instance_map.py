"""All instances of an image in one map of numbers, made of their run-length encodings.

Then each augmentation moves one map, however many instances there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from segtron.data.pixels import Window
from segtron.data.place_map import MOST_IN_A_BYTE, as_bytes
from segtron.data.run_lengths import decode_all_run_lengths


class InstanceMap:
    """The map of an image's instances: in each pixel the place of its instance, counted from 1.

    Attributes:
        shape: height and width.
    """

    def __init__(
        self, shape: tuple[int, int], starts: np.ndarray, ends: np.ndarray, places: np.ndarray
    ) -> None:
        """
        Args:
            shape: height and width.
            starts: (R,) ascending: where runs of pixels begin, in column-major order.
            ends: (R,) where they end, before the next one begins.
            places: (R,) whose they are.
        """
        self.shape = shape
        self._starts, self._ends, self._places = starts, ends, places

    def read(self, window: Window) -> np.ndarray:
        """The map in a window.

        Returns:
            In bytes, see `segtron.data.place_map`.
        """
        height = self.shape[0]
        first, last = window.left * height, window.right * height
        touched = slice(
            np.searchsorted(self._ends, first, side="right"), np.searchsorted(self._starts, last)
        )
        starts = self._starts[touched].clip(min=first)
        ends = self._ends[touched].clip(max=last)
        # Gap, run, gap, run, ..., gap.
        changes = np.concatenate([[first], np.stack([starts, ends], axis=1).ravel(), [last]])
        fits = self._places.max(initial=0) <= MOST_IN_A_BYTE
        places = np.zeros(2 * starts.size + 1, np.uint8 if fits else np.int32)
        places[1::2] = self._places[touched]
        columns = np.repeat(places, np.diff(changes)).reshape(-1, height)
        return as_bytes(cv2.transpose(columns[:, window.top : window.bottom]))


def map_instances(
    annotations: Sequence[Mapping[str, Any]], shape: tuple[int, int]
) -> InstanceMap | None:
    """Make the map of annotations.

    Args:
        annotations: of one image.
        shape: of the image, height and width.

    Returns:
        None where one of them is no compressed run-length encoding of such an image, or where two
        of them share a pixel, so that no map can hold both.
    """
    encodings = [annotation.get("segmentation") for annotation in annotations]
    if not all(_is_encoding_of(shape, encoding) for encoding in encodings):
        return None
    try:
        runs, counts = decode_all_run_lengths([encoding["counts"] for encoding in encodings])
    except ValueError:
        return None
    first = np.cumsum(counts) - counts
    # Of each text, without what other texts add up to.
    changes = np.cumsum(runs)
    changes -= np.repeat(np.append(0, changes)[first], counts)
    is_start = (np.arange(runs.size) - np.repeat(first, counts)) % 2 == 0
    # A text that ends with a gap has a start at its end, which begins nothing.
    is_start[(first + counts - 1)[counts % 2 == 1]] = False
    (at,) = np.nonzero(is_start)
    starts, ends = changes[at], changes[at + 1]
    places = np.repeat(np.arange(1, len(encodings) + 1), counts // 2)
    order = np.argsort(starts, kind="stable")
    starts, ends, places = starts[order], ends[order], places[order]
    is_map = (starts[1:] >= ends[:-1]).all() and (starts <= ends).all()
    if starts.size and not (is_map and starts[0] >= 0 and ends[-1] <= shape[0] * shape[1]):
        return None
    return InstanceMap(shape, starts, ends, places)


def _is_encoding_of(shape: tuple[int, int], encoding: Any) -> bool:
    """Whether something is the compressed run lengths of a mask of a shape."""
    return (
        isinstance(encoding, Mapping)
        and tuple(encoding["size"]) == shape
        and isinstance(encoding["counts"], (str, bytes))
    )
