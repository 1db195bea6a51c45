"""What the picture itself says of a person's place: where the body must be to look as it does, and which feet move.

The networks' place belongs to their own shape and pose of one frame; the take's one shape and smoothed pose look right
a little beside it. And before a camera that stands still, a foot that moves in the picture does not stand.
"""

from collections import deque
from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ..observed import Observed
from ..proxies import BODY, BODY_NAMES
from .person import Person, proxy_points_m
from .records import RATE_HZ, Estimate

FEET = np.array([BODY_NAMES.index(n) for n in ("left_heel", "left_big_toe", "right_heel", "right_big_toe")])
"""(4,) proxy next to each of CONTACT_POINTS."""
_OUTLIER = 0.02
"""Distance from where it should be, over the body's height, at which a proxy begins to be an outlier."""
_PRIOR = 1.0
"""The networks' place counts as much as so many proxies."""
_ROUNDS = 4
ACROSS_SIGMA_M = 0.02
"""Error of the place across the ray where the body is well seen, and"""
_WELL_SEEN = 10.0
"""the sum of the weights of its proxies then."""
_STILL_M_S = 0.25
"""Speed in the picture, taken to the person's distance, at which a foot is as likely to move as to stand."""
_SMOOTH_FRAMES = 1.5
_SPAN_FRAMES = 8
_LIVE_FRAMES = 3
"""Frames over which live capture looks back."""


def place_in_picture(estimate: Estimate, person: Person, R_local: np.ndarray, observed: Observed) -> Estimate:
    """The estimate with its pelvis moved along the picture to where the body is seen, and the error left; the depth
    stays.

    R_local (T, 55, 3, 3) has the root in the camera. Proxies far off weigh less (Cauchy).
    """
    root = np.asarray(estimate.root_cam_m, np.float64)
    about = proxy_points_m(person, R_local, np.zeros_like(root))
    z = np.maximum(about[..., 2] + root[:, 2:], 0.1)
    seen, confidence = np.asarray(observed.xy, np.float64)[:, BODY], np.asarray(observed.confidence)[:, BODY]
    # where the pelvis would have to be for each proxy to lie where it is seen
    wanted = seen * z[..., None] - about[..., :2]
    scale = _OUTLIER * person.stature_m
    place, total = root[:, None, :2], np.full(len(root), _PRIOR)
    for _ in range(_ROUNDS):
        weight = confidence / (1 + ((wanted - place) ** 2).sum(-1) / scale**2)
        total = _PRIOR + weight.sum(1)
        place = ((_PRIOR * root[:, :2] + (weight[..., None] * wanted).sum(1)) / total[:, None])[:, None]
    sigma = np.asarray(estimate.root_sigma_m, np.float64).copy()
    sigma[:, 0] = np.minimum(sigma[:, 0], ACROSS_SIGMA_M * np.sqrt(_WELL_SEEN / total))
    return replace(estimate, root_cam_m=np.concatenate([place[:, 0], root[:, 2:]], axis=-1), root_sigma_m=sigma)


def still_feet(observed: Observed, depth_m: np.ndarray) -> np.ndarray:
    """(T, 4) 1 for foot points that rest in the picture, falling to 0 the faster they move; depth_m (T,) is the
    person's. 1 where a point is not seen. What counts is the slower of the times just before and just after, so that a
    foot that lands or leaves rests to the end."""
    xy, known = np.asarray(observed.xy, np.float64)[:, FEET], np.asarray(observed.confidence)[:, FEET] > 0
    span = min(_SPAN_FRAMES, len(xy) - 1)
    if span < 1:
        return np.ones(known.shape)
    share = gaussian_filter1d(known.astype(float), _SMOOTH_FRAMES, axis=0, mode="nearest")
    smooth = gaussian_filter1d(_filled(xy, known), _SMOOTH_FRAMES, axis=0, mode="nearest")
    moved = np.linalg.norm(smooth[span:] - smooth[:-span], axis=-1)
    far = np.full((span, moved.shape[1]), np.inf)
    slower = np.minimum(np.concatenate([far, moved]), np.concatenate([moved, far]))
    speed = slower * depth_m[:, None] * RATE_HZ / span
    return np.where(known & (share > 0.5), _stillness(speed), 1.0)


def _filled(xy: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Tracks (T, N, 2) with the nearest known place where they are not ``known`` (T, N)."""
    out, rows = xy.copy(), np.arange(len(xy))
    for k in range(xy.shape[1]):
        some = np.flatnonzero(known[:, k])
        if len(some):
            out[:, k] = np.stack([np.interp(rows, some, xy[some, k, c]) for c in range(2)], axis=-1)
    return out


def _stillness(speed_m_s: np.ndarray) -> np.ndarray:
    return 1 / (1 + (speed_m_s / _STILL_M_S) ** 4)


class LiveStillFeet:
    """:func:`still_feet` frame by frame, from what has been seen so far."""

    def __init__(self) -> None:
        self._past: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=_LIVE_FRAMES)

    def push(self, observed: Observed, depth_m: np.ndarray) -> np.ndarray:
        """(1, 4) of one frame more; depth_m (1,)."""
        xy, known = np.asarray(observed.xy[0], np.float64)[FEET], np.asarray(observed.confidence[0])[FEET] > 0
        out = np.ones((1, 4))
        if self._past:
            before, was_known = self._past[0]
            speed = np.linalg.norm(xy - before, axis=-1) * depth_m[0] * RATE_HZ / len(self._past)
            out[0] = np.where(known & was_known, _stillness(speed), 1.0)
        self._past.append((xy, known))
        return out
