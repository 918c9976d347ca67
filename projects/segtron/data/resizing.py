"""What size images are brought to."""

from __future__ import annotations

from detectron2.data.transforms import ResizeShortestEdge


def shortest_edge_shape(height: int, width: int, min_size: int, max_size: int) -> tuple[int, int]:
    """The shape by Detectron2's `ResizeShortestEdge`, but never without a row or a column, which
    that gives images that are thousands of times as long as wide.

    Args:
        height: of the image in pixels.
        width: likewise.
        min_size: length of the shortest edge, 1 or more.
        max_size: largest length of the longest edge, which takes precedence.

    Returns:
        Height and width.
    """
    new_height, new_width = ResizeShortestEdge.get_output_shape(height, width, min_size, max_size)
    return max(new_height, 1), max(new_width, 1)
