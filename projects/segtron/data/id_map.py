"""One pass over an integer id map gives every segment's run-length encoding, box and area."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np

from segtron.data.masks import encode_changes

# Pixels of a large map that are worked on at a time.
_BAND = 2**24


@dataclass(frozen=True)
class Segment:
    """All pixels of an id map that carry one id.

    Attributes:
        id: the value in the map.
        area: number of pixels.
        box: (x0, y0, x1, y1) in pixels, tight, x1 and y1 exclusive.
        rle: COCO's compressed run-length encoding, {"size": [height, width], "counts": bytes}.
    """

    id: int
    area: int
    box: tuple[int, int, int, int]
    rle: dict[str, Any]


def encode_segments(
    id_map: np.ndarray, select: Callable[[np.ndarray], np.ndarray] | None = None
) -> list[Segment]:
    """Encode the segments of an id map.

    The map is cut once into runs of equal ids, in COCO's column-major order; each segment's
    encoding is then its own runs and the gaps between them, so that the cost doesn't grow with the
    number of segments.

    Args:
        id_map: (H, W), any integer dtype.
        select: gets the ids of all runs, (R,), and says which to keep as (R,) bool; default: all.

    Returns:
        One `Segment` an id, by ascending id.
    """
    height, width = id_map.shape
    pixels = _column_major(id_map)
    starts = np.concatenate(([0], np.flatnonzero(pixels[1:] != pixels[:-1]) + 1))
    ends = np.append(starts[1:], pixels.size)
    ids = pixels[starts]
    if select is not None:
        keep = select(ids)
        starts, ends, ids = starts[keep], ends[keep], ids[keep]
    order = np.argsort(ids, kind="stable")
    starts, ends, ids = starts[order], ends[order], ids[order]
    values, first = np.unique(ids, return_index=True)
    bounds = np.append(first, ids.size)
    return [
        _encode_runs(int(value), starts[low:high], ends[low:high], height, width)
        for value, low, high in zip(values, bounds[:-1], bounds[1:], strict=True)
    ]


def _column_major(id_map: np.ndarray) -> np.ndarray:
    """(H * W,), column by column."""
    if id_map.dtype in (np.uint8, np.uint16, np.int32) and id_map.size:
        return cv2.transpose(id_map).ravel()  # several times as fast as NumPy
    return id_map.T.ravel()


def _encode_runs(id: int, starts: np.ndarray, ends: np.ndarray, height: int, width: int) -> Segment:
    """Encode the segment made of the column-major pixel ranges [starts, ends)."""
    changes = np.stack([starts, ends], axis=1).ravel()
    rle = encode_changes(changes, height, width)
    first_column, last_column = starts // height, (ends - 1) // height
    # A run that goes on in the next column holds the bottom pixel of one, the top pixel of the
    # other.
    one_column = first_column == last_column
    top = np.where(one_column, starts % height, 0).min()
    bottom = np.where(one_column, (ends - 1) % height, height - 1).max()
    box = (int(first_column.min()), int(top), int(last_column.max()) + 1, int(bottom) + 1)
    return Segment(id=id, area=int((ends - starts).sum()), box=box, rle=rle)


class Measures(NamedTuple):
    """What there is to know of S segments without their shapes, by ascending id."""

    ids: np.ndarray  # (S,) of the map's dtype
    areas: np.ndarray  # (S,) int64, pixels
    boxes: np.ndarray  # (S, 4) int64, (x0, y0, x1, y1) in pixels, tight, x1 and y1 exclusive


def measure_segments(id_map: np.ndarray) -> Measures:
    """Ids, areas and boxes of all segments of an id map, from its runs of equal ids.

    Args:
        id_map: (H, W), any integer dtype.
    """
    parts = [(top, _measure_rows(rows)) for top, rows in _bands(id_map)]
    if len(parts) == 1:
        return parts[0][1]
    ids = np.concatenate([part.ids for _, part in parts])
    areas = np.concatenate([part.areas for _, part in parts])
    boxes = np.concatenate([part.boxes + [0, top, 0, top] for top, part in parts])
    order = np.argsort(ids, kind="stable")
    values, first = np.unique(ids[order], return_index=True)
    corners = (
        function.reduceat(boxes[order, columns], first, axis=0)
        for function, columns in ((np.minimum, slice(0, 2)), (np.maximum, slice(2, 4)))
    )
    return Measures(values, np.add.reduceat(areas[order], first), np.hstack(list(corners)))


def _bands(id_map: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """The rows of a map, some at a time if it is large, and where they begin: what is worked out of
    runs of ids takes several times the memory of the ids."""
    height, width = id_map.shape
    step = height if id_map.size <= _BAND else max(_BAND // width, 1)
    for top in range(0, height, max(step, 1)):
        yield top, id_map[top : top + step]
    if not height:
        yield 0, id_map


def _measure_rows(id_map: np.ndarray) -> Measures:
    """See `measure_segments`."""
    width = id_map.shape[1]
    starts, lengths = _row_runs(id_map, break_rows=True)
    ids = id_map.ravel()[starts]
    order = np.argsort(ids, kind="stable")
    ids, starts, lengths = ids[order], starts[order], lengths[order]
    values, first = np.unique(ids, return_index=True)
    if not values.size:
        return Measures(values, np.zeros(0, np.int64), np.zeros((0, 4), np.int64))
    rows, left = np.divmod(starts, width)
    boxes = np.stack(
        [
            np.minimum.reduceat(left, first),
            np.minimum.reduceat(rows, first),
            np.maximum.reduceat(left + lengths, first),
            np.maximum.reduceat(rows, first) + 1,
        ],
        axis=1,
    )
    return Measures(values, np.add.reduceat(lengths, first), boxes)


def replace_ids(
    id_map: np.ndarray, ids: np.ndarray, values: np.ndarray, default: int
) -> np.ndarray:
    """Put a value in the place of each id, looking ids up once a run of equal ones.

    Args:
        id_map: (H, W), any integer dtype.
        ids: (S,) distinct integers, in any order.
        values: (S,) their values, whose dtype the result has.
        default: the value of every other id.

    Returns:
        (H, W).
    """
    result = np.empty(id_map.shape, values.dtype)
    order = np.argsort(ids)
    for top, rows in _bands(id_map):
        starts, lengths = _row_runs(rows, break_rows=False)
        found = rows.ravel()[starts]
        replaced = np.full(found.shape, default, values.dtype)
        if len(ids):
            place = order[np.searchsorted(ids, found, sorter=order).clip(max=len(ids) - 1)]
            known = ids[place] == found
            replaced[known] = values[place[known]]
        result[top : top + len(rows)] = np.repeat(replaced, lengths).reshape(rows.shape)
    return result


def _row_runs(id_map: np.ndarray, *, break_rows: bool) -> tuple[np.ndarray, np.ndarray]:
    """Starts and lengths of the runs of equal ids in row-major order; a run may go on in the next
    row, unless it is broken there."""
    pixels = id_map.ravel()
    changes = np.ones(pixels.size, dtype=bool)
    changes[1:] = pixels[1:] != pixels[:-1]
    if break_rows and pixels.size:
        changes[:: id_map.shape[1]] = True
    starts = np.flatnonzero(changes)
    return starts, np.diff(starts, append=pixels.size)
