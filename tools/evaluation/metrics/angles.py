"""Errors of joint rotations, in degrees: what an animator sees of a BVH."""

import numpy as np

from ....models.rotations import axis_angle_to_matrix


def geodesic_deg(R_a: np.ndarray, R_b: np.ndarray) -> np.ndarray:
    """(...) angle in degrees, 0 to 180, of the rotation from one matrix (..., 3, 3) to the other.

    From the Frobenius norm, |R_a - R_b| = 2 sqrt(2) sin(angle / 2): exactly 0 for equal matrices and accurate near 0,
    where the usual arc cosine of the trace is not (Huynh, Metrics for 3D rotations, 2009).
    """
    half_sine = np.sqrt(((R_a - R_b) ** 2).sum((-1, -2)) / 8)
    return np.degrees(2 * np.arcsin(np.minimum(half_sine, 1.0)))


def joint_angle_errors_deg(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(...) geodesic distance in degrees between joint rotations given as axis-angle (..., 3), radians. Each joint's
    rotation in its parent's frame by itself: an error at the hip is not counted again at the knee."""
    a, b = (axis_angle_to_matrix(np.asarray(x, np.float64)) for x in (predicted, truth))
    return geodesic_deg(a, b)
