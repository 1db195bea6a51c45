"""Fits the noise model to observed clips.

Steps: bias by view (robust least squares); spread by visibility, size and blur (least squares of the logarithm);
covariance by view; what is then left is split into a slow part and jitter, whose tails, correlations and memory are
fitted (:mod:`.fit_time`). A body is symmetric: every frame counts twice, as seen and as seen in a
mirror; both hands are one.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from .events import fit_events
from .fit_points import Points, fit_points, whitened
from .fit_rates import fit_confidence, fit_flips, fit_found, fit_no_depth, fit_presence
from .fit_spatial import fit_spatial, standardised
from .fit_time import Take, fit_time
from .model import NoiseModel
from .observe import Observation
from .process import tabulate
from .residuals import residuals


def fit(clips: Sequence[Observation], provenance: dict[str, Any] | None = None) -> NoiseModel:
    """The model of these clips; the same clips give the same model."""
    parts = [residuals(c) for c in clips]
    points = [Points(parts, 0), Points(parts, 1)]
    fitted = [fit_points(p, kind) for kind, p in enumerate(points)]
    keys = ("bias", "chol", "scale_state", "size", "blur")
    bias, chol, state, size, blur = ([f[k] for f in fitted] for k in keys)
    spatial = [fit_spatial(parts, group) for group in (0, 1)]
    takes = [Take(p, whitened(p, fitted), standardised(p, spatial)) for p in parts]
    confidence = fit_confidence(clips, parts)
    present, process_present = fit_presence(clips)
    found, process_found = fit_found(clips)
    return NoiseModel(
        bias=np.concatenate(bias, axis=1),
        chol=np.concatenate(chol, axis=1),
        scale_state=np.concatenate(state, axis=1),
        scale_size=np.stack(size),
        scale_blur=np.stack(blur),
        slope3=np.stack([s["slope"] for s in spatial]),
        scale3=np.array([s["scale"] for s in spatial]),
        bias3=np.concatenate([s["bias"] for s in spatial], axis=1),
        sd3=np.concatenate([s["sd"] for s in spatial], axis=1),
        **fit_time(takes),
        **confidence,
        presence_score=tabulate(np.concatenate([c.score[c.present] for c in clips]))[None],
        present=present,
        found=found,
        process_present=process_present,
        process_found=process_found,
        swaps=fit_events(
            [(p.swaps, np.ones_like(p.swaps), v, p.fps) for p in parts for v in (p.view[:, 0], -p.view[:, 0])]
        ),
        flips=fit_flips(parts),
        no_depth=fit_no_depth(clips, parts),
        provenance=json.dumps(provenance or {}, sort_keys=True),
    )
