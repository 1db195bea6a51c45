"""The two trees that the solver moves: the body (22 joints) and one hand (wrist and 15 finger joints)."""

from dataclasses import dataclass

import numpy as np

from ..body import BodyModel, load_body
from ..markers import SOLE_POINTS, ProxyRig, contact_rig, proxy_rig, sole_rig
from ..proxies import BODY_NAMES, PROXY_NAMES
from ..skeleton import CONTACT_POINTS, JOINT_NAMES, NUM_BODY_JOINTS, PARENTS
from .offsets import landmark_offsets_m
from .rig import Rig

_KNUCKLES = ("thumb1", "index1", "middle1", "ring1", "pinky1")
BODY_POINTS = (*BODY_NAMES, *(f"{s}_hand_{k}" for s in ("left", "right") for k in _KNUCKLES))
"""Proxies that the body tree explains: all of the body, and the knuckles, which turn with the wrist."""
BODY_POINT_PROXY = np.array([PROXY_NAMES.index(n) for n in BODY_POINTS])
NUM_BODY_POINTS = len(BODY_POINTS)
CONTACT_INDEX = np.arange(NUM_BODY_POINTS, NUM_BODY_POINTS + len(CONTACT_POINTS))
"""Indices of the contact points among the points of the body rig; they follow the proxies."""
SOLE_INDEX = CONTACT_INDEX[-1] + 1 + np.arange(len(SOLE_POINTS))
"""Indices of the points of the soles; they follow the contact points."""

HAND_JOINTS = {
    "left": np.array([JOINT_NAMES.index("left_wrist"), *range(25, 40)]),
    "right": np.array([JOINT_NAMES.index("right_wrist"), *range(40, 55)]),
}
"""Joints of the hand tree in the full skeleton, wrist first."""
HAND_BONES = np.array([(0 if k % 4 == 1 else k - 1, k) for k in range(1, 21)])
"""(20, 2) bones of the 21 hand landmarks, from root to tip."""


@dataclass(frozen=True)
class SolverRigs:
    """The trees of one body model at its mean shape."""

    body: Rig
    hands: dict[str, Rig]

    def with_shape(self, betas: np.ndarray) -> "SolverRigs":
        """The same trees with shape coefficients (B,)."""
        return SolverRigs(
            self.body.with_shape(betas), {side: rig.with_shape(betas) for side, rig in self.hands.items()}
        )


def build_rigs(model: BodyModel) -> SolverRigs:
    """Trees with the proxies riding on them, with their shape directions."""
    markers = proxy_rig(model)
    body = _body_rig(model, markers, contact_rig(model), sole_rig(model))
    return SolverRigs(body, {side: _hand_rig(model, markers, side) for side in ("left", "right")})


def _body_rig(model: BodyModel, markers: ProxyRig, contact: ProxyRig, soles: ProxyRig) -> Rig:
    joint = markers.joint[BODY_POINT_PROXY].copy()
    for i, j in enumerate(joint):
        # a knuckle lies on its joint, so it does not move when that joint turns: it rides on the wrist
        joint[i] = j if j < NUM_BODY_JOINTS else _first_body_ancestor(int(j))
    return Rig(
        PARENTS[:NUM_BODY_JOINTS],
        np.asarray(model.J_template[:NUM_BODY_JOINTS], np.float64),
        np.concatenate([joint, contact.joint, soles.joint]),
        _joined(markers.points_template + _offsets_m(model), contact.points_template, soles.points_template),
        np.asarray(model.J_shapedirs[:NUM_BODY_JOINTS], np.float64),
        _joined(markers.points_shapedirs, contact.points_shapedirs, soles.points_shapedirs),
    )


def _offsets_m(model: BodyModel) -> np.ndarray:
    """(67, 3) offsets of the landmarks; they were measured against the built-in body, and hold for its joints only."""
    own = load_body(num_betas=model.num_betas).J_template
    offsets = landmark_offsets_m()
    return offsets if np.allclose(model.J_template, own, atol=1e-4) else np.zeros_like(offsets)


def _joined(proxies: np.ndarray, contact: np.ndarray, soles: np.ndarray) -> np.ndarray:
    return np.concatenate([proxies[BODY_POINT_PROXY], contact, soles]).astype(np.float64)


def _first_body_ancestor(joint: int) -> int:
    while joint >= NUM_BODY_JOINTS:
        joint = int(PARENTS[joint])
    return joint


def _hand_rig(model: BodyModel, markers: ProxyRig, side: str) -> Rig:
    joints = HAND_JOINTS[side]
    local = {int(j): i for i, j in enumerate(joints)}
    proxies = slice(25, 46) if side == "left" else slice(46, 67)
    return Rig(
        np.array([local.get(int(PARENTS[j]), -1) for j in joints]),
        np.asarray(model.J_template[joints], np.float64),
        np.array([local[int(j)] for j in markers.joint[proxies]]),
        np.asarray(markers.points_template[proxies], np.float64),
        np.asarray(model.J_shapedirs[joints], np.float64),
        np.asarray(markers.points_shapedirs[proxies], np.float64),
    )
