"""Examples of each class of a data set, cut out and outlined, side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import cv2
import numpy as np

from segtron.data.checks.checked_set import Objects
from segtron.data.each_item import go_through
from segtron.data.image_io import read_image
from segtron.errors import UserError
from segtron.visualization.colors import class_color

# Pixels of a tile's side.
TILE = 144
# Of the object's box, this share is added on each side, and at least so many pixels.
MARGIN, LEAST_MARGIN = 0.2, 6.0
# Of the light around an object, this share is left.
_DIMMED = 0.6
_GAP = 4


def choose_examples(objects: Objects, category: int, number: int) -> list[int]:
    """Rows of objects of a class, no crowds if there are others, spread evenly over their sizes."""
    rows = np.flatnonzero((objects.category == category) & (objects.areas > 0))
    single = rows[~objects.is_crowd[rows]]
    rows = single if len(single) else rows
    rows = rows[np.argsort(objects.areas[rows], kind="stable")]
    places = np.unique(np.linspace(0, len(rows) - 1, min(number, len(rows))).round().astype(int))
    return rows[places].tolist() if len(rows) else []


def draw_mosaics(
    objects: Objects, categories: Sequence[int], number: int = 8
) -> dict[int, np.ndarray]:
    """A row of examples for each of some classes.

    Args:
        objects: of a set.
        categories: the classes.
        number: examples of each, at most.

    Returns:
        Class -> (H, W, 3) uint8, RGB, the small objects first; without classes of which no example
        could be read.
    """
    chosen = {category: choose_examples(objects, category, number) for category in categories}
    by_image: dict[int, list[int]] = defaultdict(list)
    for rows in chosen.values():
        for row in rows:
            by_image[int(objects.image[row])].append(row)
    groups = list(by_image.values())
    tiles: dict[int, np.ndarray] = {}
    for found in go_through(lambda rows: _cut_out(objects, rows), groups, "drawing examples"):
        tiles.update(found)
    mosaics = {}
    for category, rows in chosen.items():
        of_class = [tiles[row] for row in rows if row in tiles]
        if of_class:
            mosaics[category] = _side_by_side(of_class)
    return mosaics


def _cut_out(objects: Objects, rows: Sequence[int]) -> dict[int, np.ndarray]:
    """Tiles of objects of one image; none if it can't be read or has another size."""
    image = int(objects.image[rows[0]])
    path = objects.paths[image]
    if path is None:
        return {}
    try:
        picture = read_image(path, "RGB")
    except (UserError, OSError):
        return {}
    # A size that isn't the picture's may be one that no memory has room for.
    if picture.shape[:2] != tuple(objects.sizes[image].tolist()):
        return {}
    tiles = {}
    for row in rows:
        mask = objects.masks.read(row)
        if mask is not None and mask.shape == picture.shape[:2] and mask.any():
            color = class_color(int(objects.category[row]))
            tiles[row] = draw_tile(picture, mask, color)
    return tiles


def draw_tile(picture: np.ndarray, mask: np.ndarray, color: Sequence[float]) -> np.ndarray:
    """An object cut out of its image, all around it darker, with an outline.

    Args:
        picture: (H, W, 3) uint8, RGB.
        mask: (H, W) bool, not empty.
        color: of the outline, RGB in 0..1.

    Returns:
        (TILE, TILE, 3) uint8.
    """
    size, box = np.array(mask.shape[::-1], np.float64), _box(mask)
    longest = float((box[2:] - box[:2]).max())
    half = min(longest / 2 + max(MARGIN * longest, LEAST_MARGIN), size.max() / 2)
    # Within the image, as far as it goes.
    middle = np.clip(
        (box[:2] + box[2:]) / 2, np.minimum(half, size / 2), np.maximum(size - half, size / 2)
    )
    # From pixels of the image to those of the tile; their centres are at one half.
    scale = TILE / (2 * half)
    shift = TILE / 2 - scale * middle
    matrix = np.array(
        [[scale, 0, shift[0] + scale / 2 - 0.5], [0, scale, shift[1] + scale / 2 - 0.5]]
    )
    if scale < 0.5:  # or thin things would fall between the pixels
        reduced = min(max(1, int(0.5 / scale) * 2), *picture.shape[:2])
        picture, mask = _smaller(picture, reduced), _smaller(mask.astype(np.uint8) * 255, reduced)
        matrix[:, :2] *= reduced
        matrix[:, 2] += (scale * reduced - scale) / 2
    else:
        mask = mask.astype(np.uint8) * 255
    tile = cv2.warpAffine(picture, matrix, (TILE, TILE), flags=cv2.INTER_LINEAR)
    inside = cv2.warpAffine(mask, matrix, (TILE, TILE), flags=cv2.INTER_LINEAR) >= 128
    tile = np.where(inside[:, :, None], tile, (tile * _DIMMED).astype(np.uint8))
    contours, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    bright = [255 * (0.35 + 0.65 * channel) for channel in color]
    return cv2.drawContours(np.ascontiguousarray(tile), contours, -1, bright, 1, cv2.LINE_AA)


def _box(mask: np.ndarray) -> np.ndarray:
    """(4,) [x0, y0, x1, y1] around a mask."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)


def _smaller(picture: np.ndarray, factor: int) -> np.ndarray:
    """A copy whose pixels are means of `factor` x `factor`; a rest at the border is left out."""
    height, width = (side // factor * factor for side in picture.shape[:2])
    size = (width // factor, height // factor)
    return cv2.resize(picture[:height, :width], size, interpolation=cv2.INTER_AREA)


def _side_by_side(tiles: Sequence[np.ndarray]) -> np.ndarray:
    gap = np.full((TILE, _GAP, 3), 255, np.uint8)
    parts = [part for tile in tiles for part in (tile, gap)]
    return np.concatenate(parts[:-1], axis=1)
