"""How far joints go: what the networks and the solver give is brought within it.

Ranges of motion in the spirit of the tables of Norkin and White (Measurement of Joint Motion) and Kapandji (The
Physiology of the Joints), widened to what motion capture shows, since axis-angle components mix flexion with rotation
and one joint of this body may stand for several vertebrae. Hips and shoulders are free: what they reach in any
direction exceeds what a box can say. Within its range a rotation is not touched; beyond, it approaches a stop ten
degrees further smoothly. Feet that are set down afterwards may turn an ankle beyond it again.
"""

from functools import cache

import numpy as np

from .rotations import axis_angle_to_matrix, matrix_to_axis_angle
from .skeleton import JOINT_NAMES

_STOP_DEG = 10.0
"""Nothing is further beyond its range than this."""
_FINGERS = ("index", "middle", "ring", "pinky")
_CENTRE = {  # degrees about x, y and z
    "spine1": ((-45, 75), (-40, 40), (-45, 45)),  # thoracolumbar: 85 forward, 30 back, 40 to the side, 45 round,
    "spine2": ((-40, 50), (-35, 35), (-40, 40)),  # over three joints that need not share it evenly
    "spine3": ((-40, 50), (-35, 35), (-40, 40)),
    "neck": ((-65, 60), (-65, 65), (-55, 55)),  # cervical: 50 forward, 60 back, 45 to the side, 80 round, over two
    "head": ((-65, 60), (-65, 65), (-55, 55)),
}
_LEFT = {  # the right side is its mirror image
    "knee": ((-10, 160), (-30, 30), (-30, 30)),  # 0 to 135, heel to seat 160; 10 beyond straight; turns 30 when bent
    "ankle": ((-85, 85), (-65, 65), (-55, 55)),  # 50 down, 20 up, 35 in, 15 out; a dancer's point is 90
    "foot": ((-75, 75), (-25, 25), (-35, 35)),
    "collar": ((-40, 40), (-55, 55), (-55, 55)),
    "elbow": ((-90, 90), (-165, 15), (-90, 90)),  # 0 to 150, 10 beyond straight; half of the forearm's turn of 170
    "wrist": ((-110, 110), (-80, 80), (-100, 100)),  # 80 down, 70 up, 20 and 30 to the sides; the rest of that turn
    **{f"{f}1": ((-40, 40), (-50, 50), (-125, 50)) for f in _FINGERS},  # 90 to 110 closed, 45 back, 20 aside
    **{f"{f}2": ((-30, 30), (-30, 30), (-135, 30)) for f in _FINGERS},  # 100 closed
    **{f"{f}3": ((-30, 30), (-30, 30), (-105, 35)) for f in _FINGERS},  # 90 closed
    "thumb1": ((-90, 90), (-90, 90), (-90, 90)),
    "thumb2": ((-90, 90), (-90, 90), (-90, 90)),
    "thumb3": ((-115, 100), (-95, 95), (-95, 95)),
}


@cache
def limits_rad() -> tuple[np.ndarray, np.ndarray]:
    """(55, 3) least and greatest component of every joint's axis-angle vector; infinite where there is none."""
    low, high = np.full((len(JOINT_NAMES), 3), -np.inf), np.full((len(JOINT_NAMES), 3), np.inf)
    for name, ranges in _CENTRE.items():
        low[JOINT_NAMES.index(name)], high[JOINT_NAMES.index(name)] = np.radians(ranges).T
    for name, ranges in _LEFT.items():
        lo, hi = np.radians(ranges).T
        left, right = (JOINT_NAMES.index(f"{side}_{name}") for side in ("left", "right"))
        low[left], high[left] = lo, hi
        # a mirror image keeps the turn about x and reverses the others
        low[right], high[right] = [lo[0], -hi[1], -hi[2]], [hi[0], -lo[1], -lo[2]]
    return low, high


def beyond_rad(poses: np.ndarray) -> np.ndarray:
    """(..., J) by how much each of the first J joints' axis-angle vectors (..., J, 3) exceeds its range; 0 within."""
    low, high = (side[: poses.shape[-2]] for side in limits_rad())
    return np.maximum(np.maximum(low - poses, poses - high), 0.0).max(-1)


def limited(poses: np.ndarray) -> np.ndarray:
    """Axis-angle vectors (..., J, 3) of the first J joints within their ranges and the stop beyond; the same array
    where nothing exceeds them. The root is free."""
    low, high = (side[: poses.shape[-2]] for side in limits_rad())
    over, under = np.maximum(poses - high, 0.0), np.maximum(low - poses, 0.0)
    if not (over.any() or under.any()):
        return poses
    stop = np.radians(_STOP_DEG)
    out = np.where(over > 0, high + stop * np.tanh(over / stop), poses)
    return np.where(under > 0, low - stop * np.tanh(under / stop), out).astype(poses.dtype, copy=False)


def limited_rotations(R_local: np.ndarray) -> np.ndarray:
    """The same of rotations (T, J, 3, 3): those that exceed nothing keep their numbers."""
    poses = matrix_to_axis_angle(R_local)
    frame, joint = np.nonzero(beyond_rad(poses) > 0)
    if not len(frame):
        return R_local
    out = R_local.copy()
    out[frame, joint] = axis_angle_to_matrix(limited(poses)[frame, joint])
    return out
