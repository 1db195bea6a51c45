"""Generated motion: joints stay in range, feet in contact do not slide, the floor is touched and not pierced."""

from itertools import pairwise

import numpy as np
import pytest
from hmcap.models.body import load_body
from hmcap.models.errors import UsageError
from hmcap.models.markers import sole_rig
from hmcap.models.rotations import axis_angle_to_matrix
from hmcap.models.skeleton import LEFT_HAND, NUM_BODY_JOINTS, PARENTS, RIGHT_HAND
from hmcap.tools.motions.contact import contact_labels, feet_m
from hmcap.tools.motions.variety import KINDS, varied_motion
from hmcap.tools.motions.variety_keys import Key, one_foot_at_a_time, solve_keys
from hmcap.tools.motions.variety_limbs import reach_arm, reach_leg, rest, rx, ry, set_arm, set_leg, set_trunk
from hmcap.tools.motions.variety_rig import (
    ANKLE,
    HIP,
    KNEE,
    J,
    angles_of,
    beyond_limits_deg,
    centre_of_mass_m,
    place,
    rig_of,
    rotations_of,
    skin_m,
    soles_m,
    within_limits,
)
from hmcap.tools.motions.variety_touch import arm_depths_m, lead_arms_around

BODY = load_body()
RIG = rig_of(BODY)
ON_FEET = ("standing", "one leg", "lunge", "kick", "squat", "bend", "steps", "march", "dance", "sit to stand")


@pytest.fixture(scope="module", params=list(KINDS))
def made(request):
    """A clip of each kind with its joint rotations, places and skin points."""
    clip = varied_motion(np.random.default_rng(7), 5.0, kind=request.param, body=BODY)
    R = axis_angle_to_matrix(clip.poses[:, :NUM_BODY_JOINTS])
    R_world, joints = place(RIG, R, clip.trans_m + RIG.rest_m[0])
    return clip, R, R_world, joints


def test_each_kind_gives_a_clip_as_asked(made):
    clip, *_ = made
    assert clip.frames == 150
    assert (clip.fps, clip.source, clip.licence, clip.split) == (30.0, "variety", "generated", "train")
    assert np.isfinite(clip.poses).all()
    assert np.isfinite(clip.trans_m).all()
    assert not clip.poses[:, LEFT_HAND].any()
    assert not clip.poses[:, RIGHT_HAND].any()


def test_joints_stay_in_range(made):
    _, R, _, _ = made
    over = beyond_limits_deg(R)
    planted = np.concatenate([HIP, ANKLE]) - 1
    others = np.setdiff1d(np.arange(21), planted)
    assert over[:, others].max() < 1.0
    # legs that stand go where the feet are
    assert np.percentile(over[:, planted], 99) < 8.0
    assert over[:, planted].max() < 25.0


def test_knees_and_elbows_do_not_bend_backwards(made):
    _, R, _, _ = made
    angles = np.rad2deg(angles_of(R))
    assert angles[:, KNEE - 1, 0].min() > -3.0
    assert angles[:, J["left_elbow"] - 1, 0].max() < 3.0
    assert angles[:, J["right_elbow"] - 1, 0].min() > -3.0


def test_the_floor_is_touched_and_not_pierced(made):
    clip, _, R_world, joints = made
    low = np.minimum(skin_m(RIG, R_world, joints)[..., 1].min(1), soles_m(RIG, R_world, joints)[..., 1].min((1, 2)))
    assert low.min() > -0.03
    if clip.action != "jump":
        assert low.max() < 0.03
    else:
        assert low.max() > 0.03
    assert np.median(low) < 0.02


def test_feet_in_contact_do_not_slide(made):
    clip, *_ = made
    feet = feet_m(BODY, clip.poses, clip.trans_m)
    labels = contact_labels(feet, clip.fps)
    both = labels[1:] & labels[:-1]
    step_mm = 1000 * np.linalg.norm(np.diff(feet, axis=0)[..., [0, 2]], axis=-1)
    if clip.action in ON_FEET:
        assert labels.any(1).mean() > 0.6
        assert np.percentile(step_mm[both], 95) < 3.0
    if both.any():
        assert step_mm[both].mean() < 2.0


def test_motion_is_smooth(made):
    _, _, _, joints = made
    body = joints[:, :NUM_BODY_JOINTS]
    speed = np.linalg.norm(np.diff(body, axis=0), axis=-1) * 30
    acceleration = np.linalg.norm(np.diff(body, 2, axis=0), axis=-1) * 900
    assert speed.max() < 14.0
    assert acceleration.max() < 320.0
    assert speed.max() > 0.3


