"""What a centre head learns: made of maps of segments on the model's device, all images at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch


class CenterTargets(NamedTuple):
    """Of N images padded to one size, H x W."""

    heatmap: torch.Tensor  # (N, H, W) float32, 0 to 1, with a peak of 1 at each centre
    offsets: torch.Tensor  # (N, 2, H, W) float32, from each pixel to its centre along y and x
    is_labelled: torch.Tensor  # (N, H, W) bool, where the heatmap is known: not in void and crowds
    is_thing: torch.Tensor  # (N, H, W) bool, where offsets are known


def center_targets(
    pan_seg: torch.Tensor, segments_info: Sequence[Sequence[Mapping[str, Any]]], *, sigma: float
) -> CenterTargets:
    """Make the targets of a batch.

    A centre is the centre of mass of what an image has of an instance. Offsets lead right there; in
    the heatmap it is at the nearest pixel, a spot of a Gaussian in a square of 3 standard
    deviations and a pixel to each side, and where spots overlap the larger value counts. They are
    the targets of Panoptic-DeepLab, and equal to those of Detectron2's
    `PanopticDeepLabTargetGenerator` except that crowds have no centres.

    Args:
        pan_seg: (N, H, W) int64: i + 1 in the pixels of segment i of an image, 0 in void and beyond
            the image.
        segments_info: for each image its segments, with `isthing` and `iscrowd`. Those that have no
            pixel have no part in it.
        sigma: standard deviation of a spot in pixels.
    """
    device = pan_seg.device
    counts = torch.tensor([len(segments) + 1 for segments in segments_info])
    starts = (counts.cumsum(0) - counts).to(device)
    # All segments of the batch in one numbering, in which each image begins with its void.
    segments = pan_seg + starts[:, None, None]
    kinds = [kind for listed in segments_info for kind in _kinds(listed)]
    labelled, things = torch.tensor(kinds, dtype=torch.bool).T.to(device)
    is_thing = things[segments]
    centers, areas = _centers_of_mass(segments, len(kinds))
    heatmap = torch.zeros(pan_seg.shape, device=device)
    found = (things & (areas > 0)).nonzero().squeeze(1)
    images = torch.searchsorted(starts, found, right=True) - 1
    _draw_spots(heatmap, images, centers[found], sigma)
    y, x = (torch.arange(side, device=device) for side in pan_seg.shape[1:])
    offset_y = centers[:, 0].float()[segments] - y[:, None]
    offset_x = centers[:, 1].float()[segments] - x
    offsets = torch.stack([offset_y, offset_x], dim=1).mul_(is_thing[:, None])
    return CenterTargets(heatmap, offsets, labelled[segments], is_thing)


def _kinds(segments: Sequence[Mapping[str, Any]]) -> list[tuple[bool, bool]]:
    """For void and each segment: is the heatmap known there, and is it an instance?"""
    known = [(not segment["iscrowd"], bool(segment["isthing"])) for segment in segments]
    return [(False, False), *((one, one and thing) for one, thing in known)]


def _centers_of_mass(segments: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """y and x of each of `count` segments, (S, 2) float64, and their areas, (S,) int64."""
    y, x = (torch.arange(side, device=segments.device) for side in segments.shape[1:])
    flat = segments.flatten()
    areas = flat.bincount(minlength=count)
    sums = [
        flat.bincount(coordinate.expand(segments.shape).flatten().double(), minlength=count)
        for coordinate in (y[:, None], x)
    ]
    return torch.stack(sums, dim=1) / areas.clamp(min=1)[:, None], areas


def _draw_spots(
    heatmap: torch.Tensor, images: torch.Tensor, centers: torch.Tensor, sigma: float
) -> None:
    """Draw a spot for each of C centres into (N, H, W), where its values are larger.

    Args:
        heatmap: (N, H, W), changed.
        images: (C,) int64, the image of each centre.
        centers: (C, 2), y and x.
        sigma: standard deviation in pixels.
    """
    _, height, width = heatmap.shape
    reach = math.ceil(3 * sigma) + 1
    steps = torch.arange(-reach, reach + 1, device=heatmap.device)
    line = torch.exp(-steps.square() / (2 * sigma**2))
    spot = line[:, None] * line
    y, x = (centers.round().long().T[:, :, None] + steps).unbind()
    # What reaches beyond an image must not land in the next row or the next image.
    inside_y, inside_x = (y >= 0) & (y < height), (x >= 0) & (x < width)
    inside = inside_y[:, :, None] & inside_x[:, None]
    places = (images[:, None] * height + y)[:, :, None] * width + x[:, None]
    values = spot.expand(inside.shape)[inside]
    heatmap.view(-1).scatter_reduce_(0, places[inside], values, reduce="amax")
