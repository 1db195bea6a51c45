"""Virtual cameras: every range kept, the person framed as asked, the same draw at every frame rate."""

import math

import cv2
import numpy as np
import pytest
from hmcap.models.camera import Camera
from hmcap.models.errors import HmcapError, UsageError
from hmcap.tools.motions import virtual_cameras as vc


def _walk(speed_m_s: float = 0.5, seconds: float = 4.0, fps: float = 30.0) -> np.ndarray:
    """(T, N, 3) corners and middle of a person-sized box that walks along a curve."""
    t = np.arange(round(seconds * fps)) / fps
    grid = np.stack(np.meshgrid([-0.3, 0, 0.3], [0, 0.5, 0.9, 1.3, 1.75], [-0.2, 0.2]), axis=-1).reshape(-1, 3)
    path = np.column_stack([speed_m_s * t, 0 * t, 0.3 * np.sin(speed_m_s * t)])
    return path[:, None] + grid


def _cameras(count: int = 60):
    rng = np.random.default_rng(5)
    for i in range(count):
        kind, framing = vc.KINDS[i % 4], vc.FRAMINGS[i % 3]
        yield vc.sample_camera(rng, _walk(), 30.0, kind=kind, framing=framing, distortion=i % 5 == 0)


@pytest.fixture(scope="module")
def cameras() -> list[vc.VirtualCamera]:
    return list(_cameras())


def test_transforms_are_rigid_and_the_horizon_is_nearly_level(cameras):
    for found in cameras:
        R = found.T_cam_world[:, :3, :3]
        np.testing.assert_allclose(R @ R.transpose(0, 2, 1), np.broadcast_to(np.eye(3), R.shape), atol=1e-12)
        np.testing.assert_allclose(np.linalg.det(R), 1, atol=1e-12)
        np.testing.assert_array_equal(found.T_cam_world[:, 3], np.tile([0, 0, 0, 1.0], (len(R), 1)))
        assert (R[:, 1, 1] < 0).all()  # the world's up is up in the picture
        roll = np.degrees(np.arctan2(R[:, 0, 1], -R[:, 1, 1]))
        assert np.abs(roll).max() < vc.MAX_ROLL_DEG / math.cos(math.radians(35)) + 1e-9


def test_every_range_is_kept_and_used(cameras):
    points = _walk()
    middle = (points.min(axis=1) + points.max(axis=1)) / 2
    fov, heights, distances = [], [], []
    for found in cameras:
        R, t = found.T_cam_world[:, :3, :3], found.T_cam_world[:, :3, 3]
        place = -(R.transpose(0, 2, 1) @ t[..., None])[..., 0]
        pitch = np.degrees(np.arcsin(R[:, 2, 1]))
        distance = np.linalg.norm(middle - place, axis=1)
        assert vc.PITCH_RANGE_DEG[0] - 1e-9 <= pitch.min()
        assert pitch.max() <= vc.PITCH_RANGE_DEG[1] + 1e-9
        assert distance.min() >= vc.DISTANCE_RANGE_M[0]
        assert np.median(distance) <= vc.DISTANCE_RANGE_M[1]
        fov.append(found.camera.fov_deg)
        heights += [place[:, 1].min(), place[:, 1].max()]
        distances.append(float(np.median(distance)))
        depth = points @ R[:, 2, :, None] + t[:, 2, None, None]
        assert depth.min() > 0
    for values, (low, high) in ((fov, vc.FOV_RANGE_DEG), (heights, vc.HEIGHT_RANGE_M)):
        assert low - 1e-9 <= min(values) < low + 0.25 * (high - low)
        assert high + 1e-9 >= max(values) > high - 0.25 * (high - low)
    assert min(distances) < 2.2
    assert max(distances) > 5


