"""The solver on incomplete, spoilt and extreme input: complete, finite and marked for what it is."""

from dataclasses import replace

import numpy as np
import pytest
from hmcap.models.errors import HmcapError
from hmcap.models.motion import GROUP_NAMES
from hmcap.models.proxies import PROXY_NAMES
from hmcap.models.solver import LiveSolver, solve_take
from solver_takes import CAMERA, T, absent, check_complete, joints_of, masked, root_aligned_mm, see, the_walk

LEGS = np.array(
    [
        i
        for i, n in enumerate(PROXY_NAMES)
        if any(k in n for k in ("knee", "ankle", "toe", "heel")) or n.endswith("_hip")
    ]
)


def test_frames_without_a_person_hold_the_pose():
    _, proxies = the_walk()
    gone = [*range(0, 6), *range(20, 44), *range(54, 60)]
    seen = [absent(p) if p.index in gone else p for p in proxies]
    frames = solve_take(seen, CAMERA)
    check_complete(frames, seen)
    assert [f.present for f in frames] == [i not in gone for i in range(T)]
    for i in range(20, 44):
        np.testing.assert_array_equal(frames[i].poses, frames[19].poses)
        np.testing.assert_array_equal(frames[i].trans_m, frames[19].trans_m)
    for i in range(6):  # before anybody came: as they came
        np.testing.assert_array_equal(frames[i].poses, frames[6].poses)
    for i in range(54, 60):
        np.testing.assert_array_equal(frames[i].poses, frames[53].poses)


def test_a_short_absence_is_bridged_by_motion():
    truth, proxies = the_walk()
    seen = [absent(p) if p.index in (20, 21, 22) else p for p in proxies[:40]]
    frames = solve_take(seen, CAMERA)
    check_complete(frames, seen)
    assert root_aligned_mm(joints_of(frames)[20:23], truth.joints_m[20:23]) < 60
    assert not any(f.measured.any() for f in frames[20:23])
    assert not np.array_equal(frames[20].poses, frames[22].poses)


def test_a_take_with_nobody_is_an_error_that_says_what_to_do():
    _, proxies = the_walk()
    with pytest.raises(HmcapError, match=r"found none in 10 frames.*--start"):
        solve_take([absent(p) for p in proxies[:10]], CAMERA)
    with pytest.raises(HmcapError, match="found none in 0 frames"):
        solve_take([], CAMERA)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_takes_of_few_frames(n):
    truth, proxies = the_walk()
    frames = solve_take(proxies[:n], CAMERA)
    check_complete(frames, proxies[:n])
    assert all(f.present for f in frames)
    assert root_aligned_mm(joints_of(frames), truth.joints_m[:n]) < 60


def test_an_upper_body_alone_gives_plain_legs_marked_as_not_measured():
    truth, proxies = the_walk()
    half = [masked(replace(p, body_xyz_m=_without_legs(p.body_xyz_m)), LEGS) for p in proxies[:40]]
    frames = solve_take(half, CAMERA)
    check_complete(frames, half)
    legs = [GROUP_NAMES.index(g) for g in ("left_leg", "right_leg")]
    arms = [GROUP_NAMES.index(g) for g in ("left_arm", "right_arm", "head")]
    for f in frames:
        assert f.present
        assert not f.measured[legs].any()
        assert f.measured[arms].all()
        assert np.abs(f.poses[[1, 2, 4, 5]]).max() < 2.0
        assert not f.contact.any()
    joints = joints_of(frames)
    knees = joints[:, [4, 5], 1]
    assert (knees < joints[:, :1, 1]).all()  # below the pelvis
    upper, true = (j[:, [12, 15, 16, 17, 18, 19, 20, 21]] for j in (joints, truth.joints_m[:40]))
    error = (upper - upper.mean(1, keepdims=True)) - (true - true.mean(1, keepdims=True))
    assert np.linalg.norm(error, axis=-1).mean() < 0.06


