"""From masks of regions to masks of the image, on a CPU."""

from __future__ import annotations

import torch
from detectron2.structures import BitMasks, Boxes, Instances, ROIMasks


def paste_masks(
    masks: torch.Tensor, boxes: torch.Tensor, height: int, width: int, threshold: float = 0.5
) -> torch.Tensor:
    """Stretch each mask over its box, by bilinear interpolation with nothing around the mask.

    The result is that of Detectron2's `paste_masks_in_image`, except where a pixel is at the
    threshold up to rounding. With thresholds below 0.5 masks reach beyond their boxes, by half of a
    cell at most, as Detectron2's do on GPUs; on CPUs it cuts them off next to the box.

    A pixel's value is a weighted sum of the mask's, and its weights are those of its row times
    those of its column: so two small matrix products give all pixels.

    Args:
        masks: (N, M, M), from 0 to 1, on the CPU.
        boxes: (N, 4), (x0, y0, x1, y1) in pixels of the image.
        height: of the image.
        width: of the image.
        threshold: pixels of this value or more belong to the mask.

    Returns:
        (N, height, width) bool.
    """
    pasted = torch.zeros(len(masks), height, width, dtype=torch.bool)
    if not len(masks):
        return pasted
    masks, boxes = masks.float(), boxes.float()
    left, top, right, bottom = boxes.unbind(dim=1)
    first_rows, num_rows, row_weights = _weights(top, bottom, height, masks.shape[1])
    first_columns, num_columns, column_weights = _weights(left, right, width, masks.shape[2])
    stretched = row_weights @ masks
    column_weights = column_weights.transpose(1, 2)
    for i, (y, rows, x, columns) in enumerate(
        zip(first_rows, num_rows, first_columns, num_columns, strict=True)
    ):
        values = stretched[i, :rows] @ column_weights[i, :, :columns]
        torch.ge(values, threshold, out=pasted[i, y : y + rows, x : x + columns])
    return pasted


def _weights(
    start: torch.Tensor, end: torch.Tensor, size: int, num_cells: int
) -> tuple[list[int], list[int], torch.Tensor]:
    """What each pixel takes of a mask, along one axis.

    Args:
        start: (N,) where boxes begin, in pixels.
        end: (N,) where they end.
        size: of the image.
        num_cells: of a mask.

    Returns:
        For each box the first pixel that the mask reaches, and how many these are, L at most; and
        (N, L, num_cells) weights.
    """
    # A mask reaches half of its cells' size beyond the box.
    margin = (end - start).clamp(min=0) / num_cells / 2 + 1
    first = (start - margin).floor().clamp(0, size).long()
    count = ((end + margin).ceil().clamp(0, size).long() - first).clamp(min=0)
    pixels = first[:, None] + torch.arange(int(count.max())) + 0.5
    places = (pixels - start[:, None]) / (end - start)[:, None] * num_cells - 0.5
    cells = torch.arange(num_cells, dtype=torch.float32)
    weights = (1 - (places[..., None] - cells).abs()).clamp(min=0)
    # Boxes without an extent, which have no place for a pixel.
    return first.tolist(), count.tolist(), weights.nan_to_num(0.0)


class PastedMasks(ROIMasks):
    """Masks of regions that become masks of the image by `paste_masks`."""

    def __getitem__(self, item: int | slice | torch.Tensor) -> PastedMasks:
        return PastedMasks(super().__getitem__(item).tensor)

    def to_bitmasks(
        self, boxes: torch.Tensor | Boxes, height: int, width: int, threshold: float = 0.5
    ) -> BitMasks:
        """See `ROIMasks`."""
        boxes = boxes.tensor if isinstance(boxes, Boxes) else boxes
        return BitMasks(paste_masks(self.tensor, boxes, height, width, threshold))


def use_paste_masks(instances: Instances) -> None:
    """Let Detectron2's `detector_postprocess` paste by `paste_masks`, where that is on a CPU.

    Args:
        instances: what a detector gives, perhaps with `pred_masks`, (N, 1, M, M). They are changed.
    """
    masks = instances.pred_masks if instances.has("pred_masks") else None
    if isinstance(masks, torch.Tensor) and masks.device.type == "cpu":
        instances.pred_masks = PastedMasks(masks[:, 0])
