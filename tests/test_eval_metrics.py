"""The error measures: hand-worked cases, invariances, and what becomes of degenerate geometry."""

import numpy as np
import pytest
from hmcap.tools.evaluation import metrics as m
from hmcap.tools.evaluation.metrics.motion import STILL_M
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

pytestmark = pytest.mark.filterwarnings("error")

seeds = st.integers(0, 2**32 - 1)


@pytest.fixture
def joints_m():
    return np.random.default_rng(0).normal(scale=0.4, size=(5, 12, 3))


def _walk(rng: np.random.Generator, frames: int) -> np.ndarray:
    """(T, 12, 3) a person of random shape that wanders in the world."""
    track = np.cumsum(rng.normal(scale=0.05, size=(frames, 1, 3)), 0)
    return track + rng.normal(scale=0.4, size=(1, 12, 3)) + rng.normal(scale=0.02, size=(frames, 12, 3))


def _similarity(rng: np.random.Generator, scale: float):
    R, shift = Rotation.random(rng=rng).as_matrix(), rng.normal(scale=3, size=3)
    return lambda points: scale * points @ R.T + shift


# Positions


def test_one_joint_three_four_five(joints_m):
    moved = joints_m.copy()
    moved[:, 3] += [0.03, 0.04, 0.0]
    np.testing.assert_allclose(m.mpjpe_mm(moved, joints_m), 50 / 12)
    errors = m.joint_errors_mm(moved, joints_m)
    np.testing.assert_allclose(errors[:, 3], 50)
    assert not np.delete(errors, 3, axis=1).any()


def test_root_alignment_takes_out_a_shift_and_nothing_else(joints_m):
    np.testing.assert_allclose(m.mpjpe_mm(joints_m + np.array([1.0, 2.0, 3.0]), joints_m, (0, 1)), 0, atol=1e-9)
    assert (m.mpjpe_mm(joints_m * 1.1, joints_m, (0, 1)) > 10).all()


def test_an_error_at_the_root_reaches_every_joint():
    truth = np.zeros((1, 4, 3))
    moved = truth.copy()
    moved[0, 0, 0] = 0.04  # one of two root joints: their middle moves 20 mm the other way for all
    np.testing.assert_allclose(m.joint_errors_mm(moved, truth, (0, 1)), [[20, 20, 20, 20]])


def test_procrustes_takes_out_every_similarity(joints_m):
    R = Rotation.random(5, rng=np.random.default_rng(1)).as_matrix()
    seen = 1.7 * np.einsum("tij,tmj->tmi", R, joints_m) + [0.3, -2.0, 5.0]
    np.testing.assert_allclose(m.procrustes(seen, joints_m), joints_m, atol=1e-12)
    assert m.pa_mpjpe_mm(seen, joints_m).max() < 1e-8


@given(seeds, st.floats(0.1, 10))
@settings(max_examples=25, deadline=None)
def test_procrustes_error_does_not_see_how_the_prediction_lies(seed, scale):
    rng = np.random.default_rng(seed)
    truth, seen = rng.normal(scale=0.4, size=(2, 3, 12, 3))
    moved = _similarity(rng, scale)(seen)
    np.testing.assert_allclose(m.pa_mpjpe_mm(moved, truth), m.pa_mpjpe_mm(seen, truth), rtol=1e-9)


def test_procrustes_never_mirrors(joints_m):
    assert (m.pa_mpjpe_mm(joints_m * [-1, 1, 1], joints_m) > 50).all()


def test_procrustes_is_never_worse_than_root_alignment(joints_m):
    seen = joints_m + np.random.default_rng(2).normal(scale=0.05, size=joints_m.shape)
    # both are compared by their squares, which is what the alignment minimises
    aligned = ((m.procrustes(seen, joints_m) - joints_m) ** 2).sum((1, 2))
    shifted = seen - seen.mean(1, keepdims=True) + joints_m.mean(1, keepdims=True)
    assert (aligned <= ((shifted - joints_m) ** 2).sum((1, 2)) + 1e-12).all()


