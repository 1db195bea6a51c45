"""Standard normal noise with memory: many channels, correlated with each other and with their own past.

A process is a sum of parts, each with its own time constant (0: new in every frame; infinite: the same all through a
take) and its own correlation between the channels: C(lag) = sum_k C_k (1 + lag / tau_k) exp(-lag / tau_k), the memory
of two low-passes in a row, which moves smoothly (Matern, nu = 3/2). Time is in seconds, so one model serves every frame
rate. Whatever is not normal is made so by tables (:func:`to_scores`) before, and back after.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

TIME_CONSTANTS_S = (0.0, 0.04, 0.15, 0.6, np.inf)
LAGS_S = (0.0, 1 / 30, 2 / 30, 0.1, 1 / 6, 0.25, 0.4, 0.6, 0.9, 1.3, 2.0, 3.0)
"""Lags at which the autocovariance is measured."""
KNOTS = np.linspace(-3.2, 3.2, 17)
"""Normal scores at which distributions are tabulated."""
_REACH = 4.0
_RANK = 24
_SWEEPS = 25
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)


@dataclass(frozen=True, slots=True, eq=False)
class Process:
    """Stationary normal noise of C channels with unit variance."""

    factor: np.ndarray
    """(K, C, R) float32 low-rank part of each time constant's covariance."""
    diag: np.ndarray
    """(K, C) float32 what each channel has for itself, added to that covariance; over all k, variances sum to 1."""
    time_s: np.ndarray
    """(K,) float32 time constants."""

    def sample(self, rng: np.random.Generator, batch: tuple[int, ...], step_s: np.ndarray) -> np.ndarray:
        """(*batch, T, C) noise; step_s (..., T) seconds since the frame before, broadcasting against ``batch`` (the
        first one is not used)."""
        count, channels, rank = self.factor.shape
        step = np.broadcast_to(step_s, (*batch, np.shape(step_s)[-1]))
        frames = step.shape[-1]
        out = np.zeros((*batch, frames, channels))
        for k in range(count):
            tau = float(self.time_s[k])
            # A process with memory takes one draw more, to begin with.
            draws = 1 if np.isinf(tau) else frames if tau == 0 else frames + 1
            new = rng.standard_normal((*batch, draws, rank), np.float32) @ self.factor[k].T
            new = new + rng.standard_normal((*batch, draws, channels), np.float32) * np.sqrt(self.diag[k])
            out += new if tau == 0 or np.isinf(tau) else _remembering(new, np.exp(-step / tau))
        return out

    def covariance(self, lag_s: float = 0.0) -> np.ndarray:
        """(C, C) covariance between frames that lie ``lag_s`` apart."""
        parts = self.factor @ np.swapaxes(self.factor, 1, 2) + self.diag[:, :, None] * np.eye(self.diag.shape[1])
        return np.tensordot(_decay(np.array([lag_s]), self.time_s)[0], parts.astype(np.float64), 1)


