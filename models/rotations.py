"""Rotations: axis-angle (radians), matrices, quaternions (wxyz). Leading dimensions are batch.

Functions that the body model needs run on numpy and torch alike; the rest is numpy on top of scipy.
"""

from typing import Any

import array_api_compat
import numpy as np
from scipy.spatial.transform import Rotation

Array = Any
"""A numpy array or a torch tensor; a function returns the kind it was given."""


def skew(v: Array) -> Array:
    """Cross-product matrices (..., 3, 3) of vectors (..., 3)."""
    xp = array_api_compat.array_namespace(v)
    x, y, z = v[..., 0], v[..., 1], v[..., 2]
    o = xp.zeros_like(x)
    rows = [xp.stack(r, axis=-1) for r in ((o, -z, y), (z, o, -x), (-y, x, o))]
    return xp.stack(rows, axis=-2)


def axis_angle_to_matrix(axis_angle: Array) -> Array:
    """Rotation matrices (..., 3, 3) of axis-angle vectors (..., 3), by Rodrigues' formula; smooth at zero."""
    xp = array_api_compat.array_namespace(axis_angle)
    angle2 = xp.sum(axis_angle * axis_angle, axis=-1)[..., None, None]
    small = angle2 < 1e-8
    safe2 = xp.where(small, xp.ones_like(angle2), angle2)
    angle = xp.sqrt(safe2)
    a = xp.where(small, 1 - angle2 / 6, xp.sin(angle) / angle)
    b = xp.where(small, 0.5 - angle2 / 24, (1 - xp.cos(angle)) / safe2)
    k = skew(axis_angle)
    eye = xp.asarray(np.eye(3), dtype=axis_angle.dtype, device=array_api_compat.device(axis_angle))
    return eye + a * k + b * (k @ k)


def matrix_to_axis_angle(R: np.ndarray) -> np.ndarray:
    """Axis-angle (..., 3) of rotation matrices (..., 3, 3), angle in 0..pi."""
    R = np.asarray(R)
    flat = R.reshape(-1, 3, 3)
    # axis * 2 sin(angle) is the skew part; well conditioned but near a half turn, which is left to scipy
    axis = np.stack(
        [flat[:, 2, 1] - flat[:, 1, 2], flat[:, 0, 2] - flat[:, 2, 0], flat[:, 1, 0] - flat[:, 0, 1]], axis=-1
    )
    sine2 = np.sqrt((axis**2).sum(-1))
    angle = np.arctan2(sine2, np.trace(flat, axis1=1, axis2=2) - 1)
    small = sine2 < 1e-6
    out = axis * np.where(small, 0.5, angle / np.where(small, 1.0, sine2))[:, None]
    hard = angle > 3.0
    if hard.any():
        out[hard] = Rotation.from_matrix(flat[hard]).as_rotvec()
    return out.reshape(*R.shape[:-2], 3).astype(R.dtype, copy=False)


def matrix_to_quaternion(R: np.ndarray) -> np.ndarray:
    """Unit quaternions wxyz (..., 4) of rotation matrices (..., 3, 3)."""
    R = np.asarray(R)
    return Rotation.from_matrix(R.reshape(-1, 3, 3)).as_quat(scalar_first=True).reshape(*R.shape[:-2], 4)


def axis_angle_to_quaternion(axis_angle: np.ndarray) -> np.ndarray:
    """Unit quaternions wxyz (..., 4) of axis-angle vectors (..., 3)."""
    v = np.asarray(axis_angle)
    return Rotation.from_rotvec(v.reshape(-1, 3)).as_quat(scalar_first=True).reshape(*v.shape[:-1], 4)


def same_side(quaternions: np.ndarray) -> np.ndarray:
    """The same rotations (T, ..., 4), each quaternion (wxyz or xyzw) on the side of the one before it, so that what
    blends or filters them goes the short way."""
    turns_over = np.sum(quaternions[1:] * quaternions[:-1], axis=-1, keepdims=True) < 0
    sign = np.cumprod(np.where(turns_over, -1.0, 1.0), axis=0)
    return np.concatenate((quaternions[:1], quaternions[1:] * sign))


def right_jacobian(axis_angle: np.ndarray) -> np.ndarray:
    """(..., 3, 3) J with exp(v + d) = exp(v) exp(J d) to first order in d; the local axes of an axis-angle joint."""
    v = np.asarray(axis_angle)
    angle2 = np.sum(v * v, axis=-1)[..., None, None]
    small = angle2 < 1e-6
    safe2 = np.where(small, 1.0, angle2)
    angle = np.sqrt(safe2)
    b = np.where(small, 0.5 - angle2 / 24, (1 - np.cos(angle)) / safe2)
    c = np.where(small, 1 / 6 - angle2 / 120, (angle - np.sin(angle)) / (safe2 * angle))
    k = skew(v)
    return np.eye(3) - b * k + c * (k @ k)


def unwrap_axis_angle(axis_angle: np.ndarray) -> np.ndarray:
    """The same rotations (T, ..., 3) with each vector replaced by its nearest equivalent to the frame before."""
    v = np.array(axis_angle, dtype=np.float64)
    for t in range(1, len(v)):
        angle = np.linalg.norm(v[t], axis=-1, keepdims=True)
        before = np.linalg.norm(v[t - 1], axis=-1, keepdims=True)
        # Whole turns have no axis of their own: they keep that of the frame before.
        axis = np.where(angle > 1e-7, v[t], v[t - 1]) / np.maximum(np.where(angle > 1e-7, angle, before), 1e-7)
        turns = np.round((np.sum(axis * v[t - 1], axis=-1, keepdims=True) - angle) / (2 * np.pi))
        v[t] = axis * (angle + 2 * np.pi * turns)
    return v