def test_procrustes_of_a_square_stretched_to_one_side():
    # Unit square against a rectangle 2 x 1: scale (2 + 1) / 2 = 1.5, so each corner misses by 0.25 along both sides.
    square = np.array([[[x, y, 0.0] for x in (-0.5, 0.5) for y in (-0.5, 0.5)]])
    np.testing.assert_allclose(m.pa_mpjpe_mm(square, square * [2, 1, 1]), 1000 * np.hypot(0.25, 0.25))
    assert m.fit_similarity(square, square * [2, 1, 1]).scale == pytest.approx(1.5)
    assert m.fit_similarity(square, square * [2, 1, 1], with_scale=False).scale == 1


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_rigid_alignment_agrees_with_scipy(seed):
    source, target = np.random.default_rng(seed).normal(size=(2, 9, 3))
    move = m.fit_similarity(source, target, with_scale=False)
    R, _ = Rotation.align_vectors(target - target.mean(0), source - source.mean(0))
    np.testing.assert_allclose(move.R, R.as_matrix(), atol=1e-9)
    np.testing.assert_allclose(move(source).mean(0), target.mean(0), atol=1e-12)


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_no_other_similarity_is_nearer(seed):
    rng = np.random.default_rng(seed)
    source, target = rng.normal(size=(2, 9, 3))
    best = m.fit_similarity(source, target)
    error = ((best(source) - target) ** 2).sum()
    for _ in range(10):
        R = Rotation.from_rotvec(rng.normal(scale=0.05, size=3)).as_matrix() @ best.R
        scale, shift = best.scale * rng.normal(1, 0.05), best.shift_m + rng.normal(scale=0.05, size=3)
        assert ((m.Similarity(scale, R, shift)(source) - target) ** 2).sum() >= error


def test_joints_that_the_truth_does_not_know_do_not_count(joints_m):
    rng = np.random.default_rng(3)
    seen = joints_m + rng.normal(scale=0.05, size=joints_m.shape)
    part = joints_m.copy()
    part[2, 7:] = np.nan
    for measure in (m.mpjpe_mm, m.pa_mpjpe_mm):
        assert measure(seen, part)[2] == pytest.approx(measure(seen[2, :7], joints_m[2, :7]))
        np.testing.assert_array_equal(np.delete(measure(seen, part), 2), np.delete(measure(seen, joints_m), 2))


def test_degenerate_point_sets(joints_m):
    two = joints_m.copy()
    two[0, 2:] = np.nan
    two[1] = np.nan
    assert np.isnan(m.pa_mpjpe_mm(two, joints_m)).tolist() == [True, True, False, False, False]
    line = joints_m[:, :, :1] * [1.0, 2.0, 3.0]  # every joint on one line
    turned = line @ Rotation.from_euler("xyz", [1, 2, 3]).as_matrix().T
    assert m.pa_mpjpe_mm(turned, line).max() < 1e-8
    point = np.broadcast_to(joints_m[:, :1], joints_m.shape)
    spread = np.linalg.norm(joints_m - joints_m.mean(1, keepdims=True), axis=-1).mean(1) * 1000
    np.testing.assert_allclose(m.pa_mpjpe_mm(point, joints_m), spread)
    assert m.pa_mpjpe_mm(point, point).max() < 1e-9


# Motion


@pytest.mark.parametrize("fps", [30.0, 60.0])
def test_derivatives_are_per_second_whatever_the_rate(fps):
    t = np.arange(0, 2, 1 / fps)
    still = np.zeros((len(t), 2, 3))
    falling, jerking = still.copy(), still.copy()
    falling[..., 1] = (9.81 / 2 * t**2)[:, None]
    jerking[..., 0] = (60 / 6 * t**3)[:, None]
    assert m.acceleration_error(falling, still, fps) == pytest.approx(9.81)
    assert m.jitter(falling, fps) == pytest.approx(0, abs=1e-6)
    assert m.jitter(jerking, fps) == pytest.approx(6.0)


def test_jitter_of_a_swinging_arm_agrees_at_30_and_60_frames_a_second():
    def swing(fps):
        t = np.arange(0, 4, 1 / fps)
        angle = np.sin(2 * np.pi * 0.8 * t)
        return np.stack([np.cos(angle), np.sin(angle), 0.2 * t], axis=-1)[:, None]

    assert m.jitter(swing(60.0), 60.0) == pytest.approx(m.jitter(swing(30.0), 30.0), rel=0.02)


def test_acceleration_does_not_see_a_steady_drift(joints_m):
    drift = np.arange(5)[:, None, None] * [0.1, 0.2, 0.3]
    assert m.acceleration_error(joints_m + drift, joints_m, 30.0) < 1e-9


