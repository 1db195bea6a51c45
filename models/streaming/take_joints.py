"""The rotations of all joints of a long take, some frames at a time: all at once, in double precision, they would be
four kilobytes a frame several times over. What needs the whole take needs the legs alone."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..joint_limits import limited_rotations
from ..skeleton import JOINT_GROUPS
from ..turn_gate import LOOK_S, TurnGate
from .blend import smoothed_rotations
from .records import RATE_HZ

PIECE = 4096
"""Frames of which all joints are in memory at a time."""
_AHEAD = round(LOOK_S * RATE_HZ)
"""Frames to come that the gate looks at."""
_TRUNCATE = 4.0
"""Standard deviations after which the Gaussian of the smoothing ends."""


@dataclass(frozen=True, slots=True, eq=False)
class TakeJoints:
    """Local rotations of T frames as the networks gave them, but such as a body can have; smoothed when they are asked
    for. Made by :meth:`of`."""

    R_cam_root: np.ndarray
    """(T, 3, 3) of the root in the camera."""
    local: Callable[[slice], np.ndarray]
    """(n, 54, 3, 3) of the other joints in some of the frames."""
    segments: Sequence[tuple[int, int]]
    """First frame, and the frame after the last, of the runs that are smoothed, each by itself."""
    smooth_frames: float
    """Standard deviation of the Gaussian."""
    late: np.ndarray
    """(T, 8) bool: groups of JOINT_GROUPS that turned faster than a body can, and are held or follow."""
    changed: np.ndarray
    """(K, 2) frame and joint of the rotations that are not as the networks gave them, by rising frame."""
    changed_to: np.ndarray
    """(K, 3, 3) float32"""

    @classmethod
    def of(
        cls,
        R_cam_root: np.ndarray,
        local: Callable[[slice], np.ndarray],
        segments: Sequence[tuple[int, int]],
        smooth_frames: float,
    ) -> "TakeJoints":
        """With every joint within its range and no turn that is too fast; the arguments are the fields of that name."""
        late = np.zeros((len(R_cam_root), len(JOINT_GROUPS)), bool)
        where, to = [np.zeros((0, 2), np.int64)], [np.zeros((0, 3, 3), np.float32)]
        for first, last in segments:
            gate = TurnGate()
            for begin, end in pieces(last - first):
                start, frames = first + begin, end - begin
                raw = _raw(R_cam_root, local, slice(start, min(first + end + _AHEAD, last)))
                given = limited_rotations(raw)
                R = given[:frames].copy()
                for i in range(frames):
                    R[i], late[start + i] = gate.push(given[i], 1 / RATE_HZ, tuple(given[i + 1 : i + 1 + _AHEAD]))
                found = np.argwhere((raw[:frames] != R).any((-1, -2)))
                where.append(found + np.array([start, 0]))
                to.append(R[found[:, 0], found[:, 1]].astype(np.float32))
        return cls(R_cam_root, local, segments, smooth_frames, late, np.concatenate(where), np.concatenate(to))

    def frames(self, begin: int, end: int, joints: slice) -> np.ndarray:
        """(end - begin, J, 3, 3) rotations of some joints, row 0 the root in the camera; float64. The same whatever the
        pieces are."""
        margin = int(_TRUNCATE * self.smooth_frames + 0.5) + 1
        out = self._possible(begin, end, joints)
        for first, last in self.segments:
            a, b = max(first, begin), min(last, end)
            if a < b:
                low, high = max(first, a - margin), min(last, b + margin)
                smooth = smoothed_rotations(self._possible(low, high, joints), self.smooth_frames)
                out[a - begin : b - begin] = smooth[a - low : b - low]
        return out

    def _possible(self, begin: int, end: int, joints: slice) -> np.ndarray:
        R = _raw(self.R_cam_root, self.local, slice(begin, end))
        some = slice(*np.searchsorted(self.changed[:, 0], [begin, end]))
        frame, joint = self.changed[some].T
        R[frame - begin, joint] = self.changed_to[some]
        return R[:, joints]


def _raw(R_cam_root: np.ndarray, local: Callable[[slice], np.ndarray], rows: slice) -> np.ndarray:
    root = np.asarray(R_cam_root[rows], np.float64)[:, None]
    return np.concatenate([root, local(rows)], axis=1)


def pieces(frames: int, piece: int | None = None) -> Iterator[tuple[int, int]]:
    """First frame, and the frame after the last, of pieces that cover so many frames, PIECE each where not said."""
    piece = piece or PIECE
    return ((begin, min(begin + piece, frames)) for begin in range(0, frames, piece))
