"""From the networks' estimates to one world: the laws of the fusion, and what it gains on simulated takes."""

import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from fusion_takes import BODY, PERSON, USUAL, Errors, World, before_camera, feet_of, joints_of, made_walk, see
from hmcap.models.camera import Camera
from hmcap.models.errors import HmcapError
from hmcap.models.motion import MotionFrame
from hmcap.models.rotations import axis_angle_to_matrix
from hmcap.models.streaming.assemble import assemble
from hmcap.models.streaming.feet import divided
from hmcap.models.streaming.fusion import agreed_contact, world_of_take
from hmcap.models.streaming.fusion_live import LiveWorld
from hmcap.models.streaming.legs import legs_of, reach
from hmcap.models.streaming.person import Person, body_height_m
from hmcap.models.streaming.records import RATE_HZ, Estimate
from hmcap.models.streaming.root_smoother import PlaceFilter, smooth_places
from hmcap.models.streaming.root_terms import RootTerms
from hmcap.models.streaming.sightlines import Sightlines
from hmcap.models.streaming.static_camera import human_frames, upright_rotation
from hmcap.models.streaming.world_settings import WorldSettings
from hmcap.models.streaming.world_track import WorldTrack
from hmcap.models.world import sequence_to_world
from hmcap.tools.evaluation.metrics.motion import foot_sliding_mm, jitter
from hmcap.tools.evaluation.metrics.world import root_track_errors_percent, world_errors_mm

REST = PERSON.joints_m[0]


@cache
def the_walk() -> World:
    return made_walk(120)


def live(estimate: Estimate, observed, settings: WorldSettings | None = None) -> WorldTrack:
    world = LiveWorld(BODY, settings)
    return WorldTrack.joined(
        [world.push(estimate.part(t, t + 1), _rows(observed, t, t + 1)) for t in range(estimate.frames)]
    )


def _rows(observed, begin: int, end: int):
    return observed.map(lambda a: a[begin:end])


def unfused(estimate: Estimate) -> tuple[np.ndarray, np.ndarray]:
    """Local rotations and pelvis with a camera of its own for every frame, and steps added up (networks, section 4)."""
    frames = human_frames(estimate, upright_rotation(np.asarray(estimate.up_cam, np.float64)), REST)
    world, _ = sequence_to_world(frames, REST)
    return np.concatenate([world.R_world_root[:, None], estimate.R_local], axis=1), world.trans_world_m + REST


def aligned(pelvis_m: np.ndarray) -> np.ndarray:
    return pelvis_m - pelvis_m[0] * [1, 0, 1]


# -- nothing is lost where there is no noise ---------------------------------------------------------------------------


@pytest.mark.parametrize("camera", [{}, {"pitch_deg": 25.0, "roll_deg": -4.0, "height_m": 2.2}])
def test_an_exact_estimate_of_a_take_gives_the_truth(camera):
    world = made_walk(90, **camera)
    # the made walk stops abruptly after every step, and a foot that is set down still moves a little
    free = WorldSettings(smooth_frames=0.0, jerk_sigma_m_s3=1e5, contact_speed_sigma_m=0.1, contact_height_sigma_m=0.2)
    track = world_of_take(*see(world, Errors()), settings=free)
    assert np.linalg.norm(track.pelvis_m - aligned(world.pelvis_m), axis=-1).mean() < 1e-3
    usual = world_of_take(*see(world, Errors()))
    np.testing.assert_allclose(usual.pelvis_m, aligned(world.pelvis_m), atol=8e-3)
    np.testing.assert_allclose(
        joints_of(track.R_local, track.pelvis_m).mean(0),
        joints_of(world.R_local, aligned(world.pelvis_m)).mean(0),
        atol=3e-3,
    )
    np.testing.assert_allclose(track.T_cam_world[0, :3, :3], world.R_cam_world, atol=1e-3)
    assert (track.T_cam_world == track.T_cam_world[0]).all()
    np.testing.assert_allclose(track.trans_m, track.pelvis_m - REST)


def test_an_exact_estimate_gives_the_truth_live():
    world = the_walk()
    track = live(*see(world, Errors()))
    np.testing.assert_allclose(track.pelvis_m, aligned(world.pelvis_m), atol=1e-2)
    assert np.linalg.norm(track.pelvis_m - aligned(world.pelvis_m), axis=-1).mean() < 3e-3


