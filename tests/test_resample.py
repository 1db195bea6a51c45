"""Between the source's stamps and the networks' ticks: rates, gaps, masks, and the way back without kinks."""

from dataclasses import replace

import numpy as np
import pytest
from hmcap.models.observed import FIELDS, Observed
from hmcap.models.rotations import axis_angle_to_matrix
from hmcap.models.streaming.records import OUTPUTS, RATE_HZ, Estimate, estimate_shapes
from hmcap.models.streaming.resample import estimate_at_stamps, observed_at_ticks
from hmcap.models.streaming.stream import masked
from hmcap.models.streaming.timeline import PERIOD_S, timeline
from motion_graphs import seen_at_random

RATES = (5.0, 12.5, 15.0, 23.976, 24.0, 25.0, 29.97, 30.0, 48.0, 50.0, 59.94, 60.0, 120.0)


def even(rate, seconds=2.0, start=3.7):
    return start + np.arange(round(rate * seconds)) / rate


def wave(t, frequency=0.6):
    """Smooth places: a slow sway, as of a person."""
    return np.sin(2 * np.pi * frequency * np.asarray(t))


def swaying(stamps, frequency=0.6):
    """Everything seen in every frame; all points sway alike."""
    T = len(stamps)
    full = masked(T).map(np.ones_like)
    sway = wave(stamps, frequency)
    return Observed(
        full.xy * sway[:, None, None], full.confidence * 0.8, full.body_xyz_m * sway[:, None, None],
        full.body_xyz_known, full.hands_xyz_m * sway[:, None, None, None], full.hands_xyz_known,
    )  # fmt: skip


@pytest.mark.parametrize("rate", RATES)
def test_ticks_run_at_the_rate_of_the_networks_over_the_whole_source(rate):
    stamps = even(rate)
    line = timeline(stamps)
    assert abs(line.period_s * RATE_HZ - 1) <= 0.015
    np.testing.assert_allclose(np.diff(line.ticks_s), line.period_s, rtol=1e-6)
    assert line.ticks_s[0] == stamps[0]
    assert line.ticks_s[-1] >= stamps[-1] - line.snap_s
    assert line.ticks_s[-1] < stamps[-1] + line.period_s


@pytest.mark.parametrize(
    ("rate", "frames", "ticks"), [(29.97, 1, 1), (59.94, 2, 1), (15, 1, 2), (5, 1, 6), (120, 4, 1)]
)
def test_near_multiples_of_the_rate_have_their_ticks_on_frames(rate, frames, ticks):
    for rounding in (lambda s: s, lambda s: np.round(s, 3)):
        stamps = rounding(even(rate, 60.0))
        line = timeline(stamps)
        on_frames = np.interp(np.arange(0, len(line.ticks_s), ticks), np.arange(len(line.ticks_s)), line.ticks_s)
        count = min(len(on_frames), len(stamps[::frames]))
        np.testing.assert_allclose(on_frames[:count], stamps[::frames][:count], atol=2e-3)


@pytest.mark.parametrize("rate", RATES)
def test_a_smooth_motion_is_the_same_motion_at_the_ticks(rate):
    line = timeline(even(rate))
    seen = observed_at_ticks(swaying(line.stamps_s), line)
    inside = line.ticks_s <= line.stamps_s[-1]
    # the most by which a line between two frames misses the arc; averaging over two ticks does so too
    limit = 0.001 + (2 * np.pi * 0.6 * max(1.1 / rate, PERIOD_S)) ** 2 / (4 if rate > 33 else 8)
    for values in (seen.xy[:, 3, 0], seen.body_xyz_m[:, 7, 1], seen.hands_xyz_m[:, 1, 20, 2]):
        assert np.abs(values - wave(line.ticks_s))[inside].max() < limit
    assert (seen.confidence[inside] > 0).all()
    assert (seen.body_xyz_known[inside] == 1).all()


