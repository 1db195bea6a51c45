"""Ground contact of the feet, read off their motion."""

import itertools

import numpy as np

from ...models.body import BodyModel
from ...models.markers import contact_rig

TOUCH_HEIGHT_M, LEAVE_HEIGHT_M = 0.035, 0.055
"""A foot point lands below the first height and has left above the second."""
TOUCH_SPEED_M_S, LEAVE_SPEED_M_S = 0.25, 0.45
"""The same for its speed. Recorded feet in stance move at up to about 0.2 m/s (skate of the recording)."""
_SHORTEST_S = 0.07
"""Contacts and gaps shorter than this are noise."""


def feet_m(body: BodyModel, poses: np.ndarray, trans_m: np.ndarray, betas: np.ndarray | None = None) -> np.ndarray:
    """(T, 4, 3) world positions of CONTACT_POINTS for poses (T, 55, 3) and trans (T, 3)."""
    posed = body.astype(np.float64).with_shape(betas).with_pose(poses, trans_m)
    return contact_rig(body).in_world_m(posed)


def contact_labels(feet_world_m: np.ndarray, fps: float) -> np.ndarray:
    """(T, 4) bool contact of CONTACT_POINTS (T, 4, 3), Y up, floor at y = 0, by height and speed with hysteresis.

    A point begins to touch when it is lower than TOUCH_HEIGHT_M and slower than TOUCH_SPEED_M_S, and goes on until it
    is higher than LEAVE_HEIGHT_M or faster than LEAVE_SPEED_M_S. Speed is the central difference.
    """
    feet = np.asarray(feet_world_m, np.float64)
    if len(feet) < 2:
        return feet[..., 1] < TOUCH_HEIGHT_M
    speed = np.linalg.norm(np.gradient(feet, axis=0), axis=-1) * fps
    height = feet[..., 1]
    touch = (height < TOUCH_HEIGHT_M) & (speed < TOUCH_SPEED_M_S)
    stay = (height < LEAVE_HEIGHT_M) & (speed < LEAVE_SPEED_M_S)
    out = np.zeros(touch.shape, bool)
    state = touch[0]
    for t in range(len(feet)):
        state = np.where(state, stay[t], touch[t])
        out[t] = state
    # The end of the hysteresis lags; run backwards too, so that landing and leaving are judged alike.
    state = out[-1]
    for t in range(len(feet) - 1, -1, -1):
        state = np.where(state, stay[t], out[t])
        out[t] |= state
    shortest = round(_SHORTEST_S * fps)
    for k in range(feet.shape[1]):
        _drop_short(out[:, k], False, shortest)
        _drop_short(out[:, k], True, shortest)
    return out


def _drop_short(row: np.ndarray, value: bool, shortest: int) -> None:
    """Turn over runs of ``value`` shorter than ``shortest`` that lie between two others; in place."""
    edges = np.flatnonzero(np.diff(row)) + 1
    for begin, end in itertools.pairwise(edges):
        if bool(row[begin]) == value and end - begin < shortest:
            row[begin:end] = not value
