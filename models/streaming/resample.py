"""Proxies at the networks' frame rate, by stamp; and the networks' estimates back at the source's stamps."""

from dataclasses import dataclass, fields

import numpy as np
from scipy.sparse import csr_array

from ..observed import Observed
from .records import Estimate
from .timeline import Timeline

MAX_GAP_S = 0.15
"""Between frames of the source further apart than this nothing is seen, unless the source is as slow as that."""
_SLOWEST_S = 0.5
"""A source whose frames lie further apart than this is seen on its own frames only."""
_FAST = 0.9
"""Frames nearer than this share of a period are averaged: picking some of them would let what is faster than the
networks' rate, such as the trembling of landmarks, look like slow motion."""
_SEEN = 0.5
"""Share of the averaged frames, by weight, that have to see a point."""


def longest_gap_s(usual_step_s: float) -> float:
    """Time between two frames of the source over which what both see is interpolated, seconds."""
    return max(MAX_GAP_S, min(1.5 * usual_step_s, _SLOWEST_S))


def observed_at_ticks(observed: Observed, line: Timeline) -> Observed:
    """What was seen of the source's N frames (N, ...), at the line's K ticks (K, ...), float32.

    A tick on a frame is that frame. A tick between two frames is interpolated linearly where both see a point; where
    only one does, it is that one's if it lies within half a tick, else masked. Frames closer than ticks are averaged
    under a triangle one tick wide to each side (its spectrum is zero at the networks' rate). Gaps stay masked.
    """
    return Sampler.of(line)(observed)


@dataclass(frozen=True, slots=True, eq=False)
class Sampler:
    """:func:`observed_at_ticks`, which can be done piece by piece: what one tick shows depends on a few frames."""

    average: csr_array
    """(K, N) weights of the frames at each tick."""
    nearest: csr_array
    """(K, N) the nearest frame of each tick, where it lies within half a tick."""
    need: np.ndarray
    """(K,) share of the weight that has to see a point."""

    @classmethod
    def of(cls, line: Timeline) -> "Sampler":
        """For the ticks and frames of a line."""
        return cls(*_weights(line))

    def piece(self, ticks: slice) -> "tuple[Sampler, slice]":
        """The same for some of the ticks, and which of the frames they show."""
        average, nearest = self.average[ticks], self.nearest[ticks]
        used = np.concatenate([average.indices, nearest.indices])
        frames = slice(int(used.min()), int(used.max()) + 1) if len(used) else slice(0, 1)
        return Sampler(average[:, frames], nearest[:, frames], self.need[ticks]), frames

    def __call__(self, observed: Observed) -> Observed:
        """The ticks (K, ...) of all frames (N, ...)."""
        return _at_ticks(observed, self.average, self.nearest, self.need)


def _at_ticks(observed: Observed, average: csr_array, nearest: csr_array, need: np.ndarray) -> Observed:
    xy, confidence = _blend(
        average, nearest, need, observed.confidence > 0, observed.xy, np.asarray(observed.confidence)[..., None]
    )
    body, body_known = _blend(
        average, nearest, need, observed.body_xyz_known > 0,
        np.asarray(observed.body_xyz_m).reshape(len(observed.xy), -1), np.asarray(observed.body_xyz_known)[..., None],
    )  # fmt: skip
    hands, hands_known = _blend(
        average, nearest, need, observed.hands_xyz_known > 0,
        np.asarray(observed.hands_xyz_m).reshape(len(observed.xy), 2, -1),
        np.asarray(observed.hands_xyz_known)[..., None],
    )  # fmt: skip
    ticks = len(need)
    record = Observed(
        xy, confidence[..., 0], body.reshape(ticks, 33, 3), body_known[..., 0], hands.reshape(ticks, 2, 21, 3),
        hands_known[..., 0],
    )  # fmt: skip
    return record.map(lambda a: a.astype(np.float32))


def estimate_at_stamps(estimate: Estimate, line: Timeline) -> Estimate:
    """The estimates of the line's K ticks at the source's N stamps, float32; steps become those between its frames.

    Places and rotations run on cubic splines; probabilities and expected errors are interpolated linearly.
    """
    up = line.smooth(estimate.up_cam)
    made = {
        "betas": line.smooth(estimate.betas),
        "R_cam_root": line.rotations(estimate.R_cam_root),
        "R_local": line.rotations(estimate.R_local),
        "root_cam_m": line.smooth(estimate.root_cam_m),
        "root_sigma_m": line.between(estimate.root_sigma_m),
        "up_cam": up / np.linalg.norm(up, axis=-1, keepdims=True),
        "height_m": line.smooth(estimate.height_m),
        "step_m": _steps(estimate.step_m, line),
        "contact": line.between(estimate.contact),
        "group_error_m": line.between(estimate.group_error_m),
    }
    return Estimate(**{f.name: made[f.name].astype(np.float32) for f in fields(Estimate)})