def _remembering(new: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Two low-passes in a row along the second to last axis, of unit variance: the only loop over frames.

    new (..., T + 1, C) white; keep (..., T) is exp(-step / tau). x_t = a x_(t-1) + sqrt(1 - a^2) new_t, then
    y_t = a y_(t-1) + (1 - a) x_t, whose variance is (1 + a^2) / (1 + a)^2 and covariance with x is 1 / (1 + a).
    """
    a = keep[..., None]
    fresh, deviation = np.sqrt(1 - a**2), np.sqrt(1 + a**2) / (1 + a)
    begin, new = new[..., 0, :], new[..., 1:, :]
    out = np.empty(new.shape)
    first = a[..., 0, :]
    y = deviation[..., 0, :] * new[..., 0, :]
    slope = 1 / (1 + first) / deviation[..., 0, :] ** 2
    x = slope * y + np.sqrt(np.maximum(1 - slope / (1 + first), 0)) * begin
    out[..., 0, :] = y / deviation[..., 0, :]
    for t in range(1, new.shape[-2]):
        keep_t = a[..., t, :]
        x = keep_t * x + fresh[..., t, :] * new[..., t, :]
        y = keep_t * y + (1 - keep_t) * x
        out[..., t, :] = y / deviation[..., t, :]
    return out


def _decay(lags_s: np.ndarray, time_s: Sequence[float] | np.ndarray) -> np.ndarray:
    """(L, K) correlation at each lag, with 1 at lag 0 for every tau and 0 elsewhere for tau = 0."""
    lag, tau = np.asarray(lags_s, np.float64)[:, None], np.asarray(time_s, np.float64)[None]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(lag == 0, 0.0, lag / tau)
    ratio = np.minimum(ratio, 700.0)
    return (1 + ratio) * np.exp(-ratio)


def lagged_covariance(
    takes: Sequence[tuple[np.ndarray, float]], lags_s: Sequence[float] = LAGS_S
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Covariance between channels at several lags, over takes of (scores (T, C) with NaN where unknown, fps).

    Gives the mean lags that the frame rates allowed (L,), covariances (L, C, C), symmetrised in time, and the pairs
    behind each (L, C, C).
    """
    channels = takes[0][0].shape[1]
    total, pairs = np.zeros((len(lags_s), channels, channels)), np.zeros((len(lags_s), channels, channels))
    weight, actual = np.zeros(len(lags_s)), np.zeros(len(lags_s))
    for scores, fps in takes:
        known = np.isfinite(scores)
        value, count = np.where(known, scores, 0.0), known.astype(np.float64)
        for i, lag in enumerate(lags_s):
            shift = round(lag * fps)
            if (lag > 0 and shift == 0) or shift >= len(scores) or abs(shift / fps - lag) > 0.25 * lag:
                continue
            end = len(scores) - shift
            total[i] += value[:end].T @ value[shift:]
            pairs[i] += count[:end].T @ count[shift:]
            weight[i] += end
            actual[i] += end * shift / fps
    total, pairs = (total + np.swapaxes(total, 1, 2)) / 2, (pairs + np.swapaxes(pairs, 1, 2)) / 2
    lags = np.where(weight > 0, actual / np.maximum(weight, 1), np.asarray(lags_s))
    # Few pairs say little: shrink towards none.
    return lags, total / (pairs + 100.0), pairs


def fit_process(
    lags_s: np.ndarray,
    covariance: np.ndarray,
    pairs: np.ndarray,
    *,
    time_s: Sequence[float] = TIME_CONSTANTS_S,
    kin: np.ndarray | None = None,
    rank: int = _RANK,
) -> Process:
    """The process whose covariances (L, C, C) at ``lags_s`` (L,) come nearest, among positive semi-definite parts.

    Block-coordinate descent: each part is the least-squares answer to what the others leave, less its negative
    eigenvalues. ``kin`` (C, C) in 0..1 weakens correlations that are more likely chance than fact. A channel without
    data becomes white.
    """
    channels = covariance.shape[1]
    known = np.diagonal(pairs, axis1=1, axis2=2).max(axis=0) > 0
    target = covariance * (1.0 if kin is None else kin)
    target = np.where(np.outer(known, known), target, 0.0)
    target[:, ~known, ~known] = _decay(lags_s, time_s[:1])
    used = pairs.reshape(len(lags_s), -1).max(axis=1) > 0
    basis, target = _decay(lags_s, time_s)[used], target[used]
    parts = np.zeros((len(time_s), channels, channels))
    rest = target.copy()
    for _ in range(_SWEEPS):
        for k in range(len(time_s)):
            rest += basis[:, k, None, None] * parts[k]
            best = np.tensordot(basis[:, k], rest, 1) / max(float((basis[:, k] ** 2).sum()), 1e-12)
            values, vectors = np.linalg.eigh(best)
            parts[k] = (vectors * np.maximum(values, 0)) @ vectors.T
            rest -= basis[:, k, None, None] * parts[k]
    spread = np.sqrt(np.maximum(np.einsum("kcc->c", parts), 1e-9))
    parts /= spread[:, None] * spread
    values, vectors = np.linalg.eigh(parts)
    rank = min(rank, channels)
    factor = vectors[..., -rank:] * np.sqrt(np.maximum(values[:, None, -rank:], 0))
    diag = np.maximum(np.einsum("kcc->kc", parts) - (factor**2).sum(-1), 0)
    norm = np.sqrt((diag + (factor**2).sum(-1)).sum(0))
    factor, diag = factor / norm[:, None], diag / norm**2
    return Process(factor.astype(np.float32), diag.astype(np.float32), np.asarray(time_s, np.float32))


def tabulate(values: np.ndarray, prior: np.ndarray | None = None, weight: float = 60.0) -> np.ndarray:
    """(17,) the values' quantiles at KNOTS, drawn towards a ``prior`` table as if that were ``weight`` values."""
    values = np.asarray(values)[np.isfinite(values)]
    if not len(values):
        return KNOTS.copy() if prior is None else prior
    own = np.quantile(values, ndtr(KNOTS))
    if prior is None:
        return own
    return (len(values) * own + weight * prior) / (len(values) + weight)


def at_scores(table: np.ndarray, row: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Values at normal scores: table (N, 17), row (...) int and scores (...) broadcast. Linear between the knots and a
    little beyond them."""
    at = (np.clip(scores, -_REACH, _REACH) - KNOTS[0]) / (KNOTS[1] - KNOTS[0])
    i = np.clip(np.floor(at).astype(np.int64), 0, len(KNOTS) - 2)
    low, high = table[row, i], table[row, i + 1]
    return low + (high - low) * (at - i)


def to_scores(table: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Normal scores of values (...) under one table (17,); the inverse of :func:`at_scores`, within its reach."""
    step = np.maximum(np.diff(table), 1e-7)
    rising = np.concatenate([table[:1], table[0] + np.cumsum(step)])
    ends = np.array([rising[0] - step[0] * 2, *rising, rising[-1] + step[-1] * 2])
    knots = np.array([-_REACH, *KNOTS, _REACH])
    return np.where(np.isfinite(values), np.interp(values, ends, knots), np.nan)


def normal_pair_probability(a: np.ndarray, b: np.ndarray, rho: float) -> np.ndarray:
    """P(x <= a, y <= b) of standard normals with correlation rho (Plackett's identity, Gauss-Legendre)."""
    r = rho * (_NODES + 1) / 2
    density = np.exp(
        -(a[..., None] ** 2 - 2 * r * a[..., None] * b[..., None] + b[..., None] ** 2) / (2 * (1 - r**2))
    ) / (2 * np.pi * np.sqrt(1 - r**2))
    return ndtr(a) * ndtr(b) + (density * _WEIGHTS).sum(-1) * rho / 2


def fit_switch(takes: Sequence[tuple[np.ndarray, np.ndarray, float]]) -> Process:
    """The one-channel process behind a switch that is on where the process is below ``ndtri(p)``.

    takes: (state (T,) bool, p (T,) probability of on, fps). For each lag, the correlation that makes the observed pairs
    likeliest; then the time constants that give these correlations.
    """
    grid = np.array([0.0, 0.15, 0.3, 0.45, 0.6, 0.7, 0.8, 0.88, 0.94, 0.98, 0.995])
    found, pairs, lags = np.zeros(len(LAGS_S)), np.zeros(len(LAGS_S)), np.zeros(len(LAGS_S))
    found[0], pairs[0] = 1.0, 1.0
    for i, lag in enumerate(LAGS_S[1:], start=1):
        likelihood = np.zeros(len(grid))
        for state, p, fps in takes:
            shift = round(lag * fps)
            if shift == 0 or shift >= len(state) or abs(shift / fps - lag) > 0.25 * lag:
                continue
            sign = np.where(state, 1.0, -1.0)
            level = ndtri(np.clip(p, 1e-4, 1 - 1e-4)) * sign
            a, b, same = level[:-shift], level[shift:], sign[:-shift] * sign[shift:]
            for g, rho in enumerate(grid):
                chance = np.where(same > 0, normal_pair_probability(a, b, rho), normal_pair_probability(a, b, -rho))
                likelihood[g] += np.log(np.maximum(chance, 1e-9)).sum()
            pairs[i] += len(a)
            lags[i] += len(a) * shift / fps
        found[i] = grid[likelihood.argmax()]
        lags[i] = lags[i] / pairs[i] if pairs[i] else lag
    return fit_process(lags, found[:, None, None], pairs[:, None, None], rank=1)
