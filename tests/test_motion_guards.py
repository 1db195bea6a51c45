"""Bad proxies do no harm: motion stays finite, within the joints' ranges, and leaps only where that has lasted."""

from dataclasses import replace

import numpy as np
import pytest
from hmcap.engines import open_engine
from hmcap.models.body import load_body
from hmcap.models.joint_limits import _STOP_DEG, beyond_rad, limited, limited_rotations, limits_rad
from hmcap.models.proxies import Proxies
from hmcap.models.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from hmcap.models.sightings import CONFIRM_S, SightingGate, Verdict, believed
from hmcap.models.skeleton import JOINT_GROUPS, JOINT_NAMES
from hmcap.models.solver import LiveSolver
from hmcap.models.streaming.legs import legs_of, reach
from hmcap.models.streaming.live import LiveMotion
from hmcap.models.streaming.person import Person
from hmcap.models.streaming.stream import MotionNetwork
from hmcap.models.streaming.take import motion_of_take
from hmcap.models.streaming.timeline import timeline
from hmcap.models.turn_gate import JOINT_DEG_S, ROOT_DEG_S, TurnGate, gated
from hmcap.tools.motion_faults.measure import joints_of, not_finite, turns_deg
from hmcap.tools.motion_faults.spoil import Fault, bystander, faults, noise, one_pixel, scaled, upside_down
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from motion_graphs import INFO, write_small_graph
from scipy.spatial.transform import Rotation
from solver_takes import CAMERA, see, walk

WALK = see(walk(np.arange(50) / 30.0))
LEAPS = (bystander, upside_down, scaled, noise)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = write_small_graph(tmp_path_factory.mktemp("graph") / "motion.onnx")
    return MotionNetwork(open_engine(path, backend="onnxruntime"), INFO, 0)


# -- sightings ---------------------------------------------------------------------------------------------------------


def shown(proxies):
    return [bool((p.confidence > 0).any()) for p in proxies]


def test_a_walk_is_believed_as_it_is():
    gate = SightingGate()
    assert all(gate.push(p) is p for p in WALK)
    assert all(a is b for a, b in zip(believed(WALK), WALK, strict=True))


@pytest.mark.parametrize("spoil", [*LEAPS, one_pixel])
@pytest.mark.parametrize("frames", [1, 4])
def test_what_leaps_and_comes_back_is_never_believed(spoil, frames):
    bad, rows = Fault("", frames, spoil).of(WALK)
    expected = [not rows.start <= i < rows.stop for i in range(len(WALK))]
    gate = SightingGate()
    assert shown([gate.push(p) for p in bad]) == expected
    assert shown(believed(bad)) == expected


@pytest.mark.parametrize("spoil", [bystander, upside_down])
def test_what_lasts_is_believed_live_after_a_while_and_in_a_take_from_its_first_frame(spoil):
    bad, rows = Fault("", 20, spoil).of(WALK)
    gate = SightingGate()
    verdicts = [gate.judge(p) for p in bad]
    wait = round(CONFIRM_S * 30) - 1
    assert verdicts[rows.start : rows.start + wait + 1] == [
        Verdict.LEAPS, *[Verdict.DOUBTED] * (wait - 1), Verdict.CONFIRMED
    ]  # fmt: skip
    assert all(v is Verdict.GOES_ON for v in verdicts[rows.start + wait + 1 : rows.stop])
    assert all(shown(believed(bad)))


def test_what_a_take_begins_with_counts_only_if_it_lasts():
    bad, _ = Fault("", 2, bystander, 0).of(WALK)
    assert shown(believed(bad)) == [False] * 2 + [True] * 48


def test_pictures_that_have_nothing_in_common_are_all_believed():
    rng = np.random.default_rng(0)
    album = [noise(p, 0, rng) for p in WALK]
    assert all(a is b for a, b in zip(believed(album), album, strict=True))
    slow = [replace(p, stamp_s=float(i)) for i, p in enumerate(album)]
    gate = SightingGate()
    assert all(gate.push(p) is p for p in slow)


# -- joints ------------------------------------------------------------------------------------------------------------


