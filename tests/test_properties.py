"""Laws that hold for whatever is typed, captured or recorded: parsers, codecs, journal, queues, clocks, exporters."""

import contextlib
import dataclasses
import io
import json
import math
import re
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from hmcap.models.camera import Camera
from hmcap.models.errors import HmcapError, UsageError
from hmcap.models.motion import MotionFrame
from hmcap.models.observed import FIELDS
from hmcap.models.proxies import Proxies
from hmcap.models.rotations import axis_angle_to_matrix, matrix_to_axis_angle, matrix_to_quaternion, right_jacobian
from hmcap.models.streaming.live_clock import LiveClock
from hmcap.models.streaming.resample import observed_at_ticks
from hmcap.models.streaming.stream import masked
from hmcap.models.streaming.timeline import PERIOD_S, timeline
from hmcap.realtime.addresses import DEFAULT_VIEWER, parse_address
from hmcap.realtime.codec import decode_motion, decode_proxies, encode_motion, encode_proxies
from hmcap.realtime.exporters import EXPORTERS, ExportOptions, prepare
from hmcap.realtime.exporters.euler import continuous_euler_zxy, euler_zxy_to_matrix
from hmcap.realtime.journal import TakeWriter
from hmcap.realtime.journal_reading import read_take
from hmcap.realtime.options import CaptureOptions
from hmcap.realtime.parsers import capture_parser, export_parser
from hmcap.realtime.postprocess.choices import parse_trim
from hmcap.realtime.queues import Ended, Handover
from hmcap.realtime.take import Take, TakeHeader
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from test_take import same

laws = settings(
    max_examples=30, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
few = settings(laws, max_examples=8)

# What is typed.

OPTIONS = [o for a in capture_parser()._actions for o in a.option_strings if o.startswith("--")]
odd_words = st.one_of(
    st.sampled_from(
        ["", "-", "--", "nan", "-1", "inf", "1e400", "bvh", "2.5:10", "½", "٣", "\udcff", "%s", "{0}", "9" * 30]
    ),
    st.text(max_size=6),
    st.floats().map(str),
)
files = {"--body", "--calib"}


@laws
@given(st.lists(st.one_of(st.sampled_from([o for o in OPTIONS if o not in files]), odd_words), max_size=8))
@example(["--video", "a", ""])
@example(["--subject", "9" * 5000])
def test_words_become_options_or_one_usage_error(words):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(HmcapError, SystemExit):
        options = vars(capture_parser().parse_args(words))
        CaptureOptions(**{k: v for k, v in options.items() if k not in ("video", "webcam", "quiet", "debug")})


@laws
@given(
    st.lists(
        st.one_of(st.sampled_from(["a.hmcap", "--to", "--trim", "--fps", "--smooth", "--up"]), odd_words), max_size=6
    )
)
def test_words_of_an_export_become_options_or_one_usage_error(words):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(UsageError, SystemExit):
        options = vars(export_parser().parse_args(words))
        kept = ("joint_names", "t_pose_frame", "up", "fps", "trim", "smooth", "lock_feet")
        ExportOptions(**{k: v for k, v in options.items() if k in kept})


seconds = st.none() | st.floats(0, 1e6).map(lambda s: round(s, 3))


@laws
@given(seconds, seconds)
def test_a_part_is_read_as_it_is_written(begin, end):
    text = f"{'' if begin is None else begin}:{'' if end is None else end}"
    if begin is not None and end is not None and end <= begin:
        with pytest.raises(UsageError):
            parse_trim(text)
    else:
        assert parse_trim(text) == (begin, end)


hosts = st.one_of(st.from_regex(r"[a-z][a-z0-9-]{0,20}(\.[a-z]{2,5})?", fullmatch=True), st.ip_addresses().map(str))


@laws
@given(hosts, st.integers(1, 65535))
def test_addresses_are_read_as_they_are_shown(host, port):
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    found = parse_address(shown, "--viewer", DEFAULT_VIEWER)
    assert (found.host, found.port, str(found)) == (host, port, shown)


@laws
@given(st.text(max_size=40))
def test_any_text_is_an_address_or_a_usage_error(text):
    with contextlib.suppress(UsageError):
        found = parse_address(text, "--viewer", DEFAULT_VIEWER)
        assert 1 <= found.port <= 65535
        assert parse_address(str(found), "--viewer", DEFAULT_VIEWER) == found


# Rotations where formulas break down.

axes = hnp.arrays(np.float64, 3, elements=st.floats(-1, 1)).filter(lambda v: np.linalg.norm(v) > 0.1)
edges = st.sampled_from([0.0, 1e-12, 1e-9, 1e-5, 1e-4, 3e-4, 1e-3, 0.5, 2.999, 3.001]) | st.sampled_from(
    [math.pi - e for e in (0, 1e-12, 1e-9, 1e-7, 1e-5, 1e-3)]
)


@laws
@given(axes, edges)
def test_the_way_to_a_matrix_and_back_near_no_turn_and_half_a_turn(axis, angle):
    v = axis / np.linalg.norm(axis) * angle
    R = axis_angle_to_matrix(v)
    back = matrix_to_axis_angle(R)
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-8)
    np.testing.assert_allclose(axis_angle_to_matrix(back), R, atol=2e-7)
    assert np.linalg.norm(back) <= math.pi + 1e-9
    q = matrix_to_quaternion(R)
    assert abs(np.linalg.norm(q) - 1) < 1e-9
    assert abs(abs(q[0]) - math.cos(angle / 2)) < 1e-7
    assert np.isfinite(right_jacobian(v)).all()
    small = axis_angle_to_matrix(v.astype(np.float32))
    np.testing.assert_allclose(axis_angle_to_matrix(matrix_to_axis_angle(small)), small, atol=5e-3)


