"""Human space to world, by the laws that the transform must obey whatever the signs in print."""

from dataclasses import replace

import numpy as np
import pytest
from hmcap.models.body import load_body
from hmcap.models.world import HumanFrame, heading_rotation, sequence_to_world, to_world
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
laws = settings(max_examples=60, deadline=None, derandomize=True)


def random_frames(rng: np.random.Generator, *shape: int) -> HumanFrame:
    def turns() -> np.ndarray:
        return Rotation.from_quat(rng.normal(size=(int(np.prod(shape)), 4))).as_matrix().reshape(*shape, 3, 3)

    def vectors(scale: float) -> np.ndarray:
        return rng.normal(scale=scale, size=(*shape, 3))

    return HumanFrame(turns(), vectors(1.0), vectors(0.1), turns(), vectors(3.0))


def frame(frames: HumanFrame, t: int) -> HumanFrame:
    return HumanFrame(*(getattr(frames, k)[t] for k in HumanFrame.__slots__))


def turned(frames: HumanFrame, yaw_rad: np.ndarray, root_rest_m: np.ndarray) -> HumanFrame:
    """The same body and camera described in human spaces that are turned about their Y axis."""
    Y = Rotation.from_rotvec(np.asarray(yaw_rad)[:, None] * [0, 1, 0]).as_matrix()
    pelvis = np.einsum("tij,tj->ti", Y, frames.trans_human_m + root_rest_m)
    return HumanFrame(
        Y @ frames.R_human_root,
        pelvis - root_rest_m,
        np.einsum("tij,tj->ti", Y, frames.step_human_m),
        frames.R_cam_human @ np.swapaxes(Y, -1, -2),
        frames.t_cam_human_m,
    )


@laws
@given(seeds)
def test_points_project_to_the_same_pixels_in_both_spaces(rng):
    frames, root = random_frames(rng, 5), rng.normal(size=3)
    world, _ = sequence_to_world(frames, root, rng.normal(size=3))
    points = rng.normal(size=(5, 7, 3))
    in_human = points @ np.swapaxes(frames.R_cam_human, -1, -2) + frames.t_cam_human_m[:, None]
    homogeneous = np.concatenate([world.points_m(points), np.ones((5, 7, 1))], axis=-1)
    in_world = (homogeneous @ np.swapaxes(world.T_cam_world, -1, -2))[..., :3]
    np.testing.assert_allclose(in_world, in_human, atol=1e-12)


@laws
@given(seeds)
def test_the_posed_body_projects_to_the_same_pixels_in_both_spaces(rng):
    """The law again through the body model: this is what ties the translation to the root joint of the rest pose."""
    body = load_body().with_shape(rng.normal(size=10))
    human = random_frames(rng)
    world, _ = to_world(human, body.joints_m[0], rng.normal(size=3))
    poses = rng.normal(scale=0.3, size=(55, 3))
    joints = []
    for R_root, trans, R, t in (
        (human.R_human_root, human.trans_human_m, human.R_cam_human, human.t_cam_human_m),
        (world.R_world_root, world.trans_world_m, world.R_cam_world, world.t_cam_world_m),
    ):
        poses[0] = Rotation.from_matrix(R_root).as_rotvec()
        joints.append(body.with_pose(poses, trans).joints_m @ R.T + t)
    np.testing.assert_allclose(joints[1], joints[0], atol=1e-5)


@laws
@given(seeds)
def test_the_camera_looks_along_minus_z_and_up_stays_up(rng):
    world, _ = sequence_to_world(random_frames(rng, 6), np.zeros(3))
    front = world.R_cam_world[:, 2]
    np.testing.assert_allclose(front[:, 0], 0, atol=1e-12)
    assert (front[:, 2] <= 0).all()
    np.testing.assert_allclose(world.R_world_human @ [0, 1, 0], np.tile([0.0, 1, 0], (6, 1)), atol=1e-15)
    for R in (world.R_cam_world, world.R_world_human, world.R_world_root):
        np.testing.assert_allclose(R @ np.swapaxes(R, -1, -2), np.tile(np.eye(3), (6, 1, 1)), atol=1e-12)
        np.testing.assert_allclose(np.linalg.det(R), 1, atol=1e-12)


@laws
@given(seeds)
def test_the_sequence_equals_the_steps(rng):
    T, root = 9, rng.normal(size=3)
    frames = random_frames(rng, T)
    world, after = sequence_to_world(frames, root)
    ground = None
    for t in range(T):
        one, ground = to_world(frame(frames, t), root, ground)
        for name in type(one).__slots__:
            np.testing.assert_array_equal(getattr(one, name), getattr(world, name)[t], err_msg=name)
        np.testing.assert_array_equal(one.T_cam_world, world.T_cam_world[t])
    np.testing.assert_array_equal(ground, after)


@laws
@given(seeds)
def test_a_sequence_may_be_continued(rng):
    frames, root = random_frames(rng, 8), rng.normal(size=3)
    whole, end = sequence_to_world(frames, root)
    halves = [HumanFrame(*(getattr(frames, k)[s] for k in HumanFrame.__slots__)) for s in (slice(0, 3), slice(3, 8))]
    first, middle = sequence_to_world(halves[0], root)
    second, last = sequence_to_world(halves[1], root, middle)
    np.testing.assert_allclose(np.concatenate([first.trans_world_m, second.trans_world_m]), whole.trans_world_m)
    np.testing.assert_allclose(last, end)


