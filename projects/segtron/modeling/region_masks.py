"""Bitmaps of objects as the masks of regions, of which an object has many."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from detectron2.layers import ROIAlign
from detectron2.modeling import ROIHeads
from detectron2.structures import BitMasks, Instances
from torch import nn

from segtron.modeling.roi_align import Cells, cells_of_bins


class RegionMasks(BitMasks):
    """The masks of N regions of an image: for each the object that it is of.

    ROI heads give each of the regions that they sample, some hundreds, the mask of its object.
    `BitMasks` copies a whole frame for each, and cuts its part out of that. Here only numbers are
    copied, and parts are cut out of the objects' own frames.
    """

    def __init__(self, objects: torch.Tensor, numbers: torch.Tensor) -> None:
        """
        Args:
            objects: (G, H, W) bool.
            numbers: (N,) int64 on the same device, the object of each region, 0 to G - 1.
        """
        # Not its parent's, whose `tensor` is made of these where it is asked for.
        self.image_size = objects.shape[1:]
        self._objects, self._numbers = objects, numbers

    @classmethod
    def of_objects(cls, masks: BitMasks) -> RegionMasks:
        """Each object once."""
        return cls(masks.tensor, torch.arange(len(masks), device=masks.device))

    @property
    def tensor(self) -> torch.Tensor:
        """(N, H, W) bool, a frame for each region."""
        return self._objects[self._numbers]

    @property
    def device(self) -> torch.device:
        return self._objects.device

    def to(self, *args: Any, **kwargs: Any) -> RegionMasks:
        """See `BitMasks`."""
        objects = self._objects.to(*args, **kwargs).bool()
        return RegionMasks(objects, self._numbers.to(objects.device))

    def __getitem__(self, item: int | slice | torch.Tensor) -> RegionMasks:
        """See `BitMasks`."""
        if isinstance(item, int):
            return RegionMasks(self._objects, self._numbers[item, None])
        if isinstance(item, torch.Tensor):
            item = item.to(self.device)
        numbers = self._numbers[item]
        if numbers.dim() != 1:
            raise ValueError(f"masks are no list where they are indexed by {item}")
        return RegionMasks(self._objects, numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def __repr__(self) -> str:
        return f"RegionMasks(num_instances={len(self)}, num_objects={len(self._objects)})"

    @staticmethod
    def cat(bitmasks_list: list[BitMasks]) -> RegionMasks:
        """See `BitMasks`; some of them may be plain ones."""
        parts = [
            part if isinstance(part, RegionMasks) else RegionMasks.of_objects(part)
            for part in bitmasks_list
        ]
        firsts = itertools.accumulate((len(part._objects) for part in parts[:-1]), initial=0)
        numbers = [part._numbers + first for part, first in zip(parts, firsts, strict=True)]
        return RegionMasks(torch.cat([part._objects for part in parts]), torch.cat(numbers))

    def by_object(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """For each object that has regions: (R,) which these are, and its mask, (H, W) bool."""
        order = torch.argsort(self._numbers, stable=True)
        counts = torch.bincount(self._numbers, minlength=len(self._objects)).tolist()
        for regions, mask in zip(order.split(counts), self._objects, strict=True):
            if len(regions):
                yield regions, mask

    def crop_and_resize(self, boxes: torch.Tensor, mask_size: int) -> torch.Tensor:
        """See `BitMasks`; the result is the same, but for cells that are half covered up to
        rounding.

        Args:
            boxes: (N, 4), (x0, y0, x1, y1) in pixels.
            mask_size: M.

        Returns:
            (N, M, M) bool on the masks' device: what at least half of lies in the mask.
        """
        if len(boxes) != len(self):
            raise ValueError(f"there are {len(boxes)} boxes for {len(self)} masks")
        boxes = boxes.detach().to(self.device, torch.float32)
        if self.device.type != "cpu":
            rois = torch.cat([self._numbers[:, None].to(boxes), boxes], dim=1)
            align = ROIAlign((mask_size, mask_size), 1.0, 0, aligned=True)
            return align(self._objects[:, None].float(), rois)[:, 0] >= 0.5
        if not len(self):
            return torch.zeros(0, mask_size, mask_size, dtype=torch.bool)
        return self._crop_and_resize(boxes, mask_size)

    def _crop_and_resize(self, boxes: torch.Tensor, mask_size: int) -> torch.Tensor:
        """ROIAlign's value is a mean of bilinear samples that form a grid. So a pixel's weight is
        that of its row times that of its column, and two matrix products give all cells of an
        object's regions."""
        order = torch.argsort(self._numbers, stable=True)
        objects = self._numbers[order]
        boxes = boxes[order]
        left, top = (boxes[:, :2] - 0.5).unbind(dim=1)
        across, down = (boxes[:, 2:] - boxes[:, :2]).unbind(dim=1)
        height, width = self.image_size
        rows = _of_windows(cells_of_bins(top, down, mask_size, height), objects)
        columns = _of_windows(cells_of_bins(left, across, mask_size, width), objects)
        found, counts = torch.unique_consecutive(objects, return_counts=True)
        sums = torch.empty(len(order), mask_size, mask_size)
        begin = 0
        with torch.autocast("cpu", enabled=False):
            for number, count in zip(found.tolist(), counts.tolist(), strict=True):
                regions = slice(begin, begin + count)
                y, x = rows.span(number), columns.span(number)
                row_weights = rows.weights[regions, :, : y.stop - y.start]
                column_weights = columns.weights[regions, :, : x.stop - x.start]
                pixels = self._objects[number, y, x].float()
                torch.bmm(row_weights @ pixels, column_weights.mT, out=sums[regions])
                begin += count
        resized = torch.empty_like(sums, dtype=torch.bool)
        resized[order] = sums >= 0.5
        return resized


