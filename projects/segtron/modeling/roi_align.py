"""Features of regions on a CPU, summed up cell by cell of features with channels last."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from detectron2.layers import ROIAlign
from detectron2.modeling.poolers import (
    ROIPooler,
    assign_boxes_to_levels,
    convert_boxes_to_pooler_format,
)
from detectron2.structures import Boxes
from torch import nn
from torch.nn import functional as F


class CellROIAlign(ROIAlign):
    """ROIAlign (He et al., "Mask R-CNN", 2017) on a CPU, in 32 or 16 bits.

    A bin's value is the mean of bilinear samples, so a weighted sum of the cells around them. Its
    samples form a grid, so the weight of a cell is that of its row times that of its column. Both
    are found first, for all bins; then the cells are summed up, all channels of a cell at once.
    `torchvision.ops.roi_align` takes one channel after the other, and knows no bfloat16 there.

    Values and gradients are those of Detectron2's `ROIAlign` up to rounding; of features on another
    device they are those themselves.
    """

    def forward(self, input: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
        """
        Args:
            input: (N, C, H, W), best with channels last.
            rois: (R, 5), the image's number, then a box (x0, y0, x1, y1) in pixels of the image.

        Returns:
            (R, C, height, width) of `output_size`, in the dtype of `input`.
        """
        if input.device.type != "cpu" or not len(rois):
            return super().forward(input, rois)
        batch, channels, height, width = input.shape
        boxes = rois[:, 1:].float() * self.spatial_scale - (0.5 if self.aligned else 0.0)
        left, top = boxes[:, :2].unbind(dim=1)
        lengths = boxes[:, 2:] - boxes[:, :2]
        if not self.aligned:
            lengths = lengths.clamp(min=1.0)
        across, down = lengths.unbind(dim=1)
        ratio = self.sampling_ratio
        rows = cells_of_bins(top, down, self.output_size[0], height, sampling_ratio=ratio)
        columns = cells_of_bins(left, across, self.output_size[1], width, sampling_ratio=ratio)
        sums = _cross(rows, columns, rois[:, 0].int() * (height * width), width)
        cells = input.permute(0, 2, 3, 1).reshape(batch * height * width, channels)
        pooled = _WeightedSums.apply(cells, *sums)
        return pooled.view(len(rois), *self.output_size, channels).permute(0, 3, 1, 2)


class _WeightedSums(torch.autograd.Function):
    """Sums of weighted rows of a matrix."""

    @staticmethod
    def forward(
        ctx: Any,
        matrix: torch.Tensor,
        indices: torch.Tensor,
        weights: torch.Tensor,
        starts: torch.Tensor,
    ) -> torch.Tensor:
        """
        Args:
            ctx: see `torch.autograd.Function`.
            matrix: (M, C).
            indices: (T,) int32, the rows of all sums, those of one sum after those of another.
            weights: (T,) float32.
            starts: (S,) int32, where each sum's rows begin.

        Returns:
            (S, C).
        """
        ctx.save_for_backward(indices, weights, starts)
        ctx.num_rows = len(matrix)
        return _sum_rows(matrix, indices, weights, starts)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """The gradient of a row is a weighted sum, too: of those of the sums that it is part of."""
        indices, weights, starts = ctx.saved_tensors
        order = torch.argsort(indices)
        counts = torch.diff(starts, append=starts.new_tensor([len(indices)]))
        sums = torch.arange(len(starts), dtype=torch.int32).repeat_interleave(counts)
        ends = torch.bincount(indices, minlength=ctx.num_rows).cumsum(0)
        row_starts = F.pad(ends[:-1], (1, 0)).int()
        rows = _sum_rows(gradient.contiguous(), sums[order], weights[order], row_starts)
        return rows, None, None, None


def _sum_rows(
    matrix: torch.Tensor, indices: torch.Tensor, weights: torch.Tensor, starts: torch.Tensor
) -> torch.Tensor:
    with torch.autocast("cpu", enabled=False):
        return F.embedding_bag(
            indices, matrix, starts, mode="sum", per_sample_weights=weights.to(matrix.dtype)
        )


class Cells(NamedTuple):
    """The cells that bins sum up along one axis."""

    first: torch.Tensor  # (R, B) int32
    counts: torch.Tensor  # (R, B) int32, at least 1
    weights: torch.Tensor  # (R, B, K) float32, of K cells from the first one on


def cells_of_bins(
    start: torch.Tensor, length: torch.Tensor, num_bins: int, size: int, *, sampling_ratio: int = 0
) -> Cells:
    """What each bin of a region sums up along one axis.

    Args:
        start: (R,) float32 where regions begin, in cells: 0 is the middle of the first one.
        length: (R,) of regions, in cells.
        num_bins: of each region.
        size: number of cells.
        sampling_ratio: samples of a bin; 0 for as many as it has cells.
    """
    step = (length / num_bins)[:, None, None]
    if sampling_ratio > 0:
        num_samples = torch.full_like(length, sampling_ratio)
    else:
        num_samples = torch.ceil(length / num_bins)
    num_samples = num_samples[:, None, None]
    # Boxes without an extent have no sample; their bins are 0.
    places = torch.arange(max(int(num_samples.max()), 1), dtype=torch.float32)
    bins = torch.arange(num_bins, dtype=torch.float32)[:, None]
    samples = start[:, None, None] + step * (bins + (places + 0.5) / num_samples.clamp(min=1))
    # Up to one cell beyond the border a sample has the value of the border; further out 0.
    is_inside = (places < num_samples) & (samples >= -1.0) & (samples <= size)
    samples = samples.clamp(0, size - 1)
    low = samples.long()
    high = (low + 1).clamp(max=size - 1)
    share = is_inside / num_samples.clamp(min=1)
    # Samples further on are in later cells.
    first = torch.where(is_inside, low, size - 1).amin(dim=2)
    last = torch.where(is_inside, high, 0).amax(dim=2)
    counts = (last - first + 1).clamp(min=1)
    weights = samples.new_zeros(*counts.shape, int(counts.max()))
    of_high = (samples - low) * share
    for cells, part in ((low, share - of_high), (high, of_high)):
        weights.scatter_add_(2, (cells - first[..., None]).clamp(0, weights.shape[2] - 1), part)
    return Cells(first.int(), counts.int(), weights)


def _cross(
    rows: Cells, columns: Cells, start: torch.Tensor, width: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """List the cells of all bins, those of one bin after those of another.

    Args:
        rows: of R regions, with B bins each.
        columns: likewise, with B' bins.
        start: (R,) int32, the cell of the region's image that is its first.
        width: of an image in cells.

    Returns:
        The cells as (T,) int32, their weights as (T,) float32, and where each of the R * B * B'
        bins begins as int32.
    """
    num_rows, num_columns = rows.counts[:, :, None], columns.counts[:, None, :]
    shape = torch.broadcast_shapes(num_rows.shape, num_columns.shape)
    counts = (num_rows * num_columns).flatten()
    ends = counts.cumsum(0, dtype=torch.int32)
    starts = ends - counts
    total = int(ends[-1])
    first = start[:, None, None] + rows.first[:, :, None] * width + columns.first[:, None, :]
    # Where the weights of a bin's rows and columns begin.
    row_weights = torch.arange(rows.counts.numel(), dtype=torch.int32) * rows.weights.shape[2]
    column_weights = (
        torch.arange(columns.counts.numel(), dtype=torch.int32) * columns.weights.shape[2]
    )
    per_bin = torch.stack(
        [
            starts,
            num_columns.expand(shape).flatten(),
            first.flatten(),
            row_weights.view(num_rows.shape).expand(shape).flatten(),
            column_weights.view(num_columns.shape).expand(shape).flatten(),
        ]
    )
    begins, widths, firsts, row_starts, column_starts = per_bin.repeat_interleave(
        counts, dim=1, output_size=total
    )
    place = torch.arange(total, dtype=torch.int32) - begins
    row = place // widths
    column = place - row * widths
    weights = rows.weights.flatten()[row_starts + row]
    weights *= columns.weights.flatten()[column_starts + column]
    return firsts + row * width + column, weights, starts


class CellROIPooler(ROIPooler):
    """Detectron2's `ROIPooler` by `CellROIAlign`, of features on a CPU."""

    @classmethod
    def like(cls, pooler: ROIPooler) -> CellROIPooler:
        """Make one of a pooler all of whose levels are `ROIAlign`."""
        levels = pooler.level_poolers
        made = cls(
            pooler.output_size,
            [level.spatial_scale for level in levels],
            levels[0].sampling_ratio,
            "ROIAlignV2" if levels[0].aligned else "ROIAlign",
            pooler.canonical_box_size,
            pooler.canonical_level,
        )
        made.level_poolers = nn.ModuleList(
            CellROIAlign(
                level.output_size, level.spatial_scale, level.sampling_ratio, level.aligned
            )
            for level in levels
        )
        return made

    def forward(self, x: list[torch.Tensor], box_lists: list[Boxes]) -> torch.Tensor:
        """
        Args:
            x: (N, C, H, W) each, from the finest level to the coarsest.
            box_lists: N, of M boxes in all.

        Returns:
            (M, C, height, width) of the output size, with channels last in memory, in which order
            the regions of all levels are put together without being turned round.
        """
        if len(x) == 1 or not box_lists:
            return super().forward(x, box_lists)
        rois = convert_boxes_to_pooler_format(box_lists)
        levels = assign_boxes_to_levels(
            box_lists,
            self.min_level,
            self.max_level,
            self.canonical_box_size,
            self.canonical_level,
        )
        # Boxes that are not numbers have no level; they are 0, as there.
        pooled = x[0].new_zeros(len(rois), *self.output_size, x[0].shape[1])
        for level, (features, pooler) in enumerate(zip(x, self.level_poolers, strict=True)):
            places = torch.nonzero(levels == level)[:, 0]
            regions = pooler(features, rois[places]).permute(0, 2, 3, 1)
            pooled.index_copy_(0, places, regions)
        return pooled.permute(0, 3, 1, 2)


def use_cell_roi_align(model: nn.Module) -> None:
    """Let a model's poolers pool by `CellROIAlign`, in place: Detectron2's own, of which all levels
    are `ROIAlign`.

    Args:
        model: on a CPU.
    """
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is ROIPooler and all(
                type(level) is ROIAlign for level in child.level_poolers
            ):
                setattr(parent, name, CellROIPooler.like(child))
