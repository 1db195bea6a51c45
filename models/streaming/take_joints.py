"""The rotations of all joints of a long take, some frames at a time: all at once, in double precision, they would be
four kilobytes a frame several times over. What needs the whole take needs the legs alone."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .blend import smoothed_rotations

PIECE = 4096
"""Frames of which all joints are in memory at a time."""
_TRUNCATE = 4.0
"""Standard deviations after which the Gaussian of the smoothing ends."""


@dataclass(frozen=True, slots=True, eq=False)
class TakeJoints:
    """Local rotations of T frames as the networks gave them, smoothed when they are asked for."""

    R_cam_root: np.ndarray
    """(T, 3, 3) of the root in the camera."""
    local: Callable[[slice], np.ndarray]
    """(n, 54, 3, 3) of the other joints in some of the frames."""
    segments: Sequence[tuple[int, int]]
    """First frame, and the frame after the last, of the runs that are smoothed, each by itself."""
    smooth_frames: float
    """Standard deviation of the Gaussian."""

    def frames(self, begin: int, end: int, joints: slice) -> np.ndarray:
        """(end - begin, J, 3, 3) rotations of some joints, row 0 the root in the camera; float64. The same whatever the
        pieces are."""
        margin = int(_TRUNCATE * self.smooth_frames + 0.5) + 1
        out = self._raw(begin, end, joints)
        for first, last in self.segments:
            a, b = max(first, begin), min(last, end)
            if a < b:
                low, high = max(first, a - margin), min(last, b + margin)
                smooth = smoothed_rotations(self._raw(low, high, joints), self.smooth_frames)
                out[a - begin : b - begin] = smooth[a - low : b - low]
        return out

    def _raw(self, begin: int, end: int, joints: slice) -> np.ndarray:
        rows = slice(begin, end)
        root = np.asarray(self.R_cam_root[rows], np.float64)[:, None]
        return np.concatenate([root, self.local(rows)], axis=1)[:, joints]


def pieces(frames: int, piece: int | None = None) -> Iterator[tuple[int, int]]:
    """First frame, and the frame after the last, of pieces that cover so many frames, PIECE each where not said."""
    piece = piece or PIECE
    return ((begin, min(begin + piece, frames)) for begin in range(0, frames, piece))
