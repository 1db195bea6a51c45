"""Synthetic takes for the solver's tests: the shipped body walks over a floor before a known camera.

Every step begins and ends at rest with both legs spread alike, so the standing foot never slides and the root's speed
has no jumps; arms, head, trunk and fingers move smoothly on their own.
"""

from dataclasses import dataclass, fields, replace
from functools import cache

import cv2
import numpy as np
from hmcap.models.body import ShapedBody, load_body
from hmcap.models.camera import Camera
from hmcap.models.markers import blazepose_rig, contact_rig, proxy_rig
from hmcap.models.motion import GROUP_NAMES, MotionFrame
from hmcap.models.proxies import Proxies
from hmcap.models.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from hmcap.models.skeleton import JOINT_NAMES
from hmcap.models.solver import solve_take
from hmcap.models.solver.ground import upright_rotation
from hmcap.models.solver.offsets import landmark_offsets_m

CAMERA = Camera.from_fov(1280, 720, 60.0)
STEP_S = 0.8
_STRIDE_RAD = 0.32
_KNEE_RAD = 0.15


@dataclass(frozen=True)
class Truth:
    """A walk as it was: T frames."""

    stamps_s: np.ndarray
    """(T,)"""
    poses: np.ndarray
    """(T, 55, 3)"""
    trans_m: np.ndarray
    """(T, 3)"""
    joints_m: np.ndarray
    """(T, 55, 3) in the world."""
    proxies_m: np.ndarray
    """(T, 67, 3) in the world, where the landmark networks mark them."""
    landmarks_m: np.ndarray
    """(T, 33, 3) in the world."""
    R_cam_world: np.ndarray
    t_cam_world_m: np.ndarray


def walk(
    stamps_s: np.ndarray,
    pitch_deg: float = 10.0,
    roll_deg: float = 0.0,
    height_m: float = 1.4,
    heading_deg: float = 50.0,
) -> Truth:
    """The walk at some stamps, seen by a camera ``height_m`` over the floor; heading 0 walks towards the camera."""
    t = np.asarray(stamps_s, np.float64)
    T = len(t)
    joint = JOINT_NAMES.index
    poses = np.zeros((T, 55, 3))
    step = np.floor(t / STEP_S).astype(int)
    swing = _STRIDE_RAD * np.cos(np.pi * t / STEP_S)  # > 0: left leg ahead
    lift = np.sin(np.pi * (t / STEP_S - step)) ** 2
    left_stands = step % 2 == 0
    _set_legs(poses, swing, [lift * ~left_stands, lift * left_stands])
    for side, sign in (("left", 1.0), ("right", -1.0)):
        poses[:, joint(f"{side}_shoulder"), 2] = -sign * 1.1
        poses[:, joint(f"{side}_shoulder"), 0] = 0.3 * np.sin(1.9 * t + sign)
        poses[:, joint(f"{side}_elbow"), 1] = -sign * (0.7 + 0.4 * np.sin(1.3 * t + 2 * sign))
        for finger in ("index", "middle", "ring", "pinky"):
            for k in (1, 2, 3):
                poses[:, joint(f"{side}_{finger}{k}"), 2] = -sign * (0.4 + 0.25 * np.sin(1.5 * t + sign))
    poses[:, joint("spine2"), 1] = 0.15 * np.sin(1.7 * t)
    poses[:, joint("head"), 1] = 0.3 * np.sin(1.1 * t)
    poses[:, 0, 1] = np.radians(heading_deg)
    body = load_body().astype(np.float64).with_shape()
    feet = _feet(body, poses)
    # from foot to foot: where one step ends, the next one begins on the other foot
    changes = np.zeros((int(step.max()), 55, 3))
    changes[:, 0] = poses[0, 0]
    _set_legs(changes, _STRIDE_RAD * np.cos(np.pi * np.arange(1, len(changes) + 1)), [np.zeros(len(changes))] * 2)
    across = _feet(body, changes)
    place = np.zeros((len(changes) + 1, 3))
    for k in range(len(changes)):
        place[k + 1] = place[k] + across[k, (k + 1) % 2] - across[k, k % 2]
    ahead = np.array([np.sin(np.radians(heading_deg)), 0, np.cos(np.radians(heading_deg))])
    trans = place[step] - feet[np.arange(T), step % 2] - 0.8 * ahead
    posed = body.with_pose(poses, trans)
    markers = proxy_rig(load_body())
    R = upright_rotation(np.radians(pitch_deg), np.radians(roll_deg))
    return Truth(
        t,
        poses,
        trans,
        posed.joints_m,
        markers.in_world_m(posed) + (posed.R_world[:, markers.joint] @ landmark_offsets_m()[:, :, None])[..., 0],
        blazepose_rig(load_body()).in_world_m(posed),
        R,
        -R @ np.array([0.0, height_m, 4.5]),
    )


