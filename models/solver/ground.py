"""Which way is up, where the floor is, and when a foot stands on it."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d, minimum_filter1d
from scipy.optimize import least_squares

from .energy import Chain
from .rig import Rig

_PITCH_PRIOR_RAD = (np.radians(6.0), np.radians(15.0))
"""Mean and spread of how far a camera looks down."""
_ROLL_PRIOR_RAD = (0.0, np.radians(8.0))
_KNOWN_SPREAD_RAD = 1e-4
_BALANCE_SIGMA_RAD = np.radians(4.0)
"""How far the line from the support to the body's centre leans off the vertical, averaged over a long take."""
_BALANCE_FRAMES = 20
"""Frames of standing after which that average begins to be worth its sigma."""
_STRAIGHT_LEG = 0.85
"""Hip to ankle as a share of the whole leg above which a person stands: sitting, the feet bear little."""
_PLANE_SIGMA_M = 0.04
_DEPTH_SIGMA = 0.06
"""Error of a foot's depth, as a fraction of its distance."""
_INDEPENDENT_LOOKS = 15
"""So many independent looks at the floor are in a take, however long."""
_STAND_SPEED_M_S = 0.30
_STAND_HEIGHT_M = 0.10

_SEGMENT_MASS = {  # share of body mass, between two joints (after Dempster's cadaver tables, rounded)
    (0, 9): 0.30, (9, 12): 0.20, (12, 15): 0.08, (1, 4): 0.10, (2, 5): 0.10, (4, 7): 0.045, (5, 8): 0.045,
    (7, 10): 0.015, (8, 11): 0.015, (16, 18): 0.028, (17, 19): 0.028, (18, 20): 0.022, (19, 21): 0.022,
}  # fmt: skip


@dataclass(frozen=True)
class Gravity:
    """A camera that stands still over a level floor."""

    R_cam_world: np.ndarray
    """(3, 3)"""
    t_cam_world_m: np.ndarray
    """(3,)"""

    def to_world(self, chain: Chain, root_rest_m: np.ndarray) -> Chain:
        """A chain from the camera frame to this world; ``root_rest_m`` (3,) is the rest place of the root."""
        R = chain.R_local.copy()
        R[:, 0] = self.R_cam_world.T @ R[:, 0]
        pelvis = (chain.trans_m + root_rest_m - self.t_cam_world_m) @ self.R_cam_world
        return Chain(R, pelvis - root_rest_m)


def centre_of_mass(joints_m: np.ndarray) -> np.ndarray:
    """(T, 3) centre of mass of body joints (T, 22, 3)."""
    total = sum(_SEGMENT_MASS.values())
    return sum(w / total * (joints_m[:, a] + joints_m[:, b]) / 2 for (a, b), w in _SEGMENT_MASS.items())  # type: ignore[return-value]


def upright_rotation(pitch_rad: float, roll_rad: float) -> np.ndarray:
    """R_cam_world of a camera that looks along the world's -Z, pitched down and rolled about its own axis."""
    cp, sp, cr, sr = np.cos(pitch_rad), np.sin(pitch_rad), np.cos(roll_rad), np.sin(roll_rad)
    level = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])
    pitch = np.array([[1.0, 0, 0], [0, cp, -sp], [0, sp, cp]])
    roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1.0]])
    return roll @ pitch @ level


def foot_speed(points_m: np.ndarray, stamps_s: np.ndarray, centre_m: np.ndarray) -> np.ndarray:
    """(T, C) speed in m/s of foot points (T, C, 3) across the line of sight from ``centre_m``; depth is too noisy."""
    if len(points_m) < 2:
        return np.zeros(points_m.shape[:2])
    velocity = np.gradient(points_m, stamps_s, axis=0)
    ray = points_m - centre_m
    ray = ray / np.linalg.norm(ray, axis=-1, keepdims=True)
    across = velocity - ray * (velocity * ray).sum(-1, keepdims=True)
    frame_s = float(np.median(np.diff(stamps_s)))
    if 0.04 / frame_s > 0.3:
        across = gaussian_filter1d(across, 0.04 / frame_s, axis=0)
    return np.linalg.norm(across, axis=-1)


def contact_probability(
    points_m: np.ndarray, stamps_s: np.ndarray, centre_m: np.ndarray, seen: np.ndarray
) -> np.ndarray:
    """(T, C) probability that foot points (world, floor near y = 0) stand: slow, and no higher than the lowest lately.

    ``seen``: (T, C) confidence of the proxies near each point; an unseen foot claims no contact.
    """
    speed = foot_speed(points_m, stamps_s, centre_m)
    frame_s = float(np.median(np.diff(stamps_s))) if len(stamps_s) > 1 else 1 / 30
    lowest = minimum_filter1d(points_m[..., 1].min(1), 2 * max(1, round(0.75 / frame_s)) + 1)
    height = points_m[..., 1] - lowest[:, None]
    slow = 1 / (1 + np.exp(np.clip((speed - _STAND_SPEED_M_S) / 0.06, -50, 50)))
    low = 1 / (1 + np.exp(np.clip((height - _STAND_HEIGHT_M) / 0.025, -50, 50)))
    return slow * low * np.clip(2 * seen, 0, 1)


