"""Fits the noise model to observed clips.

Steps: bias by view (robust least squares); spread by visibility, size and blur (least squares of the logarithm);
covariance by view; tables of what is then left (its tails); normal scores of that; their correlation between landmarks
and over time. A body is symmetric: every frame counts twice, as seen and as seen in a mirror; both hands are one.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...models.proxies import BLAZEPOSE_NAMES, PROXY_NAMES
from .events import fit_events
from .fit_points import Points, fit_points, scores_of_points
from .fit_rates import fit_confidence, fit_flips, fit_found, fit_no_depth, fit_presence
from .fit_spatial import fit_spatial, scores_of_3d
from .model import NoiseModel
from .observe import Observation
from .process import Process, fit_process, lagged_covariance, tabulate
from .residuals import residuals
from .tracks import MIRROR, MIRROR_33

_OTHER_LIMB = 0.7
"""Correlations between limbs that are not the same are drawn to none by this factor."""


def fit(clips: Sequence[Observation], provenance: dict[str, Any] | None = None) -> NoiseModel:
    """The model of these clips; the same clips give the same model."""
    parts = [residuals(c) for c in clips]
    points = [Points(parts, 0), Points(parts, 1)]
    fitted = [fit_points(p, kind) for kind, p in enumerate(points)]
    keys = ("bias", "chol", "scale_state", "scores", "size", "blur")
    bias, chol, state, scores, size, blur = ([f[k] for f in fitted] for k in keys)
    spatial = [fit_spatial(parts, group) for group in (0, 1)]
    two = scores_of_points(parts, fitted)
    three = scores_of_3d(parts, spatial)
    confidence = fit_confidence(clips, parts)
    present, process_present = fit_presence(clips)
    found, process_found = fit_found(clips)
    return NoiseModel(
        bias=np.concatenate(bias, axis=1),
        chol=np.concatenate(chol, axis=1),
        scale_state=np.concatenate(state, axis=1),
        scale_size=np.stack(size),
        scale_blur=np.stack(blur),
        scores=np.concatenate(scores, axis=1),
        slope3=np.stack([s["slope"] for s in spatial]),
        scale3=np.array([s["scale"] for s in spatial]),
        bias3=np.concatenate([s["bias"] for s in spatial], axis=1),
        sd3=np.concatenate([s["sd"] for s in spatial], axis=1),
        scores3=np.concatenate([s["scores"] for s in spatial], axis=0),
        **confidence,
        presence_score=tabulate(np.concatenate([c.score[c.present] for c in clips]))[None],
        present=present,
        found=found,
        process_body=_fit_body_process(two[0], three[0]),
        process_hand=_fit_hand_process(two[1], three[1]),
        process_present=process_present,
        process_found=process_found,
        swaps=fit_events(
            [(p.swaps, np.ones_like(p.swaps), v, p.fps) for p in parts for v in (p.view[:, 0], -p.view[:, 0])]
        ),
        flips=fit_flips(parts),
        no_depth=fit_no_depth(clips, parts),
        provenance=json.dumps(provenance or {}, sort_keys=True),
    )


def _signed_mirror(count2: int, count3: int) -> tuple[np.ndarray, np.ndarray]:
    """Permutation and sign of the body's channels under a mirror."""
    two = (MIRROR[:count2, None] * 2 + np.arange(2)).ravel()
    three = (MIRROR_33[:count3, None] * 3 + np.arange(3)).ravel() + 2 * count2
    sign = np.concatenate([np.tile([-1.0, 1.0], count2), np.tile([-1.0, 1, 1], count3)])
    return np.concatenate([two, three]), sign


def _limb(name: str) -> str:
    for side in ("left", "right"):
        if side in name:
            part = name.replace(side, "").strip("_")
            if part in ("shoulder", "elbow", "wrist", "pinky", "index", "thumb"):
                return f"{side} arm"
            if part in ("hip", "knee", "ankle", "big_toe", "small_toe", "heel", "foot_index"):
                return f"{side} leg"
            return "head"
    return {"nose": "head", "neck": "trunk", "mid_hip": "trunk"}[name]


def _fit_body_process(two: list[tuple[np.ndarray, float]], three: list[tuple[np.ndarray, float]]) -> Process:
    takes = [(np.concatenate([a, b], axis=1), fps) for (a, fps), (b, _) in zip(two, three, strict=True)]
    lags, covariance, pairs = lagged_covariance(takes)
    order, sign = _signed_mirror(25, 33)
    twin = covariance[:, order][:, :, order] * (sign[:, None] * sign)
    limbs = [_limb(n) for n in PROXY_NAMES[:25] for _ in range(2)] + [
        _limb(n) for n in BLAZEPOSE_NAMES for _ in range(3)
    ]
    same = np.array([[a == b for b in limbs] for a in limbs])
    kin = np.where(same, 1.0, _OTHER_LIMB)
    return fit_process(lags, (covariance + twin) / 2, pairs + pairs[:, order][:, :, order], kin=kin)


def _fit_hand_process(two: list[tuple[np.ndarray, float]], three: list[tuple[np.ndarray, float]]) -> Process:
    takes = [(np.concatenate([a, b], axis=1), fps) for (a, fps), (b, _) in zip(two, three, strict=True)]
    return fit_process(*lagged_covariance(takes))
