"""The mask-IoU branch: how good is a predicted mask?

After Huang, Huang, Gong, Huang & Wang, "Mask Scoring R-CNN", 2019.
"""

from __future__ import annotations

import numpy as np
import torch
from detectron2.layers import Conv2d, ShapeSpec
from detectron2.structures import BitMasks, Boxes, PolygonMasks
from fvcore.nn import weight_init
from torch import nn
from torch.nn import functional as F

from segtron.modeling.region_masks import RegionMasks


class MaskIoUHead(nn.Module):
    """Predicts, for each class, the IoU of a region's mask with the ground truth.

    The region's features and its mask, max-pooled to their size, go through `num_conv` 3x3
    convolutions, the last of stride 2, and two hidden linear layers. As in the paper, the output is
    linear: a sigmoid would flatten the gradient just where good masks are told from very good ones.
    Users of the output clamp it to 0..1.
    """

    def __init__(
        self,
        input_shape: ShapeSpec,
        *,
        num_classes: int,
        num_conv: int = 4,
        conv_dim: int = 256,
        fc_dim: int = 1024,
    ) -> None:
        """
        Args:
            input_shape: channels, height and width of a region's features; the mask has twice
                their height and width.
            num_classes: number of outputs for each region; 1 for masks that know no class.
            num_conv: number of convolutions, at least 1.
            conv_dim: their channels.
            fc_dim: width of the two hidden linear layers.
        """
        super().__init__()
        if num_conv < 1:
            raise ValueError(f"num_conv is {num_conv}; the mask-IoU branch needs one at least")
        channels = input_shape.channels + 1
        self.convs = nn.Sequential()
        for index in range(num_conv):
            stride = 2 if index == num_conv - 1 else 1
            conv = Conv2d(channels, conv_dim, 3, stride=stride, padding=1, activation=nn.ReLU())
            weight_init.c2_msra_fill(conv)
            self.convs.append(conv)
            channels = conv_dim
        cells = -(-input_shape.height // 2) * -(-input_shape.width // 2)
        self.fc1 = nn.Linear(conv_dim * cells, fc_dim)
        self.fc2 = nn.Linear(fc_dim, fc_dim)
        self.predictor = nn.Linear(fc_dim, num_classes)
        for layer in (self.fc1, self.fc2):
            weight_init.c2_xavier_fill(layer)
        nn.init.normal_(self.predictor.weight, std=0.01)
        # Before it has learned anything, the branch scales all scores alike.
        nn.init.constant_(self.predictor.bias, 0.5)

    def forward(self, features: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """
        Args:
            features: (N, C, H, W), the regions' features.
            masks: (N, 1, 2H, 2W), the probabilities of the regions' masks. No gradient flows back
                into them: a mask must not be made worse to be easier to judge.

        Returns:
            (N, num_classes), the predicted IoUs, not yet clamped.
        """
        pooled = F.max_pool2d(masks.detach().to(features.dtype), kernel_size=2)
        x = self.convs(torch.cat([features, pooled], dim=1)).flatten(1)
        return self.predictor(F.relu(self.fc2(F.relu(self.fc1(x)))))


def mask_iou_targets(
    predicted: torch.Tensor,
    targets: torch.Tensor,
    masks: BitMasks | PolygonMasks,
    boxes: Boxes,
) -> torch.Tensor:
    """IoU of predicted masks with the whole ground truth of their objects.

    A prediction can't reach beyond its box, so what of the object lies outside the box counts in
    the union: with areas in cells of the M x M grid,

        IoU = |predicted & target| / (|predicted | target| + outside).

    Args:
        predicted: (N, M, M) bool, the binarized masks within `boxes`.
        targets: (N, M, M) bool, the ground truth within `boxes`.
        masks: N masks, the ground truth in the image.
        boxes: N boxes in the image.

    Returns:
        (N,) float32, from 0 to 1; 0 where both masks are empty.
    """
    smallest = torch.finfo(torch.float32).tiny
    cell = boxes.area().clamp(min=smallest) / (targets.shape[-2] * targets.shape[-1])
    outside = area_outside(masks, boxes).to(cell) / cell
    overlap = (predicted & targets).flatten(1).sum(dim=1)
    union = (predicted | targets).flatten(1).sum(dim=1) + outside
    return torch.where(overlap > 0, overlap / union, torch.zeros_like(union))


def area_outside(masks: BitMasks | PolygonMasks, boxes: Boxes) -> torch.Tensor:
    """Area of each mask outside its own box, in square pixels.

    Args:
        masks: N masks.
        boxes: N boxes, X0 Y0 X1 Y1, in the same coordinates: pixel (row, column) covers the square
            from (column, row) to (column + 1, row + 1).

    Returns:
        (N,) float32 on the masks' device.
    """
    if isinstance(masks, PolygonMasks):
        corners = boxes.tensor.detach().cpu().double().numpy()
        everything = np.broadcast_to([-np.inf, -np.inf, np.inf, np.inf], corners.shape)
        outside = _polygon_area(masks, everything) - _polygon_area(masks, corners)
        return torch.from_numpy(outside).float().clamp(min=0.0)
    x0, y0, x1, y1 = boxes.tensor.detach().to(masks.device, torch.float32)[:, :, None].unbind(1)
    height, width = masks.image_size
    column = torch.arange(width, device=masks.device)
    row = torch.arange(height, device=masks.device)
    # How much of each column and row lies in the box, 0 to 1: an area is bilinear in them.
    columns = (torch.minimum(x1, column + 1) - torch.maximum(x0, column)).clamp(0.0, 1.0)
    rows = (torch.minimum(y1, row + 1) - torch.maximum(y0, row)).clamp(0.0, 1.0)
    outside = torch.empty(len(masks), device=masks.device)
    if not isinstance(masks, RegionMasks):
        masks = RegionMasks.of_objects(masks)
    with torch.autocast(masks.device.type, enabled=False):  # bfloat16 can't count to 257
        for regions, mask in masks.by_object():
            pixels = mask.float()
            inside = (rows[regions] @ pixels * columns[regions]).sum(dim=1)
            outside[regions] = pixels.sum() - inside
    return outside


def _polygon_area(masks: PolygonMasks, boxes: np.ndarray) -> np.ndarray:
    """Area of each mask within its own box, exactly; (N,) float64.

    By Green's theorem the area of a polygon within x0..x1, y0..y1 is the integral of
    clip(x, x0, x1) d clip(y, y0, y1) along its outline. On an edge both are linear between the
    points where it crosses the box's lines, so the value half-way between two such points will do.
    """
    owner = [index for index, polygons in enumerate(masks.polygons) for _ in polygons]
    if not owner:
        return np.zeros(len(masks))
    polygons = [polygon.reshape(-1, 2) for polygons in masks.polygons for polygon in polygons]
    part = np.repeat(np.arange(len(polygons)), [len(polygon) for polygon in polygons])
    start = np.concatenate(polygons)
    end = np.concatenate([np.roll(polygon, -1, axis=0) for polygon in polygons])
    low, high = np.split(boxes[np.asarray(owner)[part]], 2, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        crossings = np.concatenate(
            [(low - start) / (end - start), (high - start) / (end - start)], 1
        )
    # An edge along a line of the box has no crossing with it (0 / 0).
    crossings = np.clip(np.nan_to_num(crossings, nan=0.0), 0.0, 1.0)
    ends = np.broadcast_to([0.0, 1.0], (len(start), 2))
    t = np.sort(np.concatenate([ends, crossings], axis=1), axis=1)[:, :, None]
    points = start[:, None] + t * (end - start)[:, None]
    x = np.clip((points[:, 1:, 0] + points[:, :-1, 0]) / 2, low[:, :1], high[:, :1])
    y = np.clip(points[:, :, 1], low[:, 1:], high[:, 1:])
    signed = np.bincount(part, (x * np.diff(y, axis=1)).sum(axis=1), minlength=len(polygons))
    return np.bincount(owner, np.abs(signed), minlength=len(masks))
