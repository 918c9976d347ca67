"""A pinhole camera above a flat ground: from metres in the scene to pixels in the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NEAR = 0.8  # metres; nearer points are moved to this distance, so that their pixels stay finite


@dataclass(frozen=True)
class Camera:
    """World axes: X to the right, Y up from the ground, Z forward, all in metres.

    Attributes:
        width, height: image size in pixels.
        focal: focal length in pixels.
        center_x, horizon: the vanishing point of the street, in pixels.
        elevation: height of the camera above the ground, in metres.
    """

    width: int
    height: int
    focal: float
    center_x: float
    horizon: float
    elevation: float

    def project(self, points: np.ndarray) -> np.ndarray:
        """World points (..., 3) to image points (..., 2), in pixels; pixel i covers [i, i + 1)."""
        points = np.asarray(points, dtype=np.float64)
        depth = np.maximum(points[..., 2], NEAR)
        image = np.empty((*points.shape[:-1], 2))
        image[..., 0] = self.center_x + self.focal * points[..., 0] / depth
        image[..., 1] = self.horizon + self.focal * (self.elevation - points[..., 1]) / depth
        return image

    def scale(self, depth: float) -> float:
        """Pixels a metre has at this distance."""
        return self.focal / max(depth, NEAR)

    def ground_depth(self, rows: np.ndarray) -> np.ndarray:
        """Distance of the ground seen in these image rows; far above and at the horizon."""
        below = np.maximum(np.asarray(rows, dtype=np.float64) - self.horizon, 1e-3)
        return self.focal * self.elevation / below

    def near_edge(self) -> float:
        """Distance of the ground at the lower image border."""
        return float(self.ground_depth(np.array(self.height)))


@dataclass(frozen=True)
class Pose:
    """Where an object stands on the ground and where it faces.

    Local axes: right, up, forward. At yaw 0 forward is Z, away from the camera; at pi / 2 it is X.
    """

    camera: Camera
    x: float
    z: float
    yaw: float = 0.0

    def world(self, local: np.ndarray) -> np.ndarray:
        """Local (right, up, forward) points (..., 3) to world points (..., 3)."""
        local = np.asarray(local, dtype=np.float64)
        sine, cosine = np.sin(self.yaw), np.cos(self.yaw)
        world = np.empty_like(local)
        world[..., 0] = self.x + local[..., 0] * cosine + local[..., 2] * sine
        world[..., 1] = local[..., 1]
        world[..., 2] = self.z - local[..., 0] * sine + local[..., 2] * cosine
        return world

    def project(self, local: np.ndarray) -> np.ndarray:
        """Local points (..., 3) to image points (..., 2)."""
        return self.camera.project(self.world(local))

    def direction(self, local: np.ndarray) -> np.ndarray:
        """A local direction (3,) in world axes."""
        return self.world(local) - np.array([self.x, 0.0, self.z])

    def viewer(self) -> np.ndarray:
        """The camera's position in local axes (3,)."""
        sine, cosine = np.sin(self.yaw), np.cos(self.yaw)
        return np.array(
            [
                -self.x * cosine + self.z * sine,
                self.camera.elevation,
                -self.x * sine - self.z * cosine,
            ]
        )

    def scale(self) -> float:
        """Pixels a metre has where the object stands."""
        return self.camera.scale(self.z)
