"""What the tables of numbers (csv, json) and the marker files share: time, up axis, quaternions."""

import numpy as np

from ...models.rotations import axis_angle_to_quaternion, same_side
from .prepare import Prepared
from .track import Z_UP_FROM_Y_UP, Track, z_up


def even_times_s(ready: Prepared) -> np.ndarray:
    """(T,) seconds of each frame from the first one, on the exact grid of the file's frame rate, as in every format."""
    return np.arange(len(ready.track)) / ready.fps


def in_up_axis(ready: Prepared) -> tuple[Track, np.ndarray]:
    """Track and joint positions (T, 55, 3) in metres in the world whose up axis the options ask for."""
    _, positions_m = ready.world
    if ready.options.up == "y":
        return ready.track, positions_m
    return z_up(ready.track, ready.rest_joints_m[0]), positions_m @ Z_UP_FROM_Y_UP.T


def continuous_quaternions(axis_angle: np.ndarray) -> np.ndarray:
    """(T, ..., 4) unit quaternions wxyz of (T, ..., 3) axis-angle; no frame has the sign opposite to that before it."""
    return same_side(axis_angle_to_quaternion(axis_angle))


def rounded(values: np.ndarray, decimals: int) -> np.ndarray:
    """``values`` to so many decimals, without a minus sign on zeros."""
    return np.round(values, decimals) + 0.0