@laws
@given(
    st.lists(st.tuples(st.floats(-7, 7), st.sampled_from([-1, 1]), st.sampled_from([0, 1e-9, 1e-7, 1e-6, 1e-5, 0.3]),
                       st.floats(-7, 7)), min_size=2, max_size=12)
)  # fmt: skip
def test_euler_angles_near_the_poles_are_the_same_rotations_and_jump_by_half_a_turn_at_most(track):
    angles = np.array([(a, side * (math.pi / 2 - off), c) for a, side, off, c in track])
    R = euler_zxy_to_matrix(angles)
    out = continuous_euler_zxy(R)
    np.testing.assert_allclose(euler_zxy_to_matrix(out), R, atol=3e-6)
    assert np.abs(np.diff(out, axis=0)).max() <= math.pi + 1e-6


# What is kept.

CAMERA = Camera(64, 48, 60.0, 61.0, 32.0, 24.0, (), "--calib caf\udce9.json")
wild32 = st.floats(width=32)


def floats(shape, dtype=np.float32):
    return st.one_of(
        hnp.arrays(dtype, shape, elements=st.floats(width=32 if dtype == np.float32 else 64), fill=st.just(np.nan)),
        hnp.arrays(dtype, shape, elements=st.floats(-1, 1, width=32), fill=st.just(0.0)),
    )


seen_frames = st.builds(
    Proxies, st.integers(0, 2**40), st.floats(0, 1e9), st.just((64, 48)), floats((67, 2)), floats((67,)),
    floats((33, 3)), floats((2, 21, 3)), st.floats(0, 1), st.one_of(st.just(np.zeros(0, np.float32)), floats((52,))),
)  # fmt: skip


@laws
@given(seen_frames)
def test_what_was_seen_is_decoded_as_it_was_encoded(seen):
    assert same(decode_proxies(encode_proxies(seen)), seen)


def solved(index: int, stamp_s: float, rng: np.random.Generator, present: bool = True) -> MotionFrame:
    return MotionFrame(
        index, stamp_s, present, np.array([0.5, -1.0, 0.2]), rng.uniform(-7, 7, (55, 3)), rng.uniform(-100, 100, 3),
        np.diag([1.0, -1, -1, 1]), CAMERA, rng.random(4), rng.random(8), rng.random(8) > 0.5, float("nan"),
    )  # fmt: skip


