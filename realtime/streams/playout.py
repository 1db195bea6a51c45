"""Motion between the frames: what a display at another rate than the camera's shows at any moment.

Frames come unevenly: cameras, networks and threads take their time. So each frame gets a due time on the local clock,
its own stamp through a smooth straight line that follows the arrivals (an alpha-beta filter: Benedict and Bordner,
"Synthesis of an optimal set of radar track-while-scan smoothing equations", 1962). What is shown is the motion at the
due time ``now - delay_s``: about one frame late, so that the frame to go to is already there.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

_ALPHA = 0.2
"""Share of an arrival's error by which due times follow it, once settled."""
_BREAK_S = 0.5
"""A frame this much off its expected time starts the line anew: the source paused."""
_KEPT = 32
_MARGIN_FADES = 0.98
"""What is left of the margin for late frames after each frame that was not late."""
_MOST_DELAY_S = 0.25
_SLEW = 0.1
"""Seconds by which the delay may change in a second."""


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """A body at one moment, ready to be interpolated."""

    rotations_wxyz: np.ndarray
    """(55, 4) unit quaternion of every SMPL-X joint in its parent's frame; joint 0 in the world."""
    offsets_m: np.ndarray
    """(55, 3) position of every joint in its parent's frame; joint 0 in the world."""
    weights: np.ndarray
    """(52,) face shapes in ARKIT_NAMES order, or (0,)."""
    present: bool
    """Whether the person was in view."""


def between(a: Pose, b: Pose, share: float) -> Pose:
    """The pose at ``share`` (0 to 1) of the way from a to b: rotations on the shortest arc, the rest straight."""
    near = b if share >= 0.5 else a
    weights = a.weights + share * (b.weights - a.weights) if a.weights.shape == b.weights.shape else near.weights
    return Pose(
        slerp(a.rotations_wxyz, b.rotations_wxyz, share),
        a.offsets_m + share * (b.offsets_m - a.offsets_m),
        weights,
        near.present,
    )


def slerp(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    """Unit quaternions (..., 4) at ``share`` of the shortest arc from a to b (Shoemake 1985)."""
    dot = np.sum(a * b, axis=-1, keepdims=True)
    b = np.where(dot < 0, -b, b)
    angle = np.arccos(np.clip(np.abs(dot), 0, 1))
    small = angle < 1e-6
    sine = np.where(small, 1.0, np.sin(angle))
    mixed = (
        np.where(small, 1 - share, np.sin((1 - share) * angle) / sine) * a
        + np.where(small, share, np.sin(share * angle) / sine) * b
    )
    return mixed / np.linalg.norm(mixed, axis=-1, keepdims=True)


class Playout:
    """Takes frames as they arrive, gives the pose of any moment. For one thread at a time."""

    def __init__(self) -> None:
        self._frames: deque[tuple[float, Pose]] = deque(maxlen=_KEPT)
        self._count = 0
        self._stamp_s = self._arrival_s = 0.0
        self._rate = 1.0
        self._interval_s = self._margin_s = 0.0
        self.delay_s = 0.0
        """How long after its due time a frame is shown: one frame interval, and a margin for late frames."""

    @property
    def newest(self) -> Pose | None:
        """The newest frame; None before the first."""
        return self._frames[-1][1] if self._frames else None

    def push(self, pose: Pose, stamp_s: float, arrival_s: float) -> None:
        """A frame with the source's stamp ``stamp_s`` that came at ``arrival_s`` on the local clock."""
        due_s = self._due(stamp_s, arrival_s) if self._frames else arrival_s
        self._frames.append((due_s, pose))
        self._count += 1
        self._stamp_s, self._arrival_s = stamp_s, arrival_s

    def sample(self, now_s: float) -> Pose | None:
        """What to show at ``now_s``; the newest frame is held when no newer one comes. None before the first frame."""
        moment_s = now_s - self.delay_s
        later: tuple[float, Pose] | None = None
        for due_s, pose in reversed(self._frames):
            if due_s <= moment_s:
                return pose if later is None else between(pose, later[1], (moment_s - due_s) / (later[0] - due_s))
            later = due_s, pose
        return None if later is None else later[1]

    def _due(self, stamp_s: float, arrival_s: float) -> float:
        last_s = self._frames[-1][0]
        step_s = stamp_s - self._stamp_s
        error_s = arrival_s - (last_s + self._rate * step_s)
        if step_s <= 0 or abs(error_s) > _BREAK_S:  # another source or a pause: nothing to learn from
            return max(arrival_s, last_s + 1e-3)
        # Each gain begins high, so that the first frames settle the line, and ends where it is smooth.
        alpha = max(_ALPHA, 2 / (self._count + 1))
        self._rate = float(np.clip(self._rate + alpha**2 / (2 - alpha) * error_s / step_s, 0.05, 20))
        due_s = max(arrival_s - (1 - alpha) * error_s, last_s + 1e-3)
        self._adapt(due_s - last_s, arrival_s - due_s, arrival_s)
        return due_s

    def _adapt(self, interval_s: float, late_s: float, arrival_s: float) -> None:
        share = max(0.1, 1 / self._count)
        self._interval_s += share * (interval_s - self._interval_s)
        self._margin_s = max(late_s, self._margin_s * _MARGIN_FADES)
        wanted_s = min(self._interval_s + self._margin_s, _MOST_DELAY_S)
        change_s = wanted_s - self.delay_s
        if self._count > 2:  # later it changes gently: a jump would be seen
            most_s = _SLEW * max(0.0, arrival_s - self._arrival_s)
            change_s = float(np.clip(change_s, -most_s, most_s))
        self.delay_s += change_s
