"""Where the bones of a body end: finger tips, toe tips, heels and the top of the head, found on the mesh itself.

The rule needs nothing but skinning weights, so it holds for the built-in body and for a user's own file alike.
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from ...models.body import BodyModel, ShapedBody
from ...models.skeleton import JOINT_NAMES, PARENTS

TIPPED_JOINTS = (
    *(name for name in JOINT_NAMES if name.endswith("3") and not name.startswith("spine")),
    "left_foot",
    "right_foot",
    "head",
)
"""Leaf joints whose bone has a visible end."""
_HEEL = {"left_heel": "left_ankle", "right_heel": "right_ankle"}
_SHARE = 0.02
"""The end of a bone is the mean of this share of its vertices, so that one stray vertex does not decide."""


def bone_ends(body: ShapedBody) -> dict[str, np.ndarray]:
    """Rest positions (3,), metres, of the end of the bone of every joint in TIPPED_JOINTS, by joint name."""
    vertices = np.asarray(body.vertices_m(), dtype=np.float64)
    return {name: vertices[rows].mean(axis=0) for name, rows in _end_vertices(body.model).items() if name not in _HEEL}


def foot_points(body: ShapedBody) -> np.ndarray:
    """(4, 3) rest positions on the sole in CONTACT_POINTS order: left heel, left toe, right heel, right toe."""
    vertices = np.asarray(body.vertices_m(), dtype=np.float64)
    rows = _end_vertices(body.model)
    points = np.array(
        [vertices[rows[name]].mean(axis=0) for name in ("left_heel", "left_foot", "right_heel", "right_foot")]
    )
    points[:, 1] = vertices[:, 1].min()
    return points


FOOT_POINT_JOINTS = np.array(
    [JOINT_NAMES.index(f"{side}_{part}") for side in ("left", "right") for part in ("ankle", "foot")]
)
"""(4,) joint that carries each foot point."""


def floor_height_m(body: ShapedBody) -> float:
    """y of the soles in the rest pose, metres."""
    return float(np.asarray(body.vertices_m())[:, 1].min())


@lru_cache(maxsize=4)
def _end_vertices(model: BodyModel) -> Mapping[str, np.ndarray]:
    """Vertices at the end of each bone, chosen on the mean body so that they stay the same for every shape."""
    vertices, joints = np.asarray(model.v_template), np.asarray(model.J_template)
    owner = np.asarray(model.weights).argmax(axis=1)

    def farthest(joint: int, direction: np.ndarray) -> np.ndarray:
        rows = np.flatnonzero(owner == joint)
        if len(rows) == 0:
            raise ValueError(f"no vertex of the body model belongs to {JOINT_NAMES[joint]}")
        order = np.argsort(vertices[rows] @ direction)
        return rows[order[-max(1, round(_SHARE * len(rows))) :]]

    ends = {}
    for name in TIPPED_JOINTS:
        joint = JOINT_NAMES.index(name)
        along = joints[joint] - joints[PARENTS[joint]]
        if name.endswith("_foot"):
            along = along * (1, 0, 1)
        elif name == "head":
            along = np.array([0.0, 1, 0])
        ends[name] = farthest(joint, along)
    for name, ankle in _HEEL.items():
        ends[name] = farthest(JOINT_NAMES.index(ankle), np.array([0.0, -1, -1]))
    return ends