def test_at_the_networks_own_rate_nothing_changes():
    observed = seen_at_random(40)
    for stamps in (even(30.0, 40 / 30), even(29.97, 40 / 29.97), np.round(even(29.97, 40 / 29.97), 3)):
        at_ticks = observed_at_ticks(observed, timeline(stamps))
        for name in FIELDS:
            np.testing.assert_allclose(getattr(at_ticks, name), getattr(observed, name), rtol=1e-6)


@pytest.mark.parametrize("rate", [50.0, 60.0, 120.0])
def test_what_is_faster_than_the_ticks_is_averaged_away(rate):
    line = timeline(even(rate))
    for frequency in (27.0, 24.0):  # picking every other frame would show these as 3 and 6 Hz at full size
        flicker = observed_at_ticks(swaying(line.stamps_s, frequency), line).xy[2:-2, 0, 0]
        assert np.abs(flicker).max() < 0.2
    noise = np.random.default_rng(0).normal(size=(len(line.stamps_s), 67, 2))
    seen = replace(swaying(line.stamps_s), xy=noise)
    assert observed_at_ticks(seen, line).xy[2:-2].std() < 0.75


@pytest.mark.parametrize("rate", [24.0, 60.0, 100.0])
def test_masked_input_has_no_influence_and_stays_zero(rate):
    stamps = even(rate)
    observed = seen_at_random(len(stamps))
    line = timeline(stamps)
    spoilt = Observed(
        np.where(observed.mask[..., None], observed.xy, 1e6), observed.confidence,
        np.where(observed.body_xyz_known[:, None, None] > 0, observed.body_xyz_m, 1e6), observed.body_xyz_known,
        np.where(observed.hands_xyz_known[..., None, None] > 0, observed.hands_xyz_m, 1e6), observed.hands_xyz_known,
    )  # fmt: skip
    clean, other = observed_at_ticks(observed, line), observed_at_ticks(spoilt, line)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(clean, name), getattr(other, name))
    assert not clean.xy[clean.confidence == 0].any()
    assert not clean.body_xyz_m[clean.body_xyz_known == 0].any()
    assert not clean.hands_xyz_m[clean.hands_xyz_known == 0].any()
    assert set(np.unique(clean.hands_xyz_known)) == {0.0, 1.0}
    assert clean.confidence.min() == 0 < clean.confidence.max() <= 1


def test_between_a_seen_and_an_unseen_frame_the_near_one_counts():
    stamps = np.array([0.0, 0.04, 0.08, 0.12, 0.16, 0.2, 0.24])  # ticks at 0, 33, 67, 100, ... ms
    observed = swaying(stamps)
    observed.confidence[2] = observed.xy[2] = 0  # unseen at 80 ms
    seen = observed_at_ticks(observed, timeline(stamps))
    # the tick at 33 ms lies between two that see; 67 ms is 27 ms from the seen frame, 100 ms is 20 ms from the next
    assert (seen.confidence[:, 0] > 0).tolist() == [True, True, False, False, True, True, True, True, False][
        : len(seen.confidence)
    ]
    observed.confidence[2], observed.confidence[1] = 0.5, 0  # unseen at 40 ms: 33 ms is nearest to it, 67 ms to 80
    seen = observed_at_ticks(observed, timeline(stamps))
    np.testing.assert_allclose(seen.confidence[:4, 0], [0.8, 0.0, 0.5, 0.65], atol=1e-6)


def test_gaps_are_masked_and_their_ends_are_not():
    stamps = np.concatenate([even(30.0, 1.0, 0.0), even(30.0, 1.0, 1.5)])
    line = timeline(stamps)
    seen = observed_at_ticks(swaying(stamps), line).confidence[:, 0] > 0
    gap = (line.ticks_s > stamps[29] + 0.02) & (line.ticks_s < 1.5 - 0.02)
    assert gap.sum() == 15
    np.testing.assert_array_equal(seen, ~gap)