def _without_legs(xyz: np.ndarray) -> np.ndarray:
    out = xyz.copy()
    out[25:] = np.nan  # knees, ankles and feet
    return out


def test_proxies_that_are_no_numbers_or_far_away_are_left_out():
    truth, proxies = the_walk()
    rng = np.random.default_rng(1)
    spoilt = []
    for p in proxies[:30]:
        xy, xyz, hands = p.xy_px.copy(), p.body_xyz_m.copy(), p.hands_xyz_m.copy()
        for value in (np.nan, np.inf, -np.inf, 1e9, -3e38):
            xy[rng.integers(67, size=2)] = value
        if p.index % 3 == 0:
            xyz[rng.integers(33)] = np.inf
            hands[0] = np.inf
        spoilt.append(replace(p, xy_px=xy, body_xyz_m=xyz, hands_xyz_m=hands))
    frames = solve_take(spoilt, CAMERA)
    check_complete(frames, spoilt)
    assert root_aligned_mm(joints_of(frames), truth.joints_m[:30]) < 40


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("xy_px", np.full((67, 2), 500, np.float32)),
        ("body_xyz_m", np.zeros((33, 3), np.float32)),
        ("body_xyz_m", np.full((33, 3), np.nan, np.float32)),
        ("body_xyz_m", np.full((33, 3), np.inf, np.float32)),
        ("confidence", np.full(67, 7.0, np.float32)),
        ("confidence", np.full(67, 1e-6, np.float32)),
    ],
    ids=["one-pixel", "3d-zero", "3d-nan", "3d-inf", "too-sure", "unsure"],
)
def test_whole_takes_of_degenerate_evidence_give_finite_motion(name, value):
    _, proxies = the_walk()
    spoilt = [replace(p, **{name: value}) for p in proxies[:12]]
    check_complete(solve_take(spoilt, CAMERA), spoilt)
    live = LiveSolver(CAMERA)
    check_complete([live.push(p) for p in spoilt], spoilt)


def test_confidence_that_is_no_number_is_no_sighting():
    _, proxies = the_walk()
    spoilt = [replace(p, confidence=np.full(67, np.nan, np.float32)) if p.index in (4, 5) else p for p in proxies[:12]]
    frames = solve_take(spoilt, CAMERA)
    check_complete(frames, spoilt)
    assert not frames[4].measured.any()
    assert frames[6].measured.all()


@pytest.mark.parametrize("focal_px", [15.0, 1e5, 1e7])
def test_extreme_lenses_give_finite_motion(focal_px):
    _, proxies = the_walk()
    camera = type(CAMERA).from_focal(1280, 720, focal_px)
    check_complete(solve_take(proxies[:15], camera), proxies[:15])
    live = LiveSolver(camera)
    check_complete([live.push(p) for p in proxies[:6]], proxies[:6])


def test_lens_distortion_is_undone():
    truth, proxies = the_walk()
    bent = replace(CAMERA, dist=(-0.45, 0.2, 0.001, -0.001, 0.0))
    seen = see(truth, bent)
    moved = max(np.abs(a.xy_px - b.xy_px).max() for a, b in zip(seen, proxies, strict=True))
    assert moved > 5  # the lens does something
    frames = solve_take(seen[:30], bent)
    straight = solve_take(proxies[:30], CAMERA)
    assert root_aligned_mm(joints_of(frames), joints_of(straight)) < 3
    assert np.abs(frames[0].T_cam_world - straight[0].T_cam_world).max() < 0.03


def test_proxies_of_a_smaller_picture_are_scaled_to_the_camera():
    _, proxies = the_walk()
    half = [replace(p, xy_px=p.xy_px / 2, image_size_px=(640, 360)) for p in proxies[:12]]
    a, b = solve_take(half, CAMERA), solve_take(proxies[:12], CAMERA)
    np.testing.assert_allclose([f.poses for f in a], [f.poses for f in b], atol=1e-4)
