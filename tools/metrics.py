"""Error measures of 3-D joints, the same for this software and for any peer. Metres in, millimetres out."""

import numpy as np


def procrustes(predicted_m: np.ndarray, truth_m: np.ndarray) -> np.ndarray:
    """``predicted_m`` (T, J, 3) moved by the similarity (rotation, scale, shift) that brings each frame nearest to
    ``truth_m`` (T, J, 3) in the least-squares sense (Umeyama 1991)."""
    mean_p, mean_t = predicted_m.mean(1, keepdims=True), truth_m.mean(1, keepdims=True)
    p, t = predicted_m - mean_p, truth_m - mean_t
    U, S, Vt = np.linalg.svd(np.swapaxes(p, -1, -2) @ t)
    sign = np.ones_like(S)
    sign[:, -1] = np.sign(np.linalg.det(U @ Vt))  # a rotation, never a reflection
    R = (U * sign[:, None]) @ Vt
    scale = (S * sign).sum(-1) / np.maximum((p**2).sum((1, 2)), 1e-12)
    return scale[:, None, None] * (p @ R) + mean_t


def mpjpe_mm(predicted_m: np.ndarray, truth_m: np.ndarray, root: tuple[int, ...] = ()) -> np.ndarray:
    """(T,) mean per-joint position error of joints (T, J, 3), millimetres.

    ``root``: indices of the joints whose mean is brought together first; none compares the positions as they are.
    """
    if root:
        index = list(root)
        predicted_m = predicted_m - predicted_m[:, index].mean(1, keepdims=True)
        truth_m = truth_m - truth_m[:, index].mean(1, keepdims=True)
    return 1000 * np.linalg.norm(predicted_m - truth_m, axis=-1).mean(-1)


def pa_mpjpe_mm(predicted_m: np.ndarray, truth_m: np.ndarray) -> np.ndarray:
    """(T,) mean per-joint position error after Procrustes alignment of every frame, millimetres."""
    return mpjpe_mm(procrustes(predicted_m, truth_m), truth_m)


def acceleration_error(predicted_m: np.ndarray, truth_m: np.ndarray, fps: float) -> float:
    """Mean error of the joints' acceleration, m/s^2: second differences of (T, J, 3) at a constant frame rate."""
    difference = np.diff(predicted_m - truth_m, 2, axis=0) * fps**2
    return float(np.linalg.norm(difference, axis=-1).mean())


def jitter(joints_m: np.ndarray, fps: float) -> float:
    """Third difference x fps^3 of (T, J, 3), mean over joints, divided by 10 (unit 10 m/s^3, WHAM's definition)."""
    return float(np.linalg.norm(np.diff(joints_m, 3, axis=0), axis=-1).mean() * fps**3 / 10)
