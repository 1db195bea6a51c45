"""What the picture itself says of a person's place: where the body must be to look as it does, and which feet move.

The networks' place belongs to their own shape and pose of one frame; the take's one shape and smoothed pose look right
a little beside it. And before a camera that stands still, a foot that moves in the picture does not stand.
"""

from collections import deque
from dataclasses import replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
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
"""Rounds of weighing the proxies anew."""
_ALIKE = 10.0
"""More proxies than so many do not place a body better: they err alike."""
_ACROSS_SIGMA_M = 0.02
"""Error of the place across the ray where that many agree about it."""
_STILL_M_S = 0.35
"""Speed in the picture, taken to the person's distance, at which a foot is as likely to move as to stand."""
_SMOOTH_FRAMES = 1.0
"""Standard deviation of the smoothing of the tracks whose speed is measured."""
_SPAN_FRAMES = 3
"""A foot that comes nowhere in so many frames rests in all of them."""
_LIVE_FRAMES = 6
"""Frames over which live capture looks back, which sees no smoothed tracks."""


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
    place, evidence = root[:, None, :2], np.zeros(len(root))
    for _ in range(_ROUNDS):
        weight = confidence / (1 + ((wanted - place) ** 2).sum(-1) / scale**2)
        evidence = weight.sum(1)
        total = _PRIOR + evidence
        place = ((_PRIOR * root[:, :2] + (weight[..., None] * wanted).sum(1)) / total[:, None])[:, None]
    sigma = np.array(estimate.root_sigma_m, np.float64)
    sigma[:, 0] = (
        np.maximum(sigma[:, 0], 1e-4) ** -2 + np.minimum(evidence, _ALIKE) / (_ALIKE * _ACROSS_SIGMA_M**2)
    ) ** -0.5
    return replace(estimate, root_cam_m=np.concatenate([place[:, 0], root[:, 2:]], axis=-1), root_sigma_m=sigma)


def still_feet(observed: Observed, depth_m: np.ndarray) -> np.ndarray:
    """(T, 4) 1 for foot points that rest in the picture, falling to 0 the faster they move, for one run of frames;
    depth_m (T,) is the person's. 1 where a point is not seen. A frame is as still as the stillest few frames around it,
    so that a foot rests from when it lands to when it leaves."""
    xy, known = np.asarray(observed.xy, np.float64)[:, FEET], np.asarray(observed.confidence)[:, FEET] > 0
    T = len(xy)
    if T <= _SPAN_FRAMES:
        return np.ones(known.shape)
    share = gaussian_filter1d(known.astype(float), _SMOOTH_FRAMES, axis=0, mode="nearest")
    smooth = gaussian_filter1d(_filled(xy, known), _SMOOTH_FRAMES, axis=0, mode="nearest")
    moved = np.linalg.norm(smooth[_SPAN_FRAMES:] - smooth[:-_SPAN_FRAMES], axis=-1)
    least = sliding_window_view(
        np.pad(moved, ((_SPAN_FRAMES, _SPAN_FRAMES), (0, 0)), constant_values=np.inf), _SPAN_FRAMES + 1, axis=0
    ).min(-1)
    speed = least * depth_m[:, None] * RATE_HZ / _SPAN_FRAMES
    return np.where(known & (share > 0.5), _stillness(speed), 1.0)


def _filled(xy: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Tracks (T, N, 2) with the nearest known place where they are not ``known`` (T, N)."""
    out, rows = xy.copy(), np.arange(len(xy))
    for k in range(xy.shape[1]):
        some = np.flatnonzero(known[:, k])
        if len(some):
            after = np.minimum(np.searchsorted(some, rows), len(some) - 1)
            before = np.maximum(after - 1, 0)
            near = np.where(rows - some[before] < some[after] - rows, before, after)
            out[:, k] = xy[some[near], k]
    return out


def _stillness(speed_m_s: np.ndarray) -> np.ndarray:
    return 1 / (1 + (speed_m_s / _STILL_M_S) ** 4)


class LiveStillFeet:
    """:func:`still_feet` frame by frame, from what has been seen so far."""

    def __init__(self) -> None:
        self._past: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=_LIVE_FRAMES)

    def push(self, observed: Observed, depth_m: np.ndarray) -> np.ndarray:
        """(1, 4) of one frame more; depth_m (1,). All ones until enough has been seen."""
        xy, known = np.asarray(observed.xy[0], np.float64)[FEET], np.asarray(observed.confidence[0])[FEET] > 0
        out = np.ones((1, 4))
        if len(self._past) == _LIVE_FRAMES:
            before, was_known = self._past[0]
            speed = np.linalg.norm(xy - before, axis=-1) * depth_m[0] * RATE_HZ / _LIVE_FRAMES
            out[0] = np.where(known & was_known, _stillness(speed), 1.0)
        self._past.append((xy, known))
        return out
