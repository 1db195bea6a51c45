"""Points on the body that the landmark networks measure, and the foot points that touch the ground.

Every point is found on the rest mesh by a geometric rule (a finger tip is the end of the last phalanx along the finger,
a heel the rearmost low point of the ankle's part, the nose the foremost point of the head, ...), or is a joint. The
rules need no vertex numbers, so they work on the built-in mesh and on a user's SMPL-X file alike. Each point is then
carried rigidly by one joint, at a rest position that is linear in the shape coefficients: whoever has joint rotations
and positions has the points, without skinning::

    rig = proxy_rig(body)
    offset = rig.offsets_m(betas)                                         # (67, 3)
    point = positions[rig.joint] + (R_world[rig.joint] @ offset[..., None])[..., 0]
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .body_stages import BodyModel, PosedBody, SkinnedBody
from .errors import HmcapError
from .proxies import BLAZEPOSE_NAMES, PROXY_NAMES
from .skeleton import CONTACT_POINTS, JOINT_NAMES, NUM_JOINTS, PARENTS

SOLE_POINTS = tuple(f"{s}_{p}" for s in ("left", "right") for p in ("heel", "ball_inner", "ball_outer", "toe"))
"""Points of the two soles, for ground height and penetration."""

_NEAR_M = 0.003
"""Vertices this close to the extreme one share a surface point, so that it does not hang on a single vertex."""


@dataclass(frozen=True, slots=True, eq=False)
class ProxyRig:
    """Named points, each fixed to one joint (numpy, float32)."""

    names: tuple[str, ...]
    """N names."""
    joint: np.ndarray
    """(N,) int64 joint that carries each point."""
    points_template: np.ndarray
    """(N, 3) rest position on the mean body, metres."""
    points_shapedirs: np.ndarray
    """(N, 3, B) change of the rest position per unit of each shape coefficient."""
    offset_template: np.ndarray
    """(N, 3) rest position less that of the carrying joint, on the mean body."""
    offset_shapedirs: np.ndarray
    """(N, 3, B) change of that offset per unit of each shape coefficient."""
    on_surface: np.ndarray
    """(N,) bool: True for a point of the skin, False for a joint or a mean of joints."""
    vertices: tuple[np.ndarray, ...]
    """N arrays: the vertices whose mean is the point; empty where it is not on the surface."""

    def points_m(self, betas: np.ndarray | None = None) -> np.ndarray:
        """(..., N, 3) rest positions for shape coefficients (..., <= B)."""
        return _shaped(self.points_template, self.points_shapedirs, betas)

    def offsets_m(self, betas: np.ndarray | None = None) -> np.ndarray:
        """(..., N, 3) offsets from the carrying joint, in its frame, for shape coefficients (..., <= B)."""
        return _shaped(self.offset_template, self.offset_shapedirs, betas)

    def in_world_m(self, posed: PosedBody) -> np.ndarray:
        """(..., N, 3) positions of the points on a posed numpy body, carried rigidly."""
        offset = self.offsets_m(posed.shaped.betas)
        return posed.joints_m[..., self.joint, :] + (posed.R_world[..., self.joint, :, :] @ offset[..., None])[..., 0]

    def on_mesh_m(self, skinned: SkinnedBody) -> np.ndarray:
        """(..., N, 3) positions of the points on a skinned numpy mesh: surface points move with the skin."""
        out = np.array(self.in_world_m(skinned.posed))
        for i, ids in enumerate(self.vertices):
            if len(ids):
                out[..., i, :] = skinned.vertices_m[..., ids, :].mean(axis=-2)
        return out


def _shaped(template: np.ndarray, directions: np.ndarray, betas: np.ndarray | None) -> np.ndarray:
    if betas is None:
        return template
    betas = np.asarray(betas)
    return template + np.einsum("nck,...k->...nc", directions[..., : betas.shape[-1]], betas)


@lru_cache(maxsize=8)
def proxy_rig(body: BodyModel) -> ProxyRig:
    """The 67 proxies of :data:`hmcap.models.proxies.PROXY_NAMES` on a numpy body."""
    return _Finder(body).rig(PROXY_NAMES, _proxy)


@lru_cache(maxsize=8)
def blazepose_rig(body: BodyModel) -> ProxyRig:
    """The 33 landmarks of :data:`hmcap.models.proxies.BLAZEPOSE_NAMES` on a numpy body."""
    return _Finder(body).rig(BLAZEPOSE_NAMES, _blazepose)


@lru_cache(maxsize=8)
def contact_rig(body: BodyModel) -> ProxyRig:
    """The four points of :data:`hmcap.models.skeleton.CONTACT_POINTS`, on the soles: under the heel, under the ball."""
    return _Finder(body).rig(CONTACT_POINTS, _contact)


@lru_cache(maxsize=8)
def sole_rig(body: BodyModel) -> ProxyRig:
    """The eight :data:`SOLE_POINTS`; the lowest of them stands for the height of the foot above the ground."""
    return _Finder(body).rig(SOLE_POINTS, _sole)


@dataclass(frozen=True)
class _Point:
    """One rule's answer: a carrying joint, and either surface vertices or joints whose mean is the point."""

    joint: str
    vertices: np.ndarray | None = None
    joints: tuple[str, ...] = ()