def test_limits_leave_what_is_within_and_stop_what_is_beyond():
    rng = np.random.default_rng(0)
    low, high = limits_rad()
    inside = rng.uniform(np.maximum(low, -1), np.minimum(high, 1), (200, 55, 3))
    assert limited(inside) is inside
    wild = rng.uniform(-3, 3, (200, 55, 3))
    out = limited(wild)
    assert beyond_rad(out).max() <= np.radians(_STOP_DEG) + 1e-9
    within = (wild >= low) & (wild <= high)
    np.testing.assert_array_equal(out[within], wild[within])
    # the further a joint is bent, the further it goes: no jump anywhere
    knee = JOINT_NAMES.index("left_knee")
    bend = np.zeros((2001, 55, 3))
    bend[:, knee, 0] = np.linspace(-3, 3, 2001)
    step = np.diff(limited(bend)[:, knee, 0])
    assert (step >= 0).all()
    assert step.max() < 0.0031


def test_limits_are_alike_on_both_sides():
    low, high = limits_rad()
    for name in JOINT_NAMES:
        if name.startswith("left_"):
            a, b = JOINT_NAMES.index(name), JOINT_NAMES.index("right_" + name.removeprefix("left_"))
            np.testing.assert_array_equal([low[a], high[a]] * np.array([1, -1, -1]), [
                [low[b, 0], high[b, 1], high[b, 2]], [high[b, 0], low[b, 1], low[b, 2]]])  # fmt: skip


def test_rotations_within_the_limits_keep_their_numbers():
    R = axis_angle_to_matrix(walk(np.arange(20) / 30.0).poses)
    assert limited_rotations(R) is R
    R = R.copy()
    knee = JOINT_NAMES.index("right_knee")
    R[3, knee] = axis_angle_to_matrix(np.array([-1.5, 0, 0]))
    out = limited_rotations(R)
    assert np.degrees(matrix_to_axis_angle(out[3, knee]))[0] == pytest.approx(-20, abs=0.1)
    out[3, knee] = R[3, knee]
    np.testing.assert_array_equal(out, R)


def test_a_straight_knee_does_not_change_sides():
    person = Person.of(load_body(), np.zeros(10))
    rng = np.random.default_rng(0)
    poses = np.zeros((200, 55, 3))
    poses[:, 4:6, 0] = rng.normal(0, np.radians(1.5), (200, 2)) - legs_bend(person)
    legs = legs_of(person, axis_angle_to_matrix(poses))
    out = reach(legs, legs.ankle_m + np.array([0.0, 0.03, 0.0]), legs.R_ankle, legs.R_toes)
    assert np.linalg.norm(np.diff(out.knee_m, axis=0), axis=-1).max() < 0.04


def legs_bend(person):
    """(2,) radians by which knees are bent at rest."""
    thigh, shank = person.thigh_m, person.shank_m
    return np.arctan2(np.cross(thigh, shank)[:, 0], (thigh * shank)[:, 1:].sum(-1))


# -- turns -------------------------------------------------------------------------------------------------------------


def spun(deg, joint=0):
    poses = np.zeros((len(deg), 55, 3))
    poses[:, joint, 1] = np.radians(deg)
    return axis_angle_to_matrix(poses)


def test_what_a_body_can_do_passes_as_it_is():
    R = spun(np.cumsum(np.full(60, ROOT_DEG_S / 30 - 0.1)))
    out, held = gated(R, np.arange(60) / 30)
    np.testing.assert_array_equal(out, R)
    assert not held.any()


@pytest.mark.parametrize("joint", ["pelvis", "left_elbow"])
def test_a_flip_of_a_moment_is_not_shown(joint):
    R = spun(np.where(np.isin(np.arange(40), (10, 11)), 170.0, 0.0), JOINT_NAMES.index(joint))
    out, held = gated(R, np.arange(40) / 30)
    np.testing.assert_allclose(out, spun(np.zeros(40)), atol=1e-12)
    assert held[10].any()
    groups = [joint in names or joint == "pelvis" for names in JOINT_GROUPS.values()]
    np.testing.assert_array_equal(held[10], groups)
    assert not held[[*range(10), *range(12, 40)]].any()


def test_a_flip_that_stays_is_followed_no_faster_than_a_body_turns():
    R = spun(np.where(np.arange(40) >= 10, 179.0, 0.0))
    out, held = gated(R, np.arange(40) / 30)
    turn = np.degrees(Rotation.from_matrix(out[:-1, 0].transpose(0, 2, 1) @ out[1:, 0]).magnitude())
    assert turn.max() <= ROOT_DEG_S / 30 + 1e-3
    assert held[10:12].all()
    assert not held[:10].any()
    back = 10 + 15  # 0.5 s
    np.testing.assert_allclose(out[back:], R[back:], atol=1e-9)
    assert not held[back:].any()


