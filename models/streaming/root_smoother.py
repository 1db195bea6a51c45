"""The pelvis' places from its terms: least squares over a whole run, or frame by frame.

Both solve the same linear model; the filter's newest place is the smoother's last one (a fixed-interval smoother and
a Kalman filter of the same equations, Rauch, Tung and Striebel 1965). The filter is O(1) a frame.
"""

import numpy as np
from scipy.linalg import solveh_banded

from .root_terms import RootTerms

_BAND = 10
"""Diagonals of the chain: three frames before, three axes each, and the diagonal itself."""
_JERK = np.array([-1.0, 3.0, -3.0, 1.0])
_LOOSE = 1e-6
"""Inverse variance, 1/m^2, of a place of which nothing is known."""


def smooth_places(terms: RootTerms, iterations: int) -> np.ndarray:
    """(T, 3) places of a run of frames; ``iterations`` rounds with outliers weighing less."""
    p = _solve(terms)
    for _ in range(iterations if len(p) > 1 else 0):
        p = _solve(terms.reweighted(p))
    return p


def _solve(terms: RootTerms) -> np.ndarray:
    T = len(terms.place_m)
    D, b = terms.alone()
    D, b = D + _LOOSE * np.eye(3), b + _LOOSE * terms.place_m
    diagonal, below = np.zeros((T, 3)), np.zeros((3, T, 3))
    w, wd = terms.move_w.sum(1), (terms.move_w * terms.move_m).sum(1)
    diagonal += w
    diagonal[:-1] += w[1:]
    below[0, :-1] -= w[1:]
    b += wd
    b[:-1] -= wd[1:]
    for i in range(4):
        for j in range(i, 4):
            if T > 3:
                value = terms.jerk_w * _JERK[i] * _JERK[j]
                rows = slice(i, T - 3 + i)
                if i == j:
                    diagonal[rows] += value
                else:
                    below[j - i - 1, rows] += value
    k = np.arange(3)
    D[:, k, k] += diagonal
    band = np.zeros((_BAND, T, 3))
    band[0] = D[:, k, k]
    band[1, :, 0], band[1, :, 1], band[2, :, 0] = D[:, 1, 0], D[:, 2, 1], D[:, 2, 0]
    for i in range(3):
        band[3 * (i + 1)] = below[i]
    return solveh_banded(band.reshape(_BAND, 3 * T), b.ravel(), lower=True, check_finite=False).reshape(T, 3)


def _transition(newest: list[float]) -> np.ndarray:
    """(9, 9) step of a state of three places, newest first; the new place is this sum of the three."""
    return np.kron(np.array([newest, [1.0, 0, 0], [0, 1.0, 0]]), np.eye(3))


_SMOOTH, _FREE = _transition([3.0, -3.0, 1.0]), _transition([1.0, 0.0, 0.0])
_AXES = np.arange(3)
_EYE = np.eye(9)


class PlaceFilter:
    """A Kalman filter over the last three places, so that displacements and jerk are linear in its state."""

    def __init__(self) -> None:
        self._mean: np.ndarray | None = None
        self._P = np.zeros((9, 9))
        self._known = 0

    @property
    def place_m(self) -> np.ndarray | None:
        """(3,) the newest place, None before the first frame."""
        return None if self._mean is None else self._mean[:3]

    def push(self, terms: RootTerms, iterations: int = 1) -> np.ndarray:
        """(3,) place of the one frame that ``terms`` describes; displacements count from the frame before."""
        if self._mean is None:
            mean, P = np.tile(terms.place_m[0], 3), np.eye(9) / _LOOSE
        else:
            mean, P = self._predicted(terms)
        best, cov = _updated(mean, P, terms)
        if self._mean is not None:
            for _ in range(iterations):
                best, cov = _updated(mean, P, terms.reweighted(best[None, :3], best[3:6]))
        self._mean, self._P, self._known = best, cov, self._known + 1
        return best[:3]

    def shift(self, by_m: np.ndarray) -> None:
        """Move the world by (3,)."""
        if self._mean is not None:
            self._mean = self._mean + np.tile(by_m, 3)

    def _predicted(self, terms: RootTerms) -> tuple[np.ndarray, np.ndarray]:
        assert self._mean is not None
        # the jerk binds four places: the first three are free
        F, noise = (_SMOOTH, 1 / terms.jerk_w) if self._known >= 3 else (_FREE, 1 / _LOOSE)
        predicted = F @ self._P @ F.T
        predicted[_AXES, _AXES] += noise
        return F @ self._mean, predicted


def _updated(mean: np.ndarray, P: np.ndarray, terms: RootTerms) -> tuple[np.ndarray, np.ndarray]:
    """State and covariance after one frame's terms, in information form: all of them are about six numbers."""
    info, right = np.zeros((9, 9)), np.zeros(9)
    alone, place = terms.alone()
    info[:3, :3], right[:3] = alone[0], place[0]
    w, wd = terms.move_w[0].sum(0), (terms.move_w[0] * terms.move_m[0]).sum(0)
    k = _AXES
    info[k, k] += w
    info[k + 3, k + 3] += w
    info[k, k + 3] -= w
    info[k + 3, k] -= w
    right[:3] += wd
    right[3:6] -= wd
    # P (I + info P)^-1, which needs no inverse of P
    S = _EYE + info @ P
    cov = np.linalg.solve(S.T, P).T
    cov = (cov + cov.T) / 2
    return mean + cov @ (right - info @ mean), cov
