"""What may have become of a region of an image, and the colours that say so."""

from __future__ import annotations

from segtron.evaluation.panoptic_quality import Outcome
from segtron.visualization.colors import Color

# In the order in which they are listed. After Okabe and Ito, so that the colour-blind can tell them
# apart; their lightness differs, too.
FATES: dict[str, Color] = {
    "found": (0.0, 0.70, 0.55),
    "missed": (0.90, 0.15, 0.10),
    "invented": (0.98, 0.72, 0.10),
    "wrong class": (0.85, 0.35, 0.85),
    "poor mask": (0.24, 0.45, 1.0),
}
# Of regions that are not scored.
NOT_SCORED = "not scored"
FATE_OF_OUTCOME = {
    Outcome.FOUND: "found",
    Outcome.MISSED: "missed",
    Outcome.INVENTED: "invented",
    Outcome.WRONG_CLASS: "wrong class",
    Outcome.POOR_MASK: "poor mask",
}
