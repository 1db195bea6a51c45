"""Fits how often: confidence, people and hands that are not found, limbs turned over, times without 3-D."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from .events import SEGMENTS, VIEWS, Events, fit_events
from .model import confidence_errors, confidence_states, found_terms, presence_terms
from .observe import Observation
from .process import KNOTS, Process, fit_process, fit_switch, lagged_covariance, tabulate, to_scores
from .residuals import Residuals
from .tracks import MIRROR


def fit_confidence(clips: Sequence[Observation], parts: Sequence[Residuals]) -> dict[str, Any]:
    """Tables of confidence, its link with the error, and its own memory."""
    error = [confidence_errors(np.nan_to_num(p.error)) for p in parts]
    state = [confidence_states(p.visible) for p in parts]
    known, value = [], []
    for c, p in zip(clips, parts, strict=True):
        picked = np.concatenate([c.confidence[:, :25], c.confidence[:, [25, 46]]], axis=1)
        hands = np.stack([c.confidence[:, 25:46].max(1), c.confidence[:, 46:].max(1)], axis=1)
        value.append(np.concatenate([picked[:, :25], hands], axis=1))
        ok = np.all(np.isfinite(p.error), axis=-1)
        hand_ok = np.stack([ok[:, 25:46].all(1), ok[:, 46:].all(1)], axis=1)
        # A confidence of zero is a mask (outside the picture); the mask is applied to the samples too.
        known.append(np.concatenate([ok[:, :25], hand_ok], axis=1) & (value[-1] > 0))
    every = [np.concatenate(x) for x in (error, state, known, value)]
    tables, moments, link = np.zeros((2, 26, len(KNOTS))), np.zeros((2, 26, 2)), np.zeros((2, 26))
    moments[..., 1] = 1
    for kind, columns in ((slice(0, 25), range(25)), (slice(25, 26), (25,))):
        pool = np.arange(27)[:25] if kind.start == 0 else np.array([25, 26])
        for s in (0, 1):
            chosen = every[2][:, pool] & (every[1][:, pool] == s)
            pooled = tabulate(every[3][:, pool][chosen]) if chosen.any() else tabulate(np.array([0.5]))
            for c in columns:
                # Left and right share a table, so the mirror image has the same statistics.
                cs = np.unique([c, MIRROR[c]]) if c < 25 else pool
                rows = every[2][:, cs] & (every[1][:, cs] == s)
                v, e = every[3][:, cs][rows], every[0][:, cs][rows]
                tables[s, c] = tabulate(v, pooled)
                if len(e) > 30:
                    moments[s, c] = e.mean(), max(e.std(), 1e-3)
                    n = to_scores(tables[s, c], v)
                    link[s, c] = np.corrcoef(n, np.clip((e - moments[s, c, 0]) / moments[s, c, 1], -3, 3))[0, 1]
    link = np.clip(np.nan_to_num(link), -0.95, 0.95)
    own: list[tuple[np.ndarray, float]] = []
    for e, s, k, v, p in zip(error, state, known, value, parts, strict=True):
        n = np.full(v.shape, np.nan)
        for c in range(27):
            row = min(c, 25)
            for t in (0, 1):
                at = k[:, c] & (s[:, c] == t)
                x = np.clip((e[at, c] - moments[t, row, 0]) / moments[t, row, 1], -3, 3)
                n[at, c] = (to_scores(tables[t, row], v[at, c]) - link[t, row] * x) / np.sqrt(1 - link[t, row] ** 2)
        own.append((n, p.fps))
    lags, covariance, pairs = lagged_covariance([(n[:, :25], fps) for n, fps in own])
    m = MIRROR[:25]
    body = fit_process(lags, (covariance + covariance[:, m][:, :, m]) / 2, pairs)
    hand = fit_process(*lagged_covariance([(n[:, c : c + 1], fps) for n, fps in own for c in (25, 26)]), rank=1)
    return {
        "confidence": tables, "confidence_error": moments, "confidence_link": link, "process_confidence": body,
        "process_hand_confidence": hand,
    }  # fmt: skip


def fit_flips(parts: Sequence[Residuals]) -> Events:
    """Left and right have one rate, at views that mirror each other."""
    n = len(SEGMENTS)
    takes = []
    for p in parts:
        view = p.view[:, 0]
        takes.append((p.flips[:, :n], p.flips_known[:, :n], view, p.fps))
        takes.append((p.flips[:, n:], p.flips_known[:, n:], -view, p.fps))
    left = fit_events(takes)
    mirror = -np.arange(VIEWS) % VIEWS
    return Events(np.concatenate([left.rate_hz, left.rate_hz[mirror]], axis=1), np.concatenate([left.duration_s] * 2))


def fit_no_depth(clips: Sequence[Observation], parts: Sequence[Residuals]) -> Events:
    takes = []
    for c, p in zip(clips, parts, strict=True):
        none = (~np.all(np.isfinite(c.body_xyz_m), axis=(1, 2)) & c.present)[:, None]
        takes += [(none, c.present[:, None], v, p.fps) for v in (p.view[:, 0], -p.view[:, 0])]
    return fit_events(takes)


def _log_odds(X: np.ndarray, y: np.ndarray, ridge: float = 20.0) -> np.ndarray:
    """Ridge logistic regression (the first column is not shrunk), with a doubtful frame added on either side so that
    what never happened stays merely rare. The ridge is strong because the frames of a clip are much alike."""
    X = np.concatenate([X, np.tile(np.eye(1, X.shape[1]), (2, 1))])
    y = np.concatenate([y.astype(np.float64), [0.0, 1.0]])
    shrink = np.full(X.shape[1], ridge)
    shrink[0] = 0

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        odds = X @ w
        value = np.logaddexp(0, odds).sum() - y @ odds + 0.5 * (shrink * w**2).sum()
        return float(value), X.T @ (expit(odds) - y) + shrink * w

    return np.asarray(minimize(loss, np.zeros(X.shape[1]), jac=True, method="L-BFGS-B").x)


def fit_presence(clips: Sequence[Observation]) -> tuple[np.ndarray, Process]:
    X = [presence_terms(c.cond) for c in clips]
    # Nobody is in the picture where everything is outside of it.
    w = _log_odds(np.concatenate(X), np.concatenate([c.present for c in clips]))
    return w, fit_switch([(c.present, expit(x @ w), c.fps) for c, x in zip(clips, X, strict=True)])


def fit_found(clips: Sequence[Observation]) -> tuple[np.ndarray, Process]:
    takes = [(c.found[:, h], found_terms(c.cond)[:, h], c.fps) for c in clips for h in (0, 1) if c.present.mean() > 0.8]
    w = _log_odds(np.concatenate([x for _, x, _ in takes]), np.concatenate([y for y, _, _ in takes]))
    return w, fit_switch([(y, expit(x @ w), fps) for y, x, fps in takes])