def estimate_gravity(
    chain: Chain,
    rig: Rig,
    contact_points: np.ndarray,
    stamps_s: list[np.ndarray],
    pieces: list[slice],
    seen: np.ndarray,
    up_cam: tuple[float, float, float] | None = None,
) -> Gravity:
    """Camera over the floor, from a motion solved in the camera frame. ``up_cam``: the vertical, where it is known.

    Three cues: cameras are held nearly level; people balance, so their centre of mass stands over their feet; feet that
    stand lie in one plane. ``pieces`` are the runs of consecutive frames in ``chain``, with their stamps.
    """
    posed = rig.forward(chain.R_local, chain.trans_m)
    feet = posed.points_m[:, contact_points]
    mass = centre_of_mass(posed.joints_m)
    upright = leg_stretch(posed.joints_m, rig.joints_m) > _STRAIGHT_LEG
    prior = np.array([_PITCH_PRIOR_RAD, _ROLL_PRIOR_RAD])
    if up_cam is not None:
        x, y, z = up_cam
        prior = np.array([[np.arctan2(-z, np.hypot(x, y)), _KNOWN_SPREAD_RAD], [np.arctan2(x, -y), _KNOWN_SPREAD_RAD]])
    (pitch, roll), height = prior[:, 0], 0.0
    for _ in range(4):
        R = upright_rotation(pitch, roll)
        world = feet @ R  # rows times R = R^T x
        stand = np.zeros(world.shape[:2])
        for stamps, piece in zip(stamps_s, pieces, strict=True):
            stand[piece] = contact_probability(world[piece], stamps, np.zeros(3), seen[piece])
        pitch, roll, height = _fit_plane(feet, mass, stand, upright, pitch, roll, prior)
    R = upright_rotation(pitch, roll)
    return Gravity(R, -R @ np.array([0.0, height, 0.0]))


def leg_stretch(joints_m: np.ndarray, rest_m: np.ndarray) -> np.ndarray:
    """(T,) distance from hip to ankle of the straighter leg, as a share of its length, from joints (T, 22, 3)."""
    share = []
    for hip, knee, ankle in ((1, 4, 7), (2, 5, 8)):
        length = np.linalg.norm(rest_m[knee] - rest_m[hip]) + np.linalg.norm(rest_m[ankle] - rest_m[knee])
        share.append(np.linalg.norm(joints_m[:, ankle] - joints_m[:, hip], axis=-1) / length)
    return np.maximum(*share)


def _fit_plane(
    feet: np.ndarray,
    mass: np.ndarray,
    stand: np.ndarray,
    upright: np.ndarray,
    pitch: float,
    roll: float,
    prior: np.ndarray,
) -> tuple[float, float, float]:
    """Pitch, roll (radians) and height of the camera above the floor (m). ``prior``: (2, 2) mean and spread of each."""
    weight = stand.sum(1)
    if not (stand > 0.5).any():
        lowest = (feet @ upright_rotation(pitch, roll))[..., 1].min()
        return pitch, roll, float(-lowest)
    support = (feet * stand[..., None]).sum(1) / np.maximum(weight, 1e-6)[:, None]
    balanced = (weight > 0.5) & upright
    mean_lean, balance = np.zeros(3), 0.0
    if balanced.any():
        lean = mass[balanced] - support[balanced]
        mean_lean = np.median(lean / np.linalg.norm(lean, axis=-1, keepdims=True), axis=0)
        balance = 1 / (_BALANCE_SIGMA_RAD * np.sqrt(1 + _BALANCE_FRAMES / balanced.sum()))
    points, w = feet[stand > 0.5], stand[stand > 0.5]
    # A foot is uncertain along its ray. Seen at a grazing angle that hardly moves it off the floor; a plane fitted
    # without this would lean into the rays.
    uncertain = _DEPTH_SIGMA * np.abs(points @ upright_rotation(pitch, roll)[:, 1])
    share = np.sqrt(w * min(1.0, _INDEPENDENT_LOOKS / len(points)))
    share /= np.hypot(_PLANE_SIGMA_M, uncertain)

    def residuals(v: np.ndarray) -> np.ndarray:
        R = upright_rotation(v[0], v[1])
        up = R[:, 1]
        tilt = np.cross(up, mean_lean)
        plane = share * (points @ up + v[2])
        plane = np.sign(plane) * np.sqrt(2 * (np.sqrt(1 + plane**2) - 1))  # Charbonnier: steps and jumps count less
        return np.concatenate(
            [
                (v[:2] - prior[:, 0]) / prior[:, 1],
                tilt * balance,
                plane,
            ]
        )

    start = np.array([pitch, roll, -np.median(points @ upright_rotation(pitch, roll)[:, 1])])
    high = max(20.0, 2 * abs(start[2]))  # a long lens sees from afar
    fit = least_squares(residuals, start, bounds=([-0.7, -0.4, -high], [1.2, 0.4, high]))
    return float(fit.x[0]), float(fit.x[1]), float(fit.x[2])
