"""Several people in one world, by laws: gravity, floor and pictures stay; a world moved into itself stays as it is."""

from dataclasses import replace

import numpy as np
import pytest
from fusion_takes import Errors, made_walk, see
from hmcap.models.body import load_body
from hmcap.models.camera import Camera
from hmcap.models.motion import MotionFrame
from hmcap.models.shared_world import agreed_vertical, agrees, camera_place_m, moved, world_from_other
from hmcap.models.solver import solve_take
from hmcap.models.solver.settings import SolverSettings
from hmcap.models.streaming.fusion import world_of_take
from hmcap.models.streaming.world_settings import WorldSettings
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from solver_takes import CAMERA, the_walk

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
laws = settings(max_examples=40, deadline=None, derandomize=True)
BODY = load_body()


def rest_pelvis_m(betas: np.ndarray) -> np.ndarray:
    return np.asarray(BODY.rest_joints(betas)[0])


def camera_pose(place_m, yaw_deg: float, pitch_deg: float, roll_deg: float = 0.0) -> np.ndarray:
    """(4, 4) of a camera at a place, turned from looking along -Z."""
    R_world_cam = (Rotation.from_euler("YXZ", [yaw_deg, -pitch_deg, roll_deg], degrees=True)).as_matrix()
    T = np.eye(4)
    T[:3, :3] = np.diag([1.0, -1, -1]) @ R_world_cam.T
    T[:3, 3] = -T[:3, :3] @ np.asarray(place_m)
    return T


def motion(rng: np.random.Generator, T_cam_world: np.ndarray, frames: int = 3) -> list[MotionFrame]:
    camera, betas = Camera.from_fov(640, 480, 60.0), rng.normal(size=10)
    return [
        MotionFrame(
            i, i / 30, True, betas, rng.normal(scale=0.4, size=(55, 3)), rng.normal(size=3), T_cam_world, camera,
            np.ones(4), np.ones(8), np.ones(8, bool), 1.0,
        )
        for i in range(frames)
    ]  # fmt: skip


def joints_m(frame: MotionFrame) -> np.ndarray:
    return np.asarray(BODY.with_shape(frame.betas).with_pose(frame.poses, frame.trans_m).joints_m)


def in_camera_m(points_m: np.ndarray, T: np.ndarray) -> np.ndarray:
    return points_m @ T[:3, :3].T + T[:3, 3]


def any_camera(rng: np.random.Generator) -> np.ndarray:
    place = rng.uniform([-3, 0.3, -3], [3, 2.5, 3])
    return camera_pose(place, rng.uniform(-180, 180), rng.uniform(-20, 40), rng.uniform(-10, 10))


@laws
@given(seeds)
def test_a_world_moved_into_itself_stays(rng):
    T_cam = any_camera(rng)
    np.testing.assert_allclose(world_from_other(T_cam, T_cam), np.eye(4), atol=1e-12)
    frames = motion(rng, T_cam)
    for before, after in zip(frames, moved(frames, np.eye(4), rest_pelvis_m), strict=True):
        np.testing.assert_allclose(joints_m(after), joints_m(before), atol=1e-6)
        np.testing.assert_allclose(after.T_cam_world, before.T_cam_world, atol=1e-12)


@laws
@given(seeds)
def test_there_and_back_is_where_it_was(rng):
    one, other = any_camera(rng), any_camera(rng)
    there, back = world_from_other(one, other), world_from_other(other, one)
    np.testing.assert_allclose(there @ back, np.eye(4), atol=1e-9)
    frames = motion(rng, other)
    for before, after in zip(frames, moved(moved(frames, there, rest_pelvis_m), back, rest_pelvis_m), strict=True):
        np.testing.assert_allclose(joints_m(after), joints_m(before), atol=1e-5)


