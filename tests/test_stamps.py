"""Clocks of sources: stamps always rise, gaps stay, leaps of hours do not come through."""

import itertools

import numpy as np
import pytest
from hmcap.realtime.stamps import FILE_GAP_S, LIVE_AHEAD_S, FileStamps, LiveStamps
from hypothesis import given
from hypothesis import strategies as st


def of_file(raw, fps=10.0):
    clock = FileStamps(fps)
    return [clock.stamp(r) for r in raw], clock


def test_a_good_clock_is_left_alone():
    raw = [0.0, 0.1, 0.2, 3.0, 3.1, 500.0]
    stamps, clock = of_file(raw)
    assert stamps == raw
    assert (clock.moved, clock.leaps) == (0, 0)


def test_films_joined_end_to_end_go_on_at_their_own_rate():
    one = [i / 10 for i in range(50)]
    stamps, clock = of_file(one + one)
    assert np.diff(stamps) == pytest.approx([0.1] * 99)
    assert (clock.moved, clock.leaps) == (0, 1)


def test_hours_of_a_broken_index_are_closed_up():
    stamps, clock = of_file([0.0, 0.1, 95443.0, 95443.1, 95443.2])
    assert stamps == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert clock.leaps == 1
    assert clock.closed_s == pytest.approx(95442.8)


def test_frames_without_duration_are_spread_and_the_clock_goes_on():
    stamps, clock = of_file([0.0, 0.1, 0.1, 0.2, 0.3])
    assert stamps == pytest.approx([0.0, 0.1, 0.15, 0.2, 0.3])
    assert clock.moved == 1


def test_a_clock_that_stands_leaves_the_frame_rate():
    stamps, clock = of_file([0.0] * 101)
    assert stamps[-1] == pytest.approx(10.0, abs=0.5)
    assert clock.moved == 100


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), max_size=60), st.sampled_from([0.5, 29.97, 240.0]))
def test_stamps_of_a_file_rise_without_a_leap_whatever_it_says(raw, fps):
    stamps, _ = of_file(raw, fps)
    for a, b in itertools.pairwise(stamps):
        assert a < b <= a + FILE_GAP_S + 1


def test_a_camera_is_stamped_by_our_clock_and_its_absence_stays_a_gap():
    clock = LiveStamps(30)
    assert clock.stamp(None, 50.0) == 0
    assert clock.stamp(None, 50.5) == pytest.approx(0.5)
    clock.lost()
    assert clock.stamp(None, 70.0) == pytest.approx(20.0)


def test_a_stream_keeps_its_own_clock_and_goes_on_by_ours_after_a_loss():
    clock = LiveStamps(30)
    times = [(1000.0, 5.0), (1000.1, 5.4), (1000.2, 5.41)]
    assert [clock.stamp(*t) for t in times] == pytest.approx([0, 0.1, 0.2])
    clock.lost()
    assert [clock.stamp(*t) for t in [(3.0, 12.41), (3.1, 12.42)]] == pytest.approx([7.2, 7.3])
    assert clock.leaps == 0


@pytest.mark.parametrize("leap_s", [-900.0, 7.0, 95443.7])
def test_a_leap_of_a_stream_s_clock_is_set_by_ours(leap_s):
    clock = LiveStamps(30)
    clock.stamp(100.0, 0.0)
    assert clock.stamp(100.0 + leap_s, 0.5) == pytest.approx(0.5)
    assert clock.stamp(100.1 + leap_s, 0.6) == pytest.approx(0.6)
    assert clock.leaps == 1


def test_a_clock_that_runs_too_fast_ends_up_with_ours():
    clock, last = LiveStamps(30), 0.0
    for i in range(3000):
        last = clock.stamp(3.0 * i, i / 30)
    assert not clock.trusted
    assert last <= 100 + 6 * LIVE_AHEAD_S


@given(st.lists(st.tuples(st.one_of(st.none(), st.floats(-1e6, 1e6)), st.floats(0, 100)), max_size=60))
def test_stamps_of_a_stream_rise_and_stay_near_our_clock_whatever_it_says(steps):
    clock, now, stamps = LiveStamps(30), 0.0, []
    for raw, passed in steps:
        now += passed
        stamps.append(clock.stamp(raw, now))
    assert all(b > a for a, b in itertools.pairwise(stamps))
    assert all(s <= now + 6 * (LIVE_AHEAD_S + 10) for s in stamps)
