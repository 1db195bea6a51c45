"""Where a viewer stands to see a person from the front, on a wide screen or on a phone. Pure geometry."""

from dataclasses import dataclass

import numpy as np

FOV_RAD = 0.6
"""Vertical field of view of the viewer; narrow, so that a body looks as through a portrait lens."""
_TALL_M, _WIDE_M = 2.3, 1.75
"""What must be in view around one person: room for raised and spread arms."""
_ASIDE_RAD, _ABOVE_RAD = 0.6, 0.17
_NEAR_M = 0.4
"""How much nearer than the pelvis the foremost hand may be."""
_LOW_PANEL = 0.17
"""Share of a phone's screen by which the picture is moved up, off the panel at its foot."""


@dataclass(frozen=True, slots=True)
class View:
    """A viewpoint in the world, metres."""

    position_m: np.ndarray
    """(3,)"""
    look_at_m: np.ndarray
    """(3,)"""


def front_view(
    paths_m: np.ndarray, facing: np.ndarray, T_cam_world: np.ndarray, aspect: float, turn_rad: float = 0.0
) -> View:
    """The view of a person from the front, a little from the side and from above.

    Args:
        paths_m: (T, 3) where the pelvis goes; all of it comes into view.
        facing: (3,) where the person looks, in the world.
        T_cam_world: (4, 4) the camera of the footage, which is the front unless the person looks away from it.
        aspect: width of the viewer's picture over its height.
        turn_rad: how far to walk around the person from there, to the right as the camera sees it.
    """
    R = T_cam_world[:3, :3]
    camera_m = -R.T @ T_cam_world[:3, 3]
    low, high = paths_m.min(axis=0), paths_m.max(axis=0)
    centre = (low + high) / 2
    to_camera = _level(camera_m - centre)
    front = _level(facing)
    ahead = to_camera if front @ to_camera > -0.2 else front
    angle = _ASIDE_RAD + turn_rad
    c, s = np.cos(angle), np.sin(angle)
    aside = np.array([c * ahead[0] + s * ahead[2], 0.0, -s * ahead[0] + c * ahead[2]])
    across, deep = _extents(paths_m, aside)
    slope = np.tan(FOV_RAD / 2)
    distance_m = max(_TALL_M / 2 / slope, (_WIDE_M + across) / 2 / (slope * aspect)) + deep / 2 + _NEAR_M
    centre = np.array([centre[0], max(0.95, centre[1] - 0.1), centre[2]])
    position = centre + distance_m * (np.cos(_ABOVE_RAD) * aside + np.array([0, np.sin(_ABOVE_RAD), 0]))
    lower = np.array([0, 2 * slope * distance_m * _LOW_PANEL, 0]) if aspect < 0.8 else np.zeros(3)
    return View(position - lower, centre - lower)


def _extents(paths_m: np.ndarray, aside: np.ndarray) -> tuple[float, float]:
    """Width and depth of the paths as seen along ``aside``."""
    right = np.array([aside[2], 0.0, -aside[0]])
    return float(np.ptp(paths_m @ right)), float(np.ptp(paths_m @ aside))


def _level(v: np.ndarray) -> np.ndarray:
    flat = np.array([v[0], 0.0, v[2]], dtype=np.float64)
    length = np.linalg.norm(flat)
    return flat / length if length > 1e-6 else np.array([0.0, 0.0, 1.0])
