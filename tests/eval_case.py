"""A small made case with a truth of everything, and predictions for it; shared by tests of the evaluation."""

from dataclasses import replace

import numpy as np
from hmcap.models.body import load_body
from hmcap.models.camera import Camera
from hmcap.models.markers import contact_rig, proxy_rig
from hmcap.models.proxies import PROXY_NAMES
from hmcap.tools.evaluation.measure import truth_as_prediction
from hmcap.tools.evaluation.records import BodyParameters, Case, Motion3D, Prediction
from hmcap.tools.evaluation.surface import surface_of
from scipy.spatial.transform import Rotation

T = 12
CAMERA = Camera.from_fov(1280, 720, 60)


def motion_of(body: BodyParameters, T_cam_world: np.ndarray) -> Motion3D:
    model = load_body()
    posed = model.with_shape(body.betas).with_pose(body.poses, body.trans_m)
    joints = proxy_rig(model).in_world_m(posed).astype(np.float64)
    feet = contact_rig(model).in_world_m(posed).astype(np.float64)
    camera = moved(T_cam_world, joints)
    return Motion3D(
        joint_names=PROXY_NAMES,
        joints_m=joints,
        in_world=True,
        T_cam_world=T_cam_world,
        hands_m=joints[:, 25:].reshape(-1, 2, 21, 3),
        feet_m=feet,
        contact=(feet[..., 1] < feet[..., 1].mean()).astype(float),
        body=body,
        keypoint_names=PROXY_NAMES,
        keypoints_px=camera[..., :2] / camera[..., 2:] * CAMERA.fx_px + [CAMERA.cx_px, CAMERA.cy_px],
        keypoint_confidence=np.ones(joints.shape[:2]),
    )


def moved(T: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ np.swapaxes(T[..., :3, :3], -1, -2) + T[..., None, :3, 3]


def rigid(rotation: Rotation, shift: tuple[float, float, float]) -> np.ndarray:
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = rotation.as_matrix(), shift
    return out


def made_case() -> Case:
    """A person who sets off and waves, seen by a camera in motion."""
    t = np.arange(T)[:, None] / 30
    rng = np.random.default_rng(0)
    poses = np.zeros((T, 55, 3))
    poses += rng.normal(scale=0.15, size=(1, 55, 3)) + rng.normal(scale=0.1, size=(1, 55, 3)) * np.sin(4 * t)[..., None]
    body = BodyParameters(poses, np.concatenate([3 * t**2, 1 + 0 * t, t**2], axis=1), rng.normal(size=10), "")
    down = rigid(Rotation.from_euler("x", 170, degrees=True), (0, 1.0, 4.0))
    pan = Rotation.from_rotvec(np.radians(np.linspace(0, 5, T))[:, None] * [0, 1, 0]).as_matrix()
    T_cam_world = np.tile(down, (T, 1, 1))
    T_cam_world[:, :3, :3] = pan @ down[:3, :3]
    truth = motion_of(body, T_cam_world)
    return Case("made", "walk", 30.0, CAMERA, replace(truth, surface=surface_of(body)))


def predicted(case: Case, **changes) -> Prediction:
    """The truth as prediction, with other motion."""
    truth = truth_as_prediction(case)
    return replace(truth, method="made-up", motion=replace(truth.motion, **changes))