def test_the_world_shows_the_camera_what_the_networks_saw():
    """Through the world and its camera, rotations are those that the networks gave in the camera, exactly; places but
    for what the fusion moved them."""
    estimate, observed = see(the_walk(), USUAL)
    track = world_of_take(estimate, observed, settings=WorldSettings(smooth_frames=0.0))
    R_cam = track.T_cam_world[:, :3, :3] @ track.R_local[:, 0]
    np.testing.assert_allclose(R_cam, estimate.R_cam_root, atol=1e-6)
    in_camera = (track.T_cam_world[:, :3, :3] @ track.pelvis_m[..., None])[..., 0] + track.T_cam_world[:, :3, 3]
    across = in_camera / in_camera[:, 2:] - estimate.root_cam_m / estimate.root_cam_m[:, 2:]
    assert np.linalg.norm(across, axis=-1).mean() < 0.006
    assert np.nanmean(track.reprojection_error) < 4


def test_without_fusion_the_world_reprojects_exactly():
    """The law of models/world.py holds for what the fusion starts from, in every frame."""
    estimate, _ = see(the_walk(), USUAL)
    frames = human_frames(estimate, upright_rotation(np.asarray(estimate.up_cam, np.float64)), REST)
    world, _ = sequence_to_world(frames, REST)
    x = (world.R_cam_world @ (world.trans_world_m + REST)[..., None])[..., 0] + world.t_cam_world_m
    np.testing.assert_allclose(x, estimate.root_cam_m, atol=1e-5)
    np.testing.assert_allclose(world.R_cam_world @ world.R_world_root, estimate.R_cam_root, atol=1e-5)


# -- symmetries --------------------------------------------------------------------------------------------------------


def test_the_heading_of_the_scene_does_not_matter():
    """The same scene described in a world that is turned about Y is seen alike, and gives the same world."""
    world = the_walk()
    turn = axis_angle_to_matrix(np.array([0, 1.1, 0]))
    R_local = world.R_local.copy()
    R_local[:, 0] = turn @ R_local[:, 0]
    R_cam = world.R_cam_world @ turn.T
    turned = World(R_local, world.pelvis_m @ turn.T, R_cam, world.t_cam_world_m)
    estimate, observed = see(world, Errors())
    other, other_observed = see(turned, Errors())
    other = replace(other, step_m=estimate.step_m)  # steps are given with the yaw of the camera, whatever the world's
    a, b = world_of_take(estimate, observed), world_of_take(other, other_observed)
    np.testing.assert_allclose(b.pelvis_m, a.pelvis_m, atol=1e-4)
    np.testing.assert_allclose(b.R_local, a.R_local, atol=1e-3)
    np.testing.assert_allclose(b.T_cam_world, a.T_cam_world, atol=1e-4)


def test_the_camera_looks_along_minus_z_over_a_floor_at_zero():
    for track in (world_of_take(*see(the_walk(), USUAL)), live(*see(the_walk(), USUAL))):
        front = track.T_cam_world[:, 2, :3]
        np.testing.assert_allclose(front[:, 0], 0, atol=1e-9)
        assert (front[:, 2] < 0).all()
        np.testing.assert_allclose(track.pelvis_m[0, [0, 2]], 0, atol=1e-9)
        feet = feet_of(track.R_local, track.pelvis_m)
        standing = feet[..., 1][track.contact > 0.9]
        assert np.median(np.abs(standing)) < 0.01


def test_a_given_height_scales_the_world():
    estimate, observed = see(the_walk(), Errors())
    usual, small = world_of_take(estimate, observed), world_of_take(estimate, observed, settings=WorldSettings(1.5))
    scale = 1.5 / body_height_m(BODY, np.zeros(10))
    assert abs(body_height_m(BODY, small.betas[0]) - 1.5) < 1e-6
    way, other = (np.linalg.norm(t.pelvis_m[-1] - t.pelvis_m[0]) for t in (usual, small))
    assert abs(other / way / scale - 1) < 0.03


# -- what it gains -----------------------------------------------------------------------------------------------------


def figures(world: World, R_local: np.ndarray, pelvis_m: np.ndarray) -> dict[str, float]:
    joints, truth = joints_of(R_local, pelvis_m)[:, :22], joints_of(world.R_local, world.pelvis_m)[:, :22]
    slide = foot_sliding_mm(feet_of(R_local, pelvis_m), feet_of(world.R_local, world.pelvis_m))
    return {
        "w": float(np.nanmean(world_errors_mm(joints, truth)[0])),
        "rte": float(np.nanmean(root_track_errors_percent(pelvis_m, world.pelvis_m))),
        "slide": float(np.nanmean(slide)),
        "jitter": jitter(joints, RATE_HZ),
    }


