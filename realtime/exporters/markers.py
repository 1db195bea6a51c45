"""The markers of TRC and C3D: the 22 HALPE-26 points that Pose2Sim tracks, under its names and in its order.

They are points of the body model, not spots on skin: joint centres move as the joints do, and the points of head and
feet ride rigidly on their joint.

============================  =================================================================
Hip                           middle between the two hip joints, carried by the pelvis
RHip LHip, RKnee, RAnkle ...  centres of hip, knee, ankle, shoulder, elbow and wrist joints
Neck                          the neck joint: base of the neck, above the middle of the shoulders
Head                          top of the skull, carried by the head
Nose                          tip of the nose, carried by the head
RHeel LHeel                   back of the heel, carried by the ankle joint
RBigToe LBigToe               tip of the big toe, carried by the toes
RSmallToe LSmallToe           outer front of the small toe, carried by the toes
============================  =================================================================
"""

from dataclasses import dataclass

import numpy as np

from ...models.body import ShapedBody
from ...models.markers import proxy_rig
from ...models.skeleton import JOINT_NAMES
from .ends import bone_ends
from .prepare import Prepared

_LEG = ("Hip", "Knee", "Ankle", "BigToe", "SmallToe", "Heel")
_ARM = ("Shoulder", "Elbow", "Wrist")
MARKER_NAMES = (
    "Hip", *(f"R{part}" for part in _LEG), *(f"L{part}" for part in _LEG),
    "Neck", "Head", "Nose", *(f"R{part}" for part in _ARM), *(f"L{part}" for part in _ARM),
)  # fmt: skip
"""The 22 markers in file order, spelt as in the HALPE_26 skeleton of Pose2Sim."""

_OURS = {"BigToe": "big_toe", "SmallToe": "small_toe"}


@dataclass(frozen=True, slots=True, eq=False)
class Markers:
    """Markers of one body shape, each fixed to one joint."""

    names: tuple[str, ...]
    """M names."""
    joint: np.ndarray
    """(M,) index of the joint that carries each."""
    offset_m: np.ndarray
    """(M, 3) position from that joint, in its frame, metres."""

    def in_world_m(self, R_world: np.ndarray, positions_m: np.ndarray) -> np.ndarray:
        """(..., M, 3) for joint rotations (..., 55, 3, 3) and positions (..., 55, 3)."""
        turned = R_world[..., self.joint, :, :] @ self.offset_m[..., None]
        return positions_m[..., self.joint, :] + turned[..., 0]


def body_markers(body: ShapedBody) -> Markers:
    """The markers on a body of one shape."""
    rig = proxy_rig(body.model)
    offsets_m = np.asarray(rig.offsets_m(body.betas), dtype=np.float64)
    joints_m = np.asarray(body.joints_m, dtype=np.float64)
    head = JOINT_NAMES.index("head")
    joints, offsets = [], []
    for name in MARKER_NAMES:
        if name == "Head":
            joints.append(head)
            offsets.append(bone_ends(body)["head"] - joints_m[head])
        elif name == "Neck":
            joints.append(JOINT_NAMES.index("neck"))
            offsets.append(np.zeros(3))
        else:
            row = rig.names.index(_proxy_name(name))
            joints.append(int(rig.joint[row]))
            offsets.append(offsets_m[row])
    return Markers(MARKER_NAMES, np.array(joints), np.array(offsets))


def take_markers_m(ready: Prepared) -> np.ndarray:
    """(T, 22, 3) markers of a take in the Y-up world, metres."""
    markers = body_markers(ready.body)
    return np.concatenate([markers.in_world_m(*ready.world(rows)) for rows in ready.blocks()])


def _proxy_name(marker: str) -> str:
    if marker in ("Hip", "Nose"):
        return {"Hip": "mid_hip", "Nose": "nose"}[marker]
    side = {"R": "right", "L": "left"}[marker[0]]
    return f"{side}_{_OURS.get(marker[1:], marker[1:].lower())}"
