"""Runs of frames that are solved together, and the windows that cover a long run."""

import numpy as np

from .observations import Observations

_LEAP_SIZES_PER_S = 8.0
"""A body whose centre moves by more than this many body heights a second was cut to another place."""


def find_segments(o: Observations, max_gap_s: float) -> list[slice]:
    """Runs of frames with a person in them; shorter absences are bridged, cuts and leaps divide."""
    present = np.flatnonzero(o.present)
    if len(present) == 0:
        return []
    weight = o.confidence[present, :25, None]
    centre = (o.xy[present, :25] * weight).sum(1) / np.maximum(weight.sum(1), 1e-6)
    gap = np.maximum(np.diff(o.stamps_s[present]), 1e-3)
    size = np.minimum(o.size[present][1:], o.size[present][:-1])
    leap = np.linalg.norm(np.diff(centre, axis=0), axis=1) / size
    apart = (gap > max(max_gap_s, 1e-3) + 1e-9) | ((leap / gap > _LEAP_SIZES_PER_S) & (leap > 0.4))
    # neighbouring frames of a slow source are never a gap
    apart &= (np.diff(present) > 1) | (leap > 0.4)
    edges = np.flatnonzero(apart)
    starts, ends = np.r_[present[0], present[edges + 1]], np.r_[present[edges], present[-1]]
    return [slice(int(a), int(b) + 1) for a, b in zip(starts, ends, strict=True)]


def windows(length: int, window: int, overlap: int) -> list[tuple[slice, int]]:
    """Windows that cover 0..length in order, and how many first frames of each are already settled."""
    if length <= window:
        return [(slice(0, length), 0)]
    overlap = min(overlap, window - 1)  # every window goes on
    out = [(slice(0, window), 0)]
    settled = overlap // 2
    while out[-1][0].stop < length:
        start = out[-1][0].stop - overlap
        out.append((slice(start, min(start + window, length)), settled))
    return out
