"""A first pose for every frame on its own, from the networks' relative 3-D; the solver refines it."""

import numpy as np

from ..proxies import BLAZEPOSE_NAMES
from ..rotations import axis_angle_to_matrix
from ..skeleton import JOINT_NAMES, NUM_BODY_JOINTS
from .energy import Chain
from .observations import Observations
from .rig import Rig
from .rigs import BODY_POINT_PROXY

_BLAZE = {n: i for i, n in enumerate(BLAZEPOSE_NAMES)}
_LIMBS = (  # upper joint, lower joint, end; hinge axis of the lower joint in the rest pose; range of the twist
    ("left_shoulder", "left_elbow", "left_wrist", (0.0, -1.0, 0.0), 2.0),
    ("right_shoulder", "right_elbow", "right_wrist", (0.0, 1.0, 0.0), 2.0),
    ("left_hip", "left_knee", "left_ankle", (1.0, 0.0, 0.0), 0.8),
    ("right_hip", "right_knee", "right_ankle", (1.0, 0.0, 0.0), 0.8),
)

_FLAT_TRUNK_M2 = 1e-4
"""Area spanned by hips and shoulders below which they give no direction."""


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)


def _shortest_arc(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(..., 3) axis-angle of the smallest turn from unit vectors a to unit vectors b."""
    axis = np.cross(a, b)
    s = np.linalg.norm(axis, axis=-1, keepdims=True)
    angle = np.arctan2(s, (a * b).sum(-1, keepdims=True))
    return axis / np.maximum(s, 1e-9) * angle


def _trunk(xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(T, 3) leftward across hips and shoulders, and (T, 3) from hips to shoulders, of landmarks (T, 33, 3)."""
    left_hip, right_hip, left_shoulder, right_shoulder = (
        xyz[:, _BLAZE[f"{side}_{part}"]] for part in ("hip", "shoulder") for side in ("left", "right")
    )
    left = left_hip - right_hip + 0.5 * (left_shoulder - right_shoulder)
    return left, left_shoulder + right_shoulder - left_hip - right_hip


def _has_trunk(xyz: np.ndarray) -> np.ndarray:
    """(T,) bool: hips and shoulders span a plane, so that the trunk has a direction."""
    return np.linalg.norm(np.cross(*_trunk(xyz)), axis=-1) > _FLAT_TRUNK_M2


def initial_chain(o: Observations, rig: Rig) -> Chain:
    """Body chain in the camera frame: trunk from hips and shoulders, limbs turned along their bones, depth from size.

    Frames without 3-D take the pose of the nearest frame that has it.
    """
    T = len(o.stamps_s)
    good = np.flatnonzero(o.present & np.isfinite(o.body_xyz).all((1, 2)) & _has_trunk(o.body_xyz))
    R = np.tile(np.eye(3), (T, NUM_BODY_JOINTS, 1, 1))
    if len(good) == 0:
        R[:, 0] = np.diag([1.0, -1.0, -1.0])  # standing, facing the camera
        return Chain(R, place(o, rig, R))
    later = np.minimum(np.searchsorted(good, np.arange(T)), len(good) - 1)
    earlier = np.maximum(later - 1, 0)
    closer = np.abs(good[earlier] - np.arange(T)) <= np.abs(good[later] - np.arange(T))
    near = good[np.where(closer, earlier, later)]
    x = o.body_xyz[near]

    def at(name: str) -> np.ndarray:
        return x[:, _BLAZE[name]]

    left, up = _trunk(x)
    left, up = _unit(left), _unit(up)
    front = _unit(np.cross(left, up))
    R_root = np.stack([np.cross(up, front), up, front], axis=-1)
    R[:, 0] = R_root
    for upper, lower, end, hinge, twist_range in _LIMBS:
        j, k = JOINT_NAMES.index(upper), JOINT_NAMES.index(lower)
        rest_upper = _unit(rig.joints_m[k] - rig.joints_m[j])
        rest_lower = _unit(rig.joints_m[JOINT_NAMES.index(end)] - rig.joints_m[k])
        to_root = np.swapaxes(R_root, -1, -2)  # the joints between root and limb are still at rest
        seen_upper = np.einsum("tij,tj->ti", to_root, _unit(at(lower) - at(upper)))
        swing = axis_angle_to_matrix(_shortest_arc(np.broadcast_to(rest_upper, (T, 3)), seen_upper))
        seen_lower = np.einsum("tji,tj->ti", R_root @ swing, _unit(at(end) - at(lower)))
        bend = _shortest_arc(np.broadcast_to(rest_lower, (T, 3)), seen_lower)
        # twist the upper bone until the lower joint bends about its own hinge
        axis = np.broadcast_to(rest_upper, (T, 3))
        flat_h = np.array(hinge) - rest_upper * (rest_upper @ np.array(hinge))
        flat_b = bend - axis * (bend * axis).sum(-1, keepdims=True)
        sine = (np.cross(np.broadcast_to(flat_h, (T, 3)), flat_b) * axis).sum(-1)
        twist = np.arctan2(sine, flat_b @ flat_h)
        sure = np.clip((np.linalg.norm(bend, axis=-1) - 0.2) / 0.4, 0, 1)
        twist = np.clip(twist, -twist_range, twist_range) * sure
        R_twist = axis_angle_to_matrix(axis * twist[:, None])
        R[:, j] = swing @ R_twist
        local = np.einsum("tji,tj->ti", R_twist, seen_lower)
        R[:, k] = axis_angle_to_matrix(_shortest_arc(np.broadcast_to(rest_lower, (T, 3)), local))
    return Chain(R, place(o, rig, R))


def place(o: Observations, rig: Rig, R_local: np.ndarray) -> np.ndarray:
    """(T, 3) translation that best projects the posed points, in the camera frame; linear least squares per frame."""
    T = len(R_local)
    posed = rig.forward(R_local, np.zeros((T, 3)))
    P = len(BODY_POINT_PROXY)
    x, uv, w = posed.points_m[:, :P], o.xy[:, BODY_POINT_PROXY], o.confidence[:, BODY_POINT_PROXY]
    # (x + t_x) - u (z + t_z) = 0 and the same for y
    A = np.zeros((T, P, 2, 3))
    A[..., 0, 0] = A[..., 1, 1] = 1
    A[..., 2] = -uv
    b = uv * x[..., 2:] - x[..., :2]
    A, b = (A * w[..., None, None]).reshape(T, -1, 3), (b * w[..., None]).reshape(T, -1, 1)
    At = np.swapaxes(A, -1, -2)
    t = np.linalg.solve(At @ A + 1e-6 * np.eye(3), At @ b)[..., 0]
    bad = ~o.present | (t[:, 2] < 0.3) | ((w > 0).sum(1) < 4)
    if bad.all():
        return np.broadcast_to([0.0, 0.0, 3.0], (T, 3)) - rig.joints_m[0]
    good = np.flatnonzero(~bad)
    return np.stack([np.interp(np.arange(T), good, t[good, i]) for i in range(3)], axis=-1)