def test_derivatives_stop_at_missing_rows_and_at_gaps_of_the_footage():
    x = np.random.default_rng(0).normal(size=(12, 2, 3))
    missing = x.copy()
    missing[5] = np.nan
    zero = np.zeros_like(x)
    good = ~np.isnan(m.acceleration_errors_m_s2(missing, zero, 30.0)).all(1)
    assert np.flatnonzero(good).tolist() == [1, 2, 3, 7, 8, 9, 10]
    index = np.array([0, 2, 4, 6, 8, 10, 20, 22, 24, 26, 28, 30])  # every other frame, and a gap
    good = ~np.isnan(m.jitters_10m_s3(x, 30.0, index)).all(1)
    assert np.flatnonzero(good).tolist() == [1, 2, 3, 7, 8, 9]
    both = m.jitters_10m_s3(x, 30.0)
    np.testing.assert_array_equal(m.jitters_10m_s3(x, 30.0, index)[good], both[good])


@pytest.mark.parametrize("frames", [0, 1, 2, 3])
def test_too_few_rows_have_no_derivative(frames):
    x = np.zeros((frames, 2, 3))
    assert np.isnan(m.jitter(x, 30.0))
    assert np.isnan(m.foot_sliding_mm(x, x)).all() == (frames < 2)
    assert np.isnan(m.acceleration_error(x, x, 30.0)) == (frames < 3)


def test_foot_sliding_counts_only_while_the_true_foot_stands():
    true = np.zeros((5, 2, 3))
    true[:, 0, 0] = [0, 0, 0.5, 0.5, 0.5]  # takes a step between rows 1 and 2
    seen = true.copy()
    seen[:, 0, 2] = [0, 0.003, 0.1, 0.104, np.nan]
    expected = np.array([[np.nan, np.nan], [3, 0], [np.nan, 0], [4, 0], [np.nan, 0]])
    np.testing.assert_allclose(m.foot_sliding_mm(seen, true), expected, atol=1e-12)
    # the vertical counts, and the threshold is for the truth alone
    seen[1, 1] = [0, 0.02, 0]
    assert m.foot_sliding_mm(seen, true)[1, 1] == pytest.approx(20)


def test_foot_sliding_threshold_is_one_centimetre():
    assert STILL_M == 0.01
    true = np.zeros((2, 2, 3))
    true[1, :, 0] = [0.0099, 0.0101]
    assert np.isnan(m.foot_sliding_mm(true, true)[1]).tolist() == [False, True]


# World


@given(seeds, st.floats(0.3, 3))
@settings(max_examples=15, deadline=None)
def test_world_errors_do_not_see_where_the_world_lies(seed, scale):
    rng = np.random.default_rng(seed)
    truth = _walk(rng, 120)
    seen = truth + np.cumsum(rng.normal(scale=0.01, size=(120, 1, 3)), 0)
    move = _similarity(rng, scale)
    for here, there in zip(m.world_errors_mm(seen, truth), m.world_errors_mm(move(seen), truth), strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-6, atol=1e-8)
    assert max(x.max() for x in m.world_errors_mm(move(truth), truth)) < 1e-6


def test_world_errors_of_a_drift():
    # The prediction is right but for a drift of 10 mm a row along x, seen from its first two rows.
    truth = np.broadcast_to(np.random.default_rng(0).normal(scale=0.4, size=(12, 3)), (100, 12, 3))
    seen = truth.copy()
    seen[:, :, 0] += np.maximum(np.arange(100) - 1, 0)[:, None] * 0.01
    w, wa = m.world_errors_mm(seen, truth)
    np.testing.assert_allclose(
        w, np.broadcast_to(10.0 * np.maximum(np.arange(100) - 1, 0)[:, None], (100, 12)), atol=1e-6
    )
    assert wa.mean() < w.mean() / 2


