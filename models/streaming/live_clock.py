"""The networks' ticks for frames that come live: no frame waits for a later one.

A take on disk gets ticks at exactly RATE_HZ (:mod:`hmcap.models.streaming.timeline`). Live, a tick between two frames
would have to wait for the second of them, and every output would come late by a share of a frame that changes all the
time. So ticks give way instead: each falls on a frame, and between two frames lie as many ticks as come nearest to
RATE_HZ, one for sources of 22 to 40 frames a second (where a motion passes for up to a third slower or faster, as
people move), two down to 13, and so on. Frames of faster sources are averaged until a tick is due; in between the
last motion goes on as it was going. At 30, 15, 10 and 5 frames a second the ticks are those of a take on disk.
"""

import math
from collections import deque

import numpy as np

from ..observed import FIELDS, Observed
from .resample import longest_gap_s
from .stream import masked
from .timeline import BREAK_S, PERIOD_S

_EARLIEST = 0.75
"""Share of a period after which a tick is due."""
_MOST_WAITING = 64
"""Frames averaged into one tick at most, the newest: so many come from a camera of 1900 frames a second, or from one
whose stamps hardly go on."""
_USUAL_SHARE = 0.1
"""How much of the usual step each new step decides."""


class LiveClock:
    """Give it each frame with :meth:`push`; it gives the networks' frames that became due, the last on that frame."""

    def __init__(self) -> None:
        self._last: Observed | None = None
        self._last_s = self._newest_s = 0.0
        self._waiting: deque[Observed] = deque(maxlen=_MOST_WAITING)
        self._usual_s: float | None = None

    def push(self, observed: Observed, stamp_s: float) -> tuple[Observed, bool]:
        """One frame (1, ...) and its time. Returns the networks' frames (T, ...), T >= 0, and whether so much time has
        passed that they begin anew. A stamp that does not go on is taken for one usual step after the last."""
        if self._last is None:
            self._begin(observed, stamp_s)
            return observed, True
        step = stamp_s - self._newest_s
        if not step > 0:
            step = self._usual_s or PERIOD_S
        self._newest_s += step
        before = min(step, BREAK_S) if self._usual_s is None else self._usual_s
        self._usual_s = before + _USUAL_SHARE * (min(step, BREAK_S) - before)
        if step > BREAK_S:
            self._begin(observed, self._newest_s)
            return observed, True
        self._waiting.append(observed)
        elapsed = (self._newest_s - self._last_s) / PERIOD_S
        if elapsed < _EARLIEST:
            return masked(0), False
        count = ticks_in(elapsed)
        newest = averaged(list(self._waiting))
        if count == 1:
            due = newest
        elif self._newest_s - self._last_s <= longest_gap_s(self._usual_s) + 1e-6:
            due = _between(self._last, newest, count)
        else:
            nothing = masked(count - 1)
            due = Observed(*(np.concatenate([getattr(nothing, n), getattr(newest, n)]) for n in FIELDS))
        self._last, self._last_s = newest, self._newest_s
        self._waiting.clear()
        return due, False

    def _begin(self, observed: Observed, stamp_s: float) -> None:
        start = stamp_s if math.isfinite(stamp_s) else 0.0
        self._last, self._last_s, self._newest_s = observed, start, start
        self._waiting.clear()


def ticks_in(periods: float) -> int:
    """How many ticks come nearest, in ratio, to a time of so many periods; at least one."""
    low = max(1, int(periods))
    return low if periods * periods <= low * (low + 1) else low + 1


def averaged(frames: list[Observed]) -> Observed:
    """(1, ...) the mean of some frames (1, ...): of each point over those that see it, masked where under half do."""
    if len(frames) == 1:
        return frames[0]
    stacked = Observed(*(np.concatenate([getattr(f, n) for f in frames]) for n in FIELDS))
    weight = np.full((1, len(frames)), 1 / len(frames))
    return blended(stacked, weight, 0.5 - 1e-6)


def _between(last: Observed, newest: Observed, count: int) -> Observed:
    """(count, ...) evenly from the frame after ``last`` to ``newest``; what only one of them sees is masked between."""
    both = Observed(*(np.concatenate([getattr(last, n), getattr(newest, n)]) for n in FIELDS))
    share = np.arange(1, count + 1) / count
    return blended(both, np.stack([1 - share, share], axis=-1), 1 - 1e-6)


def blended(frames: Observed, weight: np.ndarray, need: float) -> Observed:
    """(K, ...) weighted means of frames (N, ...), weight (K, N) with rows that sum to 1, float32: of each point over
    the frames that see it, masked where they have less than ``need`` of the weight."""

    def mean(seen: np.ndarray, values: np.ndarray) -> np.ndarray:
        share = np.tensordot(weight, seen, 1)
        enough = share >= need
        extra = (1,) * (values.ndim - seen.ndim)
        total = np.tensordot(weight, values * seen.reshape(*seen.shape, *extra), 1)
        return np.where(enough.reshape(*enough.shape, *extra), total / np.where(enough, share, 1).reshape(
            *share.shape, *extra), 0.0)  # fmt: skip

    points = (frames.confidence > 0).astype(float)
    body, hands = frames.body_xyz_known.astype(float), frames.hands_xyz_known.astype(float)
    return Observed(
        mean(points, frames.xy), mean(points, frames.confidence), mean(body, frames.body_xyz_m), mean(body, body),
        mean(hands, frames.hands_xyz_m), mean(hands, hands),
    ).map(lambda a: a.astype(np.float32))  # fmt: skip
