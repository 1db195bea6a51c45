"""The names that the Virtual Motion Capture protocol has for joints and face shapes."""

import numpy as np

from ...models.face import ARKIT_NAMES
from ...models.skeleton import JOINT_NAMES

_CENTRE = {
    "pelvis": "Hips", "spine1": "Spine", "spine2": "Chest", "spine3": "UpperChest", "neck": "Neck", "head": "Head",
    "jaw": "Jaw", "left_eye_smplhf": "LeftEye", "right_eye_smplhf": "RightEye",
}  # fmt: skip
_LIMB = {
    "collar": "Shoulder", "shoulder": "UpperArm", "elbow": "LowerArm", "wrist": "Hand",
    "hip": "UpperLeg", "knee": "LowerLeg", "ankle": "Foot", "foot": "Toes",
}  # fmt: skip
_FINGERS = {"thumb": "Thumb", "index": "Index", "middle": "Middle", "ring": "Ring", "pinky": "Little"}
_SEGMENTS = {"1": "Proximal", "2": "Intermediate", "3": "Distal"}


def _bone(joint: str) -> str:
    if joint in _CENTRE:
        return _CENTRE[joint]
    side, part = joint.split("_")
    if part in _LIMB:
        return side.title() + _LIMB[part]
    return side.title() + _FINGERS[part[:-1]] + _SEGMENTS[part[-1]]


BONE_NAMES = tuple(_bone(joint) for joint in JOINT_NAMES)
"""Name in Unity's HumanBodyBones of each of the 55 SMPL-X joints: every bone of that list, each once."""

PERFECT_SYNC_NAMES = tuple(name[0].upper() + name[1:] for name in ARKIT_NAMES)
"""The 52 ARKit shapes as VRM clips ("PerfectSync") and Unity's ARKitBlendShapeLocation write them."""

VRM_NAMES = ("A", "I", "U", "E", "O", "Blink_L", "Blink_R")
"""The VRM 0 clips that a captured face decides; moods (Joy, Angry, Sorrow, Fun) stay the performer's choice."""

FACES = ("both", "arkit", "vrm")
"""Which face shapes are sent: the 52 ARKit ones, the clips of VRM 0, or both."""

_ROW = {name: row for row, name in enumerate(ARKIT_NAMES)}


def vrm_weights(arkit: np.ndarray) -> np.ndarray:
    """(7,) weights of VRM_NAMES from (52,) in ARKIT_NAMES order.

    The five vowels share the mouth so that they never add up to more than one: rounded lips are O when open and U when
    closed; spread ones E and I; the rest of an open mouth is A.
    """

    def of(*names: str) -> float:
        return float(np.clip(np.mean([arkit[_ROW[name]] for name in names]), 0, 1))

    opened = of("jawOpen")
    rounded = max(of("mouthFunnel"), of("mouthPucker"))
    spread = of("mouthStretchLeft", "mouthStretchRight") * (1 - rounded)
    rest = 1 - rounded - spread
    return np.array([
        rest * opened, spread * (1 - opened), rounded * (1 - opened), spread * opened, rounded * opened,
        of("eyeBlinkLeft"), of("eyeBlinkRight"),
    ])  # fmt: skip