def test_each_chunk_of_100_rows_is_aligned_by_itself():
    rng = np.random.default_rng(1)
    truth = _walk(rng, 250)
    chunks = np.repeat([0, 1, 2], [100, 100, 50])
    np.testing.assert_array_equal(m.chunk_numbers(np.ones(250, bool)), chunks)
    moves = [_similarity(rng, s) for s in (0.5, 1.0, 2.0)]
    seen = np.concatenate([moves[k](truth[chunks == k]) for k in range(3)])
    assert max(x.max() for x in m.world_errors_mm(seen, truth)) < 1e-6
    late = np.concatenate([moves[0](truth[:101]), moves[1](truth[101:])])
    assert m.world_errors_mm(late, truth)[1][100:200].mean() > 10


def test_rows_without_truth_are_not_counted_off_and_missing_predictions_move_no_chunk():
    known = np.ones(250, bool)
    known[10:60] = False
    chunks = m.chunk_numbers(known)
    assert (chunks[10:60] == -1).all()
    assert [(chunks == k).sum() for k in range(2)] == [100, 100]
    rng = np.random.default_rng(2)
    truth, seen = _walk(rng, 150), _walk(rng, 150)
    whole = m.world_errors_mm(seen, truth)
    seen[:100] = np.nan
    for before, after in zip(whole, m.world_errors_mm(seen, truth), strict=True):
        assert np.isnan(after[:100]).all()
        np.testing.assert_array_equal(after[100:], before[100:])


def test_world_errors_of_one_row_and_of_none():
    truth = _walk(np.random.default_rng(3), 1)
    for seen in (truth * 2, np.full_like(truth, np.nan), truth[:0]):
        w, wa = m.world_errors_mm(seen, truth[: len(seen)])
        np.testing.assert_allclose(w, wa)
        assert w.shape == seen.shape[:2]


def test_root_track_error_by_hand():
    # Four metres along x; the prediction bends up by half a metre at both ends, and is moved away and turned.
    truth = np.array([[-2.0, 0, 0], [-1, 0, 0], [0, 0, 0], [1, 0, 0], [2, 0, 0]])
    seen = truth.copy()
    seen[[0, 4], 1] = 0.5
    moved = seen @ Rotation.from_euler("xyz", [0.3, 0.5, 0.7]).as_matrix().T + [5, 6, 7]
    # The mean of 0.5, 0, 0, 0, 0.5 is 0.2: errors 0.3, 0.2, 0.2, 0.2, 0.3 over 4 m.
    np.testing.assert_allclose(m.root_track_errors_percent(moved, truth), np.array([30, 20, 20, 20, 30]) / 4)


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_root_track_error_sees_the_scale_but_not_the_place(seed):
    rng = np.random.default_rng(seed)
    truth = np.cumsum(rng.normal(scale=0.1, size=(40, 3)), 0)
    assert m.root_track_errors_percent(_similarity(rng, 1.0)(truth), truth).max() < 1e-9
    assert m.root_track_errors_percent(_similarity(rng, 1.1)(truth), truth).mean() > 0.1
    # twice as large a world, the same percentage
    seen = truth + rng.normal(scale=0.05, size=(40, 3))
    np.testing.assert_allclose(
        m.root_track_errors_percent(2 * seen, 2 * truth), m.root_track_errors_percent(seen, truth), rtol=1e-9
    )


def test_a_person_who_stays_in_place_has_no_root_track_error():
    truth = np.zeros((50, 3))
    assert np.isnan(m.root_track_errors_percent(truth + 1, truth)).all()
    truth[:, 0] = np.linspace(0, 1, 50)
    assert np.isnan(m.root_track_errors_percent(truth[:2], truth[:2])).all()
    gone = np.full_like(truth, np.nan)
    assert np.isnan(m.root_track_errors_percent(gone, truth)).all()


def test_gravity_error_sees_the_tilt_and_not_the_heading():
    T = np.tile(np.eye(4), (4, 1, 1))
    seen = T.copy()
    seen[0, :3, :3] = Rotation.from_euler("x", 7, degrees=True).as_matrix()
    seen[1, :3, :3] = Rotation.from_euler("y", 50, degrees=True).as_matrix()
    seen[2, :3, :3] = np.diag([1, -1, -1])
    seen[3] = np.nan
    np.testing.assert_allclose(m.gravity_errors_deg(seen, T), [7, 0, 180, np.nan])


# Picture