class _Finder:
    """Geometry of the rest mesh that the rules ask for."""

    def __init__(self, body: BodyModel) -> None:
        self.body = body
        self.v = np.asarray(body.v_template, np.float64)
        self.joints = np.asarray(body.J_template, np.float64)
        self.part = np.argmax(np.asarray(body.weights), axis=1)
        used = np.zeros(len(self.v), bool)
        used[body.faces.ravel()] = True  # a vertex of no triangle is no skin
        self.part[~used] = -1

    def at(self, joint: str) -> np.ndarray:
        """(3,) rest position of a joint."""
        return self.joints[JOINT_NAMES.index(joint)]

    def skin(self, *joints: str) -> np.ndarray:
        """Vertices that follow one of these joints more than any other."""
        ids = np.flatnonzero(np.isin(self.part, [JOINT_NAMES.index(j) for j in joints]))
        if not len(ids):
            raise HmcapError(
                f"Expected skin that follows the joint {joints[0]} in the body model "
                f"({self.body.provenance.get('source', 'unknown source')}), found no such vertex, so the body's "
                "landmarks cannot be placed. Use the whole-body SMPL-X file, or leave the option out."
            )
        return ids

    def extreme(self, ids: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Those of the vertices that lie farthest along a direction (within a few millimetres)."""
        along = self.v[ids] @ (direction / np.linalg.norm(direction))
        return ids[along >= along.max() - _NEAR_M]

    def facing(self, ids: np.ndarray, x: float, y: float) -> np.ndarray:
        """The front vertex nearest to (x, y) seen from the front, among the vertices ahead of the head joint."""
        front = ids[self.v[ids, 2] > self.at("left_eye_smplhf")[2] - 0.03]
        ids = front if len(front) else ids
        distance = np.hypot(self.v[ids, 0] - x, self.v[ids, 1] - y)
        near = ids[distance <= distance.min() + 2 * _NEAR_M]
        return near[self.v[near, 2] >= self.v[near, 2].max() - _NEAR_M]

    def foot_axes(self, side: str) -> tuple[np.ndarray, np.ndarray]:
        """Level unit vectors of a foot: ahead (heel to farthest toe), and outward (towards the small toe)."""
        skin = self.skin(f"{side}_ankle", f"{side}_foot")
        ball = self.at(f"{side}_foot") - self.at(f"{side}_ankle")
        ahead = ball * [1, 0, 1] / np.linalg.norm(ball[[0, 2]])
        ankle_skin = self.skin(f"{side}_ankle")
        low = self.v[ankle_skin, 1] < (self.v[ankle_skin, 1].min() + self.at(f"{side}_ankle")[1]) / 2
        back = self.v[self.extreme(ankle_skin[low] if low.any() else ankle_skin, -ahead)].mean(0)
        axis = (self.v[self.extreme(skin, ahead)].mean(0) - back) * [1, 0, 1]
        ahead = axis / np.linalg.norm(axis)
        outward = np.array([ahead[2], 0.0, -ahead[0]])
        return ahead, outward if side == "left" else -outward

    def share(self, ids: np.ndarray, joint: str) -> float:
        """Mean skinning weight of a joint over the vertices."""
        return float(self.body.weights[ids, JOINT_NAMES.index(joint)].mean())

    def low(self, ids: np.ndarray) -> np.ndarray:
        """Those of the vertices that a level floor would touch."""
        return ids[self.v[ids, 1] < self.v[ids, 1].min() + 0.008]

    def ball(self, side: str, ahead: np.ndarray) -> np.ndarray:
        """Low vertices of the ball of the foot: just behind the joint where the toes begin."""
        skin = self.skin(f"{side}_ankle", f"{side}_foot")
        low = self.low(skin)
        behind = 0.07 * np.ptp(self.v[skin] @ ahead)
        distance = np.abs((self.v[low] - self.at(f"{side}_foot")) @ ahead + behind)
        return low[distance <= max(0.012, distance.min() + _NEAR_M)]

    def rig(self, names: tuple[str, ...], rule) -> ProxyRig:
        """The rig of the named points, each found by ``rule(finder, name)``."""
        found = [rule(self, name) for name in names]
        body, b = self.body, self.body.num_betas
        joint = np.array([JOINT_NAMES.index(p.joint) for p in found])
        template, directions = np.zeros((len(names), 3)), np.zeros((len(names), 3, b))
        for i, p in enumerate(found):
            ids = p.vertices if p.vertices is not None else [JOINT_NAMES.index(j) for j in p.joints]
            points, dirs = (
                (body.v_template, body.shapedirs) if p.vertices is not None else (body.J_template, body.J_shapedirs)
            )
            template[i], directions[i] = points[ids].mean(axis=0), dirs[ids].mean(axis=0)
        return ProxyRig(
            names,
            joint,
            template.astype(np.float32),
            directions.astype(np.float32),
            (template - body.J_template[joint]).astype(np.float32),
            (directions - body.J_shapedirs[joint]).astype(np.float32),
            np.array([p.vertices is not None for p in found]),
            tuple(np.zeros(0, np.int64) if p.vertices is None else p.vertices for p in found),
        )


def _side(name: str) -> tuple[str, str]:
    side, _, rest = name.partition("_")
    return (side, rest) if side in ("left", "right") else ("", name)


def _joint(name: str) -> _Point:
    return _Point(name, joints=(name,))


def _proxy(f: _Finder, name: str) -> _Point:
    side, part = _side(name)
    if part.startswith("hand_"):
        return _hand(f, side, part.removeprefix("hand_"))
    if name == "neck":
        return _Point("spine3", joints=("left_shoulder", "right_shoulder"))
    if name == "mid_hip":
        return _Point("pelvis", joints=("left_hip", "right_hip"))
    if part in ("big_toe", "small_toe", "heel"):
        return _foot(f, side, part)
    if part in ("nose", "eye", "ear"):
        return _face(f, side, part)
    return _joint(name)


def _blazepose(f: _Finder, name: str) -> _Point:
    if name in ("mouth_left", "mouth_right"):
        return _face(f, name.removeprefix("mouth_"), "mouth")
    side, part = _side(name)
    if part in ("pinky", "index", "thumb"):  # knuckles, by the landmark network's own definition
        return _joint(f"{side}_{part}{2 if part == 'thumb' else 1}")
    if part in ("heel", "foot_index"):
        return _foot(f, side, part)
    if part in ("nose", "eye", "eye_inner", "eye_outer", "ear"):
        return _face(f, side, part)
    return _joint(name)


def _hand(f: _Finder, side: str, name: str) -> _Point:
    if name == "wrist":
        return _joint(f"{side}_wrist")
    finger, k = name[:-1], int(name[-1])
    if k < 4:
        return _joint(f"{side}_{finger}{k}")
    last = f"{side}_{finger}3"
    tip = f.extreme(f.skin(last), f.at(last) - f.at(f"{side}_{finger}2"))
    return _Point(last, vertices=tip)


def _face(f: _Finder, side: str, part: str) -> _Point:
    if part == "nose":
        return _Point("head", vertices=f.extreme(f.skin("head"), np.array([0.0, 0, 1])))
    out = 1.0 if side == "left" else -1.0
    eye = f.at(f"{side}_eye_smplhf")
    apart = abs(f.at("left_eye_smplhf")[0] - f.at("right_eye_smplhf")[0])
    if part == "ear":
        skin = f.skin("head")
        # Of the ear, not of a wide skull: behind the eyes, and no higher than they are.
        near = skin[np.abs(f.v[skin, 1] - eye[1] + 0.3 * apart) < 0.5 * apart]
        return _Point("head", vertices=f.extreme(near if len(near) else skin, np.array([out, 0, 0])))
    if part == "mouth":
        nose = f.v[_face(f, "", "nose").vertices].mean(axis=0)
        skin = f.skin("head", "jaw") if np.any(f.part == JOINT_NAMES.index("jaw")) else f.skin("head")
        return _Point("head", vertices=f.facing(skin, out * 0.38 * apart, nose[1] - 0.5 * apart))
    shift = {"eye": 0.0, "eye_inner": -0.25, "eye_outer": 0.25}[part] * apart
    if part == "eye" and np.any(f.part == JOINT_NAMES.index(f"{side}_eye_smplhf")):
        return _Point("head", vertices=f.extreme(f.skin(f"{side}_eye_smplhf"), np.array([0.0, 0, 1])))
    return _Point("head", vertices=f.facing(f.skin("head"), eye[0] + out * shift, eye[1]))


def _foot(f: _Finder, side: str, part: str) -> _Point:
    ahead, outward = f.foot_axes(side)
    up = np.array([0.0, 1, 0])
    if part == "heel":
        return _Point(f"{side}_ankle", vertices=f.extreme(f.skin(f"{side}_ankle"), -0.8 * ahead - 0.6 * up))
    direction = {
        "foot_index": ahead,
        "big_toe": ahead - 0.3 * outward,
        "small_toe": 0.65 * ahead + outward,
    }[part]
    return _Point(f"{side}_foot", vertices=f.extreme(f.skin(f"{side}_foot"), direction))


def _sole(f: _Finder, name: str) -> _Point:
    side, part = _side(name)
    ahead, outward = f.foot_axes(side)
    if part == "heel":
        return _Point(f"{side}_ankle", vertices=f.extreme(f.low(f.skin(f"{side}_ankle")), -ahead))
    if part == "toe":
        return _Point(f"{side}_foot", vertices=f.extreme(f.low(f.skin(f"{side}_foot")), ahead - 0.3 * outward))
    ids = f.extreme(f.ball(side, ahead), outward if part == "ball_outer" else -outward)
    return _Point(max((f"{side}_ankle", f"{side}_foot"), key=lambda j: f.share(ids, j)), vertices=ids)


def _contact(f: _Finder, name: str) -> _Point:
    side, part = _side(name)
    ahead, outward = f.foot_axes(side)
    if part == "toe":  # under the ball; carried by the toes, which stay on the ground when the heel lifts
        ball = f.ball(side, ahead)
        return _Point(f"{side}_foot", vertices=np.union1d(f.extreme(ball, outward), f.extreme(ball, -outward)))
    low = f.low(f.skin(f"{side}_ankle"))
    along = f.v[low] @ ahead
    return _Point(f"{side}_ankle", vertices=low[along <= along.min() + np.ptp(along) / 3])


def limb_rest_rotations(joints_from_m: np.ndarray, joints_to_m: np.ndarray) -> np.ndarray:
    """(55, 3, 3) C that carries world rotations between rest poses: ``R_world_to = R_world_from @ C``.

    joints_from_m, joints_to_m: (55, 3) rest joints of two bodies. C[j] turns the rest direction of limb j (thigh,
    shank, upper arm, forearm) of the second body into that of the first by the shortest rotation, so that limbs keep
    pointing the same way in the world; for all other joints C is the identity.
    """
    child = {}
    for side in ("left", "right"):
        for a, b in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist")):
            child[JOINT_NAMES.index(f"{side}_{a}")] = JOINT_NAMES.index(f"{side}_{b}")
    C = np.broadcast_to(np.eye(3), (NUM_JOINTS, 3, 3)).copy()
    for j, k in child.items():
        a, b = (np.asarray(x[k], np.float64) - x[j] for x in (joints_to_m, joints_from_m))
        a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
        w, c = np.cross(a, b), float(a @ b)
        K = np.array([[0, -w[2], w[1]], [w[2], 0, -w[0]], [-w[1], w[0], 0]])
        C[j] = np.eye(3) + K + K @ K / (1 + c)
    return C


def convert_rest_pose(R_local: np.ndarray, joints_from_m: np.ndarray, joints_to_m: np.ndarray) -> np.ndarray:
    """(..., 55, 3, 3) local rotations for a body with rest joints ``joints_to_m`` (55, 3) that show the same limb
    directions as R_local (..., 55, 3, 3) does on a body with rest joints ``joints_from_m`` (55, 3)."""
    C = limb_rest_rotations(joints_from_m, joints_to_m)
    parent = np.where(PARENTS[:, None, None] >= 0, C[PARENTS], np.eye(3))
    return np.swapaxes(parent, -1, -2) @ R_local @ C