def _set_legs(poses: np.ndarray, swing: np.ndarray, lifts: list[np.ndarray]) -> None:
    """Fill in the legs: spread by ``swing`` (T,) radians, left ahead, each foot lifted by (T,) 0..1, soles level."""
    rest = load_body().J_template
    joint = JOINT_NAMES.index
    for side, sign, lift in zip(("left", "right"), (1.0, -1.0), lifts, strict=True):
        hip, knee, ankle = (rest[joint(f"{side}_{j}")].astype(np.float64) for j in ("hip", "knee", "ankle"))
        leg = knee - hip + axis_angle_to_matrix(np.array([_KNEE_RAD, 0, 0])) @ (ankle - knee)
        under = np.arctan(-leg[2] / leg[1])  # puts the ankle under the hip, so that both legs spread alike
        poses[:, joint(f"{side}_hip"), 0] = under - sign * swing - 0.6 * lift
        poses[:, joint(f"{side}_knee"), 0] = _KNEE_RAD + 1.1 * lift
        turns = [axis_angle_to_matrix(poses[:, joint(f"{side}_{j}")]) for j in ("hip", "knee")]
        poses[:, joint(f"{side}_ankle")] = matrix_to_axis_angle(np.swapaxes(turns[0] @ turns[1], -1, -2))


def _feet(body: ShapedBody, poses: np.ndarray) -> np.ndarray:
    """(T, 2, 3) middle of each sole, left and right, for a root at its rest place."""
    return contact_rig(load_body()).in_world_m(body.with_pose(poses)).reshape(-1, 2, 2, 3).mean(2)


