"""Which sightings of a person to believe: one that leaps away from all before has to last before it counts.

A landmark network that slips gives, for a frame or a few, a body that is somewhere else, upside down, three times as
large, a point, or scattered over the picture. People do not do that, but footage that is cut does: so what leaps is
taken for unseen until it has gone on for :data:`CONFIRM_S` without leaping again. What comes back to where it was is
believed at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

import numpy as np

from .proxies import BODY, Proxies

CONFIRM_S = 0.2
"""A sighting that leapt is believed after so long."""
_FORGET_S = 0.6
"""After so long without a sighting anything is believed: the person may have come in anywhere."""
_LEAP = 0.25
"""Way of the body's points from frame to frame, in the mean and in sizes of the body in the picture, that is a leap."""
_LEAP_PER_S = 6.0
"""The same in a second, for sources so slow that it is more."""
_FAR = 1.0
"""A point that is lost counts no more than so many sizes."""
_POINT = 0.01
"""What takes less than this share of the picture's longer side is a point, and no body."""
_FEWEST = 6
"""Fewer points in common say nothing."""
_USUAL_S, _SHORTEST_S = 1 / 30, 1e-3
"""A step between stamps that is shorter, or no number, counts as a usual one."""


class Verdict(Enum):
    """What the gate makes of a frame."""

    NOBODY = auto()
    """There is nobody in it, or a point."""
    FIRST = auto()
    """Believed, for lack of anything to compare it with."""
    GOES_ON = auto()
    """Believed: it goes on from what was believed."""
    LEAPS = auto()
    """Not believed: it leaps away from everything."""
    DOUBTED = auto()
    """Not believed yet: it goes on from what leapt."""
    CONFIRMED = auto()
    """Believed: what leapt has lasted."""


BELIEVED = (Verdict.FIRST, Verdict.GOES_ON, Verdict.CONFIRMED)


def points_seen(proxies: Proxies) -> np.ndarray:
    """(25,) bool: body points that are seen and have a place."""
    with np.errstate(invalid="ignore"):
        return (proxies.confidence[BODY] > 0) & (np.abs(proxies.xy_px[BODY]) < 1e6).all(-1)


@dataclass(frozen=True, slots=True, eq=False)
class _Body:
    """The body points of one sighting."""

    points_px: np.ndarray
    """(25, 2) places, pixels."""
    size_px: np.ndarray
    """(2,) width and height of the picture."""
    seen: np.ndarray
    """(25,) bool"""
    extent: float
    """What they span, in longer sides of the picture; infinite for so few that they may lie close together."""

    @classmethod
    def of(cls, proxies: Proxies) -> "_Body":
        points, seen = proxies.xy_px[BODY].astype(np.float64), points_seen(proxies)
        size = np.maximum(np.array(proxies.image_size_px, np.float64), 1.0)
        some = points[seen]
        extent = float((some.max(0) - some.min(0)).max() / size.max()) if len(some) >= _FEWEST else np.inf
        return cls(points, size, seen, extent)

    def leapt(self, before: "_Body", step_s: float) -> bool:
        """Whether the body moved further than people do, in a source with ``step_s`` between sightings."""
        both = before.seen & self.seen
        count = np.count_nonzero(both)
        if count < _FEWEST:
            return False
        a, b = before.points_px[both], self.points_px[both] * (before.size_px / self.size_px)
        size = max(float((a.max(0) - a.min(0)).max()), 1e-6)
        way = np.minimum(np.sqrt(((b - a) ** 2).sum(-1)) / size, _FAR)
        return bool(float(way.sum()) / count > max(_LEAP, _LEAP_PER_S * step_s))


class SightingGate:
    """Give it each frame with :meth:`push`; it gives the frame, or the same frame with nobody in it."""

    def __init__(self) -> None:
        self._trusted: _Body | None = None
        self._doubted: _Body | None = None
        self._now_s = self._doubted_since_s = 0.0
        self._newest_s = -np.inf
        self._stamp_s = np.nan

    def push(self, proxies: Proxies) -> Proxies:
        """What to believe of the newest frame; frames come in order, absent ones included."""
        return proxies if self.judge(proxies) in BELIEVED else unseen(proxies)

    def judge(self, proxies: Proxies) -> Verdict:
        """The verdict on the newest frame."""
        step = proxies.stamp_s - self._stamp_s
        step = step if step > _SHORTEST_S else _USUAL_S
        self._stamp_s = proxies.stamp_s
        self._now_s += step
        body = _Body.of(proxies)
        if not body.seen.any() or body.extent < _POINT:
            return Verdict.NOBODY
        since, self._newest_s = self._now_s - self._newest_s, self._now_s
        before, doubted = self._trusted, self._doubted
        if before is None or since > _FORGET_S:
            return self._trust(body, Verdict.FIRST)
        if not body.leapt(before, since):
            return self._trust(body, Verdict.GOES_ON)
        again = doubted is None or body.leapt(doubted, since)
        if again:
            self._doubted_since_s = self._now_s - since
        self._doubted = body
        if self._now_s - self._doubted_since_s < CONFIRM_S - 1e-6:
            return Verdict.LEAPS if again else Verdict.DOUBTED
        return self._trust(body, Verdict.CONFIRMED)

    def _trust(self, body: _Body, verdict: Verdict) -> Verdict:
        self._trusted, self._doubted = body, None
        return verdict


def believed(proxies: Sequence[Proxies]) -> list[Proxies]:
    """The frames of a whole take, those that are not believed with nobody in them.

    Here what is confirmed counts from its first frame, and what it leapt from does not if it had not lasted as long
    itself. Where nothing lasts, as in a folder of pictures that have nothing in common, everything counts.
    """
    gate = SightingGate()
    keep, lasted = np.zeros(len(proxies), bool), False
    run: list[int] = []  # believed, from the frame that was so for lack of anything else
    doubted: list[int] = []
    founded = False  # whether the run has been confirmed, or has lasted
    for i, one in enumerate(proxies):
        verdict = gate.judge(one)
        keep[i] = verdict in BELIEVED
        if verdict is Verdict.FIRST:
            run, doubted, founded = [i], [], False
        elif verdict is Verdict.GOES_ON:
            run, doubted = [*run[:1], i], []
            founded = founded or one.stamp_s - proxies[run[0]].stamp_s >= CONFIRM_S
        elif verdict is Verdict.LEAPS:
            doubted = [i]
        elif verdict is Verdict.DOUBTED:
            doubted.append(i)
        elif verdict is Verdict.CONFIRMED:
            if not founded:
                keep[run[0] : run[-1] + 1] = False
            keep[doubted] = True
            run, doubted, founded = [i], [], True
        lasted = lasted or founded
    if not lasted:
        return list(proxies)
    return [one if k else unseen(one) for one, k in zip(proxies, keep, strict=True)]


def unseen(proxies: Proxies) -> Proxies:
    """The same frame with nobody in it; the face stays."""
    nobody = Proxies.absent(proxies.index, proxies.stamp_s, proxies.image_size_px)
    return replace(nobody, face=proxies.face)