@laws
@given(st.integers(0, 2**40), st.integers(0, 2**31), st.integers(0, 2**32 - 1))
def test_motion_is_decoded_as_it_was_encoded(index, revision, seed):
    frame = solved(index, index / 25, np.random.default_rng(seed))
    back, found = decode_motion(encode_motion(frame, revision))
    assert found == revision
    assert same(back, frame)


HEADER = TakeHeader("a.mp4", "a", 25.0, 64, 48, CAMERA)


@laws
@given(
    st.lists(st.sampled_from(["add", "flush", "header"]), max_size=25),
    st.floats(0, 1),
    st.booleans(),
)
def test_after_any_steps_and_any_cut_a_take_begins_as_it_was_written(steps, share, closed):
    with tempfile.TemporaryDirectory() as folder:
        written, flushed = [], 0
        writer = TakeWriter(Path(folder, "a.hmcap"), HEADER, write_every_s=0.0)
        for step in steps:
            if step == "add":
                written.append(Proxies.absent(len(written), len(written) / 25, (64, 48)))
                writer.add_proxies(written[-1])
            elif step == "flush":
                writer.flush()
                flushed = len(written)
            elif step == "header":
                writer.update_header(dataclasses.replace(HEADER, fps=24.0 + len(written)))
        if closed:
            path = writer.close()
            flushed = len(written)
        else:
            path = writer.part_path
        data = path.read_bytes()
        whole = read_take(path)
        assert len(whole.proxies) >= flushed
        assert all(same(a, b) for a, b in zip(whole.proxies, written, strict=False))
        assert whole.recovery.complete == closed
        cut = Path(folder, "cut.hmcap")
        cut.write_bytes(data[: round(share * len(data))])
        with contextlib.suppress(HmcapError):  # cut off before its first record
            part = read_take(cut)
            assert all(same(a, b) for a, b in zip(part.proxies, written, strict=False))
            assert len(part.proxies) <= len(written)
        if not closed:
            writer.close()


# Queues.


@few
@given(st.integers(0, 60), st.integers(1, 4), st.booleans(), st.integers(1, 3), st.booleans(), st.integers(0, 2**16))
def test_a_handover_keeps_order_and_counts_what_it_drops(count, size, newest_only, takers, in_lots, seed):
    queue: Handover[int] = Handover(size, newest_only=newest_only)
    taken: list[list[int]] = [[] for _ in range(takers)]
    rng = np.random.default_rng(seed)
    pauses = rng.random(count) < 0.1

    def take(into: list[int]) -> None:
        with contextlib.suppress(Ended):
            while True:
                into += queue.get_all() if in_lots else [queue.get()]

    threads = [threading.Thread(target=take, args=(into,), daemon=True) for into in taken]
    for thread in threads:
        thread.start()
    for item in range(count):
        queue.put(item)
        if pauses[item]:
            threading.Event().wait(0.0005)
    queue.finish()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert all(into == sorted(into) for into in taken)
    everything = sorted(item for into in taken for item in into)
    assert len(everything) == len(set(everything)) == count - queue.dropped
    if not newest_only:
        assert everything == list(range(count))
    elif count:
        assert everything[-1] == count - 1  # the newest is never what gives way


@few
@given(st.integers(1, 3), st.integers(1, 8))
def test_a_handover_that_is_broken_off_frees_everybody(size, givers):
    queue: Handover[int] = Handover(size)
    ended = []

    def give() -> None:
        try:
            for item in range(100):
                queue.put(item)
        except Ended:
            ended.append(True)

    threads = [threading.Thread(target=give, daemon=True) for _ in range(givers)]
    for thread in threads:
        thread.start()
    queue.break_off()
    for thread in threads:
        thread.join(60)
    assert len(ended) == givers
    with pytest.raises(Ended):
        queue.get()


# Clocks.

steps_s = st.lists(
    st.sampled_from([0.0, -0.05, 1e-6, 1e-3, 1 / 240, 1 / 60, 1 / 30, 0.04, 0.1, 0.3, 0.7, 5.0, 3600.0]), max_size=40
)


