"""Maps of classes or segments as overlays, by whole arrays: resizing, borders, shares."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from segtron.data.sem_seg import IGNORED
from segtron.visualization.colors import Color

# Pictures up to this many pixels are computed at twice their size, for smooth borders; in larger
# ones single pixels can't be seen.
MOST_SMOOTHED_PIXELS = 2**22
BORDER_OPACITY = 0.85


def as_class_map(sem_seg: np.ndarray) -> np.ndarray:
    """A map of classes in the form that the functions of this module take.

    Args:
        sem_seg: (H, W), any integer dtype.

    Returns:
        (H, W) uint8; values that can be no class are `IGNORED`.
    """
    return np.where((sem_seg >= 0) & (sem_seg < IGNORED), sem_seg, IGNORED).astype(np.uint8)


def class_areas(classes: np.ndarray) -> dict[int, int]:
    """Number of pixels of each class in a map, the largest class first; without ignored pixels.

    Args:
        classes: (H, W) uint8.
    """
    counts = np.bincount(classes.ravel(), minlength=IGNORED)[:IGNORED]
    order = np.argsort(-counts, kind="stable")
    return {int(i): int(counts[i]) for i in order[: np.count_nonzero(counts)]}


def without_small_regions(classes: np.ndarray, least_area: int) -> np.ndarray:
    """A map whose connected regions of fewer than `least_area` pixels are ignored.

    Args:
        classes: (H, W) uint8.
        least_area: in pixels.
    """
    kept = classes.copy()
    for index in class_areas(classes):
        _, regions, stats, _ = cv2.connectedComponentsWithStats((classes == index).view(np.uint8))
        small = stats[:, cv2.CC_STAT_AREA] < least_area
        small[0] = False  # region 0 is all that is not of this class
        kept[small[regions]] = IGNORED
    return kept


def resize_classes(classes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a map of classes or of segments, whose values can't be averaged.

    In an enlarged map each pixel gets the value that has the most weight among its four nearest, so
    that regions have smooth borders instead of the original's steps. A shrunk map is a sample.

    Args:
        classes: (H, W) uint8 or uint16.
        size: height and width of the result.

    Returns:
        (height, width), of the same dtype.
    """
    if classes.shape == size:
        return classes
    if size[0] < classes.shape[0] or size[1] < classes.shape[1]:
        return cv2.resize(classes, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    above, below, down = _neighbours(classes.shape[0], size[0])
    left, right, along = _neighbours(classes.shape[1], size[1])
    resized = classes[above][:, left]
    # Only where the four differ is there anything to weigh; elsewhere each is as good.
    next_row, next_column = (np.append(np.arange(1, n), n - 1) for n in classes.shape)
    beside, diagonal = classes[:, next_column], classes[next_row][:, next_column]
    differ = (classes != beside) | (classes != diagonal) | (classes != classes[next_row])
    rows, columns = np.nonzero(differ[above][:, left])
    nearest = np.stack(
        [classes[y[rows], x[columns]] for y in (above, below) for x in (left, right)]
    )
    weights = np.stack([v[rows] * u[columns] for v in (1 - down, down) for u in (1 - along, along)])
    shares = np.where(nearest[:, None] == nearest, weights, 0).sum(axis=1)
    resized[rows, columns] = np.take_along_axis(nearest, shares.argmax(axis=0)[None], axis=0)[0]
    return resized


def _neighbours(length: int, enlarged: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each pixel of an enlarged side the two nearest of the side, and the second's weight."""
    place = ((np.arange(enlarged, dtype=np.float32) + 0.5) * length / enlarged - 0.5).clip(0)
    first = np.minimum(place.astype(np.intp), length - 1)
    return first, np.minimum(first + 1, length - 1), place - first


def region_borders(classes: np.ndarray, width: int) -> np.ndarray:
    """Where regions of a map meet.

    Args:
        classes: (H, W) uint8 or uint16.
        width: of the borders, in pixels.

    Returns:
        (H, W) bool.
    """
    # Two values meet in a window if and only if its largest and smallest differ.
    window = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width + 1, width + 1))
    return cv2.morphologyEx(classes, cv2.MORPH_GRADIENT, window) > 0


def paint_classes(
    classes: np.ndarray,
    size: tuple[int, int],
    colors: Mapping[int, Color],
    *,
    opacity: float,
    border_width: float,
) -> np.ndarray:
    """A map of classes, or of segments by their numbers, as a picture to lay over an image, with
    white lines between regions.

    Args:
        classes: (H, W) uint8 or uint16.
        size: height and width of the picture.
        colors: class -> colour; other classes, and ignored pixels, are left out.
        opacity: of the classes, 0..1.
        border_width: of the lines, in pixels of the picture.

    Returns:
        (height, width, 4) uint8: red, green, blue and opacity.
    """
    detail = 2 if size[0] * size[1] <= MOST_SMOOTHED_PIXELS else 1
    fine = resize_classes(classes, (size[0] * detail, size[1] * detail))
    table = np.zeros((np.iinfo(classes.dtype).max + 1, 4), np.uint8)
    # What is left out is white, too, or the borders would have dark fringes.
    table[:, :3] = 255
    for index, color in colors.items():
        table[index] = np.round(255 * np.array([*color, opacity]))
    picture = table[fine]
    borders = region_borders(fine, max(1, round(border_width * detail)))
    picture[borders] = np.round(255 * np.array([1.0, 1.0, 1.0, BORDER_OPACITY]))
    if detail == 1:
        return picture
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)