@pytest.mark.parametrize(("rate", "filled"), [(5.0, True), (3.0, True), (1.0, False)])
def test_slow_footage_is_filled_up_to_half_a_second(rate, filled):
    line = timeline(even(rate, 6.0))
    seen = observed_at_ticks(swaying(line.stamps_s), line).confidence[:, 0] > 0
    inside = line.ticks_s <= line.stamps_s[-1] + 1e-9
    assert seen[inside].all() == filled
    assert seen.sum() >= len(line.stamps_s)


def test_cuts_and_long_pauses_divide_the_line():
    stamps = np.concatenate([even(25.0, 1.0, 0.0), even(25.0, 1.0, 1.0), even(25.0, 1.0, 5000.0)])
    line = timeline(stamps, cuts=[25])
    assert [(r.start, r.stop) for r in line.rows] == [(0, 25), (25, 50), (50, 75)]
    assert len(line.ticks_s) < 100
    assert [line.ticks_s[t.start] for t in line.ticks] == [stamps[0], stamps[25], stamps[50]]
    observed = swaying(stamps)
    observed.xy[25:50] += 100
    seen = observed_at_ticks(observed, line)
    assert (
        np.abs(seen.xy[line.ticks[0]]).max()
        <= 1
        < 90
        < seen.xy[line.ticks[1]][seen.confidence[line.ticks[1]] > 0].min()
    )
    levels = np.concatenate([np.full(t.stop - t.start, k) for k, t in enumerate(line.ticks)])
    for back in (line.smooth, line.between):
        np.testing.assert_allclose(back(levels.astype(float)), np.repeat([0, 1, 2], 25), atol=1e-9)


@pytest.mark.parametrize("stamps", [[4.0], [4.0, 4.04], [4.0, 4.5], [1.0, 9.0], [0.0, 0.04, 0.08]])
def test_very_short_takes_go_there_and_back(stamps):
    stamps = np.array(stamps)
    line = timeline(stamps)
    seen = observed_at_ticks(swaying(stamps), line)
    assert len(seen.xy) == len(line.ticks_s)
    np.testing.assert_allclose(line.smooth(line.ticks_s * 2.0), stamps * 2, atol=0.07)
    np.testing.assert_allclose(line.rotations(np.tile(np.eye(3), (len(line.ticks_s), 4, 1, 1)))[0], [np.eye(3)] * 4)


def moving(times):
    """An estimate of smooth motion, and the axis-angle it turns by."""
    rng = np.random.default_rng(3)
    T = len(times)
    arrays = {n: np.zeros((T, *s), np.float32) for n, s in estimate_shapes(10).items()}
    axes = rng.normal(size=(55, 3))
    turns = axis_angle_to_matrix(axes * (2.0 * wave(times, 0.5))[:, None, None])
    arrays["R_cam_root"], arrays["R_local"] = turns[:, 0], turns[:, 1:]
    arrays["root_cam_m"] = np.stack([wave(times), wave(times, 0.4), 3 + wave(times, 0.2)], -1)
    arrays["step_m"] = np.concatenate([[[0.5, 0, 0]], np.diff(arrays["root_cam_m"], axis=0)])
    arrays["up_cam"] = np.stack([0.1 * wave(times), -np.ones(T), 0 * times], -1)
    arrays["up_cam"] /= np.linalg.norm(arrays["up_cam"], axis=-1, keepdims=True)
    arrays["contact"] = (rng.uniform(size=(T, 4)) > 0.5).astype(np.float32)
    arrays["height_m"] = 0.9 + 0.05 * wave(times)
    return Estimate(**{n: arrays[n].astype(np.float32) for n in OUTPUTS})