def use_region_masks(model: nn.Module) -> None:
    """Let a model's ROI heads take the bitmaps that they learn from as `RegionMasks`, in place.

    Args:
        model: any; models without ROI heads stay as they are.
    """
    heads = getattr(model, "roi_heads", None)
    if isinstance(heads, ROIHeads):
        heads.register_forward_pre_hook(_with_region_masks, with_kwargs=True)


def _with_region_masks(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """A hook before ROI heads, which are called with images, features, proposals and targets."""
    if not module.training:
        return None
    if "targets" in kwargs:
        targets = [_with_masks_by_object(image) for image in kwargs["targets"]]
        return args, kwargs | {"targets": targets}
    *others, targets = args
    return (*others, [_with_masks_by_object(image) for image in targets]), kwargs


def _with_masks_by_object(targets: Instances) -> Instances:
    if not targets.has("gt_masks") or type(targets.gt_masks) is not BitMasks:
        return targets
    masks = RegionMasks.of_objects(targets.gt_masks)
    return Instances(targets.image_size, **{**targets.get_fields(), "gt_masks": masks})


class _Windows(NamedTuple):
    """Along one axis, for each object the window that holds the cells of all of its regions."""

    starts: list[int]
    stops: list[int]
    weights: torch.Tensor  # (N, B, L) float32, of the window's cells, of which there are L at most

    def span(self, number: int) -> slice:
        """The window of an object."""
        return slice(self.starts[number], self.stops[number])


def _of_windows(cells: Cells, objects: torch.Tensor) -> _Windows:
    """The weights of regions' bins, as they lie along the windows of their objects, (N,) int64."""
    first, last = cells.first.long(), (cells.first + cells.counts).long()
    starts = first.new_zeros(int(objects.max()) + 1)
    stops = starts.clone()
    starts.scatter_reduce_(0, objects, first.amin(dim=1), "amin", include_self=False)
    stops.scatter_reduce_(0, objects, last.amax(dim=1), "amax", include_self=False)
    longest = int((stops - starts).max())
    places = (first - starts[objects, None])[..., None] + torch.arange(cells.weights.shape[2])
    weights = torch.zeros(*first.shape, longest)
    # Weights beyond a bin's count are 0.
    weights.scatter_add_(2, places.clamp(max=longest - 1), cells.weights)
    return _Windows(starts.tolist(), stops.tolist(), weights)
