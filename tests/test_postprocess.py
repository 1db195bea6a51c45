"""Post-processing of exported motion, by law: no delay, nothing invented, standing feet stand, bones stay as long."""

import dataclasses

import numpy as np
import pytest
from hmcap.models.body import load_body
from hmcap.models.errors import HmcapError, UsageError
from hmcap.models.markers import contact_rig, sole_rig
from hmcap.models.skeleton import JOINT_NAMES, PARENTS
from hmcap.models.streaming.person import Person
from hmcap.realtime.exporters.options import ExportOptions
from hmcap.realtime.exporters.prepare import prepare
from hmcap.realtime.exporters.track import Track, resample_track, uniform_track
from hmcap.realtime.parsers import export_parser
from hmcap.realtime.postprocess.chain import post_process
from hmcap.realtime.postprocess.choices import SMOOTH_HZ, parse_trim
from hmcap.realtime.postprocess.feet import lock_feet
from hmcap.realtime.postprocess.measures import calm, joints_m
from hmcap.realtime.postprocess.smooth import smooth
from hmcap.realtime.postprocess.stretches import breaks_s, seen_stretches, stretches
from hmcap.realtime.postprocess.trim import trim
from hmcap.realtime.take import Take
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from solver_takes import STEP_S, walk
from test_exporters import make_motion
from test_take import make_header

NONE = np.zeros(0)
HIP = JOINT_NAMES.index("left_hip")
LEGS = [JOINT_NAMES.index(f"{s}_{j}") for s in ("left", "right") for j in ("hip", "knee", "ankle", "foot")]
REST = np.asarray(load_body().with_shape(np.zeros(10)).joints_m, np.float64)


def make_track(count: int, fps: float = 60.0, **changes) -> Track:
    """Somebody who stands still, facing +Z, the pelvis one metre up."""
    T = np.tile(np.eye(4), (count, 1, 1))
    track = Track(
        stamps_s=np.arange(count) / fps, present=np.ones(count, bool), poses=np.zeros((count, 55, 3)),
        trans_m=np.tile([0.0, 1.4, 0.0], (count, 1)), betas=np.zeros(10), T_cam_world=T, K=T[:, :3, :3].copy(),
        contact=np.zeros((count, 4)), confidence=np.ones((count, 8)), measured=np.ones((count, 8), bool),
        reprojection_error=np.ones(count), expression=np.zeros((count, 0)),
    )  # fmt: skip
    return dataclasses.replace(track, **changes)


def same(a: Track, b: Track) -> bool:
    pairs = [(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(Track)]
    return all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in pairs)


# Trim.


@pytest.mark.parametrize(
    ("text", "span"), [("2.5:10", (2.5, 10.0)), (":10", (None, 10.0)), ("2.5:", (2.5, None)), (":", (None, None))]
)
def test_a_span_reads_as_it_is_typed(text, span):
    assert parse_trim(text) == span
    assert ExportOptions(trim=text).trim_span == span == ExportOptions(trim=span).trim_span


@pytest.mark.parametrize("text", ["", "5", "a:b", "1:2:3", "-1:2", "3:3", "5:2", "nan:", ":inf"])
def test_a_span_that_cannot_be_is_refused(text):
    with pytest.raises(UsageError, match="--trim"):
        ExportOptions(trim=text)


@given(cut=st.integers(1, 99))
def test_pieces_of_a_take_make_the_whole(cut):
    track = make_track(100)
    track = dataclasses.replace(
        track, stamps_s=3.0 + track.stamps_s, poses=np.random.default_rng(cut).normal(size=(100, 55, 3))
    )
    at = float(np.float32(track.stamps_s[cut]))  # as it may be typed
    first, second = trim(track, (None, at))[0], trim(track, (at, None))[0]
    assert len(first) == cut
    assert np.array_equal(np.concatenate([first.stamps_s, second.stamps_s]), track.stamps_s)
    assert np.array_equal(np.concatenate([first.poses, second.poses]), track.poses)


def test_a_part_outside_the_take_names_its_range():
    with pytest.raises(HmcapError, match=r"--trim 5:9.*0\.00 to 1\.65 s"):
        trim(make_track(100), (5, 9))
    with pytest.raises(HmcapError, match="none"):
        trim(make_track(100, fps=1.0), (2.2, 2.8))
    nobody = make_track(100, present=np.arange(100) < 50)
    with pytest.raises(HmcapError, match="nobody"):
        trim(nobody, (1.0, None))


# Frame rate and breaks.