@pytest.mark.parametrize("rate", RATES)
def test_the_way_back_lands_on_the_motion(rate):
    line = timeline(even(rate))
    back, truth = estimate_at_stamps(moving(line.ticks_s), line), moving(line.stamps_s)
    for name in ("R_cam_root", "R_local", "root_cam_m", "up_cam", "height_m"):
        np.testing.assert_allclose(getattr(back, name), getattr(truth, name), atol=6e-3, err_msg=name)
        inner = slice(8, -8) if rate > 15 else slice(None)  # a spline's ends have less to go by
        np.testing.assert_allclose(getattr(back, name)[inner], getattr(truth, name)[inner], atol=5e-3, err_msg=name)
    np.testing.assert_allclose(np.cumsum(back.step_m, axis=0), np.cumsum(truth.step_m, axis=0), atol=2e-3)
    for R in (back.R_cam_root, back.R_local):
        np.testing.assert_allclose(R @ np.swapaxes(R, -1, -2), np.broadcast_to(np.eye(3), R.shape), atol=1e-5)
        assert (np.linalg.det(R) > 0.99).all()
    assert back.contact.min() >= 0
    assert back.contact.max() <= 1
    assert all(getattr(back, n).dtype == np.float32 for n in OUTPUTS)


@pytest.mark.parametrize("rate", [50.0, 60.0, 120.0, 25.0])
def test_the_way_back_adds_no_jerk(rate):
    def jerk(places, fps):
        return np.abs(np.diff(places, 3, axis=0)).mean() * fps**3

    line = timeline(even(rate, 4.0, 0.0))
    places = moving(line.ticks_s).root_cam_m.astype(np.float64)
    true = jerk(np.stack([wave(line.stamps_s), wave(line.stamps_s, 0.4)], -1), rate)
    inner = slice(12, -12)
    smooth, kinked = (f(places)[inner, :2] for f in (line.smooth, line.between))
    assert jerk(smooth, rate) < 1.2 * true
    if rate > 30:
        assert jerk(kinked, rate) > 5 * true
    noisy = places[:, :2] + np.random.default_rng(0).normal(0, 0.001, places[:, :2].shape)
    assert jerk(line.smooth(noisy)[inner], rate) < 1.5 * jerk(noisy, RATE_HZ)


def test_a_rotation_and_its_quaternions_other_sign_are_one():
    line = timeline(even(50.0, 3.0, 0.0))
    R = axis_angle_to_matrix(np.array([0.0, 0.0, 1.0]) * (2.5 * line.ticks_s)[:, None])  # more than a whole turn
    truth = axis_angle_to_matrix(np.array([0.0, 0.0, 1.0]) * (2.5 * line.stamps_s)[:, None])
    np.testing.assert_allclose(line.rotations(R), truth, atol=1e-5)


def test_the_way_back_is_exact_for_what_is_nearly_straight():
    line = timeline(even(24.0, 3.0, 0.0))
    u = line.stamps_s / 3
    for power in range(4):
        inner = slice(3, -3)  # beyond its ends a curve is continued by a point reflection
        np.testing.assert_allclose(line.smooth((line.ticks_s / 3) ** power)[inner], (u**power)[inner], atol=1e-12)
    np.testing.assert_allclose(line.smooth(1 + 2 * line.ticks_s), 1 + 2 * line.stamps_s, atol=1e-12)


def test_a_jump_stays_where_it_is():
    line = timeline(even(24.0, 3.0, 0.0))
    back = line.smooth((line.ticks_s > 1.5).astype(float))
    far = np.abs(line.stamps_s - 1.5) > 0.1
    np.testing.assert_allclose(back[far], line.stamps_s[far] > 1.5, atol=1e-12)
    assert back.min() > -0.1
    assert back.max() < 1.1


def test_uneven_stamps_keep_the_networks_rate():
    rng = np.random.default_rng(1)
    stamps = np.cumsum(rng.uniform(0.02, 0.055, 120))
    line = timeline(stamps)
    assert line.period_s == PERIOD_S
    seen = observed_at_ticks(swaying(stamps), line)
    assert np.abs(seen.xy[:-1, 0, 0] - wave(line.ticks_s[:-1])).max() < 0.02
    back = estimate_at_stamps(moving(line.ticks_s), line)
    np.testing.assert_allclose(back.root_cam_m, moving(stamps).root_cam_m, atol=2e-3)
