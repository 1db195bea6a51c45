"""What bodies and hands usually do: pose statistics measured on motion capture, and anatomical joint limits."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from ..skeleton import JOINT_NAMES

_LIMITS = {  # component ranges of the axis-angle vector in radians, left side; mirrored for the right
    "left_hip": ((-2.3, 0.5), (-1.0, 1.0), (-0.9, 1.2)),
    "left_knee": ((-0.05, 2.7), (-0.35, 0.35), (-0.35, 0.35)),
    "left_ankle": ((-0.9, 0.9), (-0.7, 0.7), (-0.6, 0.6)),
    "left_foot": ((-0.7, 0.6), (-0.1, 0.1), (-0.1, 0.1)),
    "left_collar": ((-0.4, 0.4), (-0.5, 0.5), (-0.35, 0.6)),
    "left_shoulder": ((-2.2, 2.0), (-2.4, 1.2), (-1.8, 1.7)),
    "left_elbow": ((-0.8, 0.8), (-2.6, 0.05), (-0.6, 0.6)),
    "left_wrist": ((-1.4, 1.4), (-0.9, 0.9), (-1.4, 1.4)),
    "spine1": ((-0.5, 0.9), (-0.5, 0.5), (-0.5, 0.5)),
    "spine2": ((-0.4, 0.7), (-0.4, 0.4), (-0.4, 0.4)),
    "spine3": ((-0.4, 0.6), (-0.4, 0.4), (-0.4, 0.4)),
    "neck": ((-0.7, 0.8), (-0.8, 0.8), (-0.6, 0.6)),
    "head": ((-0.7, 0.7), (-0.8, 0.8), (-0.6, 0.6)),
}
_MIN_STD = 0.10
"""Floor of the prior's standard deviations, radians: capture rigs with fixed clavicles or toes show none."""


@dataclass(frozen=True)
class PosePrior:
    """Gaussian over the axis-angle vectors of n joints, box limits, and accelerations."""

    mean: np.ndarray
    """(n, 3) radians."""
    precision: np.ndarray
    """(3n, 3n) inverse covariance."""
    low: np.ndarray
    """(n, 3) lower limits, radians."""
    high: np.ndarray
    """(n, 3) upper limits, radians."""
    acceleration_rms: np.ndarray
    """(n,) angular acceleration, rad/s^2."""


@dataclass(frozen=True)
class RootPrior:
    """How fast the root of a moving person accelerates."""

    angular_rms: float
    """rad/s^2"""
    linear_rms: np.ndarray
    """(3,) m/s^2"""


@cache
def _statistics() -> dict[str, np.ndarray]:
    with (
        (files("hmcap.models") / "data" / "pose_prior.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as data,
    ):
        return {k: np.asarray(data[k], np.float64) for k in data}


def _precision(covariance: np.ndarray, min_std: float) -> np.ndarray:
    return np.linalg.inv(covariance + min_std**2 * np.eye(len(covariance)))


@cache
def body_prior() -> PosePrior:
    """Prior of the 21 body joints below the root."""
    s = _statistics()
    names = JOINT_NAMES[1:22]
    low, high = np.full((21, 3), -np.pi), np.full((21, 3), np.pi)
    for name, ranges in _LIMITS.items():
        lo, hi = np.array(ranges).T
        i = names.index(name)
        low[i], high[i] = lo, hi
        if name.startswith("left"):  # mirroring keeps x and turns y and z round
            i = names.index(name.replace("left", "right"))
            low[i], high[i] = [lo[0], -hi[1], -hi[2]], [hi[0], -lo[1], -lo[2]]
    return PosePrior(
        s["body_mean"],
        _precision(s["body_covariance"], _MIN_STD),
        low,
        high,
        np.maximum(s["body_acceleration_rms"], 8.0),
    )


@cache
def root_prior() -> RootPrior:
    """Accelerations of the root."""
    s = _statistics()
    return RootPrior(float(s["root_acceleration_rms"]), s["trans_acceleration_rms"])


@cache
def hand_prior(side: str) -> PosePrior:
    """Prior of the 15 finger joints of one hand, ``left`` or ``right``."""
    s = _statistics()
    mirror = np.array([1.0, 1.0, 1.0]) if side == "right" else np.array([1.0, -1.0, -1.0])
    flip = np.tile(mirror, 15)
    covariance = s["hand_covariance"] * flip[:, None] * flip[None, :]
    wide = np.full((15, 3), 2.2)
    return PosePrior(s["hand_mean"] * mirror, _precision(covariance, _MIN_STD), -wide, wide, np.full(15, 60.0))
