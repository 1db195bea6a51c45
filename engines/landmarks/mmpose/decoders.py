"""From the outputs of MMPose's networks to key points in pixels of the network's input, and their scores.

SimCC (Li et al. 2022, "SimCC: a Simple Coordinate Classification Perspective for Human Pose Estimation") classifies x
and y apart, in bins smaller than a pixel; a heat map holds one picture for each key point. Where a score is the lower
one of two maxima, or a maximum itself, it is what MMPose's own codecs report.
"""

import numpy as np

_SIMCC_REACH = 3
"""Bins on either side that the parabola is fitted to: half of the sigma that these networks are trained with."""
_MIN_HEAT = 1e-6


def decode_simcc(x: np.ndarray, y: np.ndarray, size_px: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Key points (K, 2) in input pixels and scores (K,) of SimCC outputs (K, W * split) and (K, H * split).

    The place of the maximum is refined by the parabola of least squares around it; ``size_px``: W, H.
    """
    places = [_refined_maximum(values) * (n / values.shape[1]) for values, n in zip((x, y), size_px, strict=True)]
    return np.stack(places, axis=1), np.minimum(x.max(axis=1), y.max(axis=1)).astype(np.float64)


def _refined_maximum(values: np.ndarray) -> np.ndarray:
    """(K,) place of the maximum of each row (K, N), with a fraction where it is not at the edge."""
    best = values.argmax(axis=1)
    offsets = np.arange(-_SIMCC_REACH, _SIMCC_REACH + 1)
    around = np.clip(best[:, None] + offsets, 0, values.shape[1] - 1)
    near = np.take_along_axis(values, around, axis=1).astype(np.float64)
    squares = offsets**2 - np.mean(offsets**2)
    slope = near @ offsets / np.sum(offsets**2)
    bend = near @ squares / np.sum(squares**2)
    inside = (best >= _SIMCC_REACH) & (best < values.shape[1] - _SIMCC_REACH) & (bend < 0)
    shift = -slope / np.where(inside, 2 * bend, 1.0)
    return best + np.where(inside, np.clip(shift, -1, 1), 0.0)


def decode_heatmaps(maps: np.ndarray, size_px: tuple[int, int], udp: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Key points (K, 2) in input pixels and scores (K,) of heat maps (K, h, w).

    The place of the maximum is refined by the parabola through the logarithms of the neighbours, which is exact for a
    Gaussian. ``udp``: the first and last cells lie at the edges of the picture (Huang et al. 2020, "The Devil is in the
    Details: Delving into Unbiased Data Processing"); otherwise cell ``k`` lies at ``k`` times the stride.
    """
    count, h, w = maps.shape
    rows, cols = np.divmod(maps.reshape(count, -1).argmax(axis=1), w)
    every, steps = np.arange(count)[:, None], np.array([-1, 0, 1])
    across = maps[every, rows[:, None], np.clip(cols[:, None] + steps, 0, w - 1)]
    along = maps[every, np.clip(rows[:, None] + steps, 0, h - 1), cols[:, None]]
    cells = np.stack([cols + _peak_of_three(across, cols, w), rows + _peak_of_three(along, rows, h)], axis=1)
    stride = np.subtract(size_px, udp) / np.subtract((w, h), udp)
    return cells * stride, across[:, 1].astype(np.float64)


def _peak_of_three(near: np.ndarray, best: np.ndarray, cells: int) -> np.ndarray:
    """(K,) place of the peak of three neighbours (K, 3) against the middle one; 0 at the edge of the map."""
    before, here, after = np.log(np.maximum(near, _MIN_HEAT)).astype(np.float64).T
    bend = before - 2 * here + after
    inside = (best > 0) & (best < cells - 1) & (bend < 0)
    return np.where(inside, np.clip(0.5 * (before - after) / np.where(inside, bend, 1.0), -0.5, 0.5), 0.0)