def test_same_draws_give_the_same_motion():
    one, two = (varied_motion(np.random.default_rng(3), 4.0, body=BODY) for _ in range(2))
    assert one.action == two.action
    assert np.array_equal(one.poses, two.poses)
    assert np.array_equal(one.trans_m, two.trans_m)
    other = varied_motion(np.random.default_rng(4), 4.0, body=BODY, kind=one.action)
    assert np.abs(other.poses - one.poses).max() > 0.1


@pytest.mark.parametrize(("seconds", "fps", "frames"), [(1 / 30, 30.0, 1), (2.0, 30.0, 60), (1.5, 60.0, 90)])
def test_length_and_rate_are_as_asked(seconds, fps, frames):
    clip = varied_motion(np.random.default_rng(1), seconds, fps, BODY, "bend")
    assert clip.frames == frames
    assert clip.fps == fps


def test_headings_and_sides_are_even():
    clips = [varied_motion(np.random.default_rng(k), 0.1, body=BODY, kind="one leg") for k in range(20)]
    facing = np.array([axis_angle_to_matrix(c.poses[0, 0])[[0, 2], 2] for c in clips])
    assert np.linalg.norm(facing.mean(0)) < 0.5
    names = [c.name.endswith("mirrored") for c in clips]
    assert 3 < sum(names) < 17


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match=r"one leg.*'moonwalk'"):
        varied_motion(np.random.default_rng(0), 1.0, kind="moonwalk", body=BODY)


def test_signs_of_the_joints():
    R = rest()
    set_leg(R, 0, 90, 0, 0, 90)  # thigh level ahead, shank down
    set_leg(R, 1, 0, 40, 0, 0)  # aside
    set_arm(R, 0, 0, 0, 0, 90)  # hanging, forearm ahead
    set_arm(R, 1, 180, 0, 0, 0)  # overhead
    _, joints = place(RIG, R, np.zeros(3))
    left_thigh, right_leg = joints[KNEE[0]] - joints[HIP[0]], joints[ANKLE[1]] - joints[HIP[1]]
    assert left_thigh[2] > 0.39
    assert (joints[ANKLE[0]] - joints[KNEE[0]])[1] < -0.41
    assert right_leg[0] < -0.5
    assert (joints[J["left_wrist"]] - joints[J["left_elbow"]])[2] > 0.2
    assert (joints[J["right_wrist"]] - joints[J["right_shoulder"]])[1] > 0.45
    bent = rest()
    set_trunk(bent, 60, 0, 0)
    _, joints = place(RIG, bent, np.zeros(3))
    assert joints[J["neck"], 2] > 0.2


def test_sides_mirror_each_other():
    rng = np.random.default_rng(5)
    R = rest()
    numbers = rng.uniform(10, 60, 5)
    for s in (0, 1):
        set_leg(R, s, *numbers)
        set_arm(R, s, *numbers, wrist_deg=(20.0, 10.0))
    _, joints = place(RIG, R, RIG.rest_m[0])
    for part in ("knee", "ankle", "foot", "shoulder", "elbow", "wrist"):
        left, right = joints[J[f"left_{part}"]], joints[J[f"right_{part}"]]
        assert np.allclose(left * [-1, 1, 1], right, atol=2e-4)
    assert np.allclose(beyond_limits_deg(R)[J["left_hip"] - 1], beyond_limits_deg(R)[J["right_hip"] - 1])


def test_angles_give_back_the_rotations_and_limits_hold_for_any_pose():
    rng = np.random.default_rng(6)
    R = axis_angle_to_matrix(rng.normal(0, 0.8, (40, NUM_BODY_JOINTS, 3)))
    angles = angles_of(R)
    assert np.allclose(rotations_of(R[:, 0], angles), R, atol=1e-9)
    inside = rotations_of(R[:, 0], within_limits(angles))
    assert beyond_limits_deg(R).max() > 10
    assert beyond_limits_deg(inside).max() < 1e-6
    assert np.allclose(rotations_of(inside[:, 0], angles_of(inside)), inside, atol=1e-9)
    well_inside = 0.8 * angles_of(inside)
    assert np.allclose(within_limits(well_inside), well_inside, atol=1e-9)


