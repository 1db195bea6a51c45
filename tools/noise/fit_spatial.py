"""Fits the 3-D part of the noise model: the networks' relative 3-D against the true one."""

from collections.abc import Sequence

import numpy as np

from .events import VIEWS, by_view
from .fit_points import MAX_ROWS, PRIOR_FRAMES, hats_of, median, robust_bias
from .model import KIND
from .residuals import Residuals, mirrored3


def fit_spatial(parts: Sequence[Residuals], kind: int) -> dict[str, np.ndarray]:
    """Slope, scale, bias and spread of the 3-D of bodies (0) or hands (1)."""
    slope, scale = _fit_slope(parts, kind)
    rest, view = [], []
    for p in parts:
        for g in (0,) if kind == 0 else (1, 2):
            r = _rest3(p, g, slope)
            rest.append(r)
            view.append(p.view[:, g])
            if kind == 0:
                rest.append(mirrored3(r))
                view.append(-p.view[:, 0])
    flat = np.concatenate(rest).reshape(-1, rest[0].shape[1] * 3)
    hats = hats_of(np.concatenate(view))
    step = -(-flat.size // (99 * MAX_ROWS))
    flat, hats = flat[::step], hats[::step]
    bias = robust_bias(flat, hats)
    left = flat - hats @ bias
    known = np.isfinite(left)
    limit = 5 * median(np.abs(left))
    square = np.where(known, np.minimum(np.abs(left), limit) ** 2, 0.0)
    total = square.sum(0) / np.maximum(known.sum(0), 1)
    sd = np.sqrt((hats.T @ square + PRIOR_FRAMES * total) / (hats.T @ known + PRIOR_FRAMES) + 1e-12)
    return {
        "slope": slope, "scale": scale, "bias": bias.reshape(VIEWS, -1, 3), "sd": sd.reshape(VIEWS, -1, 3),
    }  # fmt: skip


_ROWS3 = (slice(0, 33), slice(33, 54), slice(54, 75))


def _fit_slope(parts: Sequence[Residuals], kind: int) -> tuple[np.ndarray, np.ndarray]:
    """(3,) metres per unit of the true size across, upright and in depth; and the deviation of its logarithm between
    clips. Across and upright are one number: a network cannot tell them apart."""
    top, bottom, per_clip = np.zeros(2), np.zeros(2), []
    for p in parts:
        for g in (0,) if kind == 0 else (1, 2):
            t, s = p.true3[:, _ROWS3[g]], p.seen3[:, _ROWS3[g]]
            known = np.isfinite(s).all(axis=(1, 2))
            if known.sum() < 10:
                continue
            t, s = t[known], s[known]
            mixed = np.array([(t[..., :2] * s[..., :2]).sum(), (t[..., 2] * s[..., 2]).sum()])
            own = np.array([(t[..., :2] ** 2).sum(), (t[..., 2] ** 2).sum()])
            top, bottom = top + mixed, bottom + own
            per_clip.append(np.log(max(mixed[0] / own[0], 1e-3)))
    across, depth = top / np.maximum(bottom, 1e-9) if bottom.all() else (1.7, 1.7)
    spread = 1.4826 * np.median(np.abs(np.array(per_clip) - np.median(per_clip))) if len(per_clip) > 2 else 0.05
    return np.array([across, across, depth]), np.asarray(spread)


def _rest3(p: Residuals, group: int, slope: np.ndarray) -> np.ndarray:
    """(T, N, 3) 3-D errors of a group in its axes, the clip's own scale taken out."""
    t, s = p.true3[:, _ROWS3[group]], p.seen3[:, _ROWS3[group]]
    known = np.isfinite(s)
    model = t * slope
    own = (np.where(known, s, 0) * model * known)[..., :2].sum() / max((model**2 * known)[..., :2].sum(), 1e-9)
    rest = s - model * (own if known.any() else 1.0)
    return _turned3(p, rest, group)


def _turned3(p: Residuals, values: np.ndarray, group: int) -> np.ndarray:
    axes = p.axes[:, group]
    return np.concatenate([values[..., :2] @ np.swapaxes(axes, -1, -2), values[..., 2:]], axis=-1)


def standardised(p: Residuals, spatial: Sequence[dict[str, np.ndarray]]) -> np.ndarray:
    """(T, 75, 3) 3-D errors of a clip less bias, over their deviation; NaN where there are none."""
    out = []
    for g in range(3):
        f = spatial[KIND[g]]
        rest = _rest3(p, g, f["slope"])
        out.append((rest - by_view(f["bias"], p.view[:, g])) / by_view(f["sd"], p.view[:, g]))
    return np.concatenate(out, axis=1)
