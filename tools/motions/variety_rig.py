"""The body as the pose generator needs it: kinematics, mass, skin points near the floor, joint limits.

Rotations are matrices (..., 22, 3, 3) of the body joints, the first in the world. Signs, from the T-pose that faces +Z
with its left at +X: a knee bends about +X, a hip flexes about -X and spreads (left) about +Z, a left elbow bends about
-Y, a left arm is raised about +Z, the spine bends forward about +X.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...models.body import BodyModel
from ...models.body_stages import forward_kinematics
from ...models.markers import contact_rig, sole_rig
from ...models.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from ...models.skeleton import JOINT_NAMES, NUM_BODY_JOINTS, NUM_JOINTS

J = {name: k for k, name in enumerate(JOINT_NAMES[:NUM_BODY_JOINTS])}
"""Index of each body joint."""
SIDES = ("left", "right")
HIP, KNEE, ANKLE, TOE, COLLAR, SHOULDER, ELBOW, WRIST = (
    np.array([J[f"{side}_{part}"] for side in SIDES])
    for part in ("hip", "knee", "ankle", "foot", "collar", "shoulder", "elbow", "wrist")
)
"""(left, right) index of each limb joint."""
MIRROR = np.array([1.0, -1.0, -1.0])
"""Turns the axis-angle of one side into that of the other."""

_MASS = (
    ("pelvis", "spine1", 0.5, 0.142), ("spine1", "spine3", 0.6, 0.155), ("spine3", "neck", 0.4, 0.170),
    ("neck", "head", 2.0, 0.075),
    *(part for s in SIDES for part in (
        (f"{s}_hip", f"{s}_knee", 0.42, 0.140), (f"{s}_knee", f"{s}_ankle", 0.44, 0.045),
        (f"{s}_ankle", f"{s}_foot", 0.5, 0.014), (f"{s}_shoulder", f"{s}_elbow", 0.5, 0.028),
        (f"{s}_elbow", f"{s}_wrist", 0.45, 0.017), (f"{s}_wrist", f"{s}_wrist", 0.0, 0.007))),
)  # fmt: skip
"""Segments: from, to, where along it the mass is, and its share of the body (rounded from de Leva 1996)."""
_COM = np.zeros(NUM_BODY_JOINTS)
for _a, _b, _along, _share in _MASS:
    _COM[J[_a]] += (1 - _along) * _share
    _COM[J[_b]] += _along * _share
_COM /= _COM.sum()

SKIN_POINTS = 220
"""Points of the skin that are kept off the floor."""


@dataclass(frozen=True, slots=True, eq=False)
class Rig:
    """Rest geometry of the mean body, float64."""

    rest_m: np.ndarray
    """(55, 3) rest joints."""
    toe_offset_m: np.ndarray
    """(2, 3) from the ankle to the joint of the toes, left and right, in the rest pose."""
    toe_height_m: float
    """Height of the joint of the toes over the sole."""
    ankle_height_m: float
    """Height of the ankle over the sole."""
    sole_joint: np.ndarray
    """(8,) joint of each sole point."""
    sole_offset_m: np.ndarray
    """(8, 3) of each sole point from its joint; the first four are of the left foot."""
    contact_joint: np.ndarray
    """(4,) joint of each of CONTACT_POINTS."""
    contact_offset_m: np.ndarray
    """(4, 3) of each of CONTACT_POINTS from its joint."""
    skin_joint: np.ndarray
    """(N,) joint of each skin point."""
    skin_offset_m: np.ndarray
    """(N, 3) of each skin point from its joint."""

    @property
    def leg_m(self) -> float:
        """Length of the stretched leg, hip to ankle."""
        return float(np.linalg.norm(self.rest_m[J["left_ankle"]] - self.rest_m[J["left_hip"]]))


@lru_cache(maxsize=4)
def rig_of(body: BodyModel) -> Rig:
    """The rig of a numpy body."""
    rest = np.asarray(body.J_template, np.float64)
    soles, feet = sole_rig(body), contact_rig(body)
    sole = np.asarray(soles.points_template, np.float64)
    low = sole[:, 1].min()
    joint, offset = _skin(body, rest)
    return Rig(
        rest,
        rest[TOE] - rest[ANKLE],
        float(rest[J["left_foot"], 1] - low),
        float(rest[J["left_ankle"], 1] - low),
        soles.joint,
        np.asarray(soles.offset_template, np.float64),
        feet.joint,
        np.asarray(feet.offset_template, np.float64),
        joint,
        offset,
    )


def _skin(body: BodyModel, rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points spread evenly over the skin (each the one farthest from those before), each with its strongest joint."""
    v = np.asarray(body.v_template, np.float64)
    far = np.linalg.norm(v - v[v[:, 1].argmin()], axis=1)
    chosen = []
    for _ in range(SKIN_POINTS):
        chosen.append(int(far.argmax()))
        far = np.minimum(far, np.linalg.norm(v - v[chosen[-1]], axis=1))
    joint = np.asarray(body.weights)[chosen].argmax(1)
    return joint, v[chosen] - rest[joint]


