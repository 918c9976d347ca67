"""Time of day and weather: what colour the sky, the sunlit and the shaded sides have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Light:
    """Colours are RGB, 0 to 255; `ambient` and `sun` are factors on a surface's own colour.

    Attributes:
        zenith, horizon: sky colours.
        ambient, sun: light in the shade, and what the sun adds to a side that faces it.
        direction: unit vector towards the sun, in world axes.
        haze: colour that far things fade to.
        visibility: metres over which all but a third has faded.
        clouds: share of the sky under clouds, 0 to 1.
        darkness: 0 by day to 1 at night; lamps and windows are lit above 0.4.
    """

    mood: str
    zenith: np.ndarray
    horizon: np.ndarray
    ambient: np.ndarray
    sun: np.ndarray
    direction: np.ndarray
    haze: np.ndarray
    visibility: float
    clouds: float
    darkness: float

    def shade(self, normal: np.ndarray) -> np.ndarray:
        """Factor (3,) on the colour of a surface with this unit normal."""
        facing = max(0.0, float(np.dot(normal, self.direction)))
        sky = 0.9 + 0.1 * float(normal[1])
        return self.ambient * sky + self.sun * facing

    def fading(self, depth: np.ndarray | float) -> np.ndarray | float:
        """Share of haze (0 to 1) in front of things at this distance."""
        return 1.0 - np.exp(-np.maximum(depth, 0.0) / self.visibility)

    @property
    def lit(self) -> bool:
        return self.darkness > 0.4

    @property
    def side(self) -> float:
        """-1 where the sun is on the left to 1 on the right."""
        return float(self.direction[0])


@dataclass(frozen=True)
class _Mood:
    weight: float
    zenith: tuple[int, int, int]
    horizon: tuple[int, int, int]
    ambient: tuple[float, float, float]
    sun: tuple[float, float, float]
    elevation: tuple[float, float]  # of the sun, in degrees
    visibility: tuple[float, float]
    clouds: tuple[float, float]
    darkness: float


_MOODS = {
    "noon": _Mood(
        0.28,
        (74, 140, 212),
        (206, 228, 240),
        (0.66, 0.70, 0.78),
        (0.46, 0.43, 0.36),
        (42, 60),
        (220, 500),
        (0.1, 0.5),
        0.0,
    ),
    "morning": _Mood(
        0.22,
        (122, 172, 218),
        (255, 230, 200),
        (0.66, 0.67, 0.74),
        (0.48, 0.41, 0.30),
        (22, 38),
        (120, 260),
        (0.1, 0.4),
        0.0,
    ),
    "golden": _Mood(
        0.18,
        (104, 142, 196),
        (255, 206, 148),
        (0.60, 0.57, 0.64),
        (0.58, 0.42, 0.22),
        (14, 26),
        (130, 300),
        (0.15, 0.5),
        0.15,
    ),
    "overcast": _Mood(
        0.14,
        (158, 172, 186),
        (222, 226, 228),
        (0.80, 0.82, 0.84),
        (0.12, 0.12, 0.11),
        (45, 65),
        (120, 260),
        (0.7, 0.95),
        0.05,
    ),
    "mist": _Mood(
        0.08,
        (196, 208, 214),
        (232, 233, 228),
        (0.80, 0.80, 0.80),
        (0.18, 0.16, 0.13),
        (22, 40),
        (38, 65),
        (0.2, 0.6),
        0.1,
    ),
    "dusk": _Mood(
        0.10,
        (54, 66, 122),
        (248, 164, 130),
        (0.52, 0.49, 0.62),
        (0.26, 0.16, 0.12),
        (8, 16),
        (120, 260),
        (0.1, 0.5),
        0.6,
    ),
}


def sample_light(rng: np.random.Generator) -> Light:
    """Draw a time of day with its weather and a side for the sun."""
    names = list(_MOODS)
    weights = np.array([_MOODS[name].weight for name in names])
    name = names[rng.choice(len(names), p=weights / weights.sum())]
    mood = _MOODS[name]
    elevation = np.deg2rad(rng.uniform(*mood.elevation))
    # From the side, a little behind or before the camera: long shadows lie across the street.
    azimuth = rng.uniform(np.deg2rad(25), np.deg2rad(140)) * rng.choice([-1.0, 1.0])
    direction = np.array(
        [
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
            np.cos(elevation) * np.cos(azimuth),
        ]
    )
    tint = rng.normal(0, 4, 3)
    horizon = np.clip(np.array(mood.horizon) + tint, 0, 255)
    return Light(
        mood=name,
        zenith=np.clip(np.array(mood.zenith) + tint, 0, 255),
        horizon=horizon,
        ambient=np.array(mood.ambient),
        sun=np.array(mood.sun) * rng.uniform(0.85, 1.15),
        direction=direction,
        haze=horizon * 0.97,
        visibility=rng.uniform(*mood.visibility),
        clouds=rng.uniform(*mood.clouds),
        darkness=mood.darkness,
    )