def _along_the_ray(xyz_cam: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Camera-frame offsets (N, 3) as a network sees them that knows only the crop around ``centre`` (2,)."""
    ray = np.array([*centre, 1.0])
    ray /= np.linalg.norm(ray)
    axis = np.cross([0, 0, 1.0], ray)
    angle = np.arctan2(np.linalg.norm(axis), ray[2])
    R = axis_angle_to_matrix(axis / max(np.linalg.norm(axis), 1e-12) * angle)
    return xyz_cam @ R


def see(
    truth: Truth, camera: Camera = CAMERA, noise_px: float = 1.5, noise_m: float = 0.03, seed: int = 0
) -> list[Proxies]:
    """What a landmark stage would give of the walk."""
    rng = np.random.default_rng(seed)
    out = []
    for i, stamp in enumerate(truth.stamps_s):
        x = truth.proxies_m[i] @ truth.R_cam_world.T + truth.t_cam_world_m
        dist = np.array(camera.dist) if camera.dist else None
        px = cv2.projectPoints(x.astype(np.float64), np.zeros(3), np.zeros(3), camera.K, dist)[0].reshape(67, 2)
        uv = x[:, :2] / x[:, 2:]
        b = truth.landmarks_m[i] @ truth.R_cam_world.T
        b = _along_the_ray(b - b[[23, 24]].mean(0), uv[:25].mean(0))
        hands = [x[part] - x[part].mean(0) for part in (slice(25, 46), slice(46, 67))]
        hands = [_along_the_ray(h, uv[p].mean(0)) for h, p in zip(hands, (slice(25, 46), slice(46, 67)), strict=True)]
        out.append(
            Proxies(
                i,
                float(stamp),
                (camera.width_px, camera.height_px),
                (px + rng.normal(scale=noise_px, size=px.shape)).astype(np.float32),
                np.full(67, 0.9, np.float32),
                (b + rng.normal(scale=noise_m, size=b.shape)).astype(np.float32),
                (np.array(hands) + rng.normal(scale=0.004, size=(2, 21, 3))).astype(np.float32),
                1.0,
            )
        )
    return out


def masked(p: Proxies, joints: np.ndarray) -> Proxies:
    """The proxies with some joints not seen."""
    confidence = p.confidence.copy()
    confidence[joints] = 0
    return replace(p, confidence=confidence)


def joints_of(frames: list[MotionFrame]) -> np.ndarray:
    """(T, 55, 3) joints of motion frames in their world."""
    body = load_body().astype(np.float64)
    poses, trans = np.array([f.poses for f in frames], float), np.array([f.trans_m for f in frames], float)
    return body.with_shape(np.asarray(frames[0].betas, float)).with_pose(poses, trans).joints_m


def soles_of(frames: list[MotionFrame]) -> np.ndarray:
    """(T, 4, 3) contact points of motion frames in their world."""
    body = load_body().astype(np.float64)
    poses, trans = np.array([f.poses for f in frames], float), np.array([f.trans_m for f in frames], float)
    return contact_rig(load_body()).in_world_m(
        body.with_shape(np.asarray(frames[0].betas, float)).with_pose(poses, trans)
    )


def root_aligned_mm(joints_m: np.ndarray, truth_m: np.ndarray) -> float:
    """Mean distance of the 22 body joints in mm, roots laid on each other."""
    a, b = joints_m[:, :22] - joints_m[:, :1], truth_m[:, :22] - truth_m[:, :1]
    return float(np.linalg.norm(a - b, axis=-1).mean() * 1000)


T = 60
"""Frames of the walk that most tests share."""


@cache
def the_walk() -> tuple[Truth, tuple[Proxies, ...]]:
    truth = walk(np.arange(T) / 30)
    return truth, tuple(see(truth))


@cache
def solved() -> tuple[MotionFrame, ...]:
    return tuple(solve_take(the_walk()[1], CAMERA))


def absent(p: Proxies) -> Proxies:
    return Proxies.absent(p.index, p.stamp_s, p.image_size_px)


def check_complete(frames, proxies) -> None:
    """One finite frame for every frame of the source, in order, with plausible numbers."""
    assert len(frames) == len(proxies)
    for f, p in zip(frames, proxies, strict=True):
        assert f.index == p.index
        np.testing.assert_equal(f.stamp_s, p.stamp_s)
        for name in ("betas", "poses", "trans_m", "T_cam_world", "contact", "confidence"):
            assert np.isfinite(getattr(f, name)).all(), (p.index, name)
        for name in ("contact", "confidence"):
            value = getattr(f, name)
            assert value.min() >= 0
            assert value.max() <= 1
        assert f.poses.shape == (55, 3)
        assert f.measured.shape == f.confidence.shape == (len(GROUP_NAMES),)
        R = f.T_cam_world[:3, :3]
        np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-9)
        np.testing.assert_array_equal(f.T_cam_world[3], [0, 0, 0, 1])
        if not f.present:
            assert not f.measured.any()
            assert not f.contact.any()
            assert np.isnan(f.reprojection_error)


def assert_equal_frames(a: MotionFrame, b: MotionFrame) -> None:
    for field in fields(MotionFrame):
        np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name), err_msg=field.name)
