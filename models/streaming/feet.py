"""Feet that stand, stand: a take's stance feet are held where they are, and no sole sinks into the floor.

A stance is a run of frames in which heel, ball or both of one foot touch. Where both do, the foot lies flat and keeps
one place and one heading; where one does, that point keeps its place while the foot turns about it. The legs follow by
a two-bone reach. Between stances the correction fades from one to the next, so that nothing jumps.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from .blend import between, runs, smoothstep
from .legs import Legs, foot_points, heading_of, reach, sole_points
from .records import RATE_HZ
from .world_settings import WorldSettings

ON, OFF = 0.3, 0.15
"""Contact probability above which a point begins to stand, and below which it has left. Low, for a foot that slips by
a step too many is seen at once, and one that stands a frame too long is not."""
_APART_M, _STEP_FRAMES = 0.1, 3
"""Distance from the middle of its stance at which a foot has stepped, and half the length of such a step."""
_SMOOTH_FRAMES = 1.0
"""Standard deviation of the smoothing of contact probabilities before they are judged."""
_SHORT_S = 0.1
"""Stances shorter than this are noise."""
_GAP_S = 0.07
"""So are interruptions shorter than this."""
_FADE_FRAMES = 6
"""A correction fades over so many frames where no other stance is near."""
_FLAT_FRAMES = 4
"""A foot is laid flat over so many frames before it stands, and let go over as many after."""
_MOST_DROP_M = 0.03
"""A pelvis is lowered by at most so much for a leg that does not reach its place; then the foot gives way."""
SINK_M = 0.003
"""A foot that stands on one point may dip into the floor by so much; then it is lifted."""
_LEVEL_M = 0.003
"""Heel and ball whose heights differ by less are level."""
TOUCH_M = 0.12
"""A point higher than this does not touch, whatever the networks say."""


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Pelvis and legs of T frames after the feet were set."""

    pelvis_m: np.ndarray
    """(T, 3)"""
    legs: Legs
    stands: np.ndarray
    """(T, 4) bool: CONTACT_POINTS that were held."""


def set_feet(pelvis_m: np.ndarray, legs: Legs, contact: np.ndarray, settings: WorldSettings) -> Placed:
    """Hold the feet of one run of frames. pelvis_m: (T, 3) in the world; contact: (T, 4) probabilities."""
    T = len(pelvis_m)
    points = pelvis_m[:, None] + legs.points_m()
    stands = divided(stances(contact, points[..., 1]), points)
    stands, flat = _flat_feet(legs, stands, settings)
    R_ankle, R_toes = _laid_flat(legs, flat)
    ankle = pelvis_m[:, None] + legs.ankle_m
    shift = np.zeros((T, 2, 3))
    heel, ball = foot_points(legs.person, R_ankle, R_toes)
    for side in range(2):
        want = _held(ankle[:, side], heel[:, side], ball[:, side], stands[:, 2 * side : 2 * side + 2])
        shift[:, side] = _faded(want - ankle[:, side], np.any(stands[:, 2 * side : 2 * side + 2], axis=1))
    shift = _limited(shift, settings.max_correction_m)
    target = ankle + shift
    lowest = (target[:, :, None, 1] + sole_points(legs.person, R_ankle, R_toes)[..., 1]).min(-1)
    free = np.logical_not(stands.reshape(T, 2, 2).any(-1))
    target[..., 1] += np.where(free, np.maximum(0.0, -lowest), np.maximum(0.0, -lowest - SINK_M))
    pelvis = pelvis_m.copy()
    pelvis[:, 1] -= _smooth_drop(drop_needed(legs, pelvis_m, target, np.logical_not(free)))
    return Placed(pelvis, reach(legs, target - pelvis[:, None], R_ankle, R_toes), stands)


def divided(stands: np.ndarray, points_m: np.ndarray) -> np.ndarray:
    """(T, 4) bool: standing points without the steps from one place to another that nobody took for steps.

    stands (T, 4), points_m (T, 4, 3). A foot that is far from the middle of its stance in its first or last few frames
    comes or leaves, and does not stand. A stance that is still far from its middle at some time is two, divided where
    two places explain it best; and so are they.
    """
    out = stands.copy()
    for side in range(2):
        pair = slice(2 * side, 2 * side + 2)
        level = points_m[:, pair, ::2].mean(1)
        waiting = runs(stands[:, pair].any(1))
        while waiting:
            begin, end = waiting.pop()
            if end - begin < 4 * _STEP_FRAMES:
                continue
            near = begin + np.flatnonzero(_from_middle(level[begin:end]) <= _APART_M)
            first, last = (near[0], near[-1] + 1) if len(near) else (begin, end)
            first = begin if first - begin > 2 * _STEP_FRAMES else first
            last = end if end - last > 2 * _STEP_FRAMES else last
            out[begin:first, pair] = out[last:end, pair] = False
            x = level[first:last]
            if len(x) < 4 * _STEP_FRAMES or _from_middle(x).max() <= _APART_M:
                continue
            n = np.arange(1, len(x))[:, None]
            before = np.cumsum(x, axis=0)[:-1]
            explained = (before**2 / n + (x.sum(0) - before) ** 2 / (len(x) - n)).sum(-1)
            middle = first + 1 + int(explained[_STEP_FRAMES:-_STEP_FRAMES].argmax()) + _STEP_FRAMES
            out[middle - _STEP_FRAMES : middle + _STEP_FRAMES, pair] = False
            waiting += [(first, middle - _STEP_FRAMES), (middle + _STEP_FRAMES, last)]
    for k in range(out.shape[1]):
        _turn_over_short(out[:, k], True, round(_SHORT_S * RATE_HZ))
    return out


