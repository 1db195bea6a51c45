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
        turn = self.scale[..., None, None] * np.swapaxes(self.R, -1, -2)
        return points_m @ turn + self.shift_m[..., None, :]


def fit_similarity(source_m: np.ndarray, target_m: np.ndarray, with_scale: bool = True) -> Similarity:
    """The similarity that brings ``source_m`` (..., N, 3) nearest to ``target_m`` (..., N, 3) in the least-squares
    sense (Umeyama 1991, equations 40 to 43): never a reflection; ``with_scale`` False leaves the size alone.

    Points with a NaN in either set do not count. Fewer than three that count give NaN, because any two points can be
    laid on any other two. Points on a line are no trouble: the turn about it is free and moves none of them. Source
    points that all coincide keep their size (there is none to change) and go to the middle of the target.
    """
    known = known_points(source_m, target_m)
    count = known.sum(-1)
    s, t = _centred(source_m, known, count), _centred(target_m, known, count)
    U, D, Vt = np.linalg.svd(np.swapaxes(t.points_m, -1, -2) @ s.points_m)
    sign = np.ones_like(D)
    sign[..., 2] = np.where(np.linalg.det(U @ Vt) < 0, -1.0, 1.0)
    R = (U * sign[..., None, :]) @ Vt
    scale = np.ones(count.shape)
    if with_scale:
        spread = squared_lengths(s.points_m).sum(-1)
        size = spread > 1e-18
        scale = np.where(size, (D * sign).sum(-1) / np.where(size, spread, 1.0), 1.0)
    scale = np.where(count >= 3, scale, np.nan)
    return Similarity(scale, R, t.mean_m - scale[..., None] * (R @ s.mean_m[..., None])[..., 0])


@dataclass(frozen=True, slots=True, eq=False)
class _Centred:
    """Points (..., N, 3) less their mean (..., 3), and zero where they do not count."""

    points_m: np.ndarray
    mean_m: np.ndarray


def _centred(points_m: np.ndarray, known: np.ndarray, count: np.ndarray) -> _Centred:
    # numpy adds along an axis before a short one slowly; a product with the weights does the same
    if not known.all():
        points_m = np.where(known[..., None], points_m, 0.0)
    weight = known / np.maximum(count, 1)[..., None]
    mean_m = (weight[..., None, :] @ points_m)[..., 0, :]
    points_m = points_m - mean_m[..., None, :]
    if not known.all():
        points_m[~known] = 0.0
    return _Centred(points_m, mean_m)


def squared_lengths(vectors: np.ndarray) -> np.ndarray:
    """(...) squared length of vectors (..., D) of a few components."""
    total = vectors[..., 0] ** 2
    for i in range(1, vectors.shape[-1]):
        total = total + vectors[..., i] ** 2
    return total


def known_points(*points: np.ndarray) -> np.ndarray:
    """(..., N) bool: the points whose coordinates are finite in every one of the arrays (..., N, D)."""
    known = np.ones(points[0].shape[:-1], bool)
    for array in points:
        finite = np.isfinite(array)
        for i in range(array.shape[-1]):  # numpy is slow along a short axis
            known &= finite[..., i]
    return known


def known_sets(*points: np.ndarray) -> np.ndarray:
    """(...) bool: the sets of points (..., N, D) of which at least one point is finite in every one of the arrays."""
    return np.asarray(known_points(*points).any(-1))


def mean_known(values: np.ndarray, axis: int | tuple[int, ...] | None = None) -> np.ndarray:
    """Mean over an axis (or all) of the values that are not NaN; NaN where there is none."""
    known = ~np.isnan(values)
    count = known.sum(axis)
    return np.where(count > 0, np.where(known, values, 0.0).sum(axis) / np.maximum(count, 1), np.nan)
