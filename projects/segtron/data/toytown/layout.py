"""The plan of a street: lanes, pavements, tracks, a crossing, and what lines it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

LANE = 3.3
BUILDING_DEPTH = 11.0
OWN_LANE, ONCOMING_LANE = 0.0, -LANE


@dataclass(frozen=True)
class Side:
    """A stretch along one side of the street.

    Attributes:
        kind: 'building', or 'garden' (its border, trees behind).
        sign: -1 left, 1 right.
        x: distance of its front from the camera's axis (signed).
        z0, z1: where it begins and ends.
        height: of a building.
        border: of a garden: 'fence', 'wall', 'hedge' or 'none'.
    """

    kind: str
    sign: int
    x: float
    z0: float
    z1: float
    height: float
    border: str

    def bounds(self) -> tuple[float, float, float, float]:
        """Its footprint x0, z0, x1, z1."""
        back = self.x + self.sign * (BUILDING_DEPTH if self.kind == "building" else 0.1)
        return min(self.x, back), self.z0, max(self.x, back), self.z1


@dataclass(frozen=True)
class Street:
    """All in metres: X across from the camera's axis, Z along from the camera."""

    style: str
    left: float
    right: float
    walk_left: float
    walk_right: float
    verge: float  # of grass at the kerbs
    lines: tuple[float, ...]
    parking: tuple[tuple[float, float], ...]
    track: float | None
    crossing: float | None
    crossing_track: bool
    outside: str
    sides: tuple[Side, ...] = field(default=())


def sample_street(rng: np.random.Generator, *, tram: bool) -> Street:
    """Draw a street; with `tram` it has a track, along or across."""
    style = str(rng.choice(["town", "suburb", "park"], p=[0.5, 0.3, 0.2]))
    along = tram and rng.random() < 0.5
    crossing = None
    if (tram and not along) or rng.random() < 0.35:
        crossing = float(rng.uniform(17, 30) if tram and not along else rng.uniform(15, 32))
    right = 0.5 * LANE + 0.2
    parking = []
    if rng.random() < 0.5:
        parking.append((right, right + 2.3))
        right += 2.3
    left = -1.5 * LANE - 0.2
    track = None
    if along:
        track = left - 1.6
        left -= 3.2
    elif rng.random() < 0.4:
        parking.append((left - 2.3, left))
        left -= 2.3
    verge = float(rng.uniform(1.0, 1.5)) if style != "town" and rng.random() < 0.6 else 0.0
    walk_left, walk_right = rng.uniform(2.4, 4.2, 2) + verge
    sides = []
    for sign, edge in ((-1, left - walk_left), (1, right + walk_right)):
        sides += _sample_side(rng, style, sign, float(edge), crossing)
    return Street(
        style=style,
        left=float(left),
        right=float(right),
        walk_left=float(walk_left),
        walk_right=float(walk_right),
        verge=verge,
        lines=(-0.5 * LANE,),
        parking=tuple(parking),
        track=track,
        crossing=crossing,
        crossing_track=bool(tram and not along),
        outside="sidewalk" if style == "town" else "terrain",
        sides=tuple(sides),
    )


def _sample_side(
    rng: np.random.Generator, style: str, sign: int, edge: float, crossing: float | None
) -> list[Side]:
    built = {"town": 0.92, "suburb": 0.6, "park": 0.22}[style]
    sides: list[Side] = []
    z = 1.0
    while z < 95:
        length = rng.uniform(9, 18)
        end = z + length
        if crossing is not None and end > crossing - 8 and z < crossing + 8:
            if z < crossing - 13:
                end = crossing - 8
            else:
                z = crossing + 8
                continue
        kind = "building" if rng.random() < built else "garden"
        height = rng.uniform(8.5, 16) if style == "town" else rng.uniform(5.5, 9)
        setback = 0.0 if style == "town" else rng.uniform(2.0, 5.0)
        border = str(rng.choice(["fence", "wall", "hedge", "none"], p=[0.35, 0.25, 0.2, 0.2]))
        if kind == "building":
            sides.append(
                Side(
                    kind,
                    sign,
                    edge + sign * setback,
                    z,
                    end - (0 if style == "town" else 2),
                    height,
                    border,
                )
            )
            if style != "town":
                sides.append(Side("garden", sign, edge + sign * 0.1, z, end, 0.0, border))
        else:
            sides.append(Side(kind, sign, edge + sign * 0.1, z, end, 0.0, border))
        z = end
    return sides