def test_limbs_reach_what_is_in_reach():
    rng = np.random.default_rng(8)
    hip = np.zeros((50, 3))
    ankle = rng.normal(0, 1, (50, 3)) * [0.3, 0.1, 0.3] + [0, -0.6, 0]
    ankle *= (rng.uniform(0.3, 0.98, 50) * RIG.leg_m / np.linalg.norm(ankle, axis=1))[:, None]
    R_foot, R_pelvis = ry(rng.uniform(-40, 40, 50)), ry(rng.uniform(-30, 30, 50)) @ rx(rng.uniform(-30, 40, 50))
    for side in (0, 1):
        parts = reach_leg(RIG, hip, ankle, R_foot, R_pelvis, side, np.broadcast_to([0, 0, 1.0], (50, 3)))
        R = np.broadcast_to(rest(), (50, 22, 3, 3)).copy()
        R[:, 0] = R_pelvis
        R[:, [HIP[side], KNEE[side], ANKLE[side]]] = np.stack(parts, axis=1)
        R_world, joints = place(RIG, R, np.zeros((50, 3)))
        assert np.allclose(joints[:, ANKLE[side]] - joints[:, HIP[side]], ankle, atol=1e-6)
        assert np.allclose(R_world[:, ANKLE[side]], R_foot, atol=1e-9)
    R = rest()
    reach_arm(RIG, R, 0, np.array([0.3, 0.2, 0.25]), np.array([1.0, -1.0, 0.0]))
    _, joints = place(RIG, R, np.zeros(3))
    assert np.allclose(joints[J["left_wrist"]] - joints[J["spine3"]], [0.3, 0.2, 0.25], atol=0.01)


def test_keys_stand_in_balance_over_the_foot_that_carries():
    R = rest()
    set_leg(R, 1, 80, 10, 0, 100)
    key = Key(R, planted=(True, False), stretch=0.97)
    solved = solve_keys(RIG, [key])
    R_world, joints = place(RIG, solved.R[0], solved.pelvis_m[0])
    sole = soles_m(RIG, R_world, joints)[0]
    assert np.abs(sole[..., 1]).max() < 0.01
    com = centre_of_mass_m(joints)
    assert sole[:, 0].min() - 0.01 < com[0] < sole[:, 0].max() + 0.01
    assert sole[:, 2].min() < com[2] < sole[:, 2].max()


def test_feet_step_one_at_a_time():
    one, two = Key(rest()), Key(rest())
    two.feet = one.feet + np.array([0.3, 0.2, 0.4, 0.0])
    keys = one_foot_at_a_time([one, two])
    assert len(keys) == 3
    moved = [(np.abs(b.feet - a.feet).max(1) > 0.01).tolist() for a, b in pairwise(keys)]
    assert sorted(map(sorted, moved)) == [[False, True], [False, True]]
    assert moved[0] != moved[1]


def test_arms_are_led_out_of_the_trunk():
    R = np.broadcast_to(rest(), (20, 22, 3, 3)).copy()
    for k in range(20):  # the hand goes from the side through the belly
        set_arm(R[k], 0, 10, 20, 85, 40 + 3 * k)
        set_arm(R[k], 1, 60, 0, 0, 10)
    before, *_ = arm_depths_m(RIG, *place(RIG, R, np.zeros((20, 3))))
    led = lead_arms_around(RIG, R, 2.0)
    after, *_ = arm_depths_m(RIG, *place(RIG, led, np.zeros((20, 3))))
    assert before[:, 0].max() > 0.05
    assert after[:, 0].max() < 0.6 * before[:, 0].max()
    assert np.array_equal(led[:, J["right_shoulder"]], R[:, J["right_shoulder"]])


def test_rig_agrees_with_the_body_model():
    clip = varied_motion(np.random.default_rng(2), 0.5, body=BODY, kind="dance")
    posed = BODY.astype(np.float64).with_shape().with_pose(clip.poses, clip.trans_m)
    R = axis_angle_to_matrix(clip.poses[:, :NUM_BODY_JOINTS])
    R_world, joints = place(RIG, R, clip.trans_m + RIG.rest_m[0])
    assert np.allclose(joints, posed.joints_m, atol=1e-6)
    assert np.allclose(soles_m(RIG, R_world, joints).reshape(-1, 8, 3), sole_rig(BODY).in_world_m(posed), atol=1e-6)
    assert (PARENTS[1:NUM_BODY_JOINTS] >= 0).all()
