"""Mosaic: four images in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from detectron2.structures import BitMasks, Boxes, Instances

from segtron.data.mixing.segments import join_segments
from segtron.data.panoptic_targets import panoptic_targets
from segtron.data.pixels import Window
from segtron.data.sem_seg import IGNORED

# Where the four images meet, as shares of height and width.
_NEAREST, _FARTHEST = 0.25, 0.75


def cut_canvas(size: tuple[int, int]) -> list[Window]:
    """Draw where four images lie: they meet at a random point, not too near to a border.

    Args:
        size: of the canvas, height and width, 2 or more.

    Returns:
        Top left, top right, bottom left, bottom right.
    """
    y, x = (
        int(np.clip(round(side * np.random.uniform(_NEAREST, _FARTHEST)), 1, side - 1))
        for side in size
    )
    height, width = size
    return [
        Window(left, top, right, bottom)
        for top, bottom in ((0, y), (y, height))
        for left, right in ((0, x), (x, width))
    ]


def assemble(
    pieces: Sequence[dict[str, Any]], windows: Sequence[Window], size: tuple[int, int]
) -> dict[str, Any]:
    """Put mapped images together (Bochkovskiy et al., "YOLOv4", 2020, section 3.3).

    Args:
        pieces: as `SegmentationMapper.map` gives them, with the same kinds of labels, masks as
            bitmaps; each as large as its window.
        windows: that make up the canvas.
        size: of the canvas, height and width.

    Returns:
        The first one's dict with the image and the labels of all; see `SegmentationMapper.map`.
    """
    mixed = dict(pieces[0])
    channels = mixed["image"].shape[0]
    mixed["image"] = mixed["image"].new_empty((channels, *size))
    for piece, window in zip(pieces, windows, strict=True):
        _part(mixed["image"], window)[:] = piece["image"]
    if "pan_seg" in mixed:
        places, mixed["segments_info"] = np.zeros(size, np.int32), []
        for piece, window in zip(pieces, windows, strict=True):
            segments, moved = join_segments(mixed["segments_info"], piece)
            mixed["segments_info"] = segments
            window.of(places)[:] = moved
        return mixed | panoptic_targets(places, mixed["segments_info"])
    if "sem_seg" in mixed:
        mixed["sem_seg"] = torch.full(size, IGNORED, dtype=torch.int64)
        for piece, window in zip(pieces, windows, strict=True):
            _part(mixed["sem_seg"], window)[:] = piece["sem_seg"]
    if "instances" in mixed:
        mixed["instances"] = Instances.cat(
            [_on_canvas(p["instances"], w, size) for p, w in zip(pieces, windows, strict=True)]
        )
    return mixed


def _part(picture: torch.Tensor, window: Window) -> torch.Tensor:
    """What a tensor of (..., H, W) has in a window; a view."""
    return picture[..., window.top : window.bottom, window.left : window.right]


def _on_canvas(instances: Instances, window: Window, size: tuple[int, int]) -> Instances:
    masks = torch.zeros((len(instances), *size), dtype=torch.bool)
    if len(instances):
        _part(masks, window)[:] = instances.gt_masks.tensor
    offset = torch.tensor([window.left, window.top] * 2, dtype=torch.float32)
    return Instances(
        size,
        gt_boxes=Boxes(instances.gt_boxes.tensor + offset),
        gt_classes=instances.gt_classes,
        gt_masks=BitMasks(masks),
    )
