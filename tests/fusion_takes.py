"""Simulated estimates for the tests of the fusion: a motion before a camera that stands still, with errors as networks
make them."""

from dataclasses import dataclass

import numpy as np
from hmcap.models.body import forward_kinematics, load_body
from hmcap.models.markers import contact_rig
from hmcap.models.observed import Observed
from hmcap.models.rotations import axis_angle_to_matrix
from hmcap.models.skeleton import JOINT_NAMES
from hmcap.models.solver.ground import upright_rotation
from hmcap.models.streaming.person import Person, proxy_points_m
from hmcap.models.streaming.records import RATE_HZ, Estimate
from hmcap.tools.motions.contact import contact_labels
from scipy.signal import lfilter
from solver_takes import walk

BODY = load_body()
PERSON = Person.of(BODY, np.zeros(10))


@dataclass(frozen=True, eq=False)
class World:
    """The truth: T frames at RATE_HZ."""

    R_local: np.ndarray
    """(T, 55, 3, 3) row 0 the root in the world."""
    pelvis_m: np.ndarray
    """(T, 3)"""
    R_cam_world: np.ndarray
    """(3, 3)"""
    t_cam_world_m: np.ndarray
    """(3,)"""

    @property
    def T_cam_world(self) -> np.ndarray:
        """(4, 4)"""
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = self.R_cam_world, self.t_cam_world_m
        return T


@dataclass(frozen=True)
class Errors:
    """Errors of the estimate; the defaults are none."""

    depth: float = 0.0
    """Slow relative error of the depth (standard deviation)."""
    place_m: float = 0.0
    """White error of the place along the ray."""
    across_m: float = 0.0
    """Error of the place across the ray."""
    up_deg: float = 0.0
    """Slow error of the vertical."""
    rotation_deg: float = 0.0
    """Error of every joint's rotation, correlated over a third of a second."""
    shake_deg: float = 0.0
    """White error of every joint's rotation."""
    step_m: float = 0.0
    """White error of the step from frame to frame."""
    speed_m_s: float = 0.0
    """Slow error of the same."""
    height_m: float = 0.0
    """Slow error of the height of the pelvis."""
    contact: float = 0.0
    """Share of wrong contacts."""
    pixel: float = 0.0
    """Error of the proxies, normalised units."""


USUAL = Errors(0.06, 0.02, 0.01, 3.0, 4.0, 0.3, 0.004, 0.08, 0.03, 0.1, 0.003)


def made_walk(frames: int = 120, heading_deg: float = 50.0, **camera) -> World:
    """The solver tests' walk: the standing foot never slides, soles stay level."""
    t = walk(np.arange(frames) / RATE_HZ, heading_deg=heading_deg, **camera)
    return World(axis_angle_to_matrix(t.poses), t.joints_m[:, 0], t.R_cam_world, t.t_cam_world_m)


def before_camera(
    poses: np.ndarray,
    trans_m: np.ndarray,
    pitch_deg: float = 10.0,
    roll_deg: float = 2.0,
    height_m: float = 1.4,
    distance_m: float = 4.5,
    yaw_deg: float = 0.0,
) -> World:
    """A recorded motion (T, 55, 3), (T, 3) of the mean body, put before a camera that looks at its middle."""
    R_local = axis_angle_to_matrix(np.asarray(poses, np.float64))
    turn = axis_angle_to_matrix(np.array([0, np.radians(yaw_deg), 0]))
    pelvis = np.asarray(trans_m, np.float64) + PERSON.joints_m[0]
    pelvis = (pelvis - np.median(pelvis, axis=0) * [1, 0, 1]) @ turn.T
    R_local[:, 0] = turn @ R_local[:, 0]
    R = upright_rotation(np.radians(pitch_deg), np.radians(roll_deg))
    return World(R_local, pelvis, R, -R @ np.array([0.0, height_m, distance_m]))


def joints_of(R_local: np.ndarray, pelvis_m: np.ndarray) -> np.ndarray:
    """(T, 55, 3)"""
    return forward_kinematics(R_local, PERSON.joints_m, pelvis_m - PERSON.joints_m[0])[1]


def feet_of(R_local: np.ndarray, pelvis_m: np.ndarray) -> np.ndarray:
    """(T, 4, 3) contact points."""
    R, p = forward_kinematics(R_local, PERSON.joints_m, pelvis_m - PERSON.joints_m[0])
    rig = contact_rig(BODY)
    return p[:, rig.joint] + (R[:, rig.joint] @ rig.offsets_m()[..., None].astype(np.float64))[..., 0]


def slow(rng: np.random.Generator, T: int, seconds: float, *shape: int) -> np.ndarray:
    """(T, ...) unit-variance error that lasts ``seconds``."""
    a = np.exp(-1 / (seconds * RATE_HZ))
    noise = rng.normal(size=(T, *shape))
    noise[1:] *= np.sqrt(1 - a * a)
    return lfilter([1.0], [1.0, -a], noise, axis=0)


