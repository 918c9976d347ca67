"""What a comparison of ground truth and prediction consists of, whatever kind they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from segtron.visualization.canvas import Canvas
from segtron.visualization.colors import Color
from segtron.visualization.layout import side_by_side

# After Okabe and Ito, so that the colour-blind can tell them apart; their lightness differs, too.
FOUND: Color = (0.0, 0.70, 0.55)
MISSED: Color = (0.90, 0.15, 0.10)
INVENTED: Color = (0.98, 0.72, 0.10)
CONFUSED: Color = (0.85, 0.35, 0.85)
POOR: Color = (0.08, 0.20, 0.50)
# Of lines on a pale image.
DARK: Color = (0.15, 0.15, 0.15)

LONGEST_SIDE = 1280


@dataclass(frozen=True)
class Panel:
    """One of the pictures, all of one size.

    Attributes:
        name: says which it is in names of files.
        title: for people.
        picture: (H, W, 3) RGB uint8.
    """

    name: str
    title: str
    picture: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """One image with what is there and what was predicted, drawn.

    Attributes:
        panels: the image first, what shows the errors last.
        facts: what there is to say about the image, by short names.
    """

    panels: Sequence[Panel]
    facts: Mapping[str, str]

    def sheet(self) -> np.ndarray:
        """All panels with their titles; RGB uint8."""
        return side_by_side([p.picture for p in self.panels], [p.title for p in self.panels])


def panels(titles: Mapping[str, str], canvases: Sequence[Canvas]) -> list[Panel]:
    """What was drawn, as panels.

    Args:
        titles: name -> title, one for each canvas.
        canvases: of images of one size.
    """
    return [
        Panel(name, title, canvas.output.get_image())
        for (name, title), canvas in zip(titles.items(), canvases, strict=True)
    ]


def pale(image: np.ndarray, contrast: float = 0.35) -> np.ndarray:
    """An image as a pale grey background, (H, W, 3) uint8."""
    grey = image.mean(axis=2, keepdims=True)
    return (contrast * grey + (1 - contrast) * 255).astype(np.uint8).repeat(3, axis=2)
