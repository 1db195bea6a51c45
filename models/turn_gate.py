"""No joint turns faster than a body can: what does is held for a moment, and followed at that speed if it stays.

Networks that take a back for a front for a frame turn the root and the limbs by half a turn at once. Fast movement is
far from that: of 437,000 frames of motion capture, cleaned of turns beyond 1,800 degrees a second, one in 10,000
turns the root by more than 750, and one in 100,000 a joint by more than 1,600.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from .rotations import axis_angle_to_matrix, matrix_to_axis_angle
from .skeleton import JOINT_GROUPS, JOINT_NAMES

ROOT_DEG_S = 1100.0
"""Fastest turn of the root."""
JOINT_DEG_S = 2000.0
"""Fastest turn of any other joint in its parent."""
WAIT_S, LIMB_WAIT_S = 0.08, 0.05
"""A pose that would be faster is held off for so long: where the root turns, and where only limbs do."""
LOOK_S = 0.1
"""In a take it is held off if it is over within so long."""

_GROUP = np.array([next(k for k, names in enumerate(JOINT_GROUPS.values()) if n in names) for n in JOINT_NAMES])
"""(55,) group of each joint, of JOINT_GROUPS."""


class TurnGate:
    """Give it each frame's rotations with :meth:`push`; it gives those that a body can have got to."""

    def __init__(self) -> None:
        self._R: np.ndarray | None = None
        self._waited_s = np.zeros(len(JOINT_GROUPS))

    def push(self, R: np.ndarray, step_s: float, next_R: Sequence[np.ndarray] = ()) -> tuple[np.ndarray, np.ndarray]:
        """(J, 3, 3) rotations of the first J joints of one frame more, ``step_s`` after the last; row 0 is the root's.

        next_R: rotations of frames to come, where they are known; what they do not come back from need not wait.
        Returns the rotations, and (8,) bool: the groups of JOINT_GROUPS that are not as they were given.
        """
        held = np.zeros(len(JOINT_GROUPS), bool)
        if self._R is None or len(self._R) != len(R):
            self._R = R.copy()
            return R, held
        most = np.full(len(R), np.radians(JOINT_DEG_S * step_s))
        most[0] = np.radians(ROOT_DEG_S * step_s)
        fast = _faster(self._R, R, most)
        if not fast.any():
            self._waited_s[:] = 0.0
            self._R = R.copy()
            return R, held
        group = _GROUP[: len(R)]
        held[group[fast]] = True
        held |= fast[0]  # about a root that is held, nothing else fits
        self._waited_s = np.where(held, self._waited_s + step_s, 0.0)
        comes_back = np.zeros(len(R), bool) if next_R else fast
        for later in next_R:
            comes_back |= fast & ~_faster(self._R, later, most)
        out = R.copy()
        turn = matrix_to_axis_angle(np.swapaxes(self._R, -1, -2) @ R)
        shares = most / np.maximum(np.linalg.norm(turn, axis=-1), most)
        for k in np.flatnonzero(held):
            rows = np.flatnonzero(group == k)
            if not len(rows):
                continue
            # joints that go together arrive together: a group's, or all where the root is held
            about = slice(None) if fast[0] else rows
            wait_s = LOOK_S if next_R else WAIT_S if fast[0] else LIMB_WAIT_S
            waits = bool(comes_back[about].any()) and self._waited_s[k] <= wait_s + 1e-6
            share = 0.0 if waits else float(shares[about].min())
            out[rows] = self._R[rows] @ axis_angle_to_matrix(share * turn[rows])
        self._R = out.copy()
        return out, held


def gated(R: np.ndarray, stamps_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (T, J, 3, 3) of a run of frames through the gate, and (T, 8) bool: groups that are not as given."""
    gate, out, held = TurnGate(), R.copy(), np.zeros((len(R), len(JOINT_GROUPS)), bool)
    steps = [1 / 30, *(max(b - a, 1e-3) for a, b in pairwise(stamps_s.tolist()))]
    for i, step in enumerate(steps[: len(R)]):
        end = int(np.searchsorted(stamps_s, stamps_s[i] + LOOK_S + 1e-6, side="right"))
        out[i], held[i] = gate.push(R[i], step, tuple(R[i + 1 : end]))
    return out, held


def _faster(before: np.ndarray, after: np.ndarray, most: np.ndarray) -> np.ndarray:
    """(J,) bool: joints that turn by more than ``most`` (J,), radians. The trace of a turn is 1 + 2 cos."""
    cosine = ((before * after).sum((-1, -2)) - 1) / 2
    return cosine < np.cos(np.minimum(most, np.pi))
