"""Outlines that objects are put together from: points in, points out."""

from __future__ import annotations

import cv2
import numpy as np

_ANGLES = np.linspace(0, 2 * np.pi, 28, endpoint=False)
CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


def circle(center: np.ndarray, radius: float, stretch: float = 1.0) -> np.ndarray:
    """A circle (28, 2), or an ellipse `stretch` times as high as wide."""
    return np.asarray(center) + CIRCLE * (radius, radius * stretch)


def hull(points: np.ndarray) -> np.ndarray:
    """Convex hull (n, 2) of points (m, 2)."""
    return cv2.convexHull(np.asarray(points, dtype=np.float32))[:, 0].astype(np.float64)


def limb(start: np.ndarray, end: np.ndarray, start_radius: float, end_radius: float) -> np.ndarray:
    """A tapered stroke with round ends (n, 2)."""
    return hull(np.concatenate([circle(start, start_radius), circle(end, end_radius)]))


def rectangle(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    """An upright rectangle (4, 2)."""
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=np.float64)


def wheel(radius: float, center: float, height: float, lateral: float) -> np.ndarray:
    """A circle (28, 3) in the plane along the vehicle: right, up, forward."""
    points = np.empty((len(CIRCLE), 3))
    points[:, 0] = lateral
    points[:, 1] = height + CIRCLE[:, 1] * radius
    points[:, 2] = center + CIRCLE[:, 0] * radius
    return points


def along(points: np.ndarray, lateral: float | np.ndarray) -> np.ndarray:
    """Points (n, 2) of (forward, up) in the plane `lateral` metres to the right: (n, 3)."""
    points = np.asarray(points, dtype=np.float64)
    return np.column_stack([np.broadcast_to(lateral, len(points)), points[:, 1], points[:, 0]])