def test_live_a_flip_waits_and_is_followed_in_half_a_second():
    R, gate = spun(np.where(np.arange(40) >= 10, 179.0, 0.0)), TurnGate()
    out = np.stack([gate.push(r, 1 / 30)[0] for r in R])
    np.testing.assert_array_equal(out[10:12], R[8:10])
    turn = np.degrees(Rotation.from_matrix(out[:-1, 0].transpose(0, 2, 1) @ out[1:, 0]).magnitude())
    assert turn.max() <= ROOT_DEG_S / 30 + 1e-3
    np.testing.assert_allclose(out[25:], R[25:], atol=1e-9)


def test_the_gate_keeps_its_own_numbers():
    gate, R = TurnGate(), spun([0.0])[0]
    out, _ = gate.push(R, 1 / 30)
    out[:] = 7.0
    again, held = gate.push(spun([1.0])[0], 1 / 30)
    assert not held.any()
    np.testing.assert_array_equal(again, spun([1.0])[0])


# -- whole ways --------------------------------------------------------------------------------------------------------


def check_motion(frames, proxies):
    assert [f.index for f in frames] == [p.index for p in proxies]
    assert not_finite(frames) == 0
    poses = np.stack([f.poses for f in frames])
    assert np.linalg.norm(poses, axis=-1).max() <= np.pi + 1e-3
    for f in frames:
        R = f.T_cam_world[:3, :3]
        np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-5)
        assert f.confidence.min() >= 0
        assert f.confidence.max() <= 1
        assert not (f.measured & (f.confidence == 0)).any()


@pytest.mark.parametrize("fault", faults(30.0), ids=lambda f: f.name)
def test_every_fault_gives_motion_live_and_in_a_take(fault, network):
    bad, _ = replace(fault, frames=min(fault.frames, 20)).of(WALK)
    stage = LiveMotion(CAMERA, network)
    check_motion([stage.push(p) for p in bad], bad)
    check_motion(motion_of_take(bad, CAMERA, network), bad)


def test_the_solver_holds_what_leaps_and_is_back_soon():
    take = WALK[:18]
    bad, rows = Fault("", 2, noise).of(take)
    stages = LiveSolver(CAMERA), LiveSolver(CAMERA)
    clean, dirty = ([s.push(p) for p in frames] for s, frames in zip(stages, (take, bad), strict=True))
    check_motion(dirty, bad)
    assert not any(f.present or f.measured.any() for f in dirty[rows])
    model = load_body()
    apart = np.linalg.norm(joints_of(clean, model) - joints_of(dirty, model), axis=-1).mean(-1)
    assert apart[-5:].max() < 0.05
    assert turns_deg(dirty)[:, 1:22].max() < 1.5 * JOINT_DEG_S / 30


numbers = st.one_of(
    st.floats(width=32), st.sampled_from([0.0, 1.0, -1.0, 1e30, -1e30, 1e-30, float("nan"), float("inf")])
)


@st.composite
def anything(draw):
    """Proxies of the right shapes, with any numbers in some places."""
    out = []
    for p in WALK[:12]:
        arrays = {n: getattr(p, n).copy() for n in ("xy_px", "confidence", "body_xyz_m", "hands_xyz_m")}
        for array in arrays.values():
            for _ in range(draw(st.integers(0, 2))):
                value, share = draw(numbers), draw(st.sampled_from([0.02, 0.5, 1.0]))
                rng = np.random.default_rng(draw(st.integers(0, 999)))
                array[rng.random(array.shape) < share] = value
        size = draw(st.sampled_from([p.image_size_px, p.image_size_px[::-1], (0, 0), (1, 1), (10**6, 3)]))
        out.append(Proxies(p.index, p.stamp_s, size, **arrays, score=draw(numbers)))
    return out


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(anything())
def test_any_numbers_give_motion(network, proxies):
    stage = LiveMotion(CAMERA, network)
    check_motion([stage.push(p) for p in proxies], proxies)


def test_a_part_of_one_frame_has_motion():
    line = timeline(np.arange(10) * 0.041, cuts=[4, 5])
    values = np.arange(len(line.ticks_s), dtype=float)[:, None]
    out = line.smooth(values)
    assert out.shape == (10, 1)
    assert np.isfinite(out).all()
