"""What the solver makes of proxies before and around solving: stamps, sides, segments, rays, gravity."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hmcap.models.body import load_body
from hmcap.models.camera import Camera
from hmcap.models.proxies import BLAZEPOSE_NAMES, PROXY_NAMES, Proxies
from hmcap.models.rotations import axis_angle_to_matrix
from hmcap.models.solver.energy import Chain
from hmcap.models.solver.ground import Gravity, contact_probability, estimate_gravity, upright_rotation
from hmcap.models.solver.initialise import initial_chain
from hmcap.models.solver.observations import Observations, body_evidence, hand_evidence, increasing, stack
from hmcap.models.solver.rigs import BODY_POINT_PROXY, CONTACT_INDEX, build_rigs
from hmcap.models.solver.segments import find_segments
from hmcap.models.solver.settings import SolverSettings
from hmcap.models.solver.swaps import undo_swaps
from hypothesis import example, given, settings
from hypothesis import strategies as st
from solver_takes import CAMERA, absent, masked, see, the_walk, walk

laws = settings(max_examples=25, deadline=None, derandomize=True)
ARMS = ("shoulder", "elbow", "wrist")
LEGS = ("hip", "knee", "ankle", "big_toe", "small_toe", "heel")


# -- stamps ------------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=1, max_size=30))
@example([0.0])
@example([1.0, 1.0, 1.0])
@example([float("nan")] * 3)
def test_mended_stamps_increase(stamps):
    mended = increasing(np.array(stamps))
    assert mended.shape == (len(stamps),)
    assert np.isfinite(mended).all()
    assert (np.diff(mended) > 0).all()


@laws
@given(st.lists(st.floats(0.001, 5.0), min_size=1, max_size=30))
def test_stamps_that_increase_are_kept(steps):
    stamps = np.cumsum(steps)
    np.testing.assert_array_equal(increasing(stamps), stamps)


def test_a_stamp_that_repeats_is_one_usual_frame_later():
    np.testing.assert_allclose(increasing(np.array([0.0, 0.1, 0.1, 0.2])), [0, 0.1, 0.2, 0.3])
    np.testing.assert_allclose(increasing(np.array([5.0, 5.0])), [5, 5 + 1 / 30])


# -- stacking ----------------------------------------------------------------------------------------------------------


def test_normalised_positions_are_those_of_the_points_in_the_camera():
    truth = walk(np.arange(3) / 30)
    for camera in (CAMERA, replace(CAMERA, dist=(-0.2, 0.05, 0.001, 0.002, 0.0))):
        o = stack(see(truth, camera, noise_px=0, noise_m=0), camera)
        x = truth.proxies_m @ truth.R_cam_world.T + truth.t_cam_world_m
        np.testing.assert_allclose(o.xy, x[..., :2] / x[..., 2:], atol=1e-5)
        assert o.present.all()


def test_relative_3d_is_turned_from_the_ray_into_the_camera():
    """Directions of bones in the evidence are those of the truth, although the network saw a crop off the axis."""
    truth = walk(np.arange(3) / 30)
    aside = replace(truth, t_cam_world_m=truth.t_cam_world_m + np.array([1.8, 0.4, 0.0]))
    o = stack(see(aside, noise_px=0, noise_m=0), CAMERA)
    expected = truth.landmarks_m @ truth.R_cam_world.T
    expected = expected - expected[:, 23:25].mean(1, keepdims=True)
    np.testing.assert_allclose(o.body_xyz, expected, atol=1e-4)


def test_size_is_the_height_of_a_standing_body_in_the_picture():
    truth = walk(np.arange(20) / 30, pitch_deg=0)
    o = stack(see(truth, noise_px=0, noise_m=0), CAMERA)
    depth = (truth.joints_m[:, 0] @ truth.R_cam_world.T + truth.t_cam_world_m)[:, 2]
    np.testing.assert_allclose(o.size, 1.7 / depth, rtol=0.1)


def test_masked_proxies_have_no_weight():
    rng = np.random.default_rng(0)
    proxies = [masked(p, np.flatnonzero(rng.random(67) < 0.4)) for p in the_walk()[1][:10]]
    o = stack(proxies, CAMERA)
    assert ((o.confidence == 0) == (np.array([p.confidence for p in proxies]) == 0)).all()
    weight, seen = body_evidence(o, SolverSettings()).xy_weight, o.confidence[:, BODY_POINT_PROXY] > 0
    assert not weight[~seen].any()
    limbs = [i for i, p in enumerate(BODY_POINT_PROXY) if PROXY_NAMES[p].endswith(("elbow", "knee", "wrist", "ankle"))]
    assert (weight[:, limbs][seen[:, limbs]] > 0).all()
    for side, part in (("left", slice(25, 46)), ("right", slice(46, 67))):
        np.testing.assert_array_equal(hand_evidence(o, side, SolverSettings()).xy_weight > 0, o.confidence[:, part] > 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e9, -1e30, 5.1 * 1280 + 640])
def test_positions_that_no_body_can_have_are_masked(bad):
    p = the_walk()[1][0]
    xy = p.xy_px.copy()
    xy[4, 0] = bad
    o = stack([replace(p, xy_px=xy)], CAMERA)
    assert o.confidence[0, 4] == 0
    assert (np.delete(o.confidence[0], 4) > 0).all()
    assert np.isfinite(o.xy).all()


def test_a_picture_without_a_size_shows_nobody():
    assert not stack([replace(the_walk()[1][0], image_size_px=(0, 0))], CAMERA).present[0]


# -- first guess -------------------------------------------------------------------------------------------------------


def test_the_first_guess_is_near_and_proper_even_where_the_3d_is_flat():
    truth, proxies = the_walk()
    rigs = build_rigs(load_body())
    flat = replace(proxies[3], body_xyz_m=np.zeros((33, 3), np.float32))
    o = stack([*proxies[:3], flat, *proxies[4:8]], CAMERA)
    chain = initial_chain(o, rigs.body)
    np.testing.assert_allclose(
        chain.R_local @ np.swapaxes(chain.R_local, -1, -2), np.tile(np.eye(3), (8, 22, 1, 1)), atol=1e-9
    )
    np.testing.assert_allclose(np.linalg.det(chain.R_local), 1, atol=1e-9)
    x = truth.joints_m[:8, :22] @ truth.R_cam_world.T + truth.t_cam_world_m
    found = rigs.body.forward(chain.R_local, chain.trans_m).joints_m
    assert np.linalg.norm((found - found[:, :1]) - (x - x[:, :1]), axis=-1).mean() < 0.12
    assert np.abs(found[:, 0, 2] / x[:, 0, 2] - 1).max() < 0.1


# -- sides -------------------------------------------------------------------------------------------------------------


def exchanged(p: Proxies, parts: tuple[str, ...]) -> Proxies:
    """What a detector gives that takes left for right on some parts of the body."""
    xy, confidence, xyz, hands = p.xy_px.copy(), p.confidence.copy(), p.body_xyz_m.copy(), p.hands_xyz_m.copy()
    left = [i for i, n in enumerate(PROXY_NAMES) if n.startswith("left_") and n.removeprefix("left_") in parts]
    right = [PROXY_NAMES.index(PROXY_NAMES[i].replace("left", "right")) for i in left]
    if "wrist" in parts:
        left, right = left + list(range(25, 46)), right + list(range(46, 67))
        hands = hands[::-1].copy()
    xy[left + right], confidence[left + right] = xy[right + left], confidence[right + left]
    marks = [i for i, n in enumerate(BLAZEPOSE_NAMES) if n.startswith("left_") and n.removeprefix("left_") in parts]
    others = [BLAZEPOSE_NAMES.index(BLAZEPOSE_NAMES[i].replace("left", "right")) for i in marks]
    xyz[marks + others] = xyz[others + marks]
    return replace(p, xy_px=xy, confidence=confidence, body_xyz_m=xyz, hands_xyz_m=hands)


def facing_the_camera(n: int, seed: int = 0) -> list[Proxies]:
    truth = walk(np.arange(n) / 30, heading_deg=10)
    return see(truth, seed=seed)


@laws
@given(st.integers(5, 40), st.integers(1, 12), st.integers(0, 50))
def test_exchanged_sides_are_put_right(start, length, seed):
    clean = facing_the_camera(60, seed)
    bad = range(start, start + length)
    seen = [exchanged(p, ARMS + LEGS) if p.index in bad else p for p in clean]
    o, mended = stack(clean, CAMERA), undo_swaps(stack(seen, CAMERA))
    np.testing.assert_array_equal(mended.xy, o.xy)
    np.testing.assert_array_equal(mended.confidence, o.confidence)
    # the 3-D of an exchanged frame was made for another body: it is dropped, there and only there
    limbs = [BLAZEPOSE_NAMES.index(f"{s}_{n}") for s in ("left", "right") for n in ("elbow", "knee", "ankle")]
    gone = np.isnan(mended.body_xyz[:, limbs]).all((1, 2))
    np.testing.assert_array_equal(np.flatnonzero(gone), list(bad))


def test_nothing_is_exchanged_in_a_motion_without_exchanges():
    for proxies in (facing_the_camera(60), list(the_walk()[1])):
        o = stack(proxies, CAMERA)
        mended = undo_swaps(o)
        for name in ("xy", "confidence", "body_xyz", "hands_xyz"):
            np.testing.assert_array_equal(getattr(mended, name), getattr(o, name), err_msg=name)


@pytest.mark.parametrize("turn_s", [2.0, 4.0])
def test_a_person_who_turns_all_the_way_round_is_left_alone(turn_s):
    n = round(turn_s * 30)
    truth = walk(np.zeros(n))
    stamps = np.arange(n) / 30
    yaw = axis_angle_to_matrix(np.stack([0 * stamps, 2 * np.pi * stamps / turn_s, 0 * stamps], -1))
    pivot = truth.joints_m[:, :1] * [1, 0, 1]

    def turned(x: np.ndarray) -> np.ndarray:
        return (x - pivot) @ np.swapaxes(yaw, -1, -2) + pivot

    spin = replace(truth, stamps_s=stamps, proxies_m=turned(truth.proxies_m), landmarks_m=turned(truth.landmarks_m))
    o = stack(see(spin), CAMERA)
    np.testing.assert_array_equal(undo_swaps(o).xy, o.xy)


def test_exchanges_are_undone_across_frames_without_a_person():
    clean = facing_the_camera(40)
    seen = [exchanged(p, ARMS + LEGS) if p.index in range(12, 20) else p for p in clean]
    seen = [absent(p) if p.index in (15, 16) else p for p in seen]
    mended = undo_swaps(stack(seen, CAMERA))
    o = stack(clean, CAMERA)
    wrists = [PROXY_NAMES.index("left_wrist"), PROXY_NAMES.index("right_wrist")]
    there = np.setdiff1d(np.arange(40), [15, 16])
    np.testing.assert_array_equal(mended.xy[there][:, wrists], o.xy[there][:, wrists])


# -- segments ----------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.booleans(), min_size=1, max_size=60), st.floats(0.0, 1.0))
def test_segments_hold_every_person_once_and_bridge_only_short_gaps(shown, max_gap_s):
    p = the_walk()[1][0]
    still = [replace(p, index=i, stamp_s=i / 30) for i in range(len(shown))]
    o = stack([q if s else absent(q) for q, s in zip(still, shown, strict=True)], CAMERA)
    segments = find_segments(o, max_gap_s)
    covered = np.zeros(len(shown), int)
    for s in segments:
        covered[s] += 1
        assert shown[s.start]
        assert shown[s.stop - 1]
        inside = np.flatnonzero(shown[s])
        assert (np.diff(inside) / 30 <= max(max_gap_s, 1 / 30) + 1e-6).all()
    assert covered.max(initial=0) <= 1
    assert covered[np.array(shown)].all()
    for a, b in pairwise(segments):
        assert (b.start - (a.stop - 1)) / 30 > max_gap_s - 1e-6


def test_a_cut_to_another_place_begins_a_segment_and_a_walk_does_not():
    _, proxies = the_walk()
    assert find_segments(stack(proxies, CAMERA), 0.6) == [slice(0, len(proxies))]
    cut = [replace(p, xy_px=p.xy_px + np.float32(450 * (p.index >= 20))) for p in proxies]
    assert find_segments(stack(cut, CAMERA), 0.6) == [slice(0, 20), slice(20, len(proxies))]


def test_neighbouring_frames_of_a_slow_source_stay_together():
    p = the_walk()[1][0]
    slow = [replace(p, index=i, stamp_s=2.0 * i) for i in range(6)]
    assert find_segments(stack(slow, CAMERA), 0.6) == [slice(0, 6)]


# -- gravity and contact -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("heading_deg", [0, 50, 140])
@pytest.mark.parametrize(
    ("pitch_deg", "roll_deg", "height_m"), [(0, 0, 1.0), (10, 0, 1.4), (15, 5, 1.8), (25, -6, 2.4), (-5, 3, 0.5)]
)
def test_gravity_of_a_walk_is_found_from_the_walk(pitch_deg, roll_deg, height_m, heading_deg):
    """Within 3 degrees, and 5 cm for the floor under the person."""
    truth = walk(np.arange(90) / 30, pitch_deg, roll_deg, height_m, heading_deg)
    rig = build_rigs(load_body()).body
    R = axis_angle_to_matrix(truth.poses[:, :22])
    in_world = Chain(R.copy(), truth.trans_m)
    R[:, 0] = truth.R_cam_world @ R[:, 0]
    root = rig.joints_m[0]
    in_camera = Chain(R, (truth.trans_m + root) @ truth.R_cam_world.T + truth.t_cam_world_m - root)
    gravity = estimate_gravity(in_camera, rig, CONTACT_INDEX, [truth.stamps_s], [slice(0, 90)], np.ones((90, 4)))
    up, true_up = gravity.R_cam_world[:, 1], truth.R_cam_world[:, 1]
    assert np.degrees(np.arccos(np.clip(up @ true_up, -1, 1))) < 3
    found = gravity.to_world(in_camera, root)
    soles = rig.forward(found.R_local, found.trans_m).points_m[:, CONTACT_INDEX, 1].min(1)
    assert abs(np.median(soles)) < 0.05
    # into the exact world and it is the walk again
    exact = Gravity(truth.R_cam_world, truth.t_cam_world_m).to_world(in_camera, root)
    np.testing.assert_allclose(exact.R_local, in_world.R_local, atol=1e-12)
    np.testing.assert_allclose(exact.trans_m, in_world.trans_m, atol=1e-12)


def test_a_foot_that_stands_is_in_contact_and_one_that_moves_or_is_lifted_or_unseen_is_not():
    T = 60
    stamps = np.arange(T) / 30
    points = np.zeros((T, 4, 3))
    points[:, 1, 0] = 1.2 * stamps  # slides fast
    points[:, 2, 1] = 0.3  # held up
    seen = np.ones((T, 4))
    seen[:, 3] = 0  # unseen
    contact = contact_probability(points, stamps, np.array([0.0, 1.5, 4.0]), seen)
    assert contact[:, 0].min() > 0.9
    assert contact[:, 1:].max() < 0.05
    assert ((contact >= 0) & (contact <= 1)).all()


def test_an_upright_camera_looks_along_minus_z_and_pitch_looks_down():
    level = upright_rotation(0.0, 0.0)
    np.testing.assert_allclose(level @ [0, 0, -1], [0, 0, 1])
    np.testing.assert_allclose(level @ [0, 1, 0], [0, -1, 0])
    front = upright_rotation(np.radians(20), 0.3)[2]
    assert front[1] < 0
    np.testing.assert_allclose(np.degrees(np.arcsin(-front[1])), 20)
    np.testing.assert_allclose(front[0], 0, atol=1e-12)


def test_a_camera_far_away_still_finds_a_floor():
    truth = walk(np.arange(12) / 30)
    o = stack(see(truth), Camera.from_focal(1280, 720, 1e5))
    rig = build_rigs(load_body()).body
    chain = initial_chain(o, rig)
    gravity = estimate_gravity(chain, rig, CONTACT_INDEX, [o.stamps_s], [slice(0, 12)], np.ones((12, 4)))
    assert np.isfinite(gravity.t_cam_world_m).all()
    assert isinstance(o, Observations)
