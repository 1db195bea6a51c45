"""One body shape for the whole take: poses of sample frames and shape coefficients solved together."""

import numpy as np

from .banded import NormalEquations
from .energy import Chain, Energy, Evidence, Weights
from .rig import Rig

_SIGMA_STATURE_M = 0.01
_INDEPENDENT_FRAMES = 2.0
"""So many independent looks at the body's proportions are in a take, however long."""


def stature(v_template: np.ndarray, shapedirs: np.ndarray) -> tuple[float, np.ndarray]:
    """Standing height of the mean body in metres, and its change per shape coefficient (B,)."""
    top, low = int(v_template[:, 1].argmax()), int(v_template[:, 1].argmin())
    height = float(v_template[top, 1] - v_template[low, 1])
    return height, np.asarray(shapedirs[top, 1] - shapedirs[low, 1], np.float64)


def shape_of_height(height_m: float | None, mean_stature: tuple[float, np.ndarray]) -> np.ndarray:
    """Shape coefficients (B,) nearest to the mean body that stand ``height_m`` tall; the mean body for None."""
    height, slope = mean_stature
    if height_m is None:
        return np.zeros_like(slope)
    return slope * (height_m - height) / max(float(slope @ slope), 1e-9)


def solve_shape(
    rig: Rig,
    evidence: Evidence,
    weights: Weights,
    chain: Chain,
    height_m: float | None,
    mean_stature: tuple[float, np.ndarray],
    iterations: int = 12,
) -> np.ndarray:
    """Shape coefficients (B,) from sample frames whose poses are solved along with them, in the camera frame.

    Size cannot be seen by one camera: stature is tied to ``height_m``, or to that of the mean body. ``rig`` is the mean
    shape; the coefficients have unit variance.
    """
    height, slope = mean_stature
    # what the detector gets wrong (where a hip is, say) it gets wrong in every frame: frames are not independent
    prior = max(1.0, len(chain.trans_m) / _INDEPENDENT_FRAMES)
    target = height if height_m is None else height_m
    betas = shape_of_height(height_m, mean_stature)
    eye, origin = np.eye(3), np.zeros(3)
    damping = 1e-3

    def shape_cost(b: np.ndarray) -> float:
        return prior * float(b @ b + ((height + slope @ b - target) / _SIGMA_STATURE_M) ** 2)

    def energy(b: np.ndarray) -> Energy:
        return Energy(rig.with_shape(b), evidence, weights, eye, origin, coupled=False, with_shape=True)

    cost = np.inf
    equations: NormalEquations | None = None
    for _ in range(iterations):
        if equations is None:
            cost, equations = energy(betas).linearise(chain)
            cost += shape_cost(betas)
        step, shape_step = _step(equations, betas, slope, height - target, prior, damping)
        new_chain, new_betas = chain.moved(np.clip(step, -0.6, 0.6), eye), betas + np.clip(shape_step, -1, 1)
        new_cost = energy(new_betas).cost(new_chain) + shape_cost(new_betas)
        if new_cost < cost:
            done = cost - new_cost < 1e-3 * cost
            chain, betas, equations, damping = new_chain, new_betas, None, max(damping / 5, 1e-7)
            if done:
                break
        else:
            damping *= 8
    return betas


def _step(
    eq: NormalEquations, betas: np.ndarray, slope: np.ndarray, offset: float, prior: float, damping: float
) -> tuple[np.ndarray, np.ndarray]:
    """Step of the frames (T, D) and of the shape (B,): the frames are eliminated (Schur complement)."""
    B = len(betas)
    D = eq.gradient.shape[1] - B
    H = eq.diagonal[:, :D, :D].copy()
    i = np.arange(D)
    H[:, i, i] *= 1 + damping
    H[:, i, i] += 1e-9
    cross = eq.diagonal[:, :D, D:]
    right = np.concatenate([eq.gradient[:, :D, None], cross], axis=-1)
    solved = np.linalg.solve(H, right)
    pull = prior * (betas + slope * (slope @ betas + offset) / _SIGMA_STATURE_M**2)
    stiffness = prior * (np.eye(B) + np.outer(slope, slope) / _SIGMA_STATURE_M**2)
    C = eq.diagonal[:, D:, D:].sum(0) * (1 + damping) + stiffness
    g = eq.gradient[:, D:].sum(0) + pull
    C = C - np.einsum("tdb,tdc->bc", cross, solved[..., 1:])
    g = g - np.einsum("tdb,td->b", cross, solved[..., 0])
    shape_step = -np.linalg.solve(C, g)
    return -solved[..., 0] - solved[..., 1:] @ shape_step, shape_step
