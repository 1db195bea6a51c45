"""How far away a foot is that stands on the floor: its sight line meets the floor where it stands.

The networks' depth comes from the size of the body, whose error lasts; this one comes from the height of the camera,
and needs only that the foot stands. Along the floor it is as good as the sight line is steep.
"""

from dataclasses import dataclass

import numpy as np

from ..observed import Observed
from .legs import Legs, apply
from .picture import FEET
from .records import RATE_HZ
from .world_settings import WorldSettings

_FLAT = 0.06
"""A sight line less steep than this says nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Sightlines:
    """Places of the pelvis along the level directions of four sight lines, T frames."""

    ahead: np.ndarray
    """(T, 4, 3) level unit vectors, away from the camera."""
    distance_m: np.ndarray
    """(T, 4) how far the pelvis is along it, from the point under the camera."""
    weight: np.ndarray
    """(T, 4) inverse variance of that; 0 where nothing is known."""


def sightlines(
    legs: Legs,
    observed: Observed,
    R_cam_world: np.ndarray,
    camera_height_m: float,
    depth_m: np.ndarray,
    contact: np.ndarray,
    settings: WorldSettings,
) -> Sightlines:
    """Sight lines of the feet. legs: in the axes of the world; depth_m (T,): distance of the person; contact (T, 4)."""
    person = legs.person
    T = len(depth_m)
    offsets = person.proxies_m[FEET].reshape(2, 2, 3)
    heel = apply(legs.R_ankle, offsets[:, 0])
    toe = apply(legs.R_ankle, person.instep_m) + apply(legs.R_toes, offsets[:, 1])
    points = (legs.ankle_m[:, :, None] + np.stack([heel, toe], axis=2)).reshape(T, 4, 3)
    height = points[..., 1] - legs.points_m()[..., 1]  # of the proxy above the floor, when its foot stands
    xy = np.asarray(observed.xy, np.float64)[:, FEET]
    rays = np.concatenate([xy, np.ones((T, 4, 1))], axis=-1) @ R_cam_world
    level = np.hypot(rays[..., 0], rays[..., 2])
    ahead = rays * [1.0, 0.0, 1.0] / np.maximum(level, 1e-6)[..., None]
    steep = -rays[..., 1] / np.maximum(level, 1e-6)
    known = (steep > _FLAT) & (observed.confidence[:, FEET] > 0)
    foot_m = (camera_height_m - height) / np.where(known, steep, 1.0)
    sigma = settings.sightline_sigma * depth_m[:, None] / np.where(known, steep, 1.0)
    sigma = np.hypot(sigma, settings.foot_sigma_m)
    frames = max(1.0, settings.sightline_memory_s * RATE_HZ)
    # heel and ball of one foot are no two looks
    weight = observed.confidence[:, FEET] * np.asarray(contact, np.float64) ** 2 / (2 * frames * sigma**2)
    return Sightlines(ahead, foot_m - (ahead * points).sum(-1), np.where(known, weight, 0.0))
