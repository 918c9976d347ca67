"""From centres, offsets and classes of one image to segments, as in Panoptic-DeepLab.

After Cheng, Collins, Zhu, Liu, Huang, Adam & Chen, "Panoptic-DeepLab", 2020: each pixel of a thing
points to the centre of its instance, and belongs to the predicted centre that is nearest to where
it points; the pixels of an instance vote on its class.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch.nn import functional as F

# Side in pixels of the squares in which `group_pixels` decides for all pixels at once.
_CELL = 4
# Distances that are computed at once: 1 MB of them, which stay in a processor's cache.
_CHUNK = 2**18


class Centers(NamedTuple):
    """Points of an image, in reading order."""

    points: torch.Tensor  # (C, 2) float32, y and x in pixels
    scores: torch.Tensor  # (C,) of the heatmap's dtype


def find_centers(
    heatmap: torch.Tensor, *, threshold: float, nms_kernel: int, top_k: int
) -> Centers:
    """The local maxima of a heatmap.

    Of equal values so close that each suppresses the other, the first in reading order stays: a
    heatmap that is upsampled is flat in places, and each flat peak is one centre. (Detectron2's
    `find_instance_center` keeps all of them, and the instance falls to pieces. Otherwise the two
    agree, but that Detectron2 finds one centre less where there are `top_k` or more.)

    Args:
        heatmap: (H, W), floating.
        threshold: a centre's value is above it.
        nms_kernel: side in pixels, odd and above 1, of the square of which a centre is the largest
            value.
        top_k: the most centres; those of the largest values are kept.
    """
    if nms_kernel < 3 or nms_kernel % 2 == 0:
        raise ValueError(f"nms_kernel is {nms_kernel}; it must be odd, and 3 or more")
    height, width = heatmap.shape
    reach = nms_kernel // 2
    padded = F.pad(heatmap, [reach] * 4, value=-math.inf)
    # Largest values of the rows above and of those below, and of what lies beside.
    bands = _running_max(_running_max(padded, nms_kernel, dim=1), reach, dim=0)
    sides = _running_max(padded[reach : reach + height], reach, dim=1)
    before = torch.maximum(bands[:height], sides[:, :width])
    after = torch.maximum(bands[reach + 1 :], sides[:, reach + 1 :])
    is_center = (heatmap > threshold) & (heatmap > before) & (heatmap >= after)
    points = is_center.nonzero()
    scores = heatmap[is_center]
    if len(scores) > top_k:
        kept = scores.sort(descending=True, stable=True).indices[:top_k].sort().values
        points, scores = points[kept], scores[kept]
    return Centers(points.float(), scores)


def _running_max(x: torch.Tensor, size: int, dim: int) -> torch.Tensor:
    """The maximum of each `size` neighbours along `dim`, of which there are `size` - 1 less.

    The window doubles in each pass. PyTorch's max_pool2d takes ten times as long on a CPU.
    """
    length = 1
    while length < size:
        step = min(length, size - length)
        left = x.shape[dim] - step
        x = torch.maximum(x.narrow(dim, 0, left), x.narrow(dim, step, left))
        length += step
    return x


def group_pixels(centers: torch.Tensor, offsets: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Give each pixel of a mask to the centre that is nearest to where it points.

    The result is exact, and not bought by comparing each pixel with each centre: most pixels point
    into squares of which no point is nearer to any other centre, which is decided once a square.
    Only the pixels of the other squares are compared with all centres.

    Args:
        centers: (C, 2), y and x in pixels.
        offsets: (2, H, W), from each pixel to the centre of its instance, along y and x.
        mask: (H, W) bool.

    Returns:
        (H, W) int64: 1 to C, the place of the nearest centre counted from 1, the lowest of those
        that are equally near; 0 outside the mask, and everywhere if C is 0.
    """
    groups = torch.zeros(mask.shape, dtype=torch.int64, device=mask.device)
    pixels = mask.flatten().nonzero().squeeze(1)
    if len(centers) and len(pixels):
        width = mask.shape[1]
        rows = pixels.div(width, rounding_mode="floor")
        y, x = offsets.flatten(1)[:, pixels].float()
        points = torch.stack([y + rows, x + (pixels - rows * width)])
        groups.view(-1)[pixels] = _nearest(points, centers.float(), mask.shape) + 1
    return groups