def _from_middle(x: np.ndarray) -> np.ndarray:
    return np.linalg.norm(x - np.median(x, axis=0), axis=-1)


def stances(contact: np.ndarray, heights_m: np.ndarray) -> np.ndarray:
    """(T, 4) bool: which points stand, from their contact probabilities (T, 4) and heights (T, 4)."""
    likely = gaussian_filter1d(np.asarray(contact, np.float64), _SMOOTH_FRAMES, axis=0, mode="nearest")
    likely = np.where(heights_m < TOUCH_M, likely, 0.0)
    out = np.zeros(likely.shape, bool)
    for k in range(likely.shape[1]):
        out[:, k] = _hysteresis(likely[:, k])
        _trim(out[:, k], contact[:, k] > OFF)
    out |= also_down(out, heights_m)
    for k in range(likely.shape[1]):
        _turn_over_short(out[:, k], False, round(_GAP_S * RATE_HZ))
        _turn_over_short(out[:, k], True, round(_SHORT_S * RATE_HZ))
    return out


def also_down(stands: np.ndarray, heights_m: np.ndarray) -> np.ndarray:
    """(T, 4) bool: points that are no higher than the other point of their foot, which stands (T, 4)."""
    other, height = stands.reshape(-1, 2)[:, ::-1], heights_m.reshape(-1, 2)
    return (other & (height <= height[:, ::-1] + _LEVEL_M)).reshape(stands.shape)


def _hysteresis(x: np.ndarray) -> np.ndarray:
    """(T,) bool: runs above ``OFF`` that somewhere rise above ``ON``."""
    out = np.zeros(len(x), bool)
    for begin, end in runs(x > OFF):
        out[begin:end] = (x[begin:end] > ON).any()
    return out


def _trim(row: np.ndarray, likely: np.ndarray) -> None:
    """Take the ends of every run of True that are not ``likely`` (T,) by themselves away, which smoothing alone has
    added; in place."""
    for begin, end in runs(row):
        inside = begin + np.flatnonzero(likely[begin:end])
        row[begin:end] = False
        if len(inside):
            row[inside[0] : inside[-1] + 1] = True


def _turn_over_short(row: np.ndarray, value: bool, shortest: int) -> None:
    """Turn over runs of ``value`` shorter than ``shortest`` between two others; in place."""
    edges = np.flatnonzero(np.diff(row)) + 1
    for begin, end in pairwise(edges):
        if bool(row[begin]) == value and end - begin < shortest:
            row[begin:end] = not value


def _flat_feet(legs: Legs, stands: np.ndarray, settings: WorldSettings) -> tuple[np.ndarray, np.ndarray]:
    """Standing points (T, 4), and 0..1 how flat each foot (T, 2) lies; a foot that leans far stands on its lower point
    alone."""
    T = len(stands)
    lean = lean_of(legs.R_ankle)
    both = stands.reshape(T, 2, 2).all(-1)
    tilted = both & (lean > np.radians(settings.max_flatten_deg))
    out = stands.reshape(T, 2, 2).copy()
    height = legs.points_m()[..., 1].reshape(T, 2, 2)
    lower = height[..., 0] < height[..., 1]
    out[tilted & lower, 1] = False
    out[tilted & ~lower, 0] = False
    both &= ~tilted
    distance = np.full((T, 2), float(_FLAT_FRAMES))
    for side in range(2):
        where = np.flatnonzero(both[:, side])
        if len(where):
            i = np.searchsorted(where, np.arange(T))
            near = np.minimum(
                np.abs(where[np.minimum(i, len(where) - 1)] - np.arange(T)),
                np.abs(where[np.maximum(i - 1, 0)] - np.arange(T)),
            )
            distance[:, side] = np.minimum(near, _FLAT_FRAMES)
    return out.reshape(T, 4), smoothstep(1 - distance / _FLAT_FRAMES)


