"""Two clocks of one take: the stamps of the source's frames, and the networks' ticks at RATE_HZ.

A take is divided where the footage is cut, where a frame shows another place than the frame before or no frame came for
two seconds; each part has ticks of its own, from the stamp of its first frame to that of its last. A source whose rate
is a whole multiple or fraction of RATE_HZ, nearly (29.97, 59.94, 15, 5), has a tick on every frame, or a frame on every
tick: ticks are then up to 1.5 % longer or shorter, a speed that no network notices, and nothing is interpolated that
need not be.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import BSpline
from scipy.spatial.transform import Rotation

from ..rotations import same_side
from .records import RATE_HZ

PERIOD_S = 1 / RATE_HZ
"""Time between two ticks."""
BREAK_S = 2.0
"""After so long without any frame of the source a new part begins."""
_RATE_TOLERANCE = 0.015
_STEADY, _STEADY_S = 0.1, 0.002
"""Deviation from an even rate, in frames and in seconds, up to which a source counts as steady: many files round their
stamps to 1 ms."""
_SNAP_S = 0.0007
_REACH = 4
"""Ticks on either side of a moment on which a spline's value there depends, and one more."""


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """The source's N frames and the networks' K ticks, in parts that are not connected."""

    stamps_s: np.ndarray
    """(N,) increasing stamps of the source's frames."""
    ticks_s: np.ndarray
    """(K,) increasing moments of the networks' frames."""
    rows: tuple[slice, ...]
    """Frames of each part."""
    ticks: tuple[slice, ...]
    """Ticks of each part."""
    period_s: float
    """Time between two ticks of a part."""
    snap_s: float
    """A stamp and a tick that are no further apart count as the same moment."""
    usual_step_s: float
    """Median time between two frames of the source."""
    on_ticks: bool
    """Whether every frame of the source has a tick of its own moment."""

    def piece(self, rows: slice) -> "tuple[Timeline, slice]":
        """The clocks of some of the frames, and which of the ticks those are: all that values at these frames depend
        on, so that a long take can be taken in pieces without a seam."""
        parts = []
        for of, ticks in zip(self.rows, self.ticks, strict=True):
            begin, end = max(of.start, rows.start), min(of.stop, rows.stop)
            if begin < end:
                places = (self.stamps_s[[begin, end - 1]] - self.ticks_s[ticks.start]) / self.period_s
                first = ticks.start + max(0, int(places[0]) - _REACH)
                parts.append((begin, end, first, min(ticks.stop, ticks.start + int(places[1]) + _REACH + 2)))
        start = parts[0][2]
        return replace(
            self,
            stamps_s=self.stamps_s[rows],
            ticks_s=self.ticks_s[start : parts[-1][3]],
            rows=tuple(slice(begin - rows.start, end - rows.start) for begin, end, _, _ in parts),
            ticks=tuple(slice(first - start, last - start) for _, _, first, last in parts),
        ), slice(start, parts[-1][3])  # fmt: skip

    def smooth(self, values: np.ndarray) -> np.ndarray:
        """(N, ...) values (K, ...) at the source's stamps: themselves where every stamp has a tick, else on a cubic
        spline, whose second derivative has no jumps. Linear interpolation would have kinks, which are jerks."""
        return self._each(values, _spline)

    def rotations(self, R: np.ndarray) -> np.ndarray:
        """(N, ..., 3, 3) rotations (K, ..., 3, 3) at the source's stamps, smooth to the second derivative as well:
        quaternions on such splines, made unit again."""
        return self._each(R, _rotation_spline)

    def between(self, values: np.ndarray) -> np.ndarray:
        """(N, ...) values (K, ...) at the source's stamps, interpolated linearly: never outside the range of their
        neighbours, as probabilities and expected errors must be."""
        return self._each(values, _linear)

    def nearest(self) -> np.ndarray:
        """(N,) tick nearest to each stamp, of the same part."""
        out = np.zeros(len(self.stamps_s), int)
        for rows, ticks in zip(self.rows, self.ticks, strict=True):
            t, s = self.ticks_s[ticks], self.stamps_s[rows]
            out[rows] = ticks.start + np.clip(np.rint((s - t[0]) / self.period_s).astype(int), 0, len(t) - 1)
        return out

    def _each(self, values: np.ndarray, interpolate: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        values = np.asarray(values)
        if self.on_ticks:
            return values[self.nearest()]
        parts = []
        for rows, ticks in zip(self.rows, self.ticks, strict=True):
            last = ticks.stop - ticks.start - 1
            if last == 0:  # a frame by itself between two pauses: nothing to interpolate
                parts.append(np.repeat(values[ticks], rows.stop - rows.start, axis=0))
                continue
            places = (self.stamps_s[rows] - self.ticks_s[ticks.start]) / self.period_s
            parts.append(interpolate(np.clip(places, 0, last), values[ticks]))
        return np.concatenate(parts)


def timeline(stamps_s: np.ndarray, cuts: Sequence[int] = ()) -> Timeline:
    """The clocks of a take. stamps_s: (N,) increasing, N >= 1; cuts: rows at which footage of another place begins."""
    stamps = np.asarray(stamps_s, np.float64)
    step = np.diff(stamps)
    usual = float(np.median(step)) if len(step) else PERIOD_S
    starts = sorted({0, *cuts, *(np.flatnonzero(step > BREAK_S) + 1).tolist()})
    period, snap = _period(step[step <= BREAK_S], usual)
    rows, ticks, times = [], [], []
    for begin, end in zip(starts, [*starts[1:], len(stamps)], strict=True):
        count = int(np.ceil((stamps[end - 1] - stamps[begin] - snap) / period)) + 1
        first = ticks[-1].stop if ticks else 0
        rows.append(slice(begin, end))
        ticks.append(slice(first, first + count))
        times.append(stamps[begin] + period * np.arange(count))
    line = Timeline(stamps, np.concatenate(times), tuple(rows), tuple(ticks), period, snap, usual, on_ticks=False)
    near = line.nearest()
    return replace(line, on_ticks=bool(np.all(np.abs(stamps - line.ticks_s[near]) <= snap)))


def _period(step: np.ndarray, usual: float) -> tuple[float, float]:
    """Period of the ticks: that of the source, or a whole part or multiple of it, where it is steady and near enough;
    and how far apart stamps and ticks may then be."""
    other = PERIOD_S, _SNAP_S
    counts = np.rint(step / usual)
    if not counts.sum():
        return other
    even = float(step.sum() / counts.sum())
    if np.abs(np.cumsum(step - counts * even)).max() > min(_STEADY * even, _STEADY_S):
        return other
    ratio = PERIOD_S / even
    period = even * round(ratio) if ratio >= 1 - _RATE_TOLERANCE else even / max(1, round(1 / ratio))
    return (period, _STEADY_S) if abs(period / PERIOD_S - 1) <= _RATE_TOLERANCE else other


def _spline(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Values at places u, in ticks, on the cubic B-spline that all cubics lie on (a quasi-interpolant). Against the
    interpolating spline it keeps what moves (5 Hz at 97 %) and does not ring: what alternates from tick to tick comes
    out at a little over half instead of with up to twice its jerk."""
    if len(v) == 1:  # a part of one frame between two cuts
        return np.repeat(np.asarray(v, np.float64), len(u), axis=0)
    x = np.pad(np.asarray(v, np.float64), [(2, 2), *[(0, 0)] * (v.ndim - 1)], mode="reflect", reflect_type="odd")
    c = (8 * x[1:-1] - x[:-2] - x[2:]) / 6
    return BSpline(np.arange(-3.0, len(v) + 3), c, 3)(u)


def _rotation_spline(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    inner = v.shape[1:-2]
    q = Rotation.from_matrix(np.asarray(v, np.float64).reshape(-1, 3, 3)).as_quat().reshape(len(v), -1, 4)
    out = _spline(u, same_side(q)).reshape(-1, 4)
    return Rotation.from_quat(out).as_matrix().reshape(len(u), *inner, 3, 3)


def _linear(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    left = np.minimum(u.astype(int), max(0, len(v) - 2))
    share = (u - left).reshape(-1, *(1,) * (v.ndim - 1))
    return v[left] * (1 - share) + v[np.minimum(left + 1, len(v) - 1)] * share