def _nearest(points: torch.Tensor, centers: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """The centre that is nearest to each of (2, P) points, (P,) int64.

    Args:
        points: y and x, wherever they are.
        centers: (C, 2).
        size: height and width of what most points lie in.
    """
    # One more cell on each side stands for all that lies outside.
    shape = [math.ceil(side / _CELL) + 2 for side in size]
    y, x = (
        ((coordinate / _CELL).floor().long() + 1).clamp_(0, count - 1)
        for coordinate, count in zip(points, shape, strict=True)
    )
    cells = y * shape[1] + x
    center_of_cell = _centers_of_cells(cells, centers, shape)
    nearest = center_of_cell[cells]
    open_points = (nearest < 0).nonzero().squeeze(1)
    undecided = points[:, open_points]
    found = [distances.min(dim=1).indices for distances in _squared_distances(undecided, centers)]
    nearest[open_points] = torch.cat(found) if found else open_points
    return nearest


def _centers_of_cells(
    cells: torch.Tensor, centers: torch.Tensor, shape: Sequence[int]
) -> torch.Tensor:
    """The centre that is the nearest to all points of a cell, if there is one.

    Args:
        cells: (P,) int64, the cells in question, any number of times.
        centers: (C, 2).
        shape: how many rows and columns of cells there are; the outermost have no end.

    Returns:
        (rows * columns,) int64, -1 where there is none such, or none was asked for.
    """
    rows, columns = shape
    asked = torch.zeros(rows, columns, dtype=torch.bool, device=cells.device)
    asked.view(-1)[cells] = True
    asked[[0, -1]] = False
    asked[:, [0, -1]] = False
    y, x = asked.nonzero().T
    middles = torch.stack([y, x]).float().sub_(0.5).mul_(_CELL)
    # No point of a cell is farther than half a diagonal from its middle, so that the difference of
    # two distances is not more than a diagonal off. A bit more makes up for rounding.
    margin = _CELL * math.sqrt(2) + 0.01
    found = torch.full((rows, columns), -1, device=cells.device)
    decided = []
    for squares in _squared_distances(middles, centers):
        distances = squares.sqrt_()
        least, nearest = distances.min(dim=1)
        rivals = (distances <= least[:, None] + margin).sum(dim=1)
        decided.append(nearest.where(rivals == 1, -1))
    if decided:
        found[y, x] = torch.cat(decided)
    return found.view(-1)


def _squared_distances(points: torch.Tensor, centers: torch.Tensor) -> Iterator[torch.Tensor]:
    """(n, C), the squared distances of the next n of (2, P) points to (C, 2) centres."""
    y, x = centers.T
    for part in points.split(max(1, _CHUNK // len(centers)), dim=1):
        across, along = part[:, :, None]
        yield (across - y).square_().add_((along - x).square_())


class GroupedSegments(NamedTuple):
    """A panoptic segmentation, and where its things come from."""

    ids: torch.Tensor  # (H, W) int32, 1 to S without gaps, 0 in void
    segments_info: list[dict[str, Any]]  # of ids 1 to S: things by ascending group, then stuff
    groups: torch.Tensor  # (N,) int64, the groups that the N things are


def merge_bottom_up(
    sem_seg: torch.Tensor,
    groups: torch.Tensor,
    *,
    num_classes: int,
    thing_classes: Sequence[int],
    stuff_area_limit: int,
) -> GroupedSegments:
    """Merge groups of pixels and stuff by the rules of Panoptic-DeepLab.

    Each group is a thing of the class that most of its pixels have (of those that have equally
    many, the lowest). The other pixels of each stuff class are one segment, if there are enough of
    them. All else is void. The result equals that of Detectron2's `get_panoptic_segmentation`.

    Args:
        sem_seg: (H, W) int64, the class of each pixel.
        groups: (H, W) int64, 1 or more in the pixels of a group, which have classes of things; 0
            elsewhere.
        num_classes: K; classes are 0 to K - 1.
        thing_classes: those that are things.
        stuff_area_limit: the least number of pixels of a stuff segment.

    Returns:
        For each segment `id`, `isthing`, `category_id`; for things `instance_id`, counted from 0;
        for stuff `area` in pixels.
    """
    codes = groups * num_classes + sem_seg
    num_groups = int(groups.max()) if groups.numel() else 0
    votes = codes.flatten().bincount(minlength=(num_groups + 1) * num_classes)
    votes = votes.view(num_groups + 1, num_classes)
    kept = votes[1:].any(dim=1).nonzero().squeeze(1) + 1
    classes = votes[kept].argmax(dim=1).tolist()
    segments: list[dict[str, Any]] = [
        {"id": i + 1, "isthing": True, "category_id": label, "instance_id": i}
        for i, label in enumerate(classes)
    ]
    id_of_code = torch.zeros_like(votes, dtype=torch.int32)
    id_of_code[kept] = torch.arange(1, len(kept) + 1, dtype=torch.int32, device=kept.device)[
        :, None
    ]
    areas = votes[0].tolist()
    things = set(thing_classes)
    for label, area in enumerate(areas):
        if label not in things and area >= max(stuff_area_limit, 1):
            segment = {"id": len(segments) + 1, "isthing": False, "category_id": label}
            segments.append(segment | {"area": area})
            id_of_code[0, label] = segment["id"]
    return GroupedSegments(id_of_code.view(-1)[codes], segments, kept)


def mean_probabilities(
    logits: torch.Tensor, ids: torch.Tensor, classes: torch.Tensor
) -> torch.Tensor:
    """How probable the classes of segments are on average in their pixels.

    Args:
        logits: (K, H, W), of a softmax over K classes.
        ids: (H, W) of integers; the segments are 1 to N.
        classes: (N,) int64, at i the class of segment i + 1.

    Returns:
        (N,) float32, 0 for a segment without a pixel.
    """
    num_segments = len(classes)
    ids = ids.flatten().long()
    pixels = ((ids > 0) & (ids <= num_segments)).nonzero().squeeze(1)
    segments = ids[pixels] - 1
    # Of stuff, most of an image, nothing has to be known.
    scores = logits.flatten(1)[:, pixels].float()
    log_probabilities = scores.gather(0, classes[segments][None])[0] - scores.logsumexp(dim=0)
    totals = segments.bincount(log_probabilities.exp(), minlength=num_segments)
    areas = segments.bincount(minlength=num_segments)
    return totals.float() / areas.clamp(min=1)
