"""What the image does not show: measured and held groups, hands that relax, legs that stand or sit."""

from dataclasses import replace

import numpy as np
import pytest
from fusion_takes import PERSON, Errors, World, feet_of, joints_of, made_walk, see
from hmcap.models.motion import GROUP_NAMES
from hmcap.models.observed import Observed
from hmcap.models.proxies import LEFT_HAND, PROXY_NAMES, RIGHT_HAND
from hmcap.models.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from hmcap.models.skeleton import JOINT_NAMES
from hmcap.models.skeleton import LEFT_HAND as LEFT_FINGERS
from hmcap.models.solver.assemble import group_confidence
from hmcap.models.streaming.fusion import world_of_take
from hmcap.models.streaming.groups import Hysteresis, confidence_of_groups
from hmcap.models.streaming.held import LiveShare, Times, relaxed_hands, share_of_take
from hmcap.models.streaming.records import Estimate
from hmcap.models.streaming.world_settings import WorldSettings
from test_motion_fusion import live

TIMES = Times(0.3, 0.5, 0.2)
UPPER = np.array([not any(k in n for k in ("knee", "ankle", "toe", "heel")) for n in PROXY_NAMES])
"""(67,) what a webcam sees of a person at a desk."""


def standing(frames: int = 90, height_m: float | None = None, thigh_deg: float = 0.0) -> World:
    """Somebody who stands, or sits, and sways."""
    world = made_walk(frames)
    sway = 0.04 * np.sin(np.arange(frames) / 12)
    R = np.tile(world.R_local[:1], (frames, 1, 1, 1))
    R[:, 1:12] = np.eye(3)
    for side in ("left", "right"):
        R[:, JOINT_NAMES.index(f"{side}_hip")] = axis_angle_to_matrix(np.array([-np.radians(thigh_deg), 0, 0]))
        R[:, JOINT_NAMES.index(f"{side}_knee")] = axis_angle_to_matrix(np.array([np.radians(thigh_deg), 0, 0]))
    pelvis = np.stack([sway, np.full(frames, height_m or 0.99 * PERSON.standing_m), 0 * sway], axis=-1)
    return replace(world, R_local=R, pelvis_m=pelvis)


def hands_hidden(frames: int, begin: int, end: int) -> np.ndarray:
    masked = np.zeros((frames, 67), bool)
    masked[begin:end, LEFT_HAND] = True
    return masked


# -- confidence --------------------------------------------------------------------------------------------------------


def test_confidence_is_that_of_the_proxies_where_no_error_is_expected():
    c = np.random.default_rng(0).uniform(0, 1, (5, 67))
    np.testing.assert_allclose(confidence_of_groups(c, np.zeros((5, 8))), group_confidence(c), atol=1e-12)
    assert (confidence_of_groups(c, np.full((5, 8), 0.3)) < 0.5 * group_confidence(c)).all()


def test_a_group_changes_its_state_only_beyond_the_other_threshold():
    settings = WorldSettings(measured_above=0.35, held_below=0.25)
    c = np.array([0.9, 0.3, 0.26, 0.24, 0.3, 0.34, 0.36, 0.3])
    states = Hysteresis(settings).run(np.repeat(c[:, None], 8, axis=1))
    assert (states == states[:, :1]).all()
    assert states[:, 0].tolist() == [True, True, True, False, False, False, True, True]


@pytest.mark.parametrize("run", [world_of_take, live])
def test_a_group_out_of_view_is_held_and_the_others_are_measured(run):
    masked = np.zeros((60, 67), bool)
    for part in ("left_elbow", "left_wrist"):
        masked[:, PROXY_NAMES.index(part)] = True
    track = run(*see(made_walk(60), Errors(), masked=masked))
    arm = GROUP_NAMES.index("left_arm")
    assert not track.measured[:, arm].any()
    assert (track.confidence[:, arm] == 0).all()
    assert np.delete(track.measured, arm, axis=1).all()


# -- hands -------------------------------------------------------------------------------------------------------------


def test_shares_wait_relax_and_return():
    seen = np.ones(120, bool)
    seen[30:90] = False
    share = share_of_take(seen, TIMES)
    assert (share[seen] == 1).all()
    assert (share[30:38] == 1).all()
    assert (share[57:83] == 0).all()
    assert np.abs(np.diff(share)).max() < 0.35
    running = LiveShare(TIMES)
    causal = np.array([running.push(bool(s)) for s in seen])
    assert (causal[:38] == 1).all()
    assert (causal[57:90] == 0).all()
    assert causal[96:].min() > 0.99
    never = share_of_take(np.zeros(50, bool), TIMES)
    assert (never == 0).all()


def test_a_short_absence_of_a_hand_changes_nothing():
    seen = np.ones(60, bool)
    seen[20:26] = False
    assert (share_of_take(seen, TIMES) == 1).all()


