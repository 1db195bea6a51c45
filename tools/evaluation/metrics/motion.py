"""Measures of motion over time: acceleration, jitter, foot sliding.

Derivatives are differences between rows that follow each other; where a row is missing (NaN) or the footage skips
frames, every difference across the gap is NaN.
"""

import numpy as np

from .align import mean_known

STILL_M = 0.01
"""A true foot point that moves less than this from one frame to the next stands (WHAM; 30 frames a second there)."""


def consecutive(index: np.ndarray, order: int = 1) -> np.ndarray:
    """(T - order,) bool: whether rows t to t + order are one step apart each, given the frame number (T,) of each row
    in the source. The step is the smallest difference that occurs, so footage of which every n-th frame has truth
    counts as without gaps."""
    steps = np.diff(np.asarray(index))
    if len(steps) < order:
        return np.zeros(0, bool)
    one = steps == steps[steps > 0].min() if (steps > 0).any() else np.zeros(len(steps), bool)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(one, order).all(-1))


def _difference(points_m: np.ndarray, order: int, index: np.ndarray | None) -> np.ndarray:
    """(T - order, ...) difference of that order, NaN across gaps."""
    if len(points_m) <= order:
        return np.zeros((0, *points_m.shape[1:]))
    out = np.diff(points_m, order, axis=0)
    if index is not None:
        out[~consecutive(index, order)] = np.nan
    return out


def _in_rows(values: np.ndarray, rows: int, first: int) -> np.ndarray:
    """``values`` written from row ``first`` on into (rows, ...), NaN elsewhere."""
    out = np.full((rows, *values.shape[1:]), np.nan)
    out[first : first + len(values)] = values
    return out


def acceleration_errors_m_s2(
    predicted_m: np.ndarray, truth_m: np.ndarray, fps: float, index: np.ndarray | None = None
) -> np.ndarray:
    """(T, J) error of the acceleration of each joint, m/s^2: length of the second difference of predicted less true
    positions (T, J, 3), times fps^2. Row t belongs to rows t - 1, t, t + 1; NaN where one is missing.

    Root-aligned joints give "Accel" as it is published (Kanazawa et al., HMMR, 2019; per second as in WHAM)."""
    difference = _difference(predicted_m - truth_m, 2, index) * fps**2
    return _in_rows(np.sqrt((difference**2).sum(-1)), len(predicted_m), 1)


def jitters_10m_s3(joints_m: np.ndarray, fps: float, index: np.ndarray | None = None) -> np.ndarray:
    """(T, J) jitter of each joint in 10 m/s^3: length of the third difference of (T, J, 3), times fps^3, divided by 10
    (WHAM's definition). Row t belongs to rows t - 1 to t + 2; NaN where one is missing."""
    difference = _difference(joints_m, 3, index)
    return _in_rows(np.sqrt((difference**2).sum(-1)) * fps**3 / 10, len(joints_m), 1)


def acceleration_error(predicted_m: np.ndarray, truth_m: np.ndarray, fps: float) -> float:
    """Mean error of the joints' acceleration, m/s^2; NaN for fewer than three rows in sequence."""
    return float(mean_known(acceleration_errors_m_s2(predicted_m, truth_m, fps)))


def jitter(joints_m: np.ndarray, fps: float) -> float:
    """Mean jitter of the joints, 10 m/s^3; NaN for fewer than four rows in sequence."""
    return float(mean_known(jitters_10m_s3(joints_m, fps)))


def foot_sliding_mm(predicted_m: np.ndarray, truth_m: np.ndarray, index: np.ndarray | None = None) -> np.ndarray:
    """(T, P) how far each predicted foot point (T, P, 3) moved since the row before, in millimetres, in the rows where
    the true point moved less than :data:`STILL_M`; NaN in all others, and where a position is missing.

    WHAM's definition (Shin et al., CVPR 2024), to the letter: all three axes count, and the threshold is per frame
    whatever the frame rate, so figures compare between sets of one frame rate only."""
    moved, true_moved = (np.sqrt((_difference(x, 1, index) ** 2).sum(-1)) for x in (predicted_m, truth_m))
    with np.errstate(invalid="ignore"):
        stands = true_moved < STILL_M
    return _in_rows(np.where(stands, 1000 * moved, np.nan), len(truth_m), 1)
