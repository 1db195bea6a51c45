"""Normal equations of a chain of frames: block-banded symmetric systems with up to two neighbours coupled."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular


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
        D = self.gradient.shape[1]
        H = self.diagonal.copy()
        i = np.arange(D)
        H[:, i, i] += damping * H[:, i, i] + 1e-9
        try:
            if not (self.next1.any() or self.next2.any()):
                return -np.linalg.solve(H, self.gradient[..., None])[..., 0]
            return self._eliminate(H)
        except np.linalg.LinAlgError:
            return None

    def _eliminate(self, H: np.ndarray) -> np.ndarray:
        """Block Cholesky over pairs of frames: a pair couples to the next pair only."""
        T, D = self.gradient.shape
        pairs = (T + 1) // 2
        A = np.zeros((pairs, 2 * D, 2 * D))
        B = np.zeros((pairs, 2 * D, 2 * D))  # block row of the next pair, column of this one
        b = np.zeros((pairs, 2 * D))
        A[:, :D, :D], b[:, :D] = H[::2], -self.gradient[::2]
        odd = T // 2
        A[:odd, D:, D:], b[:odd, D:] = H[1::2], -self.gradient[1::2]
        A[:odd, D:, :D] = self.next1[: T - 1 : 2]
        A[:odd, :D, D:] = np.swapaxes(self.next1[: T - 1 : 2], -1, -2)
        if odd < pairs:  # a lone last frame gets an idle partner
            A[-1, D:, D:] = np.eye(D)
        i = np.arange(D)
        between = (T - 1) // 2
        B[:between, :D, D:] = self.next1[1 : T - 1 : 2]
        B[:between, i, i] = self.next2[: T - 2 : 2]
        later = (T - 2) // 2 if T > 2 else 0
        B[:later, D + i, D + i] = self.next2[1 : T - 2 : 2]
        factors, across = [], []
        for k in range(pairs):
            if k:
                W = across[-1]
                A[k] -= W.T @ W
                b[k] -= W.T @ b[k - 1]
            L = np.linalg.cholesky(A[k])
            factors.append(L)
            b[k] = solve_triangular(L, b[k], lower=True, check_finite=False)
            if k + 1 < pairs:
                across.append(solve_triangular(L, B[k].T, lower=True, check_finite=False))
        for k in range(pairs - 1, -1, -1):
            if k + 1 < pairs:
                b[k] -= across[k] @ b[k + 1]
            b[k] = solve_triangular(factors[k], b[k], lower=True, trans=1, check_finite=False)
        return b.reshape(-1, D)[:T]