def test_share_of_right_key_points_by_hand():
    truth = np.zeros((1, 5, 2))
    seen = truth.copy()
    seen[0, :, 0] = [0, 10, 10.01, 30, np.nan]
    labelled = np.array([[True, True, True, False, True]])
    distances = m.relative_distances(seen, truth, labelled, (600, 1000))  # 1 % of the longer side is 10 px
    np.testing.assert_array_equal(m.pck_percent(distances, 1.0), [[100, 100, 0, np.nan, 0]])
    np.testing.assert_array_equal(m.pck_percent(distances, 5.0), [[100, 100, 100, np.nan, 0]])


@given(seeds, st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_share_of_right_key_points_grows_with_the_threshold_and_not_with_the_picture(seed, scale):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 800, size=(3, 20, 2))
    seen, labelled = truth + rng.normal(scale=15, size=truth.shape), rng.random((3, 20)) < 0.8
    small = m.relative_distances(seen, truth, labelled, (800, 600))
    np.testing.assert_allclose(
        m.relative_distances(scale * seen, scale * truth, labelled, (800 * scale, 600 * scale)),
        small,
    )
    shares = [np.nanmean(m.pck_percent(small, t)) for t in m.PCK_THRESHOLDS_PERCENT.values()]
    assert shares == sorted(shares)


def test_groups_of_key_points():
    names = ("nose", "left_wrist", "right_hand_wrist", "left_big_toe", "right_heel", "left_ankle", "smplx_neck")
    assert [m.keypoint_group(n) for n in names] == ["body", "body", "hand", "foot", "foot", "body", "body"]


# Contact, rotations, registry


def test_contact_by_hand():
    truth = np.array([[1, 1, 0, 0], [1, 0, 0, np.nan], [1, 1, 0, 0]])
    said = np.array([[0.5, 0.49, 0.9, 0], [1, 1, 0, 1], [np.nan] * 4])
    counts = m.count_contacts(said, truth)
    assert (counts.hits, counts.false_alarms, counts.misses) == (2, 2, 1)
    assert (counts.precision, counts.recall, counts.f1) == (0.5, pytest.approx(2 / 3), pytest.approx(4 / 7))
    nobody = m.count_contacts(np.zeros((3, 4)), np.zeros((3, 4)))
    assert np.isnan([nobody.precision, nobody.recall, nobody.f1]).all()


def test_angle_between_rotations_by_hand():
    angles = np.array([0.0, 1e-6, 10, 90, 179.999, 180])
    R = Rotation.from_rotvec(np.radians(angles)[:, None] * [0, 0, 1]).as_matrix()
    np.testing.assert_allclose(m.geodesic_deg(R, np.eye(3)), angles, rtol=1e-6)
    # Half angles multiply like quaternions: cos(angle / 2) = cos 15 deg cos 20 deg for turns about square axes.
    angle = m.joint_angle_errors_deg(np.radians([30.0, 0, 0]), np.radians([0.0, 40, 0]))
    assert angle == pytest.approx(2 * np.degrees(np.arccos(np.cos(np.radians(15)) * np.cos(np.radians(20)))))


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_angle_between_rotations_is_a_distance_that_no_turn_changes(seed):
    a, b, c, turn = Rotation.random(4, rng=np.random.default_rng(seed)).as_matrix()
    angle = m.geodesic_deg(a, b)
    assert angle == pytest.approx(m.geodesic_deg(b, a))
    assert angle == pytest.approx(m.geodesic_deg(turn @ a, turn @ b))
    assert angle == pytest.approx(m.geodesic_deg(a @ turn, b @ turn))
    assert angle <= m.geodesic_deg(a, c) + m.geodesic_deg(c, b) + 1e-9
    assert m.geodesic_deg(a, a) == 0
    assert angle == pytest.approx(np.degrees((Rotation.from_matrix(a).inv() * Rotation.from_matrix(b)).magnitude()))


def test_whole_turns_are_no_error():
    pose = np.array([0.3, -0.4, 0.5])
    turned = pose * (1 + 2 * np.pi / np.linalg.norm(pose))
    assert m.joint_angle_errors_deg(turned, pose) < 1e-6


def test_every_measure_is_described():
    assert list(m.METRICS) == [info.name for info in m.METRICS.values()]
    for info in m.METRICS.values():
        assert info.title
        assert info.definition.endswith(".")
        assert info.digits >= 0
        unit = info.name.rpartition("_")[2]
        assert {"mm": info.unit.startswith("mm"), "deg": info.unit == "°", "percent": info.unit == "%"}.get(unit, True)