def test_a_take_gains():
    world = the_walk()
    estimate, observed = see(world, USUAL)
    raw = figures(world, *unfused(estimate))
    track = world_of_take(estimate, observed)
    fused = figures(world, track.R_local, track.pelvis_m)
    assert fused["slide"] < 3.5 < raw["slide"]
    assert fused["jitter"] < 16 < raw["jitter"]
    assert fused["w"] < 1.1 * raw["w"]
    assert feet_of(track.R_local, track.pelvis_m)[..., 1].min() > -0.03


def test_live_keeps_feet_where_they_stand():
    world = the_walk()
    estimate, observed = see(world, USUAL)
    track = live(estimate, observed)
    assert figures(world, track.R_local, track.pelvis_m)["slide"] < 6


def there_and_back(frames: int) -> World:
    world = made_walk(frames, heading_deg=170.0)
    rows = np.concatenate([np.arange(frames), np.arange(frames)[::-1]])
    return replace(world, R_local=world.R_local[rows], pelvis_m=world.pelvis_m[rows])


def test_who_walks_away_and_back_is_where_they_were():
    world = there_and_back(150)
    estimate, observed = see(world, USUAL, seed=2)
    _, raw = unfused(estimate)
    track = world_of_take(estimate, observed)
    running = live(estimate, observed)
    way = np.linalg.norm(world.pelvis_m[149] - world.pelvis_m[0])
    assert way > 3
    fused_off, live_off, raw_off = (
        np.linalg.norm((p[-1] - p[0])[[0, 2]]) for p in (track.pelvis_m, running.pelvis_m, raw)
    )
    assert fused_off < 0.05 + 0.03 * way
    assert live_off < 0.15 + 0.03 * way
    assert fused_off < raw_off


def test_depth_noise_does_not_shake_the_body():
    world = the_walk()
    quiet = see(world, Errors())[0]
    estimate, observed = see(world, replace(Errors(), depth=0.06, place_m=0.03))
    estimate = replace(quiet, root_cam_m=estimate.root_cam_m, root_sigma_m=estimate.root_sigma_m)
    for track, more in ((world_of_take(estimate, observed), 1), (live(estimate, observed), 4)):
        assert jitter(track.pelvis_m[:, None], RATE_HZ) < jitter(world.pelvis_m[:, None], RATE_HZ) + more


@pytest.mark.skipif("HMCAP_DATA" not in os.environ, reason="HMCAP_DATA names no folder with motion capture")
def test_recorded_motion_gains():
    from hmcap.tools.motions.mocap import list_clips, read_clip, smoothed

    entries = [e for e in list_clips(Path(os.environ["HMCAP_DATA"]) / "mocap") if e.split == "test"]
    gained = []
    for i, source in enumerate(("bandai", "cmu8", "skillmimic")):
        clip = smoothed(read_clip(next(e for e in entries if e.source == source), RATE_HZ))
        world = before_camera(clip.poses[:200], clip.trans_m[:200])
        estimate, observed = see(world, USUAL, seed=i)
        track = world_of_take(estimate, observed)
        gained.append((figures(world, *unfused(estimate)), figures(world, track.R_local, track.pelvis_m)))
    raw, fused = ({k: np.mean([g[n][k] for g in gained]) for k in gained[0][0]} for n in range(2))
    assert fused["slide"] < 3.5
    assert fused["jitter"] < 16
    assert fused["w"] < raw["w"]
    assert fused["rte"] < raw["rte"]


# -- smoother and filter -----------------------------------------------------------------------------------------------


def random_terms(rng: np.random.Generator, T: int) -> RootTerms:
    A = rng.normal(size=(T, 3, 3))
    ahead = rng.normal(size=(T, 4, 3)) * [1, 0, 1]
    move_w = rng.uniform(0, 1e4, (T, 5, 3))
    move_w[0] = 0
    return RootTerms(
        rng.normal(size=(T, 3)),
        A @ np.swapaxes(A, -1, -2) + np.eye(3),
        0.1 * rng.normal(size=(T, 5, 3)),
        move_w,
        rng.normal(size=(T, 5)),
        rng.uniform(0, 100, (T, 5)),
        Sightlines(ahead, rng.normal(size=(T, 4)), rng.uniform(0, 10, (T, 4))),
        50.0,
        2.5,
    )


def rows_of(terms: RootTerms, t: int) -> RootTerms:
    s, rows = terms.sight, slice(t, t + 1)
    return RootTerms(
        *(getattr(terms, k)[rows] for k in RootTerms.__slots__[:6]),
        Sightlines(s.ahead[rows], s.distance_m[rows], s.weight[rows]),
        terms.jerk_w,
        terms.robust,
    )


