"""The solver on synthetic takes whose truth is known: accuracy, floor, contact, time, live."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hmcap.models.body import load_body
from hmcap.models.motion import MotionFrame
from hmcap.models.solver import LiveSolver, SolverSettings, solve_take
from hmcap.models.solver.shape import stature
from solver_takes import (
    CAMERA,
    T,
    absent,
    assert_equal_frames,
    check_complete,
    joints_of,
    root_aligned_mm,
    see,
    soles_of,
    solved,
    the_walk,
    walk,
)

# -- accuracy ----------------------------------------------------------------------------------------------------------


def test_a_walk_is_recovered():
    truth, proxies = the_walk()
    frames = solved()
    check_complete(frames, proxies)
    assert all(f.present and f.measured.all() for f in frames)
    assert root_aligned_mm(joints_of(frames), truth.joints_m) < 30
    assert np.median([f.reprojection_error for f in frames]) < 1.0
    # the way that was walked, as seen from the first place
    way, true_way = (j[:, 0] - j[0, 0] for j in (joints_of(frames), truth.joints_m))
    assert np.linalg.norm(way - true_way, axis=1).max() < 0.12


def test_the_world_begins_under_the_person():
    """The origin is the point on the floor under the pelvis in the first frame in which somebody is seen."""
    for frames, first in ((solved(), 0), (solve_take([absent(the_walk()[1][0]), *the_walk()[1][1:9]], CAMERA), 1)):
        pelvis = joints_of(frames)[first, 0]
        np.testing.assert_allclose(pelvis[[0, 2]], 0, atol=1e-6)
        assert 0.7 < pelvis[1] < 1.1
    R, t = solved()[0].T_cam_world[:3, :3], solved()[0].T_cam_world[:3, 3]
    np.testing.assert_allclose(R[2, 0], 0, atol=1e-12)  # the camera looks along -Z
    assert R[2, 2] < 0
    assert (-R.T @ t)[2] > 3


def test_fingers_are_recovered():
    truth, _ = the_walk()
    joints = joints_of(solved())
    for wrist, part in ((20, slice(25, 40)), (21, slice(40, 55))):
        ours, true = joints[:, part] - joints[:, wrist, None], truth.joints_m[:, part] - truth.joints_m[:, wrist, None]
        assert np.linalg.norm(ours - true, axis=-1).mean() < 0.02


def test_the_floor_is_at_zero_and_standing_feet_do_not_slide():
    frames = solved()
    soles, contact = soles_of(frames), np.array([f.contact for f in frames])
    standing = contact > 0.5
    assert 0.3 < standing.mean() < 0.8  # a walk stands on one foot at a time, and on both between steps
    assert abs(np.median(soles[..., 1][standing])) < 0.005
    assert np.abs(soles[..., 1][standing]).max() < 0.02
    assert soles[..., 1].min() > -0.02
    level = np.linalg.norm(np.diff(soles, axis=0)[..., [0, 2]], axis=-1)
    assert level[standing[1:] & standing[:-1]].mean() < 0.001


def test_contact_is_that_of_the_foot_that_stands():
    """The standing foot of the synthetic walk changes every 0.8 s, the left one first."""
    truth, _ = the_walk()
    contact = np.array([f.contact for f in solved()])
    phase = (truth.stamps_s / 0.8) % 2
    left, right = np.abs(phase - 0.5) < 0.25, np.abs(phase - 1.5) < 0.25  # the middle of each step
    for standing, its, other in ((left, slice(0, 2), slice(2, 4)), (right, slice(2, 4), slice(0, 2))):
        assert contact[standing][:, its].min() > 0.5
        assert contact[standing][:, other].max() < 0.5


@pytest.mark.parametrize(("pitch_deg", "roll_deg", "height_m"), [(10, 0, 1.4), (2, 4, 0.9), (22, -5, 2.2)])
def test_gravity_and_the_camera_height_are_found(pitch_deg, roll_deg, height_m):
    truth = walk(np.arange(0, 75, 2) / 30, pitch_deg, roll_deg, height_m)
    frame = solve_take(see(truth), CAMERA)[0]
    R, t = frame.T_cam_world[:3, :3], frame.T_cam_world[:3, 3]
    lean_deg = np.degrees(np.arccos(np.clip(R[:, 1] @ truth.R_cam_world[:, 1], -1, 1)))
    assert lean_deg < 3
    assert abs((-R.T @ t)[1] - height_m) < 0.05 + 4.5 * np.sin(np.radians(lean_deg))


@pytest.mark.parametrize("height_m", [1.6, 1.95])
def test_the_height_given_is_the_height_of_the_body(height_m):
    _, proxies = the_walk()
    frames = solve_take(proxies[:20], CAMERA, settings=SolverSettings(height_m=height_m))
    model = load_body()
    mean, slope = stature(model.v_template.astype(float), model.shapedirs.astype(float))
    assert abs(mean + slope @ frames[0].betas - height_m) < 0.01
    # and by the mesh itself, at rest
    v = model.with_shape(frames[0].betas).vertices_m()
    assert abs(np.ptp(v[:, 1]) - height_m) < 0.015
    assert all(np.array_equal(f.betas, frames[0].betas) for f in frames)


def test_size_is_what_one_camera_cannot_see():
    """Twice the distance and twice the body look the same: a taller person is found proportionally farther away."""
    _, proxies = the_walk()
    near, far = (
        solve_take(proxies[:20], CAMERA, settings=SolverSettings(height_m=h))[0].T_cam_world for h in (1.6, 1.92)
    )
    depth = [float(np.linalg.norm(T[:3, 3])) for T in (near, far)]
    assert abs(depth[1] / depth[0] - 1.2) < 0.04


# -- time --------------------------------------------------------------------------------------------------------------


def test_frame_rate_does_not_change_the_motion():
    """The same walk at 15, 30 and 60 frames a second, compared where they share a stamp."""
    found = {}
    for fps in (15, 30, 60):
        truth = walk(np.arange(round(1.6 * fps)) / fps)
        frames = solve_take(see(truth, noise_px=0.5, noise_m=0.01), CAMERA)
        every = fps // 15
        found[fps] = joints_of(frames)[::every]
        assert root_aligned_mm(found[fps], truth.joints_m[::every]) < 30
    for fps in (15, 60):
        assert root_aligned_mm(found[fps], found[30]) < 15, fps


def test_uneven_stamps_are_obeyed():
    rng = np.random.default_rng(0)
    stamps = np.cumsum(rng.uniform(0.015, 0.055, T))
    truth = walk(stamps)
    frames = solve_take(see(truth), CAMERA)
    assert root_aligned_mm(joints_of(frames), truth.joints_m) < 35


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: 0 * s,
        lambda s: s[::-1].copy(),
        lambda s: np.where(np.arange(len(s)) > 15, s - 5, s),
        lambda s: np.where(np.arange(len(s)) % 5 == 3, np.roll(s, 1), s),
        lambda s: np.where(np.arange(len(s)) == 7, np.nan, s),
        lambda s: s + 1.7e9,
    ],
    ids=["equal", "backwards", "jump-back", "repeated", "nan", "epoch"],
)
def test_stamps_that_repeat_or_go_back_are_survived(spoil):
    truth, proxies = the_walk()
    stamps = spoil(truth.stamps_s[:24])
    spoilt = [replace(p, stamp_s=float(s)) for p, s in zip(proxies, stamps, strict=False)]
    frames = solve_take(spoilt, CAMERA)
    check_complete(frames, spoilt)
    assert root_aligned_mm(joints_of(frames), truth.joints_m[:24]) < 45


def test_two_runs_are_equal_to_the_last_bit():
    _, proxies = the_walk()
    a, b = solve_take(proxies[:30], CAMERA), solve_take(proxies[:30], CAMERA)
    for x, y in zip(a, b, strict=True):
        assert_equal_frames(x, y)


def test_the_source_is_left_as_it_was_and_progress_rises():
    _, proxies = the_walk()
    before = [(p.xy_px.copy(), p.confidence.copy(), p.body_xyz_m.copy()) for p in proxies[:12]]
    shares: list[float] = []
    solve_take(proxies[:12], CAMERA, progress=shares.append)
    for p, (xy, confidence, xyz) in zip(proxies, before, strict=False):
        np.testing.assert_array_equal(p.xy_px, xy)
        np.testing.assert_array_equal(p.confidence, confidence)
        np.testing.assert_array_equal(p.body_xyz_m, xyz)
    assert shares == sorted(shares)
    assert 0 < shares[-1] <= 1


def test_long_takes_are_solved_in_windows_like_short_ones():
    truth, proxies = the_walk()
    frames = solve_take(proxies, CAMERA, settings=SolverSettings(window=24, overlap=10))
    assert root_aligned_mm(joints_of(frames), joints_of(solved())) < 15
    joints = joints_of(frames)
    jump = np.linalg.norm(np.diff(joints, 2, axis=0), axis=-1).max()
    true_jump = np.linalg.norm(np.diff(truth.joints_m[:, :55], 2, axis=0), axis=-1).max()
    assert jump < 2 * true_jump + 0.02  # no seam


# -- live --------------------------------------------------------------------------------------------------------------


@cache
def live_frames() -> tuple[list[MotionFrame], list[bool]]:
    live = LiveSolver(CAMERA)
    frames, calibrated = [], []
    for p in the_walk()[1]:
        frames.append(live.push(p))
        calibrated.append(live.calibrated)
    return frames, calibrated


def test_live_follows_the_take():
    truth, proxies = the_walk()
    frames, calibrated = live_frames()
    check_complete(frames, proxies)
    assert all(f.present for f in frames)
    assert calibrated == sorted(calibrated)
    assert calibrated.index(True) in range(44, 48)  # after a second and a half
    after = slice(calibrated.index(True) + 1, None)
    assert root_aligned_mm(joints_of(frames)[after], joints_of(solved())[after]) < 80
    assert root_aligned_mm(joints_of(frames)[after], truth.joints_m[after]) < 80
    soles = soles_of(frames[after])
    assert -0.03 < np.median(soles[..., 1].min(1)) < 0.04


def test_live_runs_are_equal_to_the_last_bit():
    frames, _ = live_frames()
    live = LiveSolver(CAMERA)
    for p, before in zip(the_walk()[1][:12], frames, strict=False):
        assert_equal_frames(live.push(p), before)


def test_live_holds_the_pose_while_nobody_is_seen():
    _, proxies = the_walk()
    live = LiveSolver(CAMERA)
    gone = {0, 1, 8, 9, 10}
    seen = [absent(p) if p.index in gone else p for p in proxies[:14]]
    frames = [live.push(p) for p in seen]
    check_complete(frames, seen)
    assert [f.present for f in frames] == [i not in gone for i in range(14)]
    for i in (8, 9, 10):
        np.testing.assert_array_equal(frames[i].poses, frames[7].poses)
        np.testing.assert_array_equal(frames[i].trans_m, frames[7].trans_m)
    np.testing.assert_array_equal(frames[0].poses[:22], 0)  # nobody yet: the body at rest


def test_live_survives_stamps_that_stand_still():
    _, proxies = the_walk()
    live = LiveSolver(CAMERA)
    seen = [replace(p, stamp_s=0.0 if p.index < 8 else -1.0) for p in proxies[:47]]
    check_complete([live.push(p) for p in seen], seen)
    assert live.calibrated  # every such frame counts for a usual one


def test_live_does_not_calibrate_on_time_without_a_person():
    _, proxies = the_walk()
    live = LiveSolver(CAMERA)
    live.push(proxies[0])
    for p in proxies[1:4]:
        live.push(replace(absent(p), stamp_s=p.stamp_s + 10))
    live.push(replace(proxies[5], stamp_s=20.0))
    assert not live.calibrated