def place(rig: Rig, R: np.ndarray, pelvis_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """World rotations (..., 55, 3, 3) and joints (..., 55, 3) of body rotations (..., 22, 3, 3), fingers straight, with
    the pelvis at (..., 3)."""
    full = np.broadcast_to(np.eye(3), (*R.shape[:-3], NUM_JOINTS, 3, 3)).copy()
    full[..., :NUM_BODY_JOINTS, :, :] = R
    return forward_kinematics(full, rig.rest_m, pelvis_m - rig.rest_m[0])


def centre_of_mass_m(joints_m: np.ndarray) -> np.ndarray:
    """(..., 3) of joints (..., 22 or more, 3)."""
    return np.einsum("j,...jc->...c", _COM, joints_m[..., :NUM_BODY_JOINTS, :])


def attached_m(joint: np.ndarray, offset_m: np.ndarray, R_world: np.ndarray, joints_m: np.ndarray) -> np.ndarray:
    """(..., N, 3) points that their joints carry."""
    return joints_m[..., joint, :] + (R_world[..., joint, :, :] @ offset_m[..., None])[..., 0]


def soles_m(rig: Rig, R_world: np.ndarray, joints_m: np.ndarray) -> np.ndarray:
    """(..., 2, 4, 3) sole points of the left and right foot."""
    points = attached_m(rig.sole_joint, rig.sole_offset_m, R_world, joints_m)
    return points.reshape(*points.shape[:-2], 2, 4, 3)


def contact_m(rig: Rig, R_world: np.ndarray, joints_m: np.ndarray) -> np.ndarray:
    """(..., 4, 3) CONTACT_POINTS."""
    return attached_m(rig.contact_joint, rig.contact_offset_m, R_world, joints_m)


def skin_m(rig: Rig, R_world: np.ndarray, joints_m: np.ndarray) -> np.ndarray:
    """(..., N, 3) skin points."""
    return attached_m(rig.skin_joint, rig.skin_offset_m, R_world, joints_m)


@dataclass(frozen=True, slots=True)
class Limit:
    """Range of one joint, degrees: its rotation is a swing about the two other axes after a twist about ``axis``."""

    axis: int
    """Twist axis (0, 1, 2), along the bone."""
    twist: tuple[float, float]
    swing: tuple[tuple[float, float], tuple[float, float]]
    """Ranges about the two other axes in their order; together they bound an ellipse in each quadrant."""


_LEFT_LIMITS = {
    "spine1": Limit(1, (-18, 18), ((-14, 30), (-14, 14))),
    "spine2": Limit(1, (-18, 18), ((-14, 30), (-14, 14))),
    "spine3": Limit(1, (-18, 18), ((-14, 30), (-14, 14))),
    "neck": Limit(1, (-40, 40), ((-30, 32), (-24, 24))),
    "head": Limit(1, (-40, 40), ((-30, 32), (-24, 24))),
    "hip": Limit(1, (-45, 60), ((-142, 35), (-35, 80))),
    "knee": Limit(1, (-8, 8), ((-2, 158), (-6, 6))),
    "ankle": Limit(1, (-30, 30), ((-40, 60), (-35, 35))),
    "foot": Limit(1, (-6, 6), ((-65, 35), (-6, 6))),
    "collar": Limit(0, (-12, 12), ((-28, 16), (-14, 34))),
    "shoulder": Limit(0, (-115, 95), ((-140, 80), (-115, 115))),
    "elbow": Limit(0, (-52, 52), ((-155, 2), (-6, 6))),
    "wrist": Limit(0, (-52, 52), ((-32, 32), (-75, 75))),
}
"""Of the left side and the middle, from clinical ranges of active motion, somewhat wide."""


def _rows() -> tuple[np.ndarray, ...]:
    axis, twist, swing = [], [], []
    for name in JOINT_NAMES[1:NUM_BODY_JOINTS]:
        limit = _LEFT_LIMITS[name.removeprefix("left_").removeprefix("right_")]
        rows = np.zeros((3, 2))
        rows[limit.axis] = limit.twist
        others = [a for a in range(3) if a != limit.axis]
        rows[others] = limit.swing
        if name.startswith("right_"):
            rows[1:] = -rows[1:, ::-1]
        axis.append(limit.axis)
        twist.append(rows[limit.axis])
        swing.append(rows[others])
    return np.array(axis), np.deg2rad(twist), np.deg2rad(swing)


_AXIS, _TWIST, _SWING = _rows()
_OTHERS = np.array([[a for a in range(3) if a != axis] for axis in _AXIS])


def angles_of(R: np.ndarray) -> np.ndarray:
    """(..., 21, 3) swing about the two other axes and twist about the bone, radians, of the joints after the pelvis in
    R (..., 22, 3, 3), where a rotation is swing @ twist. The ranges of all joints are convex in these numbers."""
    v = matrix_to_axis_angle(R[..., 1:, :, :])
    angle = np.linalg.norm(v, axis=-1)
    w, xyz = np.cos(angle / 2), v * (0.5 * np.sinc(angle / (2 * np.pi)))[..., None]
    along = np.take_along_axis(xyz, np.broadcast_to(_AXIS[:, None], (*xyz.shape[:-1], 1)), -1)[..., 0]
    twist = 2 * np.arctan2(along, w)
    twist = (twist + np.pi) % (2 * np.pi) - np.pi
    swing = matrix_to_axis_angle(R[..., 1:, :, :] @ np.swapaxes(_turn(_AXIS, twist), -1, -2))
    two = np.take_along_axis(swing, np.broadcast_to(_OTHERS, (*swing.shape[:-1], 2)), -1)
    return np.concatenate([two, twist[..., None]], axis=-1)


def rotations_of(R_root: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """(..., 22, 3, 3) of the pelvis (..., 3, 3) and the angles of the other joints."""
    vector = np.zeros(angles.shape)
    np.put_along_axis(vector, np.broadcast_to(_OTHERS, (*angles.shape[:-1], 2)), angles[..., :2], -1)
    rest = axis_angle_to_matrix(vector) @ _turn(_AXIS, angles[..., 2])
    return np.concatenate([R_root[..., None, :, :], rest], axis=-3)


def _turn(axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
    return axis_angle_to_matrix(np.eye(3)[axis] * angle[..., None])


def within_limits(angles: np.ndarray) -> np.ndarray:
    """Angles (..., 21, 3) brought inside the range of each joint; what is well inside stays as it is, and the way to
    the bound is smooth."""
    middle, half = _TWIST.mean(-1), np.diff(_TWIST, axis=-1)[:, 0] / 2
    twist = middle + half * _soft((angles[..., 2] - middle) / half)
    reach = _reach(angles[..., :2])
    swing = angles[..., :2] * (_soft(reach) / np.maximum(reach, 1e-9))[..., None]
    return np.concatenate([swing, twist[..., None]], axis=-1)


def beyond_limits_deg(R: np.ndarray) -> np.ndarray:
    """(..., 21) how far each joint of R (..., 22, 3, 3) is beyond its range, degrees; 0 inside."""
    angles = angles_of(R)
    swing, twist = angles[..., :2], angles[..., 2]
    over = np.maximum(np.maximum(twist - _TWIST[:, 1], _TWIST[:, 0] - twist), 0)
    reach = _reach(swing)
    size = np.linalg.norm(swing, axis=-1)
    return np.rad2deg(np.maximum(over, np.where(reach > 1, size * (1 - 1 / np.maximum(reach, 1)), 0)))


def _reach(swing: np.ndarray) -> np.ndarray:
    """1 on the bound of the ellipse, below inside."""
    bound = np.where(swing > 0, _SWING[..., 1], -_SWING[..., 0])
    return np.linalg.norm(swing / bound, axis=-1)


def _soft(x: np.ndarray) -> np.ndarray:
    """x up to 0.9, from there smoothly to 1; odd."""
    size = np.abs(x)
    return np.sign(x) * np.where(size < 0.9, size, 0.9 + 0.1 * np.tanh((size - 0.9) / 0.1))
