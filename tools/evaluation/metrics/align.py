"""Alignment of point sets, and means over what is known. NaN stands for "not known" everywhere."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Similarity:
    """x -> scale R x + shift, for each leading index."""

    scale: np.ndarray
    """(...)"""
    R: np.ndarray
    """(..., 3, 3)"""
    shift_m: np.ndarray
    """(..., 3)"""

    def __call__(self, points_m: np.ndarray) -> np.ndarray:
        """(..., N, 3) points moved."""
        turned = np.einsum("...ij,...nj->...ni", self.R, points_m)
        return self.scale[..., None, None] * turned + self.shift_m[..., None, :]


def fit_similarity(source_m: np.ndarray, target_m: np.ndarray, with_scale: bool = True) -> Similarity:
    """The similarity that brings ``source_m`` (..., N, 3) nearest to ``target_m`` (..., N, 3) in the least-squares
    sense (Umeyama 1991, equations 40 to 43): never a reflection; ``with_scale`` False leaves the size alone.

    Points with a NaN in either set do not count. Fewer than three that count give NaN, because any two points can be
    laid on any other two. Points on a line are no trouble: the turn about it is free and moves none of them. Source
    points that all coincide keep their size (there is none to change) and go to the middle of the target.
    """
    known = known_points(source_m, target_m)
    count = known.sum(-1)
    good = count >= 3
    n = np.maximum(count, 1)[..., None]
    s, t = (np.where(known[..., None], x, 0.0) for x in (source_m, target_m))
    mean_s, mean_t = s.sum(-2) / n, t.sum(-2) / n
    s = np.where(known[..., None], s - mean_s[..., None, :], 0.0)
    t = np.where(known[..., None], t - mean_t[..., None, :], 0.0)
    U, D, Vt = np.linalg.svd(np.einsum("...ni,...nj->...ij", t, s))
    sign = np.ones_like(D)
    sign[..., 2] = np.where(np.linalg.det(U @ Vt) < 0, -1.0, 1.0)
    R = (U * sign[..., None, :]) @ Vt
    scale = np.ones(count.shape)
    if with_scale:
        spread = (s**2).sum((-1, -2))
        size = spread > 1e-18
        scale = np.where(size, (D * sign).sum(-1) / np.where(size, spread, 1.0), 1.0)
    scale = np.where(good, scale, np.nan)
    return Similarity(scale, R, mean_t - scale[..., None] * np.einsum("...ij,...j->...i", R, mean_s))


def known_points(*points: np.ndarray) -> np.ndarray:
    """(..., N) bool: the points whose coordinates are finite in every one of the arrays (..., N, D)."""
    known = np.isfinite(points[0])
    for other in points[1:]:
        known = known & np.isfinite(other)
    return np.asarray(known.all(-1))


def known_sets(*points: np.ndarray) -> np.ndarray:
    """(...) bool: the sets of points (..., N, D) of which at least one point is finite in every one of the arrays."""
    return np.asarray(known_points(*points).any(-1))


def mean_known(values: np.ndarray, axis: int | tuple[int, ...] | None = None) -> np.ndarray:
    """Mean over an axis (or all) of the values that are not NaN; NaN where there is none."""
    known = ~np.isnan(values)
    count = known.sum(axis)
    return np.where(count > 0, np.where(known, values, 0.0).sum(axis) / np.maximum(count, 1), np.nan)
