"""How a prediction over many images went, in words."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Summary:
    """How a prediction over many images went.

    Attributes:
        images: number of all images.
        predicted: number of images predicted.
        unreadable: for each other image, or gap in a video, a sentence that names it.
    """

    images: int = 0
    predicted: int = 0
    unreadable: list[str] = field(default_factory=list)
