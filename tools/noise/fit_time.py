"""Fits how errors go on in time: a slow part with memory, and jitter whose strength comes and goes limb by limb.

Errors arrive whitened: without bias, over their spread. Their running mean over a twelfth of a second is the slow part.
The rest is jitter; its loudness is followed over time for each limb, and jitter over loudness is close to white. Both
have tables for their tails; normal scores of them give the processes. A quiet take stays quiet, a limb that is lost
shakes as a whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d

from .model import BODY_LIMBS, LIMB, LIMB3, POINT
from .process import Process, fit_process, lagged_covariance, tabulate, to_scores
from .residuals import Residuals
from .tracks import MIRROR, MIRROR_33, VISIBLE

_SLOW_S = 0.06
"""Deviation of the running mean."""
_SLOW_TIMES_S = (0.04, 0.15, 0.6, np.inf)
"""Time constants of the slow part: none of it is new in every frame."""
_LOUDNESS_S = 0.15
_FLOOR = 1e-3
_OTHER_LIMB = 0.7
"""Correlations between limbs that are not the same are drawn to none by this factor."""
_HANDS2 = (slice(25, 46), slice(46, 67))
_HANDS3 = (slice(33, 54), slice(54, 75))
_LIMB_MIRROR = np.array([BODY_LIMBS.index(_m) for _m in (
    n.replace("left", "-").replace("right", "left").replace("-", "right") for n in BODY_LIMBS)])  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Take:
    """Whitened errors of one clip."""

    residuals: Residuals
    z2: np.ndarray
    """(T, 67, 2)."""
    z3: np.ndarray
    """(T, 75, 3)."""


def running_mean(values: np.ndarray, fps: float, deviation_s: float) -> np.ndarray:
    """Gaussian running mean along the first axis over what is known; NaN stays NaN."""
    known = np.isfinite(values)
    sigma = deviation_s * fps
    top = gaussian_filter1d(np.where(known, values, 0.0), sigma, axis=0, mode="constant")
    weight = gaussian_filter1d(known.astype(np.float64), sigma, axis=0, mode="constant")
    return np.where(known, top / np.maximum(weight, 1e-9), np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class _Split:
    """One clip: slow part, jitter, and its loudness (T, 8): six limbs of the body, left hand, right hand."""

    slow2: np.ndarray
    slow3: np.ndarray
    jitter2: np.ndarray
    jitter3: np.ndarray
    loudness: np.ndarray


def _split(take: Take, level: np.ndarray) -> _Split:
    """level (67,): typical log length of the jitter of each proxy."""
    fps = take.residuals.fps
    slow2, slow3 = running_mean(take.z2, fps, _SLOW_S), running_mean(take.z3, fps, _SLOW_S)
    jitter2, jitter3 = take.z2 - slow2, take.z3 - slow3
    length = np.log(np.linalg.norm(jitter2, axis=-1) + _FLOOR) - level
    loud = np.full((len(length), 8), np.nan)
    for k in range(8):
        of_limb = length[:, k == LIMB]
        known = np.isfinite(of_limb)
        count = known.sum(axis=1)
        loud[:, k] = np.where(count > 0, np.where(known, of_limb, 0).sum(axis=1) / np.maximum(count, 1), np.nan)
    return _Split(slow2, slow3, jitter2, jitter3, running_mean(loud, fps, _LOUDNESS_S))


def fit_time(takes: Sequence[Take]) -> dict[str, Any]:
    """Tables and processes of the model, by their names in ``NoiseModel``."""
    level = _levels(takes)
    splits = [_split(t, level) for t in takes]
    quiet = [np.exp(-np.nan_to_num(s.loudness)) for s in splits]
    even2 = [s.jitter2 * q[:, LIMB, None] for s, q in zip(splits, quiet, strict=True)]
    even3 = [s.jitter3 * q[:, LIMB3, None] for s, q in zip(splits, quiet, strict=True)]
    seen = [t.residuals.visible == VISIBLE for t in takes]
    slow2 = [s.slow2 for s in splits]
    pooled = _columns(slow2, 2)
    overall = tabulate(np.concatenate(pooled))
    own = [tabulate(c, overall) for c in pooled]
    scores = np.stack(
        [
            np.stack([tabulate(c, prior) for c, prior in zip(_columns(slow2, 2, seen, s), own, strict=True)])
            for s in (False, True)
        ]
    )
    scores3 = _tables(_columns([s.slow3 for s in splits], 3))
    jitter, jitter3 = _tables(_columns(even2, 2)), _tables(_columns(even3, 3))
    loud = np.concatenate([s.loudness for s in splits])
    pairs = [np.concatenate([loud[:, k], loud[:, _LIMB_MIRROR[k]]]) for k in range(6)]
    loudness = np.stack([tabulate(c) for c in (*pairs, loud[:, 6:].ravel())])

    fps = [t.residuals.fps for t in takes]
    body, hand, fast_body, fast_hand, loud_body, loud_hand = [], [], [], [], [], []
    for t, (s, rate) in enumerate(zip(splits, fps, strict=True)):
        n2 = np.where(seen[t][..., None], _scored(scores[1], s.slow2, 2), _scored(scores[0], s.slow2, 2))
        n3 = _scored(scores3, s.slow3, 3)
        f2, f3 = _scored(jitter, even2[t], 2), _scored(jitter3, even3[t], 3)
        flat = s.loudness
        for n_2, n_3, of_body, of_hand in ((n2, n3, body, hand), (f2, f3, fast_body, fast_hand)):
            rows = len(n_2)
            of_body.append((np.concatenate([n_2[:, :25].reshape(rows, -1), n_3[:, :33].reshape(rows, -1)], 1), rate))
            for a, b in zip(_HANDS2, _HANDS3, strict=True):
                of_hand.append((np.concatenate([n_2[:, a].reshape(rows, -1), n_3[:, b].reshape(rows, -1)], 1), rate))
        loud_body.append((np.stack([to_scores(loudness[k], flat[:, k]) for k in range(6)], axis=1), rate))
        loud_hand += [(to_scores(loudness[6], flat[:, k])[:, None], rate) for k in (6, 7)]
    lags, covariance, count = lagged_covariance(loud_body)
    m = _LIMB_MIRROR
    return {
        "scores": scores,
        "scores3": scores3,
        "jitter": jitter,
        "jitter3": jitter3,
        "loudness": loudness,
        "process_body": _body_process(body),
        "process_hand": fit_process(*lagged_covariance(hand), time_s=_SLOW_TIMES_S),
        "process_jitter": _body_process(fast_body, white=True),
        "process_hand_jitter": fit_process(*lagged_covariance(fast_hand, (0.0,)), time_s=(0.0,)),
        "process_loudness": fit_process(lags, (covariance + covariance[:, m][:, :, m]) / 2, count),
        "process_hand_loudness": fit_process(*lagged_covariance(loud_hand), rank=1),
    }


def _levels(takes: Sequence[Take]) -> np.ndarray:
    """(67,) median log length of each proxy's jitter, left and right alike."""
    every = []
    for t in takes:
        jitter = t.z2 - running_mean(t.z2, t.residuals.fps, _SLOW_S)
        every.append(np.log(np.linalg.norm(jitter, axis=-1) + _FLOOR))
    length = np.concatenate(every)
    out = np.zeros(67)
    for i in range(67):
        both = length[:, [i, MIRROR[i]]]
        both = both[np.isfinite(both)]
        out[i] = np.median(both) if len(both) else 0.0
    return out