def test_the_first_frame_stands_on_the_origin():
    rng = np.random.default_rng(1)
    frames = random_frames(rng, 3)
    world, _ = sequence_to_world(frames, rng.normal(size=3))
    np.testing.assert_array_equal(world.ground_m[0], 0)
    assert np.abs(world.ground_m[1]).max() > 0


@laws
@given(seeds)
def test_the_ground_translation_is_level_whatever_the_step_says_of_height(rng):
    frames = random_frames(rng, 6)
    world, after = sequence_to_world(frames, np.zeros(3))
    np.testing.assert_array_equal(world.ground_m[:, 1], 0)
    assert after[1] == 0
    flat = replace(frames, step_human_m=frames.step_human_m * [1, 0, 1])
    np.testing.assert_array_equal(sequence_to_world(flat, np.zeros(3))[0].trans_world_m, world.trans_world_m)


@laws
@given(seeds)
def test_the_heading_of_human_space_changes_nothing_in_the_world(rng):
    frames, root = random_frames(rng, 6), rng.normal(size=3)
    other = turned(frames, rng.uniform(-np.pi, np.pi, 6), root)
    a, _ = sequence_to_world(frames, root)
    b, _ = sequence_to_world(other, root)
    for name in ("R_world_root", "trans_world_m", "R_cam_world", "t_cam_world_m", "ground_m"):
        np.testing.assert_allclose(getattr(b, name), getattr(a, name), atol=1e-9, err_msg=name)


@laws
@given(seeds)
def test_a_person_who_makes_no_step_stays_before_a_camera_that_stays(rng):
    """Whatever heading each frame's human space chose."""
    T, root = 6, rng.normal(size=3)
    one = random_frames(rng, 1)
    still = HumanFrame(*(np.repeat(getattr(one, k), T, axis=0) for k in HumanFrame.__slots__))
    still = turned(replace(still, step_human_m=np.zeros((T, 3))), rng.uniform(-3, 3, T), root)
    world, after = sequence_to_world(still, root)
    np.testing.assert_array_equal(after, 0)
    for name in ("R_world_root", "trans_world_m", "R_cam_world", "t_cam_world_m"):
        value = getattr(world, name)
        np.testing.assert_allclose(value, np.broadcast_to(value[0], value.shape), atol=1e-9, err_msg=name)


def test_a_walk_past_a_static_camera_adds_up():
    """Independent account: a person walks in the world, each frame is described in its own human space, and back."""
    rng = np.random.default_rng(2)
    T, root = 40, np.array([0.0, -0.3, 0.02])
    track = np.stack([np.linspace(0, 3, T), np.zeros(T), np.sin(np.linspace(0, 4, T))], axis=1)
    pitch = np.radians(-12)
    R_cam = Rotation.from_euler("x", pitch).as_matrix() @ np.diag([1.0, -1, -1])
    t_cam = -R_cam @ np.array([0.4, 1.5, 4.0])
    R_root = Rotation.from_rotvec(rng.normal(scale=0.4, size=(T, 3))).as_matrix()
    yaw = Rotation.from_rotvec(rng.uniform(-3, 3, (T, 1)) * [0, 1, 0]).as_matrix()  # R_human_world of each frame
    pelvis = track + np.array([0, 0.95, 0])
    steps = np.diff(track, axis=0, append=track[-1:])
    frames = HumanFrame(
        yaw @ R_root,
        np.einsum("tij,tj->ti", yaw, pelvis - track) - root,
        np.einsum("tij,tj->ti", yaw, steps),
        R_cam @ np.swapaxes(yaw, -1, -2),
        t_cam + track @ R_cam.T,
    )
    world, after = sequence_to_world(frames, root)
    np.testing.assert_allclose(world.R_world_root, R_root, atol=1e-12)
    np.testing.assert_allclose(world.trans_world_m + root, pelvis, atol=1e-12)
    np.testing.assert_allclose(world.R_cam_world, np.broadcast_to(R_cam, (T, 3, 3)), atol=1e-12)
    np.testing.assert_allclose(world.t_cam_world_m, np.broadcast_to(t_cam, (T, 3)), atol=1e-12)
    np.testing.assert_allclose(after, track[-1], atol=1e-12)


@pytest.mark.parametrize("pitch_deg", [90.0, -90.0])
@pytest.mark.parametrize("yaw_rad", [0.0, 0.7, 3.0])
def test_a_camera_that_looks_straight_down_or_up_has_the_heading_of_one_that_almost_does(pitch_deg, yaw_rad):
    def camera(deg: float) -> np.ndarray:
        level = np.diag([1.0, -1, -1]) @ Rotation.from_rotvec([0, yaw_rad, 0]).as_matrix()
        return Rotation.from_euler("x", deg, degrees=True).as_matrix() @ level

    exact, almost = heading_rotation(camera(pitch_deg)), heading_rotation(camera(pitch_deg * (1 - 1e-4)))
    assert np.isfinite(exact).all()
    np.testing.assert_allclose(exact, almost, atol=1e-9)
    # the vertical axis without any rounding: the exact branch
    vertical = (
        np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
        if pitch_deg > 0
        else np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    )
    Q = heading_rotation(vertical)
    np.testing.assert_allclose(Q @ Q.T, np.eye(3), atol=1e-15)
    assert abs(vertical[2] @ [0, 1, 0]) == 1
