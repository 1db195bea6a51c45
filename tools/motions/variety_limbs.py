"""Poses of trunk, arms and legs from angles as an anatomist names them, and limbs that reach a given place.

Angles are in degrees where a name ends in _deg. Arms and legs are made for the left side and mirrored for the right.
"""

import numpy as np

from ...models.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from ...models.skeleton import NUM_BODY_JOINTS
from .variety_rig import ANKLE, COLLAR, ELBOW, HIP, KNEE, SHOULDER, TOE, WRIST, J, Rig

_FLIP = np.diag([-1.0, 1.0, 1.0])
DORSIFLEXION_DEG = 32.0
"""Where the shank leans farther over a standing foot, the heel comes up."""


def rx(deg: np.ndarray | float) -> np.ndarray:
    """Rotation about X."""
    return axis_angle_to_matrix(np.deg2rad(np.asarray(deg, np.float64))[..., None] * np.array([1.0, 0, 0]))


def ry(deg: np.ndarray | float) -> np.ndarray:
    """Rotation about Y."""
    return axis_angle_to_matrix(np.deg2rad(np.asarray(deg, np.float64))[..., None] * np.array([0, 1.0, 0]))


def rz(deg: np.ndarray | float) -> np.ndarray:
    """Rotation about Z."""
    return axis_angle_to_matrix(np.deg2rad(np.asarray(deg, np.float64))[..., None] * np.array([0, 0, 1.0]))


def rest() -> np.ndarray:
    """(22, 3, 3) T-pose."""
    return np.broadcast_to(np.eye(3), (NUM_BODY_JOINTS, 3, 3)).copy()


def set_trunk(R: np.ndarray, forward_deg: float, side_deg: float, twist_deg: float) -> None:
    """Bend the spine forward, to the right (negative: left) and twist it to the left; in place."""
    part = axis_angle_to_matrix(np.deg2rad([forward_deg / 3, twist_deg / 3, side_deg / 3]))
    for name, weight in (("spine1", 1.0), ("spine2", 1.0), ("spine3", 1.0)):
        R[J[name]] = axis_angle_to_matrix(matrix_to_axis_angle(part) * weight)


def set_head(R: np.ndarray, forward_deg: float, side_deg: float, turn_deg: float) -> None:
    """The same for neck and head together; in place."""
    R[J["neck"]] = R[J["head"]] = axis_angle_to_matrix(np.deg2rad([forward_deg / 2, turn_deg / 2, side_deg / 2]))


def set_leg(
    R: np.ndarray,
    side: int,
    flexion_deg: float,
    spread_deg: float,
    outward_deg: float,
    knee_deg: float,
    plantar_deg: float = 0.0,
    toes_deg: float = 0.0,
) -> None:
    """Hip flexion, spread and outward twist, knee bend, and the foot stretched (negative: drawn up); in place."""
    hip = axis_angle_to_matrix(np.deg2rad([-flexion_deg, 0.0, spread_deg])) @ ry(outward_deg)
    R[HIP[side]] = hip if side == 0 else _FLIP @ hip @ _FLIP
    R[KNEE[side]], R[ANKLE[side]], R[TOE[side]] = rx(knee_deg), rx(plantar_deg), rx(-toes_deg)


def set_arm(
    R: np.ndarray,
    side: int,
    raise_deg: float,
    ahead_deg: float,
    twist_deg: float,
    elbow_deg: float,
    palm_deg: float = 0.0,
    wrist_deg: tuple[float, float] = (0.0, 0.0),
) -> None:
    """An arm raised from hanging (0) over level (90) to overhead (180) in the plane that is turned from sideways (0) to
    ahead (90) and across (130) or behind (-50). Twist inwards is positive; palm turns the hand; in place."""
    e, a = np.deg2rad([raise_deg, ahead_deg])
    direction = np.array([np.sin(e) * np.cos(a), -np.cos(e), np.sin(e) * np.sin(a)])
    upper = _shortest(direction) @ rx(twist_deg)
    _write_arm(R, side, upper, elbow_deg, palm_deg, wrist_deg)


def reach_arm(
    rig: Rig,
    R: np.ndarray,
    side: int,
    wrist_m: np.ndarray,
    elbow_towards: np.ndarray,
    palm_deg: float = 0.0,
    wrist_deg: tuple[float, float] = (0.0, 0.0),
) -> None:
    """Bring the wrist to a place (3,) relative to the joint spine3, in the axes of the chest, with the elbow pointing
    towards (3,), both as for the left arm; in place. A place out of reach is approached."""
    rest_m = rig.rest_m
    a = rest_m[ELBOW[0]] - rest_m[SHOULDER[0]]
    b = rest_m[WRIST[0]] - rest_m[ELBOW[0]]
    collar = np.eye(3)
    upper = np.eye(3)
    bend = 0.0
    for _ in range(3):
        shoulder = rest_m[COLLAR[0]] - rest_m[J["spine3"]] + collar @ (rest_m[SHOULDER[0]] - rest_m[COLLAR[0]])
        way = wrist_m - shoulder
        far = np.clip(np.linalg.norm(way), 0.12, 0.995 * (np.linalg.norm(a) + np.linalg.norm(b)))
        cosine = (far**2 - a @ a - b @ b) / (2 * np.linalg.norm(a) * np.linalg.norm(b))
        bend = float(np.clip(np.rad2deg(np.arccos(np.clip(cosine, -1, 1))), 3.0, 148.0))
        whole = a + ry(-bend) @ b
        upper = _frame(way, elbow_towards) @ _frame(whole, np.array([0.0, 0, -1.0])).T
        collar = _collar(upper[:, 0])
    _write_arm(R, side, upper, bend, palm_deg, wrist_deg)


