"""How fast a run is right now: what its counts gained over the last second."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from .loop import RunStats

SPAN_S = 1.0
_STEP_S = 0.1


@dataclass(frozen=True, slots=True)
class Rates:
    """Speeds between two moments of a run."""

    fps: float
    """Frames a second that passed every stage."""
    times_ms: Mapping[str, float]
    """Stage, or ``landmarks.NAME`` -> milliseconds a frame, of those that ran meanwhile."""


def rates_between(older: RunStats, newer: RunStats) -> Rates:
    """What the run did from the one to the other."""
    elapsed_s = newer.elapsed_s - older.elapsed_s
    times_ms = {}
    for name, busy_s in newer.busy_s.items():
        calls = newer.calls.get(name, 0) - older.calls.get(name, 0)
        if calls > 0:
            times_ms[name] = 1000 * (busy_s - older.busy_s.get(name, 0.0)) / calls
    return Rates((newer.frames - older.frames) / elapsed_s if elapsed_s > 0 else 0.0, times_ms)


class RecentRates:
    """Speeds over the last second, from counts that are given as often as convenient."""

    def __init__(self) -> None:
        self._kept: deque[RunStats] = deque()

    def __call__(self, stats: RunStats) -> Rates:
        """Take the newest counts; the speeds up to them."""
        kept = self._kept
        if not kept or stats.elapsed_s - kept[-1].elapsed_s >= _STEP_S:
            kept.append(stats)
        while len(kept) > 1 and stats.elapsed_s - kept[1].elapsed_s >= SPAN_S:
            kept.popleft()
        return rates_between(kept[0], stats)