def _columns(
    values: Sequence[np.ndarray], axes: int, seen: Sequence[np.ndarray] | None = None, state: bool = True
) -> list[np.ndarray]:
    """All values of each channel of the model: body points with those of their mirror image, both hands together.

    ``seen`` (T, 67) with ``state`` picks points that are seen, or not.
    """
    every = np.concatenate(values)
    if seen is not None:
        every = np.where((np.concatenate(seen) == state)[..., None], every, np.nan)
    mirror, hands, count = (MIRROR[:25], _HANDS2, 25) if axes == 2 else (MIRROR_33, _HANDS3, 33)
    sign = np.array([-1.0, 1.0, 1.0])[:axes]
    out = []
    for i in range(count):
        for c in range(axes):
            out.append(np.concatenate([every[:, i, c], sign[c] * every[:, mirror[i], c]]))
    for i in range(21):
        for c in range(axes):
            out.append(np.concatenate([every[:, hands[0]][:, i, c], every[:, hands[1]][:, i, c]]))
    return [c[np.isfinite(c)] for c in out]


def _tables(columns: Sequence[np.ndarray]) -> np.ndarray:
    overall = tabulate(np.concatenate(list(columns)))
    return np.stack([tabulate(c, overall) for c in columns])


def _scored(tables: np.ndarray, values: np.ndarray, axes: int) -> np.ndarray:
    """Normal scores (T, N, axes) of values under the tables (channels, 17) of their channels."""
    point = POINT if axes == 2 else np.concatenate([np.arange(33), np.arange(33, 54), np.arange(33, 54)])
    flat = [
        to_scores(tables[point[i] * axes + c], values[:, i, c]) for i in range(values.shape[1]) for c in range(axes)
    ]
    return np.stack(flat, axis=1).reshape(values.shape)


def _signed_mirror(count2: int, count3: int) -> tuple[np.ndarray, np.ndarray]:
    """Permutation and sign of the body's channels under a mirror."""
    two = (MIRROR[:count2, None] * 2 + np.arange(2)).ravel()
    three = (MIRROR_33[:count3, None] * 3 + np.arange(3)).ravel() + 2 * count2
    sign = np.concatenate([np.tile([-1.0, 1.0], count2), np.tile([-1.0, 1, 1], count3)])
    return np.concatenate([two, three]), sign


def _body_process(takes: list[tuple[np.ndarray, float]], white: bool = False) -> Process:
    lags, covariance, pairs = lagged_covariance(takes, (0.0,)) if white else lagged_covariance(takes)
    order, sign = _signed_mirror(25, 33)
    twin = covariance[:, order][:, :, order] * (sign[:, None] * sign)
    limbs = np.concatenate([np.repeat(LIMB[:25], 2), np.repeat(LIMB3[:33], 3)])
    kin = np.where(limbs[:, None] == limbs, 1.0, _OTHER_LIMB)
    pairs = pairs + pairs[:, order][:, :, order]
    if white:
        return fit_process(lags, (covariance + twin) / 2, pairs, kin=kin, time_s=(0.0,))
    return fit_process(lags, (covariance + twin) / 2, pairs, kin=kin, time_s=_SLOW_TIMES_S)