def smooth(rng: np.random.Generator, T: int, seconds: float, *shape: int) -> np.ndarray:
    """The same without steps in its speed, as networks that see a window err: two first-order lags."""
    a = np.exp(-1 / (seconds / 2 * RATE_HZ))
    noise = rng.normal(size=(T + 90, *shape))
    x = lfilter([1.0], [1.0, -a], lfilter([1.0], [1.0, -a], noise, axis=0), axis=0)[90:]
    return x * np.sqrt((1 - a * a) ** 3 / (1 + a * a))


def see(world: World, errors: Errors, seed: int = 0, masked: np.ndarray | None = None) -> tuple[Estimate, Observed]:
    """What the networks would say of the motion. masked: (T, 67) bool proxies that are not seen."""
    rng = np.random.default_rng(seed)
    T = len(world.pelvis_m)
    R_cam = world.R_cam_world
    up_true = R_cam[:, 1]

    R_local = world.R_local.copy()
    turn = np.radians(errors.rotation_deg) * smooth(rng, T, 0.33, 22, 3) / np.sqrt(3)
    turn += np.radians(errors.shake_deg) * rng.normal(size=(T, 22, 3)) / np.sqrt(3)
    R_local[:, :22] = R_local[:, :22] @ axis_angle_to_matrix(turn)
    R_cam_root = R_cam @ R_local[:, 0]

    root = world.pelvis_m @ R_cam.T + world.t_cam_world_m
    depth = np.linalg.norm(root, axis=-1, keepdims=True)
    ray = root / depth
    across = errors.across_m * slow(rng, T, 0.1, 3)
    across -= ray * (across * ray).sum(-1, keepdims=True)
    root = root * (1 + errors.depth * smooth(rng, T, 1.5, 1)) + across + errors.place_m * rng.normal(size=(T, 1)) * ray

    tilt = np.radians(errors.up_deg) * smooth(rng, T, 2.0, 3)
    up = (axis_angle_to_matrix(tilt) @ up_true[:, None])[..., 0]

    step = np.diff(world.pelvis_m, axis=0, prepend=world.pelvis_m[:1]) + errors.step_m * rng.normal(size=(T, 3))
    step += errors.speed_m_s / RATE_HZ * smooth(rng, T, 0.7, 3)
    feet = feet_of(world.R_local, world.pelvis_m)
    truth = contact_labels(feet, RATE_HZ)
    wrong = slow(rng, T, 0.1, 4) > np.quantile(rng.normal(size=20000), 1 - errors.contact) if errors.contact else False
    contact = truth.astype(float)
    if errors.contact:
        contact = np.clip(np.where(truth ^ wrong, 0.93, 0.07) + 0.05 * rng.normal(size=truth.shape), 0, 1)
    along = np.hypot(errors.depth * depth[:, 0], errors.place_m)
    sigma = np.maximum(np.stack([np.full(T, errors.across_m), along], axis=-1), 1e-3)
    estimate = Estimate(
        np.zeros((T, 10)),
        R_cam_root,
        R_local[:, 1:],
        root,
        sigma,
        up,
        world.pelvis_m[:, 1] + errors.height_m * smooth(rng, T, 1.5),
        step,
        contact,
        np.full((T, 8), 0.03),
    )
    estimate = Estimate(*(np.asarray(getattr(estimate, f), np.float32) for f in Estimate.__slots__))
    return estimate, observe(world, errors, rng, masked)


def observe(world: World, errors: Errors, rng: np.random.Generator, masked: np.ndarray | None) -> Observed:
    """The body's proxies as seen, hands at the wrists."""
    T = len(world.pelvis_m)
    body = proxy_points_m(PERSON, world.R_local, world.pelvis_m)
    joints = joints_of(world.R_local, world.pelvis_m)
    wrists = [np.repeat(joints[:, [JOINT_NAMES.index(f"{s}_wrist")]], 21, axis=1) for s in ("left", "right")]
    x = np.concatenate([body, *wrists], axis=1) @ world.R_cam_world.T + world.t_cam_world_m
    xy = x[..., :2] / x[..., 2:] + errors.pixel * slow(rng, T, 0.1, 67, 2)
    confidence = np.full((T, 67), 0.9)
    if masked is not None:
        confidence = np.where(masked, 0.0, confidence)
        xy = np.where(masked[..., None], 0.0, xy)
    present = (confidence[:, :25] > 0).any(1)
    return Observed(
        xy.astype(np.float32),
        confidence.astype(np.float32),
        np.zeros((T, 33, 3), np.float32),
        present.astype(np.float32) * 0,
        np.zeros((T, 2, 21, 3), np.float32),
        np.zeros((T, 2), np.float32),
    )