@laws
@given(steps_s)
def test_the_live_clock_gives_finite_frames_at_no_more_than_its_rate(steps):
    clock, given_frames, passed_s = LiveClock(), 0, 0.0
    stamp = 0.0
    for step in [0.0, *steps]:
        stamp += step
        due, _ = clock.push(masked(1), stamp)
        assert all(np.isfinite(getattr(due, name)).all() for name in FIELDS)
        given_frames += len(due.xy)
        passed_s += step if step > 0 else 1.0  # a stamp that does not go on counts as a usual step
    assert given_frames <= 2 * (passed_s / PERIOD_S + len(steps) + 1)


@laws
@given(st.lists(st.sampled_from([1e-3, 1 / 240, 1 / 60, 1 / 30, 0.04, 0.1, 0.3, 0.7, 5.0]), max_size=30))
@example([0.001, 5.0])
@example([0.033, 0.037, 0.03, 5.0])
def test_the_ticks_of_any_stamps_are_finite_and_lie_in_the_take(steps):
    stamps = np.concatenate([[0.0], np.cumsum(steps)])
    line = timeline(stamps)
    assert np.isfinite(line.ticks_s).all()
    assert (np.diff(line.ticks_s) > 0).all()
    at = observed_at_ticks(masked(len(stamps)), line)
    assert all(np.isfinite(getattr(at, name)).all() for name in FIELDS)
    still = np.ones((len(line.ticks_s), 3))
    for back in (line.smooth(still), line.between(still)):
        np.testing.assert_allclose(back, np.ones((len(stamps), 3)), atol=1e-12)
    turn = axis_angle_to_matrix(still)
    np.testing.assert_allclose(line.rotations(turn), np.broadcast_to(turn[0], (len(stamps), 3, 3)), atol=1e-12)


# Files.

_TEXT = ("bvh", "trc", "mot", "csv", "json")
takes = st.tuples(
    st.lists(st.sampled_from([0.0, 1e-6, 1e-3, 1 / 30, 0.04, 0.5]), max_size=6),
    st.integers(0, 2**32 - 1),
    st.lists(st.booleans(), min_size=7, max_size=7).filter(any),
    st.floats(0.5, 120).map(lambda f: round(f, 3)),
)


def a_take(made, name: str = "a") -> Take:
    steps, seed, present, fps = made
    rng = np.random.default_rng(seed)
    stamps = np.concatenate([[0.0], np.cumsum(steps)]).tolist()
    frames = tuple(solved(i, s, rng, present[i] or i == 0) for i, s in enumerate(stamps))
    return Take(dataclasses.replace(HEADER, fps=fps, name=name), (), frames, None, 1)


@pytest.mark.parametrize("name", [*_TEXT, "npz", "c3d"])
@few
@given(
    takes, st.sampled_from(["a", "tanz ü", "a.b.c", "[x]", "%s", "日本", "-x", "a b'c\""]), st.sampled_from(["y", "z"])
)
def test_every_take_is_written_with_finite_numbers_under_any_name(name, made, stem, up):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{stem}{EXPORTERS[name].suffix}")
        EXPORTERS[name].export(prepare(a_take(made, stem), ExportOptions(up=up)), path)
        assert sorted(Path(folder).iterdir()) == sorted(EXPORTERS[name].files(path))
        if name in _TEXT:
            text = path.read_text(encoding="utf-8")
            assert "\r" not in text
            if name == "json":
                json.loads(text, parse_constant=pytest.fail)
            else:
                assert not re.search(r"(?<![A-Za-z])[-+]?(nan|inf(inity)?)(?![A-Za-z])", text, re.IGNORECASE)
        elif name == "npz":
            with np.load(path, allow_pickle=False) as arrays:
                for key in ("poses", "trans", "betas"):
                    assert np.isfinite(arrays[key]).all()
                assert len(arrays["poses"]) == len(arrays["trans"])
        else:
            import c3d

            with path.open("rb") as file:
                assert all(np.isfinite(points[:, :3]).all() for _, points, _ in c3d.Reader(file).read_frames())