def _write_arm(
    R: np.ndarray, side: int, upper: np.ndarray, elbow_deg: float, palm_deg: float, wrist_deg: tuple[float, float]
) -> None:
    """Write the arm whose upper arm has the rotation ``upper`` in the axes of the chest. The turn of the palm is shared
    by elbow and wrist, as in the recorded motion."""
    collar = _collar(upper[:, 0])
    parts = (
        collar,
        collar.T @ upper,
        ry(-elbow_deg) @ rx(palm_deg / 2),
        rx(palm_deg / 2) @ axis_angle_to_matrix(np.deg2rad([0.0, wrist_deg[1], -wrist_deg[0]])),
    )
    for joint, part in zip((COLLAR, SHOULDER, ELBOW, WRIST), parts, strict=True):
        R[joint[side]] = part if side == 0 else _FLIP @ part @ _FLIP


def _collar(direction: np.ndarray) -> np.ndarray:
    """The shoulder girdle follows the upper arm: it rises with it, and goes ahead and back a little."""
    rise = np.rad2deg(np.arcsin(np.clip(direction[1], -1, 1)))
    ahead = np.rad2deg(np.arctan2(direction[2], max(direction[0], 0.0) + 0.3))
    return axis_angle_to_matrix(np.deg2rad([0.0, -0.14 * ahead, (0.22 if rise > 0 else 0.07) * rise]))


def _shortest(direction: np.ndarray) -> np.ndarray:
    """The shortest rotation of +X to a direction (3,)."""
    axis = np.cross([1.0, 0, 0], direction)
    sine = np.linalg.norm(axis)
    return axis_angle_to_matrix(axis / max(sine, 1e-9) * np.arctan2(sine, direction[0]))


def _frame(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Rotations (..., 3, 3) whose columns are the first direction, the second made square to it, and the third."""
    x = first / np.linalg.norm(first, axis=-1, keepdims=True)
    y = second - (second * x).sum(-1, keepdims=True) * x
    y = y / np.maximum(np.linalg.norm(y, axis=-1, keepdims=True), 1e-9)
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def foot_m(rig: Rig, side: int, feet: np.ndarray, lift_m: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """World rotation (..., 3, 3) of a standing foot and its ankle (..., 3). feet: (..., 4) x and z under the ankle of
    the flat foot, heading, and how far the heel is up by turning about the toes, radians."""
    R_flat, offset = ry(np.rad2deg(feet[..., 2])), rig.toe_offset_m[side]
    R = R_flat @ rx(np.rad2deg(feet[..., 3]))
    flat = np.stack([feet[..., 0], rig.ankle_height_m + lift_m + 0 * feet[..., 0], feet[..., 1]], axis=-1)
    return R, flat + (R_flat @ offset) - (R @ offset)


def reach_leg(
    rig: Rig,
    hip_m: np.ndarray,
    ankle_m: np.ndarray,
    R_foot: np.ndarray,
    R_pelvis: np.ndarray,
    side: int,
    knee_towards: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Local rotations (..., 3, 3) of hip, knee and ankle that bring the ankle (..., 3) to its place with the foot as it
    is in the world and the knee pointing towards (..., 3). A place out of reach is approached along the line."""
    a = rig.rest_m[KNEE[side]] - rig.rest_m[HIP[side]]
    b = rig.rest_m[ANKLE[side]] - rig.rest_m[KNEE[side]]
    way = ankle_m - hip_m
    far = np.linalg.norm(way, axis=-1)
    # |a + Rx(bend) b| = far: even cos(bend) + odd sin(bend) = rest
    even, odd = a[1] * b[1] + a[2] * b[2], a[2] * b[1] - a[1] * b[2]
    wanted = ((far**2 - a @ a - b @ b) / 2 - a[0] * b[0]) / np.hypot(even, odd)
    bend = np.arctan2(odd, even) + np.arccos(np.clip(wanted, -1, 1))
    bend = np.clip(bend, 0.0, np.deg2rad(157.0))
    knee = rx(np.rad2deg(bend))
    whole = a + knee @ b
    local = _frame(whole, np.broadcast_to([1.0, 0, 0], whole.shape))
    thigh = _frame(way, np.cross(knee_towards, way)) @ np.swapaxes(local, -1, -2)
    ankle = np.swapaxes(thigh @ knee, -1, -2) @ R_foot
    return np.swapaxes(R_pelvis, -1, -2) @ thigh, knee, ankle
