"""PointRend's masks of one image as a graph of tensor operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from detectron2.projects.point_rend import PointRendMaskHead
from torch.nn import functional as F

from segtron.inference.export.class_choice import of_class


def point_rend_masks(
    head: PointRendMaskHead,
    features: Mapping[str, torch.Tensor],
    boxes: torch.Tensor,
    classes: torch.Tensor,
) -> torch.Tensor:
    """As the inference of `PointRendMaskHead`, which asks whether there is any box.

    A mask starts coarse. Again and again it is enlarged twofold, and where it is least certain, the
    point head decides. Of the logits only those of the instance's class are kept, which are all
    that is ever looked at.

    Args:
        head: in evaluation mode.
        features: of the backbone, name -> (1, C, H, W).
        boxes: (N, 4), in pixels of the network's input.
        classes: (N,) int64.

    Returns:
        (N, M, M), 0 to 1, each for the area of its box.
    """
    strides = {name: 1 / scale for name, scale in head._feature_scales.items()}

    def sample(names: Sequence[str], points: torch.Tensor) -> torch.Tensor:
        """Features at points (N, P, 2) within boxes, (N, C, P)."""
        places = boxes[:, None, :2] + points * (boxes[:, None, 2:] - boxes[:, None, :2])
        return torch.cat([_sample(features[n], places / strides[n]) for n in names], dim=1)

    def decide(points: torch.Tensor) -> torch.Tensor:
        """Logits at points (N, P, 2), (N, P)."""
        fine = sample(head.mask_point_in_features, points)
        return of_class(head.point_head(fine, _sample_each(coarse, points)), classes)

    size = head.roi_pooler_size
    pooled = sample(head.roi_pooler_in_features, _grid(size).expand(boxes.shape[0], -1, -1))
    coarse = head.coarse_head(pooled.unflatten(2, (size, size)))
    side = head.mask_point_subdivision_init_resolution
    logits = decide(_grid(side).expand(boxes.shape[0], -1, -1)).unflatten(1, (side, side))
    for _ in range(head.mask_point_subdivision_steps):
        side *= 2
        logits = F.interpolate(
            logits[:, None], size=(side, side), mode="bilinear", align_corners=False
        ).flatten(1)
        number = min(side**2, head.mask_point_subdivision_num_points)
        cells = logits.abs().topk(number, dim=1, largest=False).indices
        points = (torch.stack([cells % side, cells // side], dim=2) + 0.5) / side
        logits = logits.scatter(1, cells, decide(points)).unflatten(1, (side, side))
    return logits.sigmoid()


def _grid(side: int) -> torch.Tensor:
    """The middles of side x side cells of a box, (1, side ** 2, 2), x and y from 0 to 1."""
    places = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(places, places, indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1)[None]


def _sample(feature: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """(1, C, H, W) at places (N, P, 2), x and y in cells, as (N, C, P)."""
    height, width = feature.shape[-2:]
    x, y = places.unbind(dim=2)
    places = torch.stack([2 * x / width - 1, 2 * y / height - 1], dim=2)
    return F.grid_sample(feature, places[None], align_corners=False)[0].transpose(0, 1)


def _sample_each(x: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """(N, C, S, S), each at its points (N, P, 2), 0 to 1, as (N, C, P)."""
    return F.grid_sample(x, 2 * points[:, :, None] - 1, align_corners=False)[:, :, :, 0]