def _steps(step_m: np.ndarray, line: Timeline) -> np.ndarray:
    way = line.smooth(np.cumsum(np.asarray(step_m, np.float64), axis=0))
    out = np.diff(way, axis=0, prepend=0.0)
    for rows, ticks in zip(line.rows, line.ticks, strict=True):
        out[rows.start] = step_m[ticks.start]
    return out


def _weights(line: Timeline) -> tuple[csr_array, csr_array, np.ndarray]:
    """(K, N) weights of the frames at each tick, the nearest frame of each where it lies within half a tick, and (K,)
    the share of the weight that has to see a point."""
    s, t = line.stamps_s, line.ticks_s
    entries: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    near: list[tuple[np.ndarray, np.ndarray]] = []
    need = np.full(len(t), 1 - 1e-6)
    for rows, ticks in zip(line.rows, line.ticks, strict=True):
        k = np.arange(ticks.start, ticks.stop)
        last = rows.stop - 1
        left = np.clip(np.searchsorted(s[rows], t[k], side="right") - 1 + rows.start, rows.start, last)
        right = np.minimum(left + 1, last)
        closest = np.where(np.abs(s[right] - t[k]) < np.abs(s[left] - t[k]), right, left)
        off = np.abs(s[closest] - t[k])
        spacing = np.where(right > left, s[right] - s[left], s[left] - s[np.maximum(left - 1, rows.start)])
        fast = (spacing > 0) & (spacing < _FAST * line.period_s)
        on = ~fast & (off <= line.snap_s)
        between = ~fast & ~on & (right > left) & (spacing <= longest_gap_s(line.usual_step_s) + 1e-9)
        share = (t[k] - s[left]) / np.where(spacing > 0, spacing, 1.0)
        entries.append((k[on], closest[on], np.ones(int(on.sum()))))
        entries.append((k[between], left[between], 1 - share[between]))
        entries.append((k[between], right[between], share[between]))
        entries.extend(_triangle(s, t, k[fast], rows, line.period_s))
        close = off <= line.period_s / 2
        near.append((k[close], closest[close]))
        need[k[fast]] = _SEEN
    tick, frame, weight = (np.concatenate(column) for column in zip(*entries, strict=True))
    near_tick, near_frame = (np.concatenate(column) for column in zip(*near, strict=True))
    shape = (len(t), len(s))
    return (
        csr_array((weight, (tick, frame)), shape=shape),
        csr_array((np.ones(len(near_tick)), (near_tick, near_frame)), shape=shape),
        need,
    )


def _triangle(
    s: np.ndarray, t: np.ndarray, ticks: np.ndarray, rows: slice, period_s: float
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Entries of the ticks that average frames: (tick, frame, weight), the weights of each tick summing to 1."""
    if not len(ticks):
        return []
    first = np.searchsorted(s[rows], t[ticks] - period_s, side="right") + rows.start
    count = np.searchsorted(s[rows], t[ticks] + period_s, side="left") + rows.start - first
    tick = np.repeat(np.arange(len(ticks)), count)
    frame = np.repeat(first - np.cumsum(count) + count, count) + np.arange(len(tick))
    off = s[frame] - t[ticks[tick]]
    weight = 1 - np.abs(off) / period_s
    # tilted until the frames' mean moment is the tick's: else a steady motion would tremble with their phase. At the
    # ends, where all frames lie to one side, it stays as it is.
    first_moment, second_moment = (np.bincount(tick, weight * off**n, minlength=len(ticks)) for n in (1, 2))
    tilt = np.where(np.abs(first_moment) * period_s < second_moment, first_moment / (second_moment + 1e-12), 0.0)
    weight = weight * (1 - off * tilt[tick])
    total = np.bincount(tick, weight, minlength=len(ticks))
    return [(ticks[tick], frame, weight / total[tick])]


def _blend(
    average: csr_array, nearest: csr_array, need: np.ndarray, seen: np.ndarray, *values: np.ndarray
) -> list[np.ndarray]:
    """Each of ``values`` (N, ..., C) at the ticks (K, ..., C) from the frames in which it is ``seen`` (N, ...); zero
    where it is masked."""
    frames = len(seen)
    flat = np.asarray(seen, np.float64).reshape(frames, -1)
    weight, beside = average @ flat, nearest @ flat > 0
    enough = weight >= need[:, None]
    out = []
    for value in values:
        channels = value.shape[-1]
        masked = np.asarray(value, np.float64).reshape(frames, -1, channels) * flat[..., None]
        mean = (average @ masked.reshape(frames, -1)).reshape(-1, flat.shape[1], channels)
        one = (nearest @ masked.reshape(frames, -1)).reshape(-1, flat.shape[1], channels)
        mean = mean / np.where(enough, weight, 1.0)[..., None]
        chosen = np.where(enough[..., None], mean, np.where(beside[..., None], one, 0.0))
        out.append(chosen.reshape(-1, *value.shape[1:]))
    return out