@laws
@given(seeds)
def test_gravity_and_heights_above_the_floor_stay(rng):
    one, other = any_camera(rng), any_camera(rng)
    T = world_from_other(one, other)
    np.testing.assert_allclose(T[1], [0, 1, 0, 0], atol=1e-12)
    assert np.linalg.det(T[:3, :3]) == pytest.approx(1)
    frames = motion(rng, other)
    for before, after in zip(frames, moved(frames, T, rest_pelvis_m), strict=True):
        np.testing.assert_allclose(joints_m(after)[:, 1], joints_m(before)[:, 1], atol=1e-5)


@laws
@given(seeds)
def test_the_cameras_stand_over_one_point_and_look_the_same_way(rng):
    one, other = any_camera(rng), any_camera(rng)
    T_cam_moved = other @ np.linalg.inv(world_from_other(one, other))
    np.testing.assert_allclose(camera_place_m(T_cam_moved)[[0, 2]], camera_place_m(one)[[0, 2]], atol=1e-9)
    ways = [T[2, [0, 2]] / np.linalg.norm(T[2, [0, 2]]) for T in (one, T_cam_moved)]
    np.testing.assert_allclose(ways[0], ways[1], atol=1e-9)


@laws
@given(seeds)
def test_what_the_own_camera_sees_does_not_change(rng):
    one, other = any_camera(rng), any_camera(rng)
    frames = motion(rng, other)
    for before, after in zip(frames, moved(frames, world_from_other(one, other), rest_pelvis_m), strict=True):
        np.testing.assert_allclose(
            in_camera_m(joints_m(after), after.T_cam_world), in_camera_m(joints_m(before), other), atol=1e-5
        )


@laws
@given(seeds)
def test_worlds_of_one_camera_over_one_floor_become_one(rng):
    """Two worlds that differ by a turn and a way along the floor alone: people then stand as they really did."""
    truth = any_camera(rng)
    G = np.eye(4)
    G[:3, :3] = Rotation.from_euler("Y", rng.uniform(-180, 180), degrees=True).as_matrix()
    G[:3, 3] = rng.normal(size=3) * [2, 0, 2]
    other = truth @ np.linalg.inv(G)
    points = rng.normal(size=(5, 3))
    moved_points = in_camera_m(in_camera_m(points, G), world_from_other(truth, other))
    np.testing.assert_allclose(moved_points, points, atol=1e-9)


def test_the_agreed_vertical_lies_between_and_weighs_by_frames():
    rng = np.random.default_rng(0)
    cameras = [camera_pose((0, 1.5, 3), 0, pitch) for pitch in (4.0, 16.0)]
    pairs = [
        [replace(f, poses=np.zeros((55, 3))) for f in motion(rng, c, n)] for c, n in zip(cameras, (30, 10), strict=True)
    ]

    def pitch_deg(up):
        return np.degrees(np.arcsin(-up[2]))

    up = agreed_vertical(pairs)
    assert np.linalg.norm(up) == pytest.approx(1)
    assert pitch_deg(up) == pytest.approx(7.0, abs=0.1)
    absent_too = [pairs[0], pairs[1] + [replace(f, present=False) for f in pairs[1]] * 20]
    np.testing.assert_allclose(agreed_vertical(absent_too), up)
    assert pitch_deg(agreed_vertical(pairs[:1])) == pytest.approx(4.0)
    assert agrees(pairs[0], agreed_vertical(pairs[:1]))
    assert not agrees(pairs[0], up)


def test_a_vertical_that_is_given_is_kept_by_both_ways_of_solving():
    proxies, up = list(the_walk()[1][:30]), np.array([0.05, -0.97, -0.2])
    up /= np.linalg.norm(up)
    x, y, z = up.tolist()
    solver = solve_take(proxies, CAMERA, settings=SolverSettings(up_cam=(x, y, z)))
    np.testing.assert_allclose(solver[0].T_cam_world[:3, 1], up, atol=2e-3)
    track = world_of_take(*see(made_walk(60), Errors()), settings=WorldSettings(up_cam=(x, y, z)))
    np.testing.assert_allclose(track.T_cam_world[0, :3, 1], up, atol=2e-3)
