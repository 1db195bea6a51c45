"""The face over time: from the weights seen in each frame to the expression of each motion frame.

What is seen trembles a little and is missing where the face is hidden, turned away or too small. Here it is smoothed,
short gaps are bridged, and in long ones the face goes back to neutral. The weights themselves are taken as they are:
nothing is calibrated to the person.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .face import ARKIT_NAMES
from .motion import MotionFrame
from .one_euro import OneEuroFilter
from .proxies import Proxies
from .stacked import Stacked


@dataclass(frozen=True, slots=True)
class ExpressionSettings:
    """How the face is smoothed. Cutoffs: those of a one-euro filter, whose speed is in weights (0..1) a second."""

    cutoff_hz: float = 1.5
    cutoff_per_speed: float = 2.0
    speed_cutoff_hz: float = 3.0
    """Of the filter of that speed. On footage these leave a third of what trembles in a still face and nine tenths of
    the height of a blink, which is over in a sixth of a second."""
    bridge_s: float = 0.5
    """A gap in a take that is shorter is filled in between its two sides."""
    hold_s: float = 0.2
    """Live, a face that is lost stays as it was for so long."""
    decay_s: float = 0.3
    """Time in which a face that stays lost goes two thirds of the way to neutral."""


class LiveExpression:
    """Smooths weights as they come, without delay."""

    def __init__(self, settings: ExpressionSettings | None = None) -> None:
        self._settings = s = settings or ExpressionSettings()
        self._filter = OneEuroFilter(s.cutoff_hz, s.cutoff_per_speed, s.speed_cutoff_hz)
        self._last = np.zeros(len(ARKIT_NAMES))
        self._seen_s: float | None = None

    def push(self, face: np.ndarray, stamp_s: float) -> np.ndarray:
        """(52,) float32 expression of one frame more, taken at ``stamp_s``; ``face`` (52,) as in ``Proxies.face``."""
        target = np.zeros(len(ARKIT_NAMES))
        if is_seen(face):
            target = self._last = np.asarray(face, np.float64)
            self._seen_s = stamp_s
        elif self._seen_s is not None:
            lost_s = max(0.0, stamp_s - self._seen_s - self._settings.hold_s)
            target = self._last * np.exp(-lost_s / self._settings.decay_s)
        return self._filter(target, stamp_s, 1.0).astype(np.float32)


def is_seen(face: np.ndarray) -> bool:
    """Whether the weights of a frame (52,), or (0,), come from a face."""
    return bool(len(face)) and bool(np.isfinite(face[0]))


def expression_of_take(
    faces: np.ndarray, stamps_s: np.ndarray, settings: ExpressionSettings | None = None
) -> np.ndarray:
    """(T, 52) float32 expression of every frame of a take.

    Smoothed by a one-euro filter forwards and backwards, of which the mean is taken: nothing is delayed, and the take
    played backwards gives the same.

    Args:
        faces: (T, 52) weights, NaN where no face was seen.
        stamps_s: (T,) time of each frame, seconds.
    """
    s = settings or ExpressionSettings()
    filled = fill_gaps(np.asarray(faces, np.float64), np.asarray(stamps_s, np.float64), s)

    def smoothed(values: np.ndarray, times_s: np.ndarray) -> np.ndarray:
        smooth = OneEuroFilter(s.cutoff_hz, s.cutoff_per_speed, s.speed_cutoff_hz)
        return np.array([smooth(v, float(t), 1.0) for v, t in zip(values, times_s, strict=True)]).reshape(values.shape)

    forwards = smoothed(filled, np.asarray(stamps_s))
    backwards = smoothed(filled[::-1], -np.asarray(stamps_s)[::-1])[::-1]
    return ((forwards + backwards) / 2).astype(np.float32)


def fill_gaps(faces: np.ndarray, stamps_s: np.ndarray, settings: ExpressionSettings) -> np.ndarray:
    """The weights (T, 52) with numbers in place of NaN: from one side to the other where the gap is short, else back to
    neutral and up from it again."""
    seen = np.flatnonzero(np.isfinite(faces[:, 0])) if len(faces) else np.zeros(0, int)
    out = np.where(np.isfinite(faces), faces, 0.0)
    if not len(seen):
        return out
    t = stamps_s
    for i in np.flatnonzero(~np.isfinite(faces[:, 0])):
        k = int(np.searchsorted(seen, i))
        before, after = (seen[k - 1] if k > 0 else None), (seen[k] if k < len(seen) else None)
        if before is not None and after is not None and t[after] - t[before] < settings.bridge_s:
            share = (t[i] - t[before]) / max(t[after] - t[before], 1e-9)
            out[i] = (1 - share) * faces[before] + share * faces[after]
            continue
        for side in (before, after):
            if side is not None:
                out[i] += faces[side] * np.exp(-abs(t[i] - t[side]) / settings.decay_s)
    return np.clip(out, 0, 1)


def with_expressions(motion: Sequence[MotionFrame], proxies: Sequence[Proxies]) -> Sequence[MotionFrame]:
    """The motion of a take with the expression of every frame, from the proxies of the same frames; as it is where the
    face was not captured."""
    if not any(len(p.face) for p in proxies):
        return motion
    nothing = np.full(len(ARKIT_NAMES), np.nan)
    faces = np.array([p.face if len(p.face) else nothing for p in proxies], np.float32)
    expression = expression_of_take(faces, np.array([p.stamp_s for p in proxies]))
    of = {p.index: e for p, e in zip(proxies, expression, strict=True)}
    return Stacked.of(replace(m, expression=of[m.index]) for m in motion)
