"""The SMPL-X joint tree: names, parents and the groups whose state every frame reports."""

import numpy as np

_BODY = (
    ("pelvis", -1), ("left_hip", 0), ("right_hip", 0), ("spine1", 0), ("left_knee", 1), ("right_knee", 2),
    ("spine2", 3), ("left_ankle", 4), ("right_ankle", 5), ("spine3", 6), ("left_foot", 7), ("right_foot", 8),
    ("neck", 9), ("left_collar", 9), ("right_collar", 9), ("head", 12), ("left_shoulder", 13), ("right_shoulder", 14),
    ("left_elbow", 16), ("right_elbow", 17), ("left_wrist", 18), ("right_wrist", 19),
    ("jaw", 15), ("left_eye_smplhf", 15), ("right_eye_smplhf", 15),
)  # fmt: skip
_FINGERS = ("index", "middle", "pinky", "ring", "thumb")


def _tree() -> tuple[tuple[str, ...], tuple[int, ...]]:
    names, parents = [n for n, _ in _BODY], [p for _, p in _BODY]
    for side in ("left", "right"):
        for finger in _FINGERS:
            for k in (1, 2, 3):
                parents.append(names.index(f"{side}_wrist") if k == 1 else len(names) - 1)
                names.append(f"{side}_{finger}{k}")
    return tuple(names), tuple(parents)


JOINT_NAMES, _parents = _tree()
"""The 55 SMPL-X joints: 22 body (pelvis first), jaw, two eyes, 15 left-hand, 15 right-hand."""

PARENTS = np.array(_parents)
"""(55,) parent of each joint, -1 for the pelvis; a parent always precedes its children."""

NUM_JOINTS = len(JOINT_NAMES)
NUM_BODY_JOINTS = 22
BODY = slice(0, 22)
JAW = slice(22, 23)
EYES = slice(23, 25)
LEFT_HAND = slice(25, 40)
RIGHT_HAND = slice(40, 55)

JOINT_GROUPS: dict[str, tuple[str, ...]] = {
    "torso": ("pelvis", "spine1", "spine2", "spine3"),
    "head": ("neck", "head", "jaw", "left_eye_smplhf", "right_eye_smplhf"),
    "left_arm": ("left_collar", "left_shoulder", "left_elbow", "left_wrist"),
    "right_arm": ("right_collar", "right_shoulder", "right_elbow", "right_wrist"),
    "left_leg": ("left_hip", "left_knee", "left_ankle", "left_foot"),
    "right_leg": ("right_hip", "right_knee", "right_ankle", "right_foot"),
    "left_hand": JOINT_NAMES[LEFT_HAND],
    "right_hand": JOINT_NAMES[RIGHT_HAND],
}
"""Joint groups that are measured or held together (see :class:`hmcap.models.motion.MotionFrame`)."""

CONTACT_POINTS = ("left_heel", "left_toe", "right_heel", "right_toe")
"""Foot points whose ground contact every frame reports."""
