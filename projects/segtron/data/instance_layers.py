"""Masks of instances that overlap, in several maps of which each holds what doesn't."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as mask_util

from segtron.data.instance_map import InstanceMap, map_instances
from segtron.data.masks import as_rle, encode_mask
from segtron.errors import UserError

Encoding = dict[str, Any]


def encode_masks(
    annotations: Sequence[Mapping[str, Any]], shape: tuple[int, int]
) -> list[Encoding]:
    """The masks of annotations as compressed run-length encodings.

    Args:
        annotations: of one image, with `segmentation`: polygons, an encoding or a bitmap.
        shape: of the image, height and width.

    Raises:
        UserError: an annotation has no mask, or one of another size.
    """
    encodings = [_encode(annotation.get("segmentation"), shape) for annotation in annotations]
    for number, encoding in enumerate(encodings):
        if encoding is None or tuple(encoding["size"]) != shape:
            raise UserError(
                f"instance {number} of an image of {shape[1]} x {shape[0]} has no mask of that "
                "size, by which augmentations that fill pixels up or mix images move it; give it "
                "one, or leave these augmentations out (docs/augmentations.md)"
            )
    return encodings


def _encode(segmentation: Any, shape: tuple[int, int]) -> Encoding | None:
    if isinstance(segmentation, np.ndarray):
        return encode_mask(segmentation.astype(bool))
    return as_rle(segmentation, *shape) if segmentation else None


def map_layers(
    encodings: Sequence[Encoding], shape: tuple[int, int]
) -> Iterator[tuple[np.ndarray, InstanceMap]]:
    """Put masks into as few maps as boxes show to be needed.

    Args:
        encodings: compressed run lengths of masks of the shape.
        shape: height and width.

    Returns:
        For each map the indices of the masks in it, (M,) int64, ascending, and the map.

    Raises:
        UserError: an encoding is broken.
    """
    if not encodings:
        return
    everything = map_instances([{"segmentation": e} for e in encodings], shape)
    if everything is not None:
        yield np.arange(len(encodings)), everything
        return
    for members in _apart(mask_util.toBbox(encodings)):
        layer = map_instances([{"segmentation": encodings[i]} for i in members], shape)
        if layer is None:
            raise UserError(
                f"an instance of an image of {shape[1]} x {shape[0]} has broken run lengths; "
                "export its mask again"
            )
        yield members, layer


def _apart(boxes: np.ndarray) -> list[np.ndarray]:
    """Groups of boxes, as indices, of which no two in a group share a pixel.

    Args:
        boxes: (N, 4), x, y, width and height.
    """
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    layer_of = np.full(len(boxes), -1)
    for i in range(len(boxes)):
        touches = ((low[:i] < high[i]) & (low[i] < high[:i])).all(axis=1)
        taken = np.unique(layer_of[:i][touches])
        # The first number that is missing in 0, 1, 2, …
        gaps = np.flatnonzero(taken != np.arange(len(taken)))
        layer_of[i] = gaps[0] if gaps.size else len(taken)
    return [np.flatnonzero(layer_of == layer) for layer in range(layer_of.max() + 1)]