def test_the_filter_ends_where_the_smoother_ends():
    """Same equations: the newest place of the filter is the last one of the smoother, at every length."""
    terms = random_terms(np.random.default_rng(0), 12)
    running = PlaceFilter()
    for t in range(12):
        newest = running.push(rows_of(terms, t), iterations=0)
        until = RootTerms(
            *(getattr(terms, k)[: t + 1] for k in RootTerms.__slots__[:6]),
            Sightlines(*(getattr(terms.sight, k)[: t + 1] for k in Sightlines.__slots__)),
            terms.jerk_w,
            terms.robust,
        )
        np.testing.assert_allclose(newest, smooth_places(until, 0)[-1], atol=1e-4)


def test_the_smoother_is_the_least_squares_solution():
    """Against the dense normal equations."""
    T = 9
    terms = random_terms(np.random.default_rng(1), T)
    H, b = np.zeros((3 * T, 3 * T)), np.zeros(3 * T)

    def add(rows: np.ndarray, target: float, weight: float) -> None:
        H[:] += weight * np.outer(rows, rows)
        b[:] += weight * target * rows

    alone, place = terms.alone()
    for t in range(T):
        H[3 * t : 3 * t + 3, 3 * t : 3 * t + 3] += alone[t] + 1e-6 * np.eye(3)
        b[3 * t : 3 * t + 3] += place[t] + 1e-6 * terms.place_m[t]
        for axis in range(3):
            one = np.zeros(3 * T)
            if t:
                one[3 * t + axis], one[3 * t - 3 + axis] = 1, -1
                for k in range(5):
                    add(one, terms.move_m[t, k, axis], terms.move_w[t, k, axis])
            if t > 2:
                jerk = np.zeros(3 * T)
                jerk[3 * np.arange(t - 3, t + 1) + axis] = [-1, 3, -3, 1]
                add(jerk, 0.0, terms.jerk_w)
    np.testing.assert_allclose(smooth_places(terms, 0).ravel(), np.linalg.solve(H, b), atol=1e-8)


# -- legs --------------------------------------------------------------------------------------------------------------


def test_reaching_puts_the_ankles_where_they_should_be_and_keeps_bones():
    world = the_walk()
    legs = legs_of(PERSON, world.R_local)
    same = reach(legs, legs.ankle_m, legs.R_ankle, legs.R_toes)
    np.testing.assert_allclose(same.into(world.R_local), world.R_local, atol=1e-6)
    target = legs.ankle_m + np.array([0.02, 0.05, -0.03])
    moved = reach(legs, target, legs.R_ankle, legs.R_toes)
    np.testing.assert_allclose(moved.ankle_m, target, atol=1e-9)
    again = legs_of(PERSON, moved.into(world.R_local))
    np.testing.assert_allclose(again.ankle_m, target, atol=1e-9)
    np.testing.assert_allclose(again.R_toes, legs.R_toes, atol=1e-9)
    far = reach(legs, legs.ankle_m + np.array([0, -1.0, 0]), legs.R_ankle, legs.R_toes)
    length = np.linalg.norm(far.ankle_m - far.hip_m, axis=-1)
    assert (length <= PERSON.leg_m + 1e-9).all()
    assert (length > 0.99 * PERSON.leg_m).all()


