"""Detectron2's `Visualizer` with Segtron's size rule, lines, texts and legend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from detectron2.utils.visualizer import ColorMode, VisImage, Visualizer
from matplotlib.legend import Legend
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path as Outline

from segtron.visualization.colors import Color
from segtron.visualization.layout import LETTER_WIDTH, cut_middle

# Small images are enlarged to this many pixels on their short side, or labels can't be read...
SMALLEST_SIDE = 512
# ... but never beyond this many on their long side.
LONGEST_ENLARGED_SIDE = 2048
# Largest share of a picture's height that a legend may fill.
LEGEND_HEIGHT = 0.6
# Of the texts of labels, 0 to 1.
LEAST_LIGHTNESS = 0.62
# Distance between its lines, in heights of a letter.
_LINE_HEIGHT = 1.46


def enlargement(height: int, width: int) -> float:
    """How many times its size an image is drawn: 1 unless it is too small for readable labels."""
    wanted = min(SMALLEST_SIDE / min(height, width), LONGEST_ENLARGED_SIDE / max(height, width))
    return max(1.0, wanted)


class Canvas(Visualizer):
    """An image to draw on with clear outlines, labels that don't cover each other, and a legend.

    Small images are enlarged (`enlargement`), so the picture may be larger than the image; all
    coordinates are the image's.
    """

    def __init__(
        self, img_rgb: np.ndarray, metadata: Any = None, *, longest_side: int | None = None
    ) -> None:
        """
        Args:
            img_rgb: (H, W, 3), RGB in 0..255.
            metadata: names (`thing_classes`, `stuff_classes`) and, if it has them, colours
                (`thing_colors`, `stuff_colors`).
            longest_side: larger images are drawn so small that they keep within it.
        """
        height, width = img_rgb.shape[:2]
        scale = enlargement(height, width)
        if longest_side is not None:
            scale = min(scale, longest_side / max(height, width))
        super().__init__(img_rgb, metadata, scale, ColorMode.SEGMENTATION)
        if scale != 1:
            self.output.ax.images[-1].set_interpolation("bicubic" if scale > 1 else "hanning")
        # In pixels of the picture, from its size in pixels.
        extent = math.sqrt(height * width) * scale
        self._text_height = min(max(extent / 55, 11.0), 32.0)
        self._line_width = min(max(extent / 600, 1.1), 3.0)
        self._taken: list[tuple[float, float, float, float]] = []
        self._legend_entries: list[tuple[str, Color]] = []

    def draw_outline(
        self,
        outline: Outline,
        color: Color,
        *,
        opacity: float,
        line_width: float = 1.0,
        hatch: str | None = None,
    ) -> VisImage:
        """Fill and stroke a path.

        Args:
            outline: in coordinates of the image.
            color: RGB in 0..1.
            opacity: of the filling, 0..1; the stroke is opaque.
            line_width: in multiples of the width that suits the picture's size.
            hatch: matplotlib's hatch pattern.
        """
        # Not add_patch, which walks along every outline to update the limits of axes that are
        # fixed.
        self.output.ax.add_artist(
            PathPatch(
                outline,
                facecolor=(*color, opacity),
                edgecolor=tuple(0.65 * channel + 0.35 for channel in color),
                linewidth=self._points(self._line_width * line_width),
                joinstyle="round",
                hatch=hatch,
            )
        )
        return self.output

    def draw_text(self, text: str, position: Any, **style: Any) -> VisImage:
        """As Detectron2's, but dollar signs in a name are no formula."""
        super().draw_text(text, position, **style)
        self.output.ax.texts[-1].set_parse_math(False)
        return self.output

    def draw_legend(self, entries: Sequence[tuple[str, Color]]) -> VisImage:
        """Write a line for each entry into the top left corner, and keep labels away from it.

        Entries that find no room in `LEGEND_HEIGHT` are counted in the last line, and texts that
        would fill more than half the width are cut. A second call adds its entries to the first's.
        """
        self._legend_entries += entries
        if not self._legend_entries:
            return self.output
        width, height = self.output.canvas.get_width_height()
        letter = 0.95 * self._text_height
        most = max(1, int(LEGEND_HEIGHT * height / (_LINE_HEIGHT * letter)))
        shown: list[tuple[str, Color | None]] = self._legend_entries[:most]
        if len(shown) < len(self._legend_entries):
            shown[-1] = (f"and {len(self._legend_entries) - most + 1} more", None)
        for earlier in self.output.ax.findobj(Legend):
            earlier.remove()
        legend = Legend(
            self.output.ax,
            [
                Patch(facecolor=color, edgecolor="white", linewidth=0.5)
                if color
                else Patch(alpha=0)
                for _, color in shown
            ],
            [""] * len(shown),
            loc="upper left",
            fontsize=self._points(letter),
            labelcolor="white",
            facecolor="black",
            edgecolor="none",
            framealpha=0.6,
            handlelength=1.0,
            handleheight=0.9,
            handletextpad=0.6,
            labelspacing=0.3,
            borderpad=0.5,
            borderaxespad=0.4,
        )
        for artist, (text, _) in zip(legend.get_texts(), shown, strict=True):
            artist.set_parse_math(False)
            artist.set_text(cut_middle(text, int(0.5 * width / (LETTER_WIDTH * letter))))
        self.output.ax.add_artist(legend)
        extent = legend.get_window_extent(self.output.canvas.get_renderer())
        # matplotlib counts pixels from the bottom.
        right, bottom = extent.x1, height - extent.y0
        self._taken.append((0, 0, right / self.output.scale, bottom / self.output.scale))
        return self.output

    def draw_label(self, text: str, outline: Outline, color: Color) -> VisImage:
        """Write a text at the first place near an outline where it covers no other.

        It is left out if there is none.

        Args:
            text: what to write.
            outline: in coordinates of the image.
            color: RGB in 0..1; the text gets a variant light enough to be read on black.
        """
        self.draw_text(
            text,
            (0, 0),
            font_size=self._points(self._text_height) / self.output.scale,
            color=_readable(color),
            horizontal_alignment="left",
        )
        artist = self.output.ax.texts[-1]
        extent = artist.get_window_extent(self.output.canvas.get_renderer())
        width, height = extent.width / self.output.scale, extent.height / self.output.scale
        frame = 0.15 * height
        top, bottom = (
            outline.vertices[pick(outline.vertices[:, 1])] for pick in (np.argmin, np.argmax)
        )
        middle = np.median(outline.vertices, axis=0)
        for x, y in (
            (top[0] - width / 2, top[1] - height - frame),
            (middle[0] - width / 2, middle[1] - height / 2),
            (bottom[0] - width / 2, bottom[1] + frame),
        ):
            x = min(max(x, frame), max(self.output.width - width - frame, frame))
            y = min(max(y, frame), max(self.output.height - height - frame, frame))
            place = (x - frame, y - frame, x + width + frame, y + height + frame)
            if not any(_overlap(place, taken) for taken in self._taken):
                self._taken.append(place)
                artist.set_position((x, y))
                return self.output
        artist.remove()
        return self.output

    def _points(self, pixels: float) -> float:
        """A length in matplotlib's unit, from pixels of the picture."""
        return pixels * 72 / self.output.dpi


def _readable(color: Color) -> Color:
    """A variant of a colour, mixed with white, that stands out from black."""
    lightness = 0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2]
    white = max(0.4, (LEAST_LIGHTNESS - lightness) / (1 - lightness)) if lightness < 1 else 0.0
    red, green, blue = (channel + white * (1 - channel) for channel in color)
    return red, green, blue


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
