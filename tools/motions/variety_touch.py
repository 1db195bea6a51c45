"""Limbs that would go through the body: how deep they are in it, and arms led around trunk and head."""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ...models.rotations import axis_angle_to_matrix
from .variety_rig import ANKLE, ELBOW, HIP, KNEE, SHOULDER, WRIST, J, Rig, place

_TRUNK = tuple(
    (joint, (side * x, low, z), (side * x, high, z), radius)
    for joint, x, low, high, z, radius in (
        ("pelvis", 0.065, -0.43, -0.28, 0.030, 0.100), ("spine2", 0.045, -0.27, -0.10, 0.050, 0.100),
        ("spine3", 0.060, -0.10, 0.05, 0.045, 0.105), ("head", 0.0, 0.25, 0.31, 0.060, 0.090))
    for side in ((1.0, -1.0) if x else (1.0,))
)  # fmt: skip
"""Capsules of trunk and head: joint that carries it, its two ends in the rest pose, radius; metres."""
_ALONG_ARM = ((0.0, 0.030), (0.35, 0.038), (0.7, 0.033), (1.0, 0.028), (1.36, 0.025), (1.65, 0.015))
"""Points of an arm: place from elbow (0) over wrist (1) to the finger tips, radius."""
SLACK_M = 0.02
"""Flesh gives way by so much."""


def arm_depths_m(rig: Rig, R_world: np.ndarray, joints_m: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How deep (..., 2) the left and the right arm are in trunk or head (negative: clear), the point that is deepest
    (..., 2, 3), and the way out (..., 2, 3)."""
    joint = np.array([J[name] for name, *_ in _TRUNK])
    ends = [np.array([row[k] for row in _TRUNK]) - rig.rest_m[joint] for k in (1, 2)]
    a, b = (joints_m[..., joint, :] + (R_world[..., joint, :, :] @ e[..., None])[..., 0] for e in ends)
    radius = np.array([row[3] for row in _TRUNK])
    along, thick = (np.array(column) for column in zip(*_ALONG_ARM, strict=True))
    elbow, wrist = joints_m[..., ELBOW, :], joints_m[..., WRIST, :]
    hand = (
        R_world[..., WRIST, :, :][..., 0]
        * np.array([[1.0], [-1.0]])
        * np.linalg.norm(rig.rest_m[WRIST[0]] - rig.rest_m[ELBOW[0]])
    )
    inside = along[:, None] <= 1
    points = np.where(
        inside,
        elbow[..., None, :] + along[:, None] * (wrist - elbow)[..., None, :],
        wrist[..., None, :] + (along[:, None] - 1) * hand[..., None, :],
    )
    way = (b - a)[..., None, None, :, :]
    offset = points[..., :, None, :] - a[..., None, None, :, :]
    u = np.clip((offset * way).sum(-1) / (way**2).sum(-1), 0, 1)
    out = offset - u[..., None] * way
    far = np.linalg.norm(out, axis=-1)
    depth = radius + thick[:, None] - SLACK_M - far
    flat = depth.reshape(*depth.shape[:-2], -1)
    deepest = flat.argmax(-1)
    pick = np.unravel_index(deepest, depth.shape[-2:])
    lead = tuple(np.indices(deepest.shape))
    normal = out[(*lead, *pick)] / np.maximum(far[(*lead, *pick)], 1e-6)[..., None]
    return flat.max(-1), points[(*lead, pick[0])], normal


def lead_arms_around(rig: Rig, R: np.ndarray, smooth_frames: float) -> np.ndarray:
    """Body rotations (T, 22, 3, 3) with arms that go through trunk or head turned out of it at the shoulder, outwards
    rather than to and fro, smoothly along the frames."""
    R = R.copy()
    nowhere = np.zeros((len(R), 3))
    for _ in range(4):
        R_world, joints = place(rig, R, nowhere)
        depth, point, normal = arm_depths_m(rig, R_world, joints)
        if depth.max() < 0.005:
            break
        aside = R_world[:, [J["spine3"]]][..., 0] * np.array([[1.0], [-1.0]])
        normal = normal + 0.8 * aside
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        lever = point - joints[:, SHOULDER]
        turn = np.cross(lever, normal) / np.maximum((lever**2).sum(-1, keepdims=True), 0.03)
        turn *= np.maximum(depth, 0.0)[..., None] * 1.3
        parent = R_world[:, [J["left_collar"], J["right_collar"]]]
        local = (np.swapaxes(parent, -1, -2) @ turn[..., None])[..., 0]
        if smooth_frames and len(R) > 1:
            local = 1.4 * gaussian_filter1d(local, smooth_frames, axis=0, mode="nearest")
        size = np.linalg.norm(local, axis=-1, keepdims=True)
        local *= np.minimum(1.0, 0.6 / np.maximum(size, 1e-9))
        R[:, SHOULDER] = axis_angle_to_matrix(local) @ R[:, SHOULDER]
    return R


def leg_depth_m(joints_m: np.ndarray) -> np.ndarray:
    """(...,) how deep the legs are in each other, from the knees down and thigh against shank."""
    a = np.stack([joints_m[..., KNEE[0], :], joints_m[..., KNEE[0], :], joints_m[..., HIP[0], :]], axis=-2)
    b = np.stack([joints_m[..., ANKLE[0], :], joints_m[..., ANKLE[0], :], joints_m[..., KNEE[0], :]], axis=-2)
    c = np.stack([joints_m[..., KNEE[1], :], joints_m[..., HIP[1], :], joints_m[..., KNEE[1], :]], axis=-2)
    d = np.stack([joints_m[..., ANKLE[1], :], joints_m[..., KNEE[1], :], joints_m[..., ANKLE[1], :]], axis=-2)
    u = np.linspace(0.15, 1.0, 7)
    one = a[..., None, :] + u[:, None] * (b - a)[..., None, :]
    other = c[..., None, :] + u[:, None] * (d - c)[..., None, :]
    far = np.linalg.norm(one[..., :, None, :] - other[..., None, :, :], axis=-1).min((-1, -2))
    return (np.array([0.09, 0.11, 0.11]) - far).max(-1)
