"""The skeleton that animation formats get: names, tree, rest offsets and bone ends of one body."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...models.skeleton import JOINT_NAMES, PARENTS

_MIXAMO_BODY = {
    "pelvis": "Hips", "spine1": "Spine", "spine2": "Spine1", "spine3": "Spine2", "neck": "Neck", "head": "Head",
}  # fmt: skip
_MIXAMO_LIMB = {
    "collar": "Shoulder", "shoulder": "Arm", "elbow": "ForeArm", "wrist": "Hand",
    "hip": "UpLeg", "knee": "Leg", "ankle": "Foot", "foot": "ToeBase",
}  # fmt: skip
FINGERS = ("thumb", "index", "middle", "ring", "pinky")


def _mixamo_names() -> dict[str, str]:
    names = dict(_MIXAMO_BODY)
    for side in ("left", "right"):
        names |= {f"{side}_{ours}": side.title() + theirs for ours, theirs in _MIXAMO_LIMB.items()}
        names |= {f"{side}_{f}{k}": f"{side.title()}Hand{f.title()}{k}" for f in FINGERS for k in (1, 2, 3)}
    return names


NAMINGS: dict[str, dict[str, str]] = {
    "mixamo": _mixamo_names(),
    "smplx": {name: name for name in JOINT_NAMES},
}
"""SMPL-X joint name -> name in the file. A joint that a naming lacks (jaw and eyes in mixamo) is left out."""


@dataclass(frozen=True, slots=True)
class Rig:
    """A rest skeleton in T-pose, joints in file order: every joint follows its parent, subtrees are contiguous."""

    names: tuple[str, ...]
    """(J,) joint names in the file."""
    joints: tuple[int, ...]
    """(J,) index of each joint in JOINT_NAMES."""
    parents: tuple[int, ...]
    """(J,) row of the parent in this rig, -1 for the root."""
    offsets_m: np.ndarray
    """(J, 3) rest position relative to the parent; for the root, its position with the soles on y = 0."""
    tips_m: Mapping[int, np.ndarray]
    """Row of a leaf -> (3,) end of its bone relative to it."""
    rest_pelvis_m: np.ndarray
    """(3,) J0 of the body, which SMPL-X translations are relative to."""


def make_rig(
    joints_m: np.ndarray, naming: str, tips_m: Mapping[str, np.ndarray] | None = None, floor_m: float | None = None
) -> Rig:
    """Lay out the rest skeleton of one body shape.

    Args:
        joints_m: (55, 3) rest joints of the body in T-pose, facing +Z, left = +X.
        naming: a key of NAMINGS.
        tips_m: SMPL-X joint name -> (3,) rest position of the end of its bone (finger tips, toe tips, top of the
            head). What is missing is extended from the bone before it.
        floor_m: y of the soles in the rest pose; None takes the lowest joint or tip.
    """
    names = NAMINGS[naming]
    order = _depth_first(names)
    row_of = {joint: row for row, joint in enumerate(order)}
    ends = {name: np.asarray(joints_m)[JOINT_NAMES.index(name)] for name in JOINT_NAMES}
    tips = {}
    for row, joint in enumerate(order):
        if not any(PARENTS[other] == joint for other in order):
            name = JOINT_NAMES[joint]
            end = tips_m[name] if tips_m is not None and name in tips_m else guessed_tip(joints_m, name)
            ends[f"{name} tip"] = np.asarray(end)
            tips[row] = np.asarray(end, dtype=np.float64) - joints_m[joint]
    floor = min(float(p[1]) for p in ends.values()) if floor_m is None else floor_m
    offsets = np.array([joints_m[j] - (joints_m[PARENTS[j]] if PARENTS[j] >= 0 else 0) for j in order], np.float64)
    offsets[0] = (0.0, joints_m[0, 1] - floor, 0.0)
    return Rig(
        names=tuple(names[JOINT_NAMES[j]] for j in order),
        joints=order,
        parents=tuple(row_of.get(int(PARENTS[j]), -1) for j in order),
        offsets_m=offsets,
        tips_m=tips,
        rest_pelvis_m=np.asarray(joints_m[0], dtype=np.float64),
    )


def guessed_tip(joints_m: np.ndarray, name: str) -> np.ndarray:
    """(3,) a plausible end of the bone of a leaf joint, from the rest joints (55, 3) alone."""
    joint = JOINT_NAMES.index(name)
    here, parent = joints_m[joint], joints_m[PARENTS[joint]]
    if name.endswith("_foot"):  # Toes point along the floor, not down the instep.
        along = (here - parent) * (1, 0, 1)
        return here + 0.55 * along
    if name == "head":
        return here + np.array([0, 1.6, 0]) * np.linalg.norm(here - parent)
    if name in ("jaw", "left_eye_smplhf", "right_eye_smplhf"):
        return here + np.array([0, 0, 0.03])
    return here + 0.85 * (here - parent)


def _depth_first(names: Mapping[str, str]) -> tuple[int, ...]:
    """Joint indices depth first: spine before legs, thumb before little finger, as animation packages list them."""
    first = ("spine1", "left_hip", "right_hip", "neck", *(f"{s}_{f}1" for s in ("left", "right") for f in FINGERS))
    rank = {JOINT_NAMES.index(name): k for k, name in enumerate(first)}
    order: list[int] = []

    def visit(joint: int) -> None:
        order.append(joint)
        children = [c for c in np.flatnonzero(joint == PARENTS).tolist() if JOINT_NAMES[c] in names]
        for child in sorted(children, key=lambda c: (rank.get(c, len(rank)), c)):
            visit(child)

    visit(0)
    return tuple(order)
