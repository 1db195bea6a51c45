"""What the tables of numbers (csv, json) and the marker files share: time, up axis, quaternions."""

from collections.abc import Iterator

import numpy as np

from ...models.rotations import axis_angle_to_quaternion, same_side
from .prepare import Prepared
from .track import Z_UP_FROM_Y_UP, Track, z_up


def even_times_s(ready: Prepared) -> np.ndarray:
    """(T,) seconds of each frame from the first one, on the exact grid of the file's frame rate, as in every format."""
    return np.arange(len(ready.track)) / ready.fps


def in_up_axis(ready: Prepared) -> Track:
    """Track in the world whose up axis the options ask for."""
    return ready.track if ready.options.up == "y" else z_up(ready.track, ready.rest_joints_m[0])


def table_rows(ready: Prepared, track: Track) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Number, joint positions (165,) in metres and quaternions (220,) wxyz of every frame of ``track``, which
    :func:`in_up_axis` gave; rounded, and made a block of frames at a time."""
    turn = np.eye(3) if ready.options.up == "y" else Z_UP_FROM_Y_UP.T
    before = np.zeros((0, 55, 4))
    for rows in ready.blocks():
        quaternions = same_side(np.concatenate((before, axis_angle_to_quaternion(track.poses[rows]))))[len(before) :]
        before = quaternions[-1:]
        xyz, wxyz = rounded(ready.world(rows)[1] @ turn, 5), rounded(quaternions, 6)
        for k in range(len(xyz)):
            yield rows.start + k, xyz[k].ravel(), wxyz[k].ravel()


def rounded(values: np.ndarray, decimals: int) -> np.ndarray:
    """``values`` to so many decimals, without a minus sign on zeros."""
    return np.round(values, decimals) + 0.0
