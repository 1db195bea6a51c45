"""Normal equations of a chain of frames: block-banded symmetric systems with up to two neighbours coupled."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, solveh_banded


@dataclass
class NormalEquations:
    """H d = -g for T frames of D variables each. Blocks [t, t+1] and [t, t+2] hold the coupling of neighbours."""

    diagonal: np.ndarray
    """(T, D, D)"""
    next1: np.ndarray
    """(T, D, D) block row t+1, column t (the last one is unused)."""
    next2: np.ndarray
    """(T, D) diagonal of block row t+2, column t (the last two are unused)."""
    gradient: np.ndarray
    """(T, D)"""

    @classmethod
    def zeros(cls, T: int, D: int) -> "NormalEquations":
        """An empty system."""
        return cls(np.zeros((T, D, D)), np.zeros((T, D, D)), np.zeros((T, D)), np.zeros((T, D)))

    def solve(self, damping: float) -> np.ndarray | None:
        """(T, D) step of the damped system, or None where it is not positive definite."""
        T, D = self.gradient.shape
        H = self.diagonal.copy()
        i = np.arange(D)
        H[:, i, i] += damping * H[:, i, i] + 1e-9
        if not (self.next1.any() or self.next2.any()):
            return self._solve_apart(H)
        band = np.zeros((3 * D if T > 2 else 2 * D, T * D))
        columns = (np.arange(T) * D)[:, None]
        row, col = np.tril_indices(D)
        band[row - col, columns + col] = H[:, row, col]
        if T > 1:
            row, col = (a.ravel() for a in np.indices((D, D)))
            band[D + row - col, columns[:-1] + col] = self.next1[:-1].reshape(T - 1, -1)
        if T > 2:
            band[2 * D, columns[:-2] + i] = self.next2[:-2]
        try:
            return solveh_banded(band, -self.gradient.ravel(), lower=True, check_finite=False).reshape(T, D)
        except LinAlgError:
            return None

    def _solve_apart(self, H: np.ndarray) -> np.ndarray | None:
        try:
            return -np.linalg.solve(H, self.gradient[..., None])[..., 0]
        except np.linalg.LinAlgError:
            return None
