"""Fits the 2-D part of the noise model: bias, covariance and scales of each landmark."""

from collections.abc import Sequence

import numpy as np

from .events import VIEWS, view_weights
from .model import BLUR_KNOTS, KIND, SIZE_KNOTS
from .residuals import Residuals, mirrored
from .tracks import GROUP, MIRROR, VISIBLE

_HUBER = 2.0
PRIOR_FRAMES = 40.0
"""A view's bias and covariance are drawn to those of all views as if that were this many frames of it."""
MAX_ROWS = 120_000


class Points:
    """Errors of one kind (0 body, 1 hand) of all clips in one long table; hands of both sides, bodies and mirrored
    bodies follow each other."""

    def __init__(self, parts: Sequence[Residuals], kind: int) -> None:
        groups = (0,) if kind == 0 else (1, 2)
        rows = []
        for p in parts:
            for g in groups:
                at = g == GROUP
                rows.append((p.error[:, at], p.visible[:, at], p.size_px[:, at], p.blur[:, at], p.view[:, g]))
            if kind == 0:
                m = MIRROR[:25]
                rows.append((mirrored(p.error[:, :25]), p.visible[:, m], p.size_px[:, m], p.blur[:, m], -p.view[:, 0]))
        self.error, self.visible, self.size_px, self.blur, self.view = (
            np.concatenate(column) for column in zip(*rows, strict=True)
        )
        step = -(-self.error.shape[0] * self.error.shape[1] // (25 * MAX_ROWS))
        self.error, self.visible, self.size_px, self.blur, self.view = (
            a[::step] for a in (self.error, self.visible, self.size_px, self.blur, self.view)
        )


def hats_of(view: np.ndarray) -> np.ndarray:
    """(F, 8) interpolation weights of the view bins."""
    i, j, w = view_weights(view)
    out = np.zeros((len(view), VIEWS))
    out[np.arange(len(view)), i] = 1 - w
    out[np.arange(len(view)), j] += w
    return out


def median(values: np.ndarray) -> np.ndarray:
    """Median over the first axis of what is known; 1 where nothing is."""
    known = np.isfinite(values).any(axis=0)
    return np.nanmedian(np.where(known, values, 1.0), axis=0)


def robust_bias(values: np.ndarray, hats: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """(8, C) mean by view of values (F, C), NaN where unknown: Huber weights, views drawn to the mean of all."""
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    w = known.astype(np.float64) if weight is None else known * weight
    out = np.zeros((VIEWS, values.shape[1]))
    for _ in range(4):
        overall = (w * filled).sum(0) / np.maximum(w.sum(0), 1e-9)
        A = np.einsum("fc,fv,fu->cvu", w, hats, hats) + PRIOR_FRAMES * np.eye(VIEWS)
        b = np.einsum("fc,fv->cv", w * filled, hats) + PRIOR_FRAMES * overall[:, None]
        out = np.linalg.solve(A, b[..., None])[..., 0].T
        rest = np.abs(values - hats @ out)
        spread = np.maximum(1.4826 * median(rest), 1e-9)
        w = np.where(known, np.minimum(1.0, _HUBER * spread / np.maximum(np.nan_to_num(rest), 1e-12)), 0.0)
        w = w if weight is None else w * weight
    return out


def fit_points(points: Points, kind: int) -> dict[str, np.ndarray]:
    """Bias, covariance and scales of one kind of point."""
    e, count = points.error, points.error.shape[1]
    hats = hats_of(points.view)
    flat = e.reshape(len(e), -1)
    bias = np.zeros((VIEWS, count, 2))
    scale, rest = np.ones(e.shape[:2]), e
    curves: dict[str, np.ndarray] = {}
    for _ in range(2):  # the spread tells which errors the bias should heed
        weight = np.repeat(1 / np.clip(scale, 0.2, 5) ** 2, 2, axis=1)
        bias = robust_bias(flat, hats, weight).reshape(VIEWS, count, 2)
        rest = e - np.einsum("fv,vpc->fpc", hats, bias)
        curves = _fit_scale(rest, points, kind)
        scale = curves["of_rows"]
    z = rest / scale[..., None]
    chol = _covariance(z, hats)
    return {
        "bias": bias, "chol": chol, "scale_state": curves["state"], "size": curves["size"], "blur": curves["blur"],
    }  # fmt: skip


def _pieces(knots: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(..., M) hat weights of the knots (M,), held beyond the ends."""
    at = np.clip(x, knots[0], knots[-1])
    i = np.clip(np.searchsorted(knots, at, side="right") - 1, 0, len(knots) - 2)
    w = (at - knots[i]) / (knots[i + 1] - knots[i])
    out = np.zeros((*x.shape, len(knots)))
    np.put_along_axis(out, i[..., None], (1 - w)[..., None], -1)
    np.put_along_axis(out, (i + 1)[..., None], w[..., None], -1)
    return out


def _fit_scale(rest: np.ndarray, points: Points, kind: int) -> dict[str, np.ndarray]:
    """Factors of the spread: log |rest| = point + state(point) + size + blur + noise, by ridge least squares.

    "state" (3, P) is relative to VISIBLE, "size" (6,) has mean 1 over the frames, "blur" (5,) is 1 without blur.
    """
    count = rest.shape[1]
    length = np.linalg.norm(rest, axis=-1)
    y = np.log(length + 1e-4)
    known = np.isfinite(y)
    n_size, n_blur = SIZE_KNOTS.shape[1], BLUR_KNOTS.shape[1]
    size = _pieces(SIZE_KNOTS[kind], np.log2(np.maximum(points.size_px, 1)))
    blur = _pieces(BLUR_KNOTS[kind], points.blur)[..., 1:]
    states = [(points.visible == s).astype(np.float64) for s in range(VISIBLE)]
    # Columns: own level of each point (P); common effect of OUT and HIDDEN (2); each point's own deviation (2 P);
    # size, blur. Points are independent given the shared columns, so the normal matrix is summed point by point.
    columns = count + 2 + 2 * count + n_size + n_blur - 1
    A, b = np.zeros((columns, columns)), np.zeros(columns)
    shared = np.arange(3 * count + 2, columns)
    for p in range(count):
        rows = known[:, p]
        flags = np.stack([f[rows, p] for f in states], axis=1)
        X = np.concatenate([np.ones((int(rows.sum()), 1)), flags, flags, size[rows, p], blur[rows, p]], axis=1)
        own = [count + 2 + s * count + p for s in range(VISIBLE)]
        at = np.array([p, count, count + 1, *own, *shared])
        A[np.ix_(at, at)] += X.T @ X
        b[at] += X.T @ y[rows, p]
    per_point = max(1.0, known.sum() / count)
    ridge = np.full(columns, 1e-3)
    ridge[count : count + 2] = 5.0
    ridge[count + 2 : 3 * count + 2] = 0.02 * per_point
    ridge[3 * count + 2 :] = 0.05 * per_point
    A += np.diag(ridge)
    smooth = np.zeros((columns, columns))
    for first, many in ((3 * count + 2, n_size), (columns - (n_blur - 1), n_blur - 1)):
        D = np.diff(np.eye(many), n=1, axis=0)
        smooth[first : first + many, first : first + many] += D.T @ D
    x = np.linalg.solve(A + 0.2 * per_point * smooth, b)
    common, own = x[count : count + 2], x[count + 2 : 3 * count + 2].reshape(2, count)
    state = np.exp(np.concatenate([common[:, None] + own, np.zeros((1, count))]))
    size_values = x[3 * count + 2 : 3 * count + 2 + n_size]
    blur_values = np.concatenate([[0.0], x[columns - (n_blur - 1) :]])
    of_size = size @ size_values
    size_values = size_values - of_size[known].mean()
    log_scale = np.log(state)[points.visible, np.arange(count)] + size @ size_values + blur @ blur_values[1:]
    return {
        "state": state, "size": np.exp(size_values), "blur": np.exp(blur_values), "of_rows": np.exp(log_scale),
    }  # fmt: skip


def _covariance(z: np.ndarray, hats: np.ndarray) -> np.ndarray:
    """(8, P, 2, 2) Cholesky factors of the covariance by view of errors (F, P, 2), far ones pulled in."""
    length = np.linalg.norm(z, axis=-1, keepdims=True)
    known = np.isfinite(length)
    limit = 4 * median(length)
    pulled = np.where(known, z * np.minimum(1, limit / np.maximum(np.nan_to_num(length), 1e-12)), 0.0)
    second = np.einsum("fv,fpa,fpb->vpab", hats, pulled, pulled)
    weight = np.einsum("fv,fp->vp", hats, known[..., 0].astype(np.float64))
    overall = second.sum(0) / np.maximum(weight.sum(0), 1e-9)[..., None, None] + 1e-10 * np.eye(2)
    covariance = (second + PRIOR_FRAMES * overall) / (weight + PRIOR_FRAMES)[..., None, None]
    return np.linalg.cholesky(covariance)


def whitened(p: Residuals, fitted: Sequence[dict[str, np.ndarray]]) -> np.ndarray:
    """(T, 67, 2) errors of a clip less bias, over scale and covariance; NaN where there is none."""
    out = np.full(p.error.shape, np.nan)
    for g in range(3):
        f, at = fitted[KIND[g]], g == GROUP
        hats = hats_of(p.view[:, g])
        scale = f["scale_state"][p.visible[:, at], np.arange(np.count_nonzero(at))]
        scale = scale * (_pieces(SIZE_KNOTS[KIND[g]], np.log2(np.maximum(p.size_px[:, at], 1))) @ f["size"])
        scale = scale * (_pieces(BLUR_KNOTS[KIND[g]], p.blur[:, at]) @ f["blur"])
        rest = (p.error[:, at] - np.einsum("fv,vpc->fpc", hats, f["bias"])) / scale[..., None]
        out[:, at] = np.linalg.solve(np.einsum("fv,vpab->fpab", hats, f["chol"]), rest[..., None])[..., 0]
    return out