def test_nothing_is_interpolated_across_a_break():
    trans = np.zeros((20, 3))
    trans[10:] = 5.0
    track = make_track(20, fps=10.0, trans_m=trans)
    breaks = breaks_s(track)
    assert breaks.tolist() == [1.0]
    dense = uniform_track(track, 60.0, breaks)
    assert len(dense) == 115
    assert set(np.unique(dense.trans_m)) == {0.0, 5.0}
    assert (dense.trans_m[dense.stamps_s >= 1.0 - 1e-9] == 5.0).all()
    assert stretches(dense, breaks) == [(0, 60), (60, 115)]
    assert len(np.unique(resample_track(track, dense.stamps_s).trans_m)) > 2


def test_stretches_end_at_cuts_leaps_and_absences():
    present = np.ones(50, bool)
    present[20:23] = False
    track = make_track(50, fps=25.0, present=present)
    breaks = breaks_s(track, [1.2, 0.0, 99.0])
    assert seen_stretches(track, breaks) == [(0, 20), (23, 30), (30, 50)]


# Smoothing.


@given(
    hz=st.floats(0.5, 20), low=st.floats(0.02, 0.2), axis=st.tuples(*[st.floats(-1, 1)] * 3), swing=st.floats(0.1, 2.5)
)
@settings(max_examples=25, deadline=None)
def test_slow_swings_pass_without_delay(hz, low, axis, swing):
    axis = np.array(axis) + np.array([0, 0, 1.1])
    t = np.arange(600) / 60
    wave = np.sin(2 * np.pi * low * hz * t)
    poses = np.zeros((600, 55, 3))
    poses[:, HIP] = swing * wave[:, None] * axis / np.linalg.norm(axis)
    track = make_track(600, poses=poses, trans_m=np.outer(wave, [0.3, 0.1, 0.0]))
    after, _ = smooth(track, 60.0, hz, REST, NONE)
    gain = 1 / (1 + 0.4142 * low**4)  # of the filter, at that frequency
    inner = slice(120, -120)
    # The best shift between before and after, by the phase of the wave in both.
    phase = np.exp(2j * np.pi * low * hz * t)[inner] * np.hanning(360)
    angles = [np.angle((x.trans_m[inner, 0] * phase.conj()).sum()) for x in (track, after)]
    assert abs(angles[0] - angles[1]) < 2e-3
    assert np.abs(after.trans_m[inner] - gain * track.trans_m[inner]).max() < 0.02 * 0.3
    turned = Rotation.from_rotvec(after.poses[inner, HIP]).inv() * Rotation.from_rotvec(poses[inner, HIP])
    assert turned.magnitude().max() < 0.05 * swing


def test_the_cut_off_is_where_it_says():
    t = np.arange(2000) / 100
    track = make_track(2000, fps=100.0, trans_m=np.outer(np.sin(2 * np.pi * 6.0 * t), [1.0, 0, 0]))
    after, _ = smooth(track, 100.0, 6.0, REST, NONE)
    gain = np.std(after.trans_m[500:-500, 0]) / np.std(track.trans_m[500:-500, 0])
    assert gain == pytest.approx(np.sqrt(0.5), abs=0.005)


def test_what_does_not_move_is_the_same_to_the_last_bit():
    rng = np.random.default_rng(0)
    track = make_track(80, poses=np.tile(rng.normal(size=(55, 3)), (80, 1, 1)))
    after, _ = smooth(track, 60.0, 6.0, REST, NONE)
    assert same(track, after)
    moving = track.poses.copy()
    moving[:, HIP] += rng.normal(size=(80, 3)) * 0.01
    after, _ = smooth(dataclasses.replace(track, poses=moving), 60.0, 6.0, REST, NONE)
    others = [j for j in range(55) if j != HIP]
    assert np.array_equal(after.poses[:, others], track.poses[:, others])
    assert not np.array_equal(after.poses[:, HIP], moving[:, HIP])


@pytest.mark.parametrize("count", [3, 10, 200])
def test_a_steady_turn_and_a_steady_walk_pass_unchanged(count):
    turn = np.outer(np.arange(count) * 0.2, [0.0, 1.0, 0.0])  # many times round, through half a turn
    poses = np.zeros((count, 55, 3))
    poses[:, 0] = Rotation.from_rotvec(turn).as_rotvec()
    trans = np.outer(np.arange(count), [0.02, 0.0, 0.01]) + np.array([0, 1, 0])
    track = make_track(count, poses=poses, trans_m=trans)
    after, _ = smooth(track, 60.0, 6.0, REST, NONE)
    assert (Rotation.from_rotvec(after.poses[:, 0]).inv() * Rotation.from_rotvec(turn)).magnitude().max() < 1e-6
    assert np.abs(after.trans_m - trans).max() < 1e-9


