"""Feet that stand, stand, frame by frame: what :mod:`hmcap.models.streaming.feet` does, without the frames to come.

One point of a foot bears it at a time, heel or ball, and keeps its place while the foot is laid flat or turns about it.
When the other point takes over, it keeps the place where it is. A foot that leaves the floor is let go smoothly.
"""

from dataclasses import dataclass, field

import numpy as np

from .blend import between, smoothstep
from .feet import OFF, ON, SINK_M, TOUCH_M, Placed, also_down, drop_needed, lean_of
from .legs import Legs, foot_points, heading_of, reach, sole_points
from .world_settings import WorldSettings

_FLAT_RATE = 1 / 5
"""A foot is laid flat within five frames."""
_LET_GO = 0.72
"""Share of a correction that is left one frame later, once the foot is free."""
_SETTLE = 0.8
"""Share of a standing point's height that is left one frame later."""
_DROP_M = 0.004
"""The pelvis follows a leg that is too short by at most so much in a frame."""


@dataclass
class _Foot:
    """State of one foot."""

    stands: np.ndarray = field(default_factory=lambda: np.zeros(2, bool))
    bearing: int | None = None
    """0 heel, 1 ball."""
    anchor_m: np.ndarray = field(default_factory=lambda: np.zeros(3))
    shift_m: np.ndarray = field(default_factory=lambda: np.zeros(3))
    speed_m: np.ndarray = field(default_factory=lambda: np.zeros(3))
    flat: float = 0.0
    heading: np.ndarray = field(default_factory=lambda: np.eye(3))
    points_m: np.ndarray | None = None
    """(2, 3) heel and ball in the world as they were given last."""


class LiveFeet:
    """Holds both feet of one person."""

    def __init__(self, settings: WorldSettings) -> None:
        self._settings = settings
        self._feet = [_Foot(), _Foot()]
        self._drop = 0.0

    def push(self, pelvis_m: np.ndarray, legs: Legs, contact: np.ndarray) -> Placed:
        """One frame. pelvis_m: (1, 3) in the world; contact: (1, 4) probabilities."""
        heights = pelvis_m[0, 1] + legs.points_m()[0, :, 1]
        lean = lean_of(legs.R_ankle)[0]
        flat = np.zeros((1, 2))
        level = np.empty((1, 2, 3, 3))
        for side, foot in enumerate(self._feet):
            part = slice(2 * side, 2 * side + 2)
            self._judge(foot, contact[0, part], heights[part], lean[side], legs.R_ankle[0, side])
            flat[0, side], level[0, side] = smoothstep(np.array(foot.flat)), foot.heading
        R_ankle, R_toes = between(legs.R_ankle, level, flat), between(legs.R_toes, level, flat)
        points = np.stack(foot_points(legs.person, R_ankle, R_toes), axis=2)  # (1, 2, 2, 3) from the ankle
        ankle = pelvis_m[:, None] + legs.ankle_m
        target = ankle.copy()
        for side, foot in enumerate(self._feet):
            self._shift(foot, ankle[0, side], points[0, side])
            target[0, side] += foot.shift_m
        free = np.array([[foot.bearing is None for foot in self._feet]])
        lowest = (target[:, :, None, 1] + sole_points(legs.person, R_ankle, R_toes)[..., 1]).min(-1)
        target[..., 1] += np.where(free, np.maximum(0.0, -lowest), np.maximum(0.0, -lowest - SINK_M))
        need = float(drop_needed(legs, pelvis_m, target, ~free)[0])
        self._drop = min(self._drop + _DROP_M, need) if need > self._drop else max(need, 0.9 * self._drop)
        pelvis = pelvis_m - [0.0, self._drop, 0.0]
        out = reach(legs, target - pelvis[:, None], R_ankle, R_toes)
        placed = (pelvis[:, None] + out.points_m()).reshape(2, 2, 3)
        for side, foot in enumerate(self._feet):
            foot.points_m = placed[side]
        return Placed(pelvis, out, np.concatenate([foot.stands for foot in self._feet])[None])

    def _judge(self, foot: _Foot, contact: np.ndarray, height: np.ndarray, lean: float, R: np.ndarray) -> None:
        low = height < TOUCH_M
        foot.stands = np.where(foot.stands, contact > OFF, contact > ON) & low
        foot.stands = foot.stands | also_down(foot.stands[None], height[None])[0]
        both = bool(foot.stands.all())
        if both and lean > np.radians(self._settings.max_flatten_deg):
            both = False
            foot.stands[int(height[0] < height[1])] = False
        if both and foot.flat == 0:
            foot.heading = heading_of(R)
        foot.flat = min(1.0, foot.flat + _FLAT_RATE) if both else max(0.0, foot.flat - _FLAT_RATE)

    def _shift(self, foot: _Foot, ankle_m: np.ndarray, points_m: np.ndarray) -> None:
        """Update the correction of an ankle (3,); points_m (2, 3) from it."""
        if not foot.stands.any():
            foot.bearing = None
            # a critically damped return: no step in speed when the foot is let go
            foot.speed_m = _LET_GO * foot.speed_m - (1 - _LET_GO) ** 2 * foot.shift_m
            foot.shift_m = foot.shift_m + foot.speed_m
            return
        if foot.bearing is None or not foot.stands[foot.bearing]:
            new = int(np.argmax(foot.stands))
            free = ankle_m + foot.shift_m + points_m[new]
            taken_over = foot.bearing is not None and foot.points_m is not None
            foot.anchor_m = (foot.points_m[new] if taken_over and foot.points_m is not None else free).copy()
            foot.bearing = new
        foot.anchor_m[1] *= _SETTLE
        shift = foot.anchor_m - ankle_m - points_m[foot.bearing]
        length = float(np.linalg.norm(shift))
        if length > self._settings.max_correction_m:  # the anchor is dragged along
            over = shift * (1 - self._settings.max_correction_m / length)
            foot.anchor_m = foot.anchor_m - over
            shift = shift - over
        foot.speed_m = shift - foot.shift_m
        foot.shift_m = shift
