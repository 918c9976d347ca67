"""Several pictures on one sheet: panels side by side, contact sheets, and pictures on disk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from segtron.files import replacing

BACKGROUND = "#16181d"
FOREGROUND = "#e8eaed"
MARGIN = 8
# Mean width of a letter of DejaVu Sans, matplotlib's own font, at size 1.
LETTER_WIDTH = 0.6
_TILE_WIDTH = 480  # of contact sheets, in pixels
_DPI = 100
_JPEG_QUALITY = 95


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write a picture under a temporary name, then rename it; its format follows from its name.

    Args:
        path: where it goes; its folder is made.
        picture: (H, W, 3) RGB uint8.
    """
    with replacing(path) as temporary:
        Image.fromarray(picture).save(
            temporary,
            format=Image.registered_extensions()[path.suffix.lower()],
            quality=_JPEG_QUALITY,
        )


def side_by_side(pictures: Sequence[np.ndarray], titles: Sequence[str]) -> np.ndarray:
    """Pictures of one size beside and below each other, with titles.

    They stand in full rows, as many to a row as make the sheet about 8:5.

    Args:
        pictures: (H, W, 3) RGB uint8, all of one size.
        titles: one for each picture.

    Returns:
        (H', W', 3) RGB uint8.
    """
    height, width = pictures[0].shape[:2]
    count = len(pictures)
    columns = min(
        (n for n in range(1, count + 1) if count % n == 0),
        key=lambda n: abs(math.log(n * width / (count / n * height) / 1.6)),
    )
    return _sheet(pictures, titles, columns, (height, width), _title_height(height, width))


def contact_sheet(pictures: Sequence[np.ndarray], titles: Sequence[str]) -> np.ndarray:
    """Many pictures of any size as small tiles, each with its title below the last row's tiles.

    Args:
        pictures: (H, W, 3) RGB uint8.
        titles: one for each picture; long ones are cut in the middle.

    Returns:
        (H', W', 3) RGB uint8.
    """
    aspect = float(np.median([picture.shape[0] / picture.shape[1] for picture in pictures]))
    tile = (round(_TILE_WIDTH * min(max(aspect, 0.25), 2.0)), _TILE_WIDTH)
    # As many columns as make the sheet about 3:2.
    columns = max(1, round(math.sqrt(len(pictures) * 1.5 * tile[0] / tile[1])))
    tiles = [_fit(picture, tile) for picture in pictures]
    return _sheet(tiles, titles, min(columns, len(tiles)), tile, 26)


def shrink(picture: np.ndarray, longest_side: int) -> np.ndarray:
    """A smaller copy whose longest side is at most so many pixels."""
    return _fit(picture, (longest_side, longest_side))


def _fit(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    factor = min(size[0] / picture.shape[0], size[1] / picture.shape[1])
    if factor >= 1:
        return picture
    width, height = (max(1, round(side * factor)) for side in picture.shape[1::-1])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def _title_height(height: int, width: int) -> int:
    return round(min(max(math.sqrt(height * width) / 22, 24), 56))


def _sheet(
    pictures: Sequence[np.ndarray],
    titles: Sequence[str],
    columns: int,
    tile: tuple[int, int],
    title_height: int,
) -> np.ndarray:
    """Tiles in rows, each below its title; drawn pixel by pixel, without resampling."""
    rows = math.ceil(len(pictures) / columns)
    width = columns * (tile[1] + MARGIN) + MARGIN
    height = rows * (tile[0] + title_height + MARGIN) + MARGIN
    figure = Figure(figsize=((width + 0.01) / _DPI, (height + 0.01) / _DPI), dpi=_DPI)
    figure.patch.set_facecolor(BACKGROUND)
    canvas = FigureCanvasAgg(figure)
    text_size = title_height * 0.52 * 72 / _DPI
    longest = int(tile[1] / (LETTER_WIDTH * text_size * _DPI / 72))
    for number, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
        row, column = divmod(number, columns)
        left = MARGIN + column * (tile[1] + MARGIN)
        top = MARGIN + row * (tile[0] + title_height + MARGIN)
        figure.text(
            (left + 4) / width,
            1 - (top + title_height / 2) / height,
            cut_middle(title, longest),
            color=FOREGROUND,
            size=text_size,
            verticalalignment="center",
            parse_math=False,
        )
        # matplotlib counts pixels from the bottom.
        x = left + (tile[1] - picture.shape[1]) // 2
        y = height - (top + title_height) - (tile[0] + picture.shape[0]) // 2
        figure.figimage(picture, x, y)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def cut_middle(text: str, longest: int) -> str:
    """A text of at most `longest` characters, with an ellipsis in its middle if it was longer."""
    if len(text) <= longest:
        return text
    keep = max(longest - 1, 2)
    return text[: keep - keep // 2] + "…" + text[len(text) - keep // 2 :]


def percent(share: float) -> str:
    """A share of 0 to 1 in words, in which what is there is never 0."""
    return "<0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"
