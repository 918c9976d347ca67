"""An image at several scales, with or without its mirror images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch.nn import functional as F

from segtron.data.resizing import shortest_edge_shape


class View(NamedTuple):
    """What a model sees of an image.

    Attributes:
        image: (C, h, w), the image resized and perhaps mirrored.
        is_mirrored: whether left and right have changed places.
    """

    image: torch.Tensor
    is_mirrored: bool

    def boxes_in_output(self, boxes: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Boxes in the output's pixels.

        Args:
            boxes: (N, 4) in pixels of the view, (x0, y0, x1, y1).
            height: of the output.
            width: likewise.
        """
        return self._turned(boxes, self.image.shape[-1]) * self._scales(boxes, height, width)

    def boxes_in_view(self, boxes: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Boxes in the view's pixels.

        Args:
            boxes: (N, 4) in pixels of the output.
            height: of the output.
            width: likewise.
        """
        return self._turned(boxes, width) / self._scales(boxes, height, width)

    def pixels_in_output(self, prediction: torch.Tensor) -> torch.Tensor:
        """(..., H, W) the right way round."""
        return prediction.flip(-1) if self.is_mirrored else prediction

    def _scales(self, boxes: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """By what boxes in pixels of the view are multiplied to be in those of the output."""
        x, y = width / self.image.shape[-1], height / self.image.shape[-2]
        return boxes.new_tensor([x, y, x, y])

    def _turned(self, boxes: torch.Tensor, width: int) -> torch.Tensor:
        if not self.is_mirrored:
            return boxes
        x0, y0, x1, y1 = boxes.unbind(dim=1)
        return torch.stack([width - x1, y0, width - x0, y1], dim=1)


def views_of(
    image: torch.Tensor, min_sizes: Sequence[int], max_size: int, flip: bool
) -> Iterator[View]:
    """Views of an image, each scale with its mirror image behind it.

    Args:
        image: (C, H, W) of uint8 or float.
        min_sizes: lengths of the shortest edge; 0 leaves the image as it is.
        max_size: largest length of the longest edge, which takes precedence.
        flip: whether there are mirror images.
    """
    for min_size in min_sizes:
        resized = resize_shortest_edge(image, min_size, max_size)
        yield View(resized, is_mirrored=False)
        if flip:
            yield View(resized.flip(-1), is_mirrored=True)


def resize_shortest_edge(image: torch.Tensor, min_size: int, max_size: int) -> torch.Tensor:
    """Resize (C, H, W) as Detectron2's `ResizeShortestEdge` would; 0 leaves it as it is."""
    size = tuple(image.shape[-2:])
    new_size = size
    if min_size > 0:
        new_size = shortest_edge_shape(*size, min_size, max_size)
    if new_size == size:
        return image
    # What the mapper does with Pillow: it smooths where it shrinks.
    return F.interpolate(
        image[None].float(), new_size, mode="bilinear", align_corners=False, antialias=True
    )[0]