def test_the_person_is_framed_as_asked(cameras):
    points = _walk()
    for found in cameras:
        px = found.project(points)
        size = [found.camera.width_px - 1, found.camera.height_px - 1]
        inside = ((px >= 0) & (px <= size)).all(axis=-1)
        if found.framing == "whole":
            framed = inside.all(axis=1)
        elif found.framing == "upper":
            framed = inside[:, points[0, :, 1] >= 0.9].all(axis=1) & ~inside.all(axis=1)
        else:
            framed = (inside.mean(axis=1) >= 0.3) & (inside.mean(axis=1) <= 0.9)
        assert framed.mean() >= vc.MIN_SHARE - 0.05, found.framing


def test_kinds_move_as_their_names_say(cameras):
    for found in cameras:
        R, t = found.T_cam_world[:, :3, :3], found.T_cam_world[:, :3, 3]
        place = -(R.transpose(0, 2, 1) @ t[..., None])[..., 0]
        moved = np.ptp(place, axis=0).max()
        if found.kind == "static":
            np.testing.assert_allclose(found.T_cam_world, found.T_cam_world[:1].repeat(len(R), 0), atol=1e-12)
        elif found.kind == "panning":
            assert moved < 1e-9
            assert np.ptp(R[:, 2], axis=0).max() > 1e-3
        elif found.kind == "handheld":
            assert 1e-3 < moved < 0.4
        else:
            assert moved > 0.3


def test_a_seed_gives_the_same_camera_and_any_frame_rate_the_same_path():
    first, again = (vc.sample_camera(np.random.default_rng(3), _walk(), 30.0, kind="handheld") for _ in range(2))
    np.testing.assert_array_equal(first.T_cam_world, again.T_cam_world)
    assert first.camera == again.camera
    fast = vc.sample_camera(np.random.default_rng(3), _walk(fps=60), 60.0, kind="handheld")
    place = [-(f.T_cam_world[:, :3, :3].transpose(0, 2, 1) @ f.T_cam_world[:, :3, 3:])[..., 0] for f in (first, fast)]
    np.testing.assert_allclose(place[1][::2], place[0], atol=5e-3)


def test_projection_is_opencvs():
    rng = np.random.default_rng(0)
    camera = Camera(1280, 720, 900, 910, 630, 350, (-0.1, 0.02, 0.001, -0.002))
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = cv2.Rodrigues(np.array([0.2, -0.4, 0.1]))[0], [0.1, 0.2, 4]
    points = rng.uniform(-0.8, 0.8, (1, 40, 3))
    expected = cv2.projectPoints(points[0], T[:3, :3], T[:3, 3], camera.K, np.array(camera.dist))[0][:, 0]
    np.testing.assert_allclose(vc.project_px(camera, T[None], points)[0], expected, atol=1e-6)
    behind = vc.project_px(camera, np.eye(4)[None], np.array([[[0, 0, -1.0]]]))
    assert np.isnan(behind).all()


def test_far_points_do_not_fold_back_into_a_barrel_lens():
    camera = Camera(1000, 1000, 500, 500, 500, 500, (-0.12 / 2, 0.0, 0.0, 0.0))
    x = np.linspace(0, 30, 200)
    px = vc.project_px(camera, np.eye(4)[None], np.column_stack([x, 0 * x, 0 * x + 1])[None])[0, :, 0]
    assert (np.diff(px) > 0).all()


def test_a_runner_is_followed_unless_a_tripod_is_insisted_on():
    run = _walk(speed_m_s=9.0, seconds=6.0)
    for seed in range(6):
        assert vc.sample_camera(np.random.default_rng(seed), run, 30.0, framing="whole").kind != "static"
    with pytest.raises(HmcapError, match=r"static camera .* Ask for another kind"):
        vc.sample_camera(np.random.default_rng(0), run, 30.0, kind="static", framing="whole")


@pytest.mark.parametrize("points", [np.zeros((0, 4, 3)), np.zeros((5, 3)), np.full((2, 3, 3), np.nan)])
def test_points_that_cannot_be_filmed_are_refused(points):
    with pytest.raises(UsageError, match=r"finite points of shape \(T, N, 3\)"):
        vc.sample_camera(np.random.default_rng(0), points, 30.0)