def stance(*places_m: float, frames: int = 30) -> np.ndarray:
    """(T, 4, 3) foot points of which the left ones stand at one place after the other."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(len(places_m) * frames, 4, 3)) * 0.005
    points[:, :2, 0] += np.repeat(places_m, frames)[:, None]
    return points


def test_a_stance_in_two_places_is_two():
    stands = np.ones((60, 4), bool)
    out = divided(stands, stance(0.0, 0.4))
    assert np.flatnonzero(~out[:, 0]).tolist() == list(range(27, 33))
    assert np.array_equal(out[:, 0], out[:, 1])
    assert out[:, 2:].all()
    three = divided(np.ones((90, 4), bool), stance(0.0, 0.3, 0.9))
    assert [int(k) for k in np.flatnonzero(np.diff(three[:, 0].astype(int)) == -1)] == [26, 56]


def test_a_foot_that_comes_or_leaves_does_not_stand_there():
    points = stance(0.0)
    points[-2:, :2, 0] = 0.3
    points[0, :2, 0] = -0.3
    out = divided(np.ones((30, 4), bool), points)
    assert np.flatnonzero(~out[:, 0]).tolist() == [0, 28, 29]
    unequal = divided(np.ones((60, 4), bool), np.concatenate([stance(0.0)[:15], stance(0.4, frames=45)]))
    assert np.flatnonzero(~unequal[:, 0]).tolist() == list(range(12, 18))


def test_a_stance_that_wavers_stays_one():
    points = stance(0.0, 0.1)
    assert divided(np.ones((60, 4), bool), points).all()
    assert divided(np.ones((3, 4), bool), points[:3] * 100).all(), "too short to be two"


def test_the_contact_told_is_the_contact_held():
    contact = np.array([[0.3, 0.9, 0.7, 0.1]])
    told = agreed_contact(contact, np.array([[True, True, False, False]]))
    assert told.tolist() == [[0.6, 0.9, 0.4, 0.1]]


def test_a_person_of_a_shape_has_the_joints_of_the_body():
    betas = np.random.default_rng(0).normal(size=10)
    np.testing.assert_allclose(Person.of(BODY, betas).joints_m, BODY.rest_joints(betas), atol=1e-5)


# -- absence, and the frames that come out -----------------------------------------------------------------------------


def with_gap(begin: int, end: int) -> tuple[Estimate, object]:
    masked = np.zeros((120, 67), bool)
    masked[begin:end] = True
    return see(the_walk(), Errors(), masked=masked)


@pytest.mark.parametrize("run", [world_of_take, live])
def test_a_person_who_leaves_is_held_and_comes_back(run):
    estimate, observed = with_gap(40, 80)
    track = run(estimate, observed)
    assert (track.present == ((np.arange(120) < 40) | (np.arange(120) >= 80))).all()
    last = 39 if run is world_of_take else 39 + round(0.6 * RATE_HZ)
    np.testing.assert_allclose(track.pelvis_m[last + 1 : 80], np.tile(track.pelvis_m[last], (79 - last, 1)))
    assert not track.measured[40:80].any()
    assert not track.contact[40:80].any()
    assert np.isnan(track.reprojection_error[40:80]).all()
    way = np.linalg.norm((track.pelvis_m[110] - track.pelvis_m[10])[[0, 2]])
    assert abs(way - np.linalg.norm((the_walk().pelvis_m[110] - the_walk().pelvis_m[10])[[0, 2]])) < 0.1


@pytest.mark.parametrize("run", [world_of_take, live])
def test_a_short_absence_is_bridged(run):
    estimate, observed = with_gap(50, 58)
    track, whole = run(estimate, observed), run(*see(the_walk(), Errors()))
    assert not track.present[50:58].any()
    np.testing.assert_allclose(track.pelvis_m, whole.pelvis_m, atol=0.02 if run is world_of_take else 0.05)


def test_nobody_is_an_error_for_a_take_and_a_standing_body_live():
    estimate, observed = with_gap(0, 120)
    with pytest.raises(HmcapError, match="found none in 120 frames"):
        world_of_take(estimate, observed)
    track = live(estimate.part(0, 3), _rows(observed, 0, 3))
    assert not track.present.any()
    feet = feet_of(track.R_local, track.pelvis_m)
    np.testing.assert_allclose(feet[..., 1], 0, atol=0.01)
    assert all(np.isfinite(getattr(track, k)).all() for k in WorldTrack.__slots__ if k != "reprojection_error")


def test_the_past_does_not_depend_on_the_future_live():
    estimate, observed = see(the_walk(), USUAL)
    whole = live(estimate, observed)
    part = live(estimate.part(0, 50), _rows(observed, 0, 50))
    for name in WorldTrack.__slots__:
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[:50], err_msg=name)


def test_frames_carry_the_track():
    estimate, observed = with_gap(100, 120)
    track = world_of_take(estimate, observed)
    camera = Camera.from_fov(1280, 720, 60.0)
    frames = assemble(track, range(120), np.arange(120) / RATE_HZ, camera)
    assert [f.index for f in frames] == list(range(120))
    assert all(isinstance(f, MotionFrame) for f in frames)
    posed = BODY.astype(np.float64).with_shape(frames[7].betas.astype(np.float64))
    joints = posed.with_pose(frames[7].poses.astype(np.float64), frames[7].trans_m.astype(np.float64)).joints_m
    np.testing.assert_allclose(joints, joints_of(track.R_local, track.pelvis_m)[7], atol=1e-5)
    assert not frames[110].present
    assert np.isnan(frames[110].reprojection_error)
    with pytest.raises(ValueError, match="argument"):
        assemble(track, range(119), np.arange(119) / RATE_HZ, camera)