@pytest.mark.parametrize("run", [world_of_take, live])
def test_a_hand_out_of_view_relaxes_smoothly_and_is_held(run):
    world = made_walk(120)
    estimate, observed = see(world, Errors(), masked=hands_hidden(120, 30, 90))
    track = run(estimate, observed)
    fingers = track.R_local[:, LEFT_FINGERS]
    np.testing.assert_allclose(fingers[60:80], np.tile(relaxed_hands()[:15], (20, 1, 1, 1)), atol=1e-9)
    lag = 2e-2 if run is live else 1e-2
    np.testing.assert_allclose(fingers[:30], estimate.R_local[:30, 24:39], atol=lag)
    np.testing.assert_allclose(fingers[98:], estimate.R_local[98:, 24:39], atol=lag)
    turns = matrix_to_axis_angle(np.swapaxes(fingers[1:], -1, -2) @ fingers[:-1])
    assert np.degrees(np.linalg.norm(turns, axis=-1)).max() < 15
    left, right = GROUP_NAMES.index("left_hand"), GROUP_NAMES.index("right_hand")
    assert not track.measured[31:90, left].any()
    assert track.measured[:, right].all()


# -- legs --------------------------------------------------------------------------------------------------------------


def upper_body(world: World) -> tuple[Estimate, Observed]:
    """The networks guess legs that nobody sees: they kick about, and claim contacts."""
    T = len(world.pelvis_m)
    estimate, observed = see(world, Errors(), masked=np.tile(~UPPER, (T, 1)))
    R = estimate.R_local.copy()
    kick = 0.4 * np.sin(np.arange(T) / 3)[:, None] * [1.0, 0, 0]
    for joint in ("left_hip", "right_knee"):
        j = JOINT_NAMES.index(joint) - 1
        R[:, j] = R[:, j] @ axis_angle_to_matrix(kick)
    return replace(estimate, R_local=R, contact=(np.arange(T)[:, None] // 5 % 2) * np.ones((1, 4))), observed


@pytest.mark.parametrize("run", [world_of_take, live])
def test_a_person_without_legs_in_view_stands_on_quiet_legs(run):
    world = standing()
    track = run(*upper_body(world))
    joints, feet = joints_of(track.R_local, track.pelvis_m), feet_of(track.R_local, track.pelvis_m)
    for side in ("left", "right"):
        assert not track.measured[:, GROUP_NAMES.index(f"{side}_leg")].any()
    assert track.measured[:, GROUP_NAMES.index("torso")].all()
    np.testing.assert_allclose(feet[..., 1], 0, atol=0.03)
    assert np.linalg.norm(np.diff(feet, axis=0), axis=-1).max() < 0.006  # no stepping
    knees = joints[:, [JOINT_NAMES.index(f"{s}_knee") for s in ("left", "right")]]
    assert (knees[..., 1] > 0.35).all()
    assert (np.abs(knees - feet[:, ::2])[..., [0, 2]] < 0.35).all()


@pytest.mark.parametrize("run", [world_of_take, live])
def test_a_person_whose_pelvis_is_low_sits(run):
    track = run(*upper_body(standing(height_m=0.62, thigh_deg=85.0)))
    joints = joints_of(track.R_local, track.pelvis_m)[40:]
    feet = feet_of(track.R_local, track.pelvis_m)[40:]
    hips, knees = (joints[:, [JOINT_NAMES.index(f"{s}_{j}") for s in ("left", "right")]] for j in ("hip", "knee"))
    assert np.linalg.norm((knees - hips)[..., [0, 2]], axis=-1).min() > 0.25  # thighs lie
    assert np.abs(knees - hips)[..., 1].max() < 0.25
    np.testing.assert_allclose(feet[..., 1], 0, atol=0.03)


@pytest.mark.parametrize("run", [world_of_take, live])
def test_legs_that_come_into_view_are_followed_without_a_jump(run):
    world = made_walk(150)
    masked = np.zeros((150, 67), bool)
    masked[:60] = ~UPPER
    estimate, observed = see(world, Errors(), masked=masked)
    track = run(estimate, observed)
    left = GROUP_NAMES.index("left_leg")
    assert not track.measured[:55, left].any()
    assert track.measured[100:, left].all()
    joints, truth = joints_of(track.R_local, track.pelvis_m), joints_of(world.R_local, world.pelvis_m)
    relative = (joints - joints[:, :1] - truth + truth[:, :1])[110:, :22]
    assert np.linalg.norm(relative, axis=-1).mean() < 0.02
    step = np.linalg.norm(np.diff(joints[:, [7, 8]], axis=0), axis=-1)
    assert step.max() < 0.12


def test_hands_of_both_sides_relax_alike():
    left, right = (matrix_to_axis_angle(relaxed_hands()[part]) for part in (slice(0, 15), slice(15, 30)))
    np.testing.assert_allclose(left * [1, -1, -1], right, atol=1e-9)
    assert RIGHT_HAND.start == LEFT_HAND.stop
