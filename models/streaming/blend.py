"""Small tools for going smoothly from one motion to another."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from ..rotations import matrix_to_quaternion, same_side


def smoothstep(u: np.ndarray) -> np.ndarray:
    """0 to 1 with level ends (quintic), of numbers clipped to 0..1."""
    u = np.clip(u, 0.0, 1.0)
    return u**3 * (u * (6 * u - 15) + 10)


def between(R: np.ndarray, target: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Rotations on the way from R to target (..., 3, 3), by share (...) 0..1: the nearest rotation to their mix.

    Both must be well less than half a turn apart.
    """
    share = np.broadcast_to(share, R.shape[:-2])
    out = np.where((share >= 1)[..., None, None], target, R)
    part = (share > 0) & (share < 1)
    if part.any():
        s = share[part][:, None, None]
        U, _, Vt = np.linalg.svd(R[part] * (1 - s) + np.broadcast_to(target, R.shape)[part] * s)
        out[part] = U @ Vt
    return out


def runs(flags: ArrayLike) -> list[tuple[int, int]]:
    """First frame, and the frame after the last, of every run of True in (T,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(flags).astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def smoothed_rotations(R: np.ndarray, frames: float) -> np.ndarray:
    """(T, ..., 3, 3) rotations smoothed over time by a Gaussian of standard deviation ``frames``; no delay."""
    if frames <= 0 or len(R) < 2:
        return R
    q = gaussian_filter1d(same_side(matrix_to_quaternion(R)), frames, axis=0, mode="nearest")
    return Rotation.from_quat(q.reshape(-1, 4), scalar_first=True).as_matrix().reshape(R.shape)
