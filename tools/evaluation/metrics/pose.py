"""Errors of positions within a frame: joints, hands and meshes. Metres in, millimetres out."""

from collections.abc import Sequence

import numpy as np

from .align import fit_similarity, mean_known, squared_lengths


def procrustes(predicted_m: np.ndarray, truth_m: np.ndarray) -> np.ndarray:
    """``predicted_m`` (..., N, 3) moved by the similarity (rotation, scale, shift) that brings each frame nearest to
    ``truth_m`` (..., N, 3) in the least-squares sense (Umeyama 1991). NaN where fewer than three points are known."""
    return fit_similarity(predicted_m, truth_m)(predicted_m)


def root_aligned(points_m: np.ndarray, root: Sequence[int]) -> np.ndarray:
    """Points (..., N, 3) less the mean of the points with the indices ``root``; as they are where ``root`` is empty."""
    return points_m - points_m[..., list(root), :].mean(-2, keepdims=True) if len(root) else points_m


def distances_mm(predicted_m: np.ndarray, truth_m: np.ndarray) -> np.ndarray:
    """(..., N) distance of each point (..., N, 3) from its truth, millimetres; NaN where either is not known."""
    return 1000 * np.sqrt(squared_lengths(predicted_m - truth_m))


def joint_errors_mm(predicted_m: np.ndarray, truth_m: np.ndarray, root: Sequence[int] = ()) -> np.ndarray:
    """(..., N) error of each joint (..., N, 3), millimetres, after the means of the joints ``root`` are brought
    together. Their mean over joints is MPJPE (Ionescu et al., Human3.6M, 2014)."""
    return distances_mm(root_aligned(predicted_m, root), root_aligned(truth_m, root))


def pa_joint_errors_mm(predicted_m: np.ndarray, truth_m: np.ndarray) -> np.ndarray:
    """(..., N) error of each joint (..., N, 3) after Procrustes alignment of its frame, millimetres."""
    return distances_mm(procrustes(predicted_m, truth_m), truth_m)


def mpjpe_mm(predicted_m: np.ndarray, truth_m: np.ndarray, root: Sequence[int] = ()) -> np.ndarray:
    """(...) mean per-joint position error of joints (..., N, 3), millimetres; over the joints whose truth is known.

    ``root``: indices of the joints whose mean is brought together first; none compares the positions as they are. A
    mesh in place of joints gives MPVPE, which has no joints of its own to align by: align it first.
    """
    return mean_known(joint_errors_mm(predicted_m, truth_m, root), -1)


def pa_mpjpe_mm(predicted_m: np.ndarray, truth_m: np.ndarray) -> np.ndarray:
    """(...) mean per-joint position error after Procrustes alignment of every frame, millimetres.

    For a hand give its 21 joints (..., 21, 3): each hand is aligned by itself. For a mesh this is PA-MPVPE.
    """
    return mean_known(pa_joint_errors_mm(predicted_m, truth_m), -1)
