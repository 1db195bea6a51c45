"""No joint turns faster than a body can: what does is held for a moment, and followed at that speed if it stays.

Networks that take a back for a front for a frame turn the root and the limbs by half a turn at once. Fast movement is
far from that: pirouettes and somersaults reach 1,000 degrees a second, a football kick's knee 1,900 (Nunome and others,
2002); of 437,000 frames of motion capture one in 100,000 turns a joint by more than 1,600.
"""

from itertools import pairwise

import numpy as np

from .rotations import axis_angle_to_matrix, matrix_to_axis_angle
from .skeleton import JOINT_GROUPS, JOINT_NAMES

ROOT_DEG_S = 1100.0
"""Fastest turn of the root."""
JOINT_DEG_S = 2000.0
"""Fastest turn of any other joint in its parent."""
WAIT_S = 0.1
"""A pose that would be faster is held off for so long."""

_GROUP = np.array([next(k for k, names in enumerate(JOINT_GROUPS.values()) if n in names) for n in JOINT_NAMES])
"""(55,) group of each joint, of JOINT_GROUPS."""


class TurnGate:
    """Give it each frame's rotations with :meth:`push`; it gives those that a body can have got to."""

    def __init__(self) -> None:
        self._R: np.ndarray | None = None
        self._waited_s = np.zeros(len(JOINT_GROUPS))

    def push(self, R: np.ndarray, step_s: float) -> tuple[np.ndarray, np.ndarray]:
        """(J, 3, 3) rotations of the first J joints of one frame more, ``step_s`` after the last; row 0 is the root's.

        Returns them, and (8,) bool: the groups of JOINT_GROUPS that are not as they were given.
        """
        held = np.zeros(len(JOINT_GROUPS), bool)
        if self._R is None or len(self._R) != len(R):
            self._R = R.copy()
            return R, held
        # of a turn, 1 + 2 cos is the trace; most frames need no more than that
        cosine = ((self._R * R).sum((-1, -2)) - 1) / 2
        most = np.full(len(R), np.radians(JOINT_DEG_S * step_s))
        most[0] = np.radians(ROOT_DEG_S * step_s)
        fast = cosine < np.cos(np.minimum(most, np.pi))
        group = _GROUP[: len(R)]
        if not fast.any():
            self._waited_s[:] = 0.0
            self._R = R.copy()
            return R, held
        held[group[fast]] = True
        held |= fast[0]  # about a root that is held, nothing else fits
        self._waited_s = np.where(held, self._waited_s + step_s, 0.0)
        out = R.copy()
        for k in np.flatnonzero(held):
            rows = np.flatnonzero(group == k)
            if not len(rows):
                continue
            out[rows] = self._R[rows]
            if self._waited_s[k] > WAIT_S + 1e-6:
                turn = matrix_to_axis_angle(np.swapaxes(self._R[rows], -1, -2) @ R[rows])
                share = self._share(turn, most[rows], fast[0], R, most)
                out[rows] = self._R[rows] @ axis_angle_to_matrix(share * turn)
        self._R = out.copy()
        return out, held

    def _share(self, turn: np.ndarray, most: np.ndarray, whole: bool, R: np.ndarray, all_most: np.ndarray) -> float:
        """Share of the way that is gone in this frame: all joints of a group, or of the body where the root is held,
        arrive together."""
        assert self._R is not None
        if whole:
            turn, most = matrix_to_axis_angle(np.swapaxes(self._R, -1, -2) @ R), all_most
        angle = np.linalg.norm(turn, axis=-1)
        return float(np.min(most / np.maximum(angle, most)))


def gated(R: np.ndarray, stamps_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (T, J, 3, 3) of a run of frames through the gate, and (T, 8) bool: groups that are not as given."""
    gate, out, held = TurnGate(), R.copy(), np.zeros((len(R), len(JOINT_GROUPS)), bool)
    steps = [1 / 30, *(max(b - a, 1e-3) for a, b in pairwise(stamps_s.tolist()))]
    for i, step in enumerate(steps[: len(R)]):
        out[i], held[i] = gate.push(R[i], step)
    return out, held
