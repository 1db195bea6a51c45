"""Where motion goes on and where it does not: nothing is interpolated, smoothed or faded across a break."""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from ...models.streaming.blend import runs
from ..exporters.track import Track

LEAP_M_S, LEAP_M = 12.0, 0.25
"""A pelvis that is faster than any runner, by more than a frame's error, was put into another place."""


def breaks_s(track: Track, cuts_s: Iterable[float] = ()) -> np.ndarray:
    """(K,) rising stamps at which a new stretch of motion begins: ``cuts_s``, and where the person leaps."""
    way = np.linalg.norm(np.diff(track.trans_m, axis=0), axis=-1)
    step = np.diff(track.stamps_s)
    leaps = (way > LEAP_M) & (way > LEAP_M_S * np.maximum(step, 1e-6))
    return np.unique(np.concatenate([np.asarray(list(cuts_s), np.float64), track.stamps_s[1:][leaps]]))


def stretches(track: Track, breaks: np.ndarray) -> list[tuple[int, int]]:
    """First frame, and the frame after the last, of each stretch between ``breaks`` (K,) in seconds."""
    # Stamps of resampled frames carry the rounding of a division.
    edges = np.searchsorted(track.stamps_s, np.asarray(breaks) - 1e-9)
    edges = [0, *sorted({int(e) for e in edges if 0 < e < len(track)}), len(track)]
    return [(a, b) for a, b in pairwise(edges) if b > a]


def seen_stretches(track: Track, breaks: np.ndarray) -> list[tuple[int, int]]:
    """The same without the frames in which nobody was found."""
    return [(a + s, a + e) for a, b in stretches(track, breaks) for s, e in runs(track.present[a:b])]