def _laid_flat(legs: Legs, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (T, 2, 3, 3) of feet and toes, turned towards lying flat by (T, 2); one heading while they lie."""
    level = heading_of(legs.R_ankle)
    for side in range(2):
        for begin, end in runs(flat[:, side] >= 1):
            level[begin:end, side] = heading_of(level[begin:end, side].mean(0))
        # the heading of a stance holds while the foot comes down and is lifted again
        for begin, end in runs(flat[:, side] > 0):
            full = np.flatnonzero(flat[begin:end, side] >= 1) + begin
            near = full[np.abs(full[:, None] - np.arange(begin, end)).argmin(0)]
            level[begin:end, side] = level[near, side]
    return between(legs.R_ankle, level, flat), between(legs.R_toes, level, flat)


def _held(ankle: np.ndarray, heel: np.ndarray, ball: np.ndarray, stands: np.ndarray) -> np.ndarray:
    """(T, 3) places of an ankle that hold the standing points of its foot; heel and ball (T, 3) are seen from it."""
    want = ankle.copy()
    for begin, end in runs(stands.any(1)):
        rows = np.arange(begin, end)
        both = rows[stands[rows].all(1)]
        points = {}
        if len(both):
            # one place for the whole foot: the mean of its middle over the frames in which it lies flat
            middle = _level_mean(ankle[both] + (heel[both] + ball[both]) / 2)
            half = (ball[both[0]] - heel[both[0]]) * [0.5, 0, 0.5]
            points = {0: middle - half, 1: middle + half}
        for k, offset in enumerate((heel, ball)):
            alone = rows[stands[rows, k]]
            if not len(alone):
                continue
            place = points.get(k)
            if place is None:
                place = _level_mean(ankle[alone] + offset[alone])
            want[alone] = place - offset[alone]
        if len(both):
            want[both] = points[0] - heel[both]
    return want


def _level_mean(points: np.ndarray) -> np.ndarray:
    return np.median(points, axis=0) * [1.0, 0.0, 1.0]


def _faded(shift: np.ndarray, stands: np.ndarray) -> np.ndarray:
    """(T, 3) the shift where the foot stands, and in between a smooth way from one stance's to the next one's."""
    T = len(shift)
    out = np.where(stands[:, None], shift, 0.0)
    for begin, end in runs(~stands):
        before = shift[begin - 1] if begin else np.zeros(3)
        after = shift[end] if end < T else np.zeros(3)
        n = end - begin
        i = np.arange(1, n + 1)
        span = min(n + 1, 2 * _FADE_FRAMES)
        if begin and end < T and n < 2 * _FADE_FRAMES:
            u = smoothstep(i / span)[:, None]
            out[begin:end] = before * (1 - u) + after * u
        else:
            out[begin:end] = before * smoothstep(1 - i / _FADE_FRAMES)[:, None]
            out[begin:end] += after * smoothstep(1 - (n + 1 - i) / _FADE_FRAMES)[:, None]
    return out


def _limited(shift: np.ndarray, most_m: float) -> np.ndarray:
    length = np.linalg.norm(shift, axis=-1, keepdims=True)
    return shift * np.minimum(1.0, most_m / np.maximum(length, 1e-9))


def lean_of(R_ankle: np.ndarray) -> np.ndarray:
    """(T, 2) angle in radians between feet (T, 2, 3, 3) and feet of the same heading that lie flat."""
    cosine = (np.einsum("tsij,tsij->ts", heading_of(R_ankle), R_ankle) - 1) / 2
    return np.arccos(np.clip(cosine, -1, 1))


def drop_needed(legs: Legs, pelvis_m: np.ndarray, ankle_m: np.ndarray, stands: np.ndarray) -> np.ndarray:
    """(T,) how much lower the pelvis (T, 3) must be for standing legs to reach ankles at ``ankle_m`` (T, 2, 3)."""
    hip = pelvis_m[:, None] + legs.hip_m
    away = ankle_m - hip
    # no further than the leg was stretched already, or nearly straight
    now = np.linalg.norm(legs.ankle_m - legs.hip_m, axis=-1)
    most = np.maximum(now, 0.99 * legs.person.leg_m)
    level2 = away[..., 0] ** 2 + away[..., 2] ** 2
    need = -away[..., 1] - np.sqrt(np.maximum(most**2 - level2, 0.0))
    return np.where(stands, np.clip(need, 0.0, _MOST_DROP_M), 0.0).max(1)


def _smooth_drop(need: np.ndarray) -> np.ndarray:
    """(T,) a smooth lowering that is nowhere less than needed, or nearly."""
    if not need.any():
        return need
    return gaussian_filter1d(maximum_filter1d(need, 7, mode="nearest"), 2.0, mode="nearest")