@given(seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_trembling_grows_less_and_ends_stay(seed):
    rng = np.random.default_rng(seed)
    count = 150
    start = Rotation.random(random_state=seed)
    path = start * Rotation.from_rotvec(np.outer(np.linspace(0, 5, count), rng.normal(size=3)))
    noisy = path * Rotation.from_rotvec(rng.normal(size=(count, 3)) * 0.02)
    poses = np.zeros((count, 55, 3))
    poses[:, HIP] = noisy.as_rotvec()
    track = make_track(count, poses=poses, trans_m=rng.normal(size=(count, 3)) * 0.01)
    after, said = smooth(track, 60.0, 6.0, REST, NONE)
    before_calm, after_calm = (calm(x, joints_m(x, REST), 60.0, NONE) for x in (track, after))
    assert after_calm.jitter < 0.3 * before_calm.jitter
    assert f"{before_calm.jitter:.1f} -> {after_calm.jitter:.1f}" in said
    R = Rotation.from_rotvec(after.poses[:, HIP])
    error = (R.inv() * path).magnitude()
    assert error[10:-10].mean() < 0.7 * (noisy.inv() * path).magnitude()[10:-10].mean()
    ends = (R.inv() * noisy).magnitude()[[0, -1]]
    assert ends.max() < 1e-6
    assert np.abs(after.trans_m[[0, -1]] - track.trans_m[[0, -1]]).max() < 1e-9


def test_nothing_leaks_over_cuts_and_absences():
    rng = np.random.default_rng(3)
    trans = rng.normal(size=(90, 3)) * 0.01
    trans[45:] += (3.0, 0, 0)
    present = np.ones(90, bool)
    present[60:70] = False
    track = make_track(90, trans_m=trans, present=present)
    breaks = breaks_s(track)
    after, _ = smooth(track, 60.0, 6.0, REST, breaks)
    assert np.array_equal(after.trans_m[60:70], trans[60:70])
    for a, b in ((0, 45), (45, 60), (70, 90)):
        alone = dataclasses.replace(make_track(b - a), trans_m=trans[a:b])
        assert np.allclose(smooth(alone, 60.0, 6.0, REST, NONE)[0].trans_m, after.trans_m[a:b], atol=1e-12)


def test_speech_and_glances_are_left_alone():
    poses = np.random.default_rng(0).normal(size=(60, 55, 3)) * 0.1
    after, _ = smooth(make_track(60, poses=poses), 60.0, 6.0, REST, NONE)
    assert np.array_equal(after.poses[:, 22:25], poses[:, 22:25])


def test_a_cut_off_beyond_the_footage_changes_nothing_and_says_so():
    track = make_track(20, fps=12.0, trans_m=np.random.default_rng(0).normal(size=(20, 3)))
    after, said = smooth(track, 12.0, 6.0, REST, NONE)
    assert after is track
    assert "nothing" in said


@pytest.mark.parametrize("hz", [0, -1, float("nan"), 1e6, True])
def test_cut_offs_that_cannot_be_are_refused(hz):
    with pytest.raises(UsageError, match="--smooth"):
        ExportOptions(smooth=hz)


def test_the_command_line_knows_a_usual_cut_off():
    parse = export_parser().parse_args
    assert parse(["a.hmcap", "--to", "bvh", "--smooth"]).smooth == SMOOTH_HZ
    assert parse(["a.hmcap", "--smooth", "8", "--to", "bvh"]).smooth == 8
    with pytest.raises(UsageError, match=r"--smooth 6, or put --smooth last"):
        parse(["--smooth", "a.hmcap", "--to", "bvh"])


# Feet.


def walking(count: int = 300, fps: float = 60.0, sway_m: float = 0.02) -> tuple[Track, Track]:
    """A walk whose feet stand, and the same with a pelvis that sways, so that they slide; with its true contact."""
    truth = walk(np.arange(count) / fps)
    left = np.floor(truth.stamps_s / STEP_S).astype(int) % 2 == 0
    contact = np.stack([left, left, ~left, ~left], axis=1) * 0.9 + 0.02
    true = make_track(count, fps, poses=truth.poses, trans_m=truth.trans_m, contact=contact)
    t = truth.stamps_s
    sway = np.stack([np.sin(2.1 * t + 1), 0.4 * np.sin(3.3 * t), np.sin(1.7 * t)], axis=1) * sway_m
    return true, dataclasses.replace(true, trans_m=true.trans_m + sway)


def points(track: Track, rig=contact_rig) -> np.ndarray:
    model = load_body()
    return rig(model).in_world_m(model.with_shape(track.betas.astype(np.float64)).with_pose(track.poses, track.trans_m))


def planted(track: Track) -> list[tuple[int, int, int]]:
    """Contact point, first frame and end of each run of true contact."""
    out = []
    for k in range(4):
        edges = np.flatnonzero(np.diff(np.r_[0, (track.contact[:, k] > 0.5).astype(int), 0]))
        out += [(k, int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a > 8]
    return out


@pytest.fixture(scope="module")
def person() -> Person:
    return Person.of(load_body(), np.zeros(10))


def test_standing_feet_stand(person):
    _, slid = walking()
    held, said = lock_feet(slid, 60.0, person, NONE)
    before, after = points(slid), points(held)
    assert max(np.ptp(before[a:b, k], axis=0).max() for k, a, b in planted(slid)) > 0.01
    for k, a, b in planted(slid):
        assert np.ptp(after[a:b, k], axis=0).max() < 5e-4
    assert points(held, sole_rig)[..., 1].min() > -5e-4
    assert "sliding" in said
    # where the foot was, on the whole
    for k, a, b in planted(slid):
        assert np.linalg.norm(np.median(after[a:b, k] - before[a:b, k], axis=0)[[0, 2]]) < 0.01


def test_bones_keep_their_length_and_the_rest_of_the_body_its_pose(person):
    _, slid = walking()
    held, _ = lock_feet(slid, 60.0, person, NONE)
    was, now = joints_m(slid, REST), joints_m(held, REST)

    def bones(xyz):
        return np.linalg.norm(xyz[:, 1:] - xyz[:, PARENTS[1:]], axis=-1)

    assert np.abs(bones(was) - bones(now)).max() < 1e-9
    others = [j for j in range(55) if j not in LEGS]
    assert np.array_equal(held.poses[:, others], slid.poses[:, others])
    assert np.abs(held.trans_m - slid.trans_m)[:, [0, 2]].max() < 1e-12
    drop = (slid.trans_m - held.trans_m)[:, 1]
    assert drop.min() > -1e-9
    assert drop.max() < 0.0301
    # the knees go on bending the way they did
    for side in ("left", "right"):
        knee = JOINT_NAMES.index(f"{side}_knee")
        assert np.abs(held.poses[:, knee] - slid.poses[:, knee]).max() < 0.5
        assert held.poses[:, knee, 0].min() > 0


def test_holding_adds_no_jumps(person):
    _, slid = walking()
    held, _ = lock_feet(slid, 60.0, person, NONE)
    was, now = (calm(x, joints_m(x, REST), 60.0, NONE) for x in (slid, held))
    assert now.acceleration < was.acceleration + 0.3

    def largest_step(track):
        return np.linalg.norm(np.diff(joints_m(track, REST)[:, LEGS], axis=0), axis=-1).max()

    assert largest_step(held) < 1.3 * largest_step(slid)


def test_away_from_stances_nothing_changes(person):
    true, slid = walking(600)
    slid = dataclasses.replace(slid, contact=np.where(np.arange(600)[:, None] < 200, slid.contact, 0.0))
    high = slid.trans_m + np.array([0, 0.2, 0])  # well off the floor, so that nothing has to be lifted
    slid = dataclasses.replace(slid, trans_m=np.where(np.arange(600)[:, None] < 260, slid.trans_m, high))
    held, _ = lock_feet(slid, 60.0, person, NONE)
    assert np.array_equal(held.poses[260:], slid.poses[260:])
    assert np.array_equal(held.trans_m[260:], slid.trans_m[260:])
    assert not np.array_equal(held.poses[:200], slid.poses[:200])
    # the whole of it without any contact, in the air
    flying = dataclasses.replace(true, trans_m=true.trans_m + np.array([0, 0.5, 0]), contact=np.zeros((600, 4)))
    assert same(lock_feet(flying, 60.0, person, NONE)[0], flying)


def test_holding_again_changes_nothing(person):
    _, slid = walking()
    once, _ = lock_feet(slid, 60.0, person, NONE)
    twice, _ = lock_feet(once, 60.0, person, NONE)
    assert np.abs(joints_m(once, REST) - joints_m(twice, REST)).max() < 1e-3
    inside = np.concatenate([np.arange(a, b) for _, a, b in planted(slid)])
    assert np.abs(points(once)[inside] - points(twice)[inside]).max() < 5e-4


def test_feet_that_stand_already_stay(person):
    true, _ = walking()
    on_floor = dataclasses.replace(true, trans_m=true.trans_m - [0, points(true, sole_rig)[..., 1].min(), 0])
    held, _ = lock_feet(on_floor, 60.0, person, NONE)
    assert np.abs(points(held) - points(on_floor)).max() < 0.004


def test_straight_knees_never_change_sides(person):
    rng = np.random.default_rng(0)
    poses = np.zeros((120, 55, 3))
    for side, sign in (("left", 1), ("right", -1)):
        poses[:, JOINT_NAMES.index(f"{side}_hip"), 2] = sign * 0.15
        # about straight: the bones of the rest pose bend a little by themselves
        poses[:, JOINT_NAMES.index(f"{side}_knee"), 0] = -0.05 + rng.normal(size=120) * 0.02
    high = make_track(120, poses=poses, contact=np.ones((120, 4)))
    lowest = points(high, sole_rig)[..., 1].min(1)
    level = 0.004 + 0.004 * np.sin(np.arange(120) / 10)  # feet that touch and yet float, now more and now less
    high = dataclasses.replace(high, trans_m=high.trans_m + np.outer(level - lowest, [0, 1, 0]))
    held, _ = lock_feet(high, 60.0, person, NONE)
    for side in ("left", "right"):
        knee = held.poses[:, JOINT_NAMES.index(f"{side}_knee"), 0]
        assert knee.min() > -0.12
        assert np.abs(np.diff(knee)).max() < 0.12


def test_a_foot_that_turns_turns_on_its_ball(person):
    poses = np.zeros((90, 55, 3))
    poses[:, 0, 1] = np.linspace(0, 1.0, 90)
    poses[:, [JOINT_NAMES.index(f"{s}_hip") for s in ("left", "right")], 0] = -0.3
    poses[:, [JOINT_NAMES.index(f"{s}_knee") for s in ("left", "right")], 0] = 0.6
    poses[:, [JOINT_NAMES.index(f"{s}_ankle") for s in ("left", "right")], 0] = -0.3
    contact = np.zeros((90, 4))
    contact[:, :2] = 0.9
    track = make_track(90, poses=poses, contact=contact)
    track = dataclasses.replace(track, trans_m=track.trans_m - [0, points(track, sole_rig)[..., 1].min(), 0])
    after = points(lock_feet(track, 60.0, person, NONE)[0])
    assert np.ptp(after[:, 1], axis=0).max() < 5e-4
    assert np.ptp(after[:, 0], axis=0).max() > 0.05


def test_a_foot_on_a_step_is_not_pulled_to_the_floor(person):
    _, slid = walking()
    raised = dataclasses.replace(slid, trans_m=slid.trans_m + np.array([0, 0.25, 0]))
    after = points(lock_feet(raised, 60.0, person, NONE)[0])
    for k, a, b in planted(raised):
        assert after[a:b, k, 1].min() > 0.2


def test_what_is_unknown_of_contact_is_no_contact(person):
    _, slid = walking(120)
    unknown = dataclasses.replace(slid, contact=np.full((120, 4), np.nan), trans_m=slid.trans_m + np.array([0, 0.1, 0]))
    assert same(lock_feet(unknown, 60.0, person, NONE)[0], unknown)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_short_takes_pass(person, count):
    _, slid = walking(count)
    for track in (lock_feet(slid, 60.0, person, NONE)[0], smooth(slid, 60.0, 6.0, REST, NONE)[0]):
        assert len(track) == count
        assert np.isfinite(track.poses).all()


# All of it.


def test_the_steps_come_in_their_order_and_say_what_they_did():
    _, slid = walking(240, 24.0)
    body = load_body().with_shape(np.zeros(10))
    options = ExportOptions(fps=60, smooth=6, lock_feet=True, trim="1:6")
    track, fps, changes = post_process(slid, 24.0, body, options)
    assert fps == 60
    assert [said.split()[0] for said in changes] == ["trim:", "resampled", "smooth:", "feet:"]
    assert "24 -> 60 fps, 120 -> 298 frames" in changes[1]
    assert track.stamps_s[0] == pytest.approx(1.0)
    assert np.allclose(np.diff(track.stamps_s), 1 / 60)
    untouched, _, nothing = post_process(slid, 24.0, body, ExportOptions())
    assert same(untouched, slid)
    assert nothing == ()


def test_a_prepared_take_carries_the_changes():
    take = Take(make_header(fps=25.0), (), tuple(make_motion(50, stamps_s=np.arange(50) / 25)))
    ready = prepare(take, ExportOptions(smooth=5, trim=":1"))
    assert len(ready.track) == 25
    assert [said.split(":")[0] for said in ready.changes] == ["trim", "smooth"]
