"""Joint angles as OpenSim's gait models name and sign them, for every joint of the body.

Every joint gets a body frame with the axes of OpenSim's models (x forward, y up, z to the right of the body) in a
neutral pose: the rest pose with the arms hanging, palms to the thighs. Its rotation in its parent's frame is three
rotations in a row, each about an axis of the frame that the one before has made, and all zero in the neutral pose. Left
limbs mirror right ones: the same number means the same movement on both sides.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...models.rotations import axis_angle_to_matrix
from ...models.skeleton import JOINT_NAMES, PARENTS
from .euler import continuous_euler_zxy

X, Y, Z = (1, 0, 0), (0, 1, 0), (0, 0, 1)
Axis = tuple[int, int, int]

OPENSIM_FROM_BODY = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
"""(3, 3) turns body vectors (x to the left, z ahead) into OpenSim's (x ahead, z to the right)."""


def _minus(axis: Axis) -> Axis:
    return (-axis[0], -axis[1], -axis[2])


_MIDDLE: dict[str, tuple[tuple[str, Axis], ...]] = {
    # Turn first, so that list and tilt mean the same whichever way the person faces.
    "pelvis": (("pelvis_rotation", Y), ("pelvis_list", X), ("pelvis_tilt", Z)),
    "spine1": (("lumbar_extension", Z), ("lumbar_bending", X), ("lumbar_rotation", Y)),
    **{
        joint: ((f"{joint}_extension", Z), (f"{joint}_bending", X), (f"{joint}_rotation", Y))
        for joint in ("spine2", "spine3", "neck", "head")
    },
    "jaw": (("jaw_opening", _minus(Z)), ("jaw_bending", X), ("jaw_rotation", Y)),
}
_LIMB: dict[str, tuple[tuple[str, Axis], ...]] = {
    "hip": (("hip_flexion", Z), ("hip_adduction", X), ("hip_rotation", Y)),
    "knee": (("knee_angle", _minus(Z)), ("knee_adduction", X), ("knee_rotation", Y)),
    "ankle": (("ankle_angle", Z), ("subtalar_angle", X), ("ankle_rotation", Y)),
    "foot": (("mtp_angle", Z), ("mtp_inversion", X), ("mtp_rotation", Y)),
    "collar": (("clavicle_protraction", Y), ("clavicle_elevation", _minus(X)), ("clavicle_rotation", Z)),
    "shoulder": (("arm_flex", Z), ("arm_add", X), ("arm_rot", Y)),
    "elbow": (("elbow_flex", Z), ("elbow_add", X), ("pro_sup", Y)),
    "wrist": (("wrist_flex", X), ("wrist_dev", _minus(Z)), ("wrist_rot", Y)),
    "eye_smplhf": (("eye_elevation", Z), ("eye_torsion", X), ("eye_rotation", Y)),
}
"""Coordinates of the right side. Positive: flexion, adduction, internal rotation, dorsiflexion, inversion, toes up,
shoulder forward, shoulder up, pronation, hand towards the palm, hand towards the little finger."""

_CHUNK_FRAMES = 512
"""Frames of which all rotation matrices are in memory at a time."""

_HANGING = ("shoulder", "elbow", "wrist")


@dataclass(frozen=True, slots=True, eq=False)
class JointAngles:
    """The three coordinates of one joint."""

    joint: int
    """Index in JOINT_NAMES."""
    names: tuple[str, ...]
    """(3,) names in the file."""
    axes: tuple[Axis, ...]
    """(3,) unit axis of each, in the joint's frame, in the order in which they are applied."""
    R_joint_frame: np.ndarray
    """(3, 3) columns: axes of the body frame, in the frame of the joint."""


@lru_cache(maxsize=1)
def joint_angles() -> tuple[JointAngles, ...]:
    """All 55 joints in JOINT_NAMES order."""
    return tuple(_joint_angles(j) for j in range(len(JOINT_NAMES)))


def coordinate_names() -> tuple[str, ...]:
    """(165,) names of all angles, three for each joint in JOINT_NAMES order."""
    return tuple(name for joint in joint_angles() for name in joint.names)


def continuous_angles(poses: np.ndarray) -> np.ndarray:
    """(T, 55, 3) radians in the order of :func:`coordinate_names`, continuous over time, not limited to one turn.

    poses: (T, 55, 3) axis-angle rotation of each joint in its parent's frame (pelvis: in the Y-up world).
    """
    joints = joint_angles()
    frames = np.array([j.R_joint_frame for j in joints])
    parent_frames = np.array([frames[PARENTS[j.joint]] if PARENTS[j.joint] >= 0 else np.eye(3) for j in joints])
    # With its axes renamed, every sequence of three different axes is Z-X-Y, but for the sign of the last.
    axes = np.array([j.axes for j in joints], dtype=np.float64)
    third = np.cross(axes[:, 0], axes[:, 1])
    sign = np.sum(third * axes[:, 2], axis=-1)
    renamed = np.stack((axes[:, 1], third, axes[:, 0]), axis=1)
    left, right = renamed @ np.swapaxes(parent_frames, -1, -2), frames @ np.swapaxes(renamed, -1, -2)
    angles, before = np.empty((len(poses), len(joints), 3)), None
    for start in range(0, len(poses), _CHUNK_FRAMES):
        chunk = slice(start, start + _CHUNK_FRAMES)
        angles[chunk] = continuous_euler_zxy(left @ axis_angle_to_matrix(poses[chunk]) @ right, before)
        before = angles[chunk][-1].copy()
    angles[..., 2] *= sign
    return angles


def _joint_angles(joint: int) -> JointAngles:
    name = JOINT_NAMES[joint]
    side, _, part = name.partition("_") if name.startswith(("left_", "right_")) else ("", "", name)
    if side and part not in _LIMB:  # fingers bend in the frame of the hand
        coordinates = ((f"{part}_flex", X), (f"{part}_dev", _minus(Z)), (f"{part}_rot", Y))
    else:
        coordinates = _LIMB[part] if side else _MIDDLE[part]
    names = tuple(f"{n}_{side[0]}" if side else n for n, _ in coordinates)
    # A mirror turns the axis of a rotation over in x and y and keeps it in z, the direction across the body.
    axes = tuple((-a[0], -a[1], a[2]) if side == "left" else a for _, a in coordinates)
    frame = OPENSIM_FROM_BODY.T
    if side and (part in _HANGING or part not in _LIMB):
        frame = _hanging(side).T @ frame
    return JointAngles(joint, names, axes, frame)


def _hanging(side: str) -> np.ndarray:
    """(3, 3) rotation that lets the arm of a T-pose hang: a quarter turn about the axis that points ahead."""
    s = -1.0 if side == "left" else 1.0
    return np.array([[0.0, -s, 0], [s, 0, 0], [0, 0, 1]])
