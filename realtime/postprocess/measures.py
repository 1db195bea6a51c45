"""Figures of a track, to say what a change did to it."""

from dataclasses import dataclass

import numpy as np

from ...models.body import forward_kinematics
from ...models.rotations import axis_angle_to_matrix
from ...models.skeleton import NUM_BODY_JOINTS
from ..exporters.track import Track
from .stretches import seen_stretches

_BLOCK = 2048
"""Frames posed at once; bounds the memory of a long take."""


@dataclass(frozen=True, slots=True)
class Calm:
    """How calm motion is; None where it is too short to say."""

    jitter: float | None
    """Third difference of the 22 body joints x fps^3, mean over joints and frames, divided by 10 (unit 10 m/s^3)."""
    acceleration: float | None
    """Second difference of the same x fps^2, mean, m/s^2."""


def joints_m(track: Track, rest_m: np.ndarray) -> np.ndarray:
    """(T, 55, 3) joints in the world, for rest joints (55, 3)."""
    parts = []
    for a in range(0, len(track), _BLOCK):
        rows = slice(a, a + _BLOCK)
        parts.append(forward_kinematics(axis_angle_to_matrix(track.poses[rows]), rest_m, track.trans_m[rows])[1])
    return np.concatenate(parts)


def calm(track: Track, positions_m: np.ndarray, fps: float, breaks: np.ndarray) -> Calm:
    """Figures over the stretches in which somebody is seen; positions_m: (T, >= 22, 3)."""
    body = positions_m[:, :NUM_BODY_JOINTS]
    pieces = [body[a:b] for a, b in seen_stretches(track, breaks)]

    def mean(order: int) -> float | None:
        found = [np.linalg.norm(np.diff(p, order, axis=0), axis=-1).ravel() for p in pieces if len(p) > order]
        return float(np.concatenate(found).mean()) * fps**order if found else None

    jerk = mean(3)
    return Calm(None if jerk is None else jerk / 10, mean(2))


def change(before: float | None, after: float | None, unit: str) -> str:
    """``1.0 -> 0.5 unit``; a dash for what could not be measured."""
    texts = ["-" if value is None else f"{value:.1f}" for value in (before, after)]
    return f"{texts[0]} -> {texts[1]} {unit}"
