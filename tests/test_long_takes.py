"""Long takes: memory that does not grow with them in pass 1, little of it afterwards, and the same motion in pieces."""

import dataclasses
import importlib
import tracemalloc
from dataclasses import replace

import fusion_takes
import numpy as np
import pytest
from hmcap.models.errors import HmcapError
from hmcap.models.observed import FIELDS
from hmcap.models.proxies import NUM_PROXIES, Proxies
from hmcap.models.stacked import BLOCK_FRAMES, ByNumber, Stacked, Stacker
from hmcap.models.streaming import take_joints
from hmcap.models.streaming.live_clock import LiveClock
from hmcap.models.streaming.records import RATE_HZ
from hmcap.models.streaming.resample import Sampler
from hmcap.models.streaming.stream import MotionNetwork
from hmcap.models.streaming.take import motion_of_take
from hmcap.models.streaming.timeline import timeline
from hmcap.realtime import outputs, rescue, sinks
from hmcap.realtime.exporters import EXPORTERS, ExportOptions, bvh, prepare
from hmcap.realtime.exporters import track as tracks
from hmcap.realtime.exporters.track import uniform_track
from hmcap.realtime.frames import Frame, Source, Window
from hmcap.realtime.journal import TakeWriter
from hmcap.realtime.journal_reading import read_take
from hmcap.realtime.loop import CaptureLoop
from hmcap.realtime.options import CaptureOptions
from hmcap.realtime.outputs import Outputs, plan_outputs, write_files
from hmcap.realtime.progress import Display
from hmcap.realtime.recording import RecordSwitch
from hmcap.realtime.report import summarise
from hmcap.realtime.rescue import SafeJournal
from hmcap.realtime.run import solve_all
from hmcap.realtime.sinks import RecentFrames
from hmcap.realtime.take import with_measured_fps
from motion_graphs import INFO, seen_at_random
from solver_takes import CAMERA, absent, see, walk
from test_cli import stand
from test_network_motion import Oracle
from test_outputs_faults import make_motion, make_take
from test_take import make_header

HOUR_S = 3600.0


# -- pass 1 ------------------------------------------------------------------------------------------------------------


class Synthetic(Source):
    """Tiny pictures without end, or nearly."""

    def __init__(self, count: int, live: bool = False) -> None:
        super().__init__("synthetic", "synthetic", Window())
        self.width_px, self.height_px, self.fps, self.frame_count, self.live = 8, 6, 30.0, count, live

    def _frames(self):
        for i in range(self.frame_count or 0):
            yield Frame(i, i / 30, np.zeros((6, 8, 3), np.uint8))

    def close(self):
        pass


@dataclasses.dataclass
class Sighting:
    index: int
    stamp_s: float
    times_s: dict


class Landmarks:
    """Somebody in every frame, with arrays of their own."""

    engines = {}  # noqa: RUF012  # a stand-in

    def body(self, image_rgb, index, stamp_s):
        return Sighting(index, stamp_s, {"body": 1e-6})

    def hands(self, seen):
        return somebody(seen.index, seen.stamp_s)


class Motion:
    together = True

    def push_all(self, proxies):
        return stand(list(proxies), make_header().camera)


class Watch:
    """A sink that notes how much memory is in use."""

    def __init__(self, at):
        self.at, self.bytes = at, {}

    def open(self, header):
        pass

    def __call__(self, frame, proxies, motion):
        if frame.index in self.at:
            self.bytes[frame.index] = tracemalloc.get_traced_memory()[0]

    def close(self):
        pass


def somebody(index: int, stamp_s: float) -> Proxies:
    shapes = ((NUM_PROXIES, 2), (NUM_PROXIES,), (33, 3), (2, 21, 3))
    return Proxies(index, stamp_s, (8, 6), *(np.full(shape, (index % 97) / 97, np.float32) for shape in shapes), 0.9)


@pytest.mark.parametrize("kind", ["journal", "switch"])
def test_pass_1_needs_no_more_memory_for_a_longer_take(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(sinks, "RECENT_FRAMES", 200)
    monkeypatch.setattr(rescue, "RECENT_FRAMES", 200)
    header, early, late, warned = make_header(), 600, 2499, []
    path, recent = tmp_path / "long.hmcap", RecentFrames()
    planned = Outputs(path, {}, None, None, None)
    writer = TakeWriter(path, header) if kind == "journal" else None
    sink = SafeJournal(writer, warned.append) if writer is not None else RecordSwitch(header, lambda: planned, on=True)
    watch, motion = Watch((early, late)), Motion() if kind == "switch" else None
    tracemalloc.start()
    try:
        stats = CaptureLoop(Synthetic(late + 1), Landmarks(), [sink, recent, watch], motion).run(header)
    finally:
        tracemalloc.stop()
    # kept as objects, these frames alone would be five megabytes, as arrays over three
    assert watch.bytes[late] - watch.bytes[early] < 500_000
    assert stats.frames == stats.seen == late + 1
    if isinstance(sink, SafeJournal):
        assert sink.frames == sink.seen == late + 1
        back = sink.proxies()
    else:
        assert sink.takes[0].stats(stats).frames == late + 1
        back = sink.takes[0].journal.proxies()
        writer = sink.takes[0].journal.writer
    assert warned == []
    assert len(back) == late + 1
    for i in (0, BLOCK_FRAMES, late):
        assert_same(back[i], somebody(i, i / 30))
    writer.add_motion(stand([back[0]], header.camera)[0], 1)  # reading back leaves it where writing goes on
    assert read_take(writer.close()).recovery.complete


def test_what_was_written_is_read_back_though_its_name_is_gone(tmp_path):
    with TakeWriter(tmp_path / "t.hmcap", make_header()) as writer:
        for i in range(5):
            writer.add_proxies(somebody(i, i / 30))
        writer.part_path.unlink()
        assert [p.index for p in writer.read_back()] == list(range(5))


# -- frames as stacked arrays ------------------------------------------------------------------------------------------


def assert_same(a, b):
    for f in dataclasses.fields(b):
        x, y = getattr(a, f.name), getattr(b, f.name)
        assert type(x) is type(y), f.name
        if isinstance(y, np.ndarray):
            assert x.dtype == y.dtype, f.name
            np.testing.assert_array_equal(x, y, err_msg=f.name)
        else:
            assert x == y or (x != x and y != y), f.name


def mixed(count: int) -> list[Proxies]:
    """Frames with and without a face, and one in double precision."""
    frames = [somebody(i, i / 30) for i in range(count)]
    for i in range(0, count, 7):
        frames[i] = replace(frames[i], face=np.full(52, i / count, np.float32))
    frames[3] = replace(frames[3], xy_px=frames[3].xy_px.astype(np.float64), image_size_px=(16, 12))
    return frames


def test_stacked_frames_are_what_was_given():
    frames = mixed(2 * BLOCK_FRAMES + 9)
    stacked = Stacked.of(iter(frames))
    assert len(stacked) == len(frames)
    for a, b in zip(stacked, frames, strict=True):
        assert_same(a, b)
    assert_same(stacked[-1], frames[-1])
    assert [p.index for p in stacked[BLOCK_FRAMES - 2 : BLOCK_FRAMES + 2]] == [510, 511, 512, 513]
    with pytest.raises(IndexError):
        stacked[len(frames)]
    with pytest.raises(ValueError, match="read-only"):
        stacked[600].xy_px[0, 0] = 1
    motion = stand(frames[:40], make_header().camera)
    for a, b in zip(Stacked.of(motion), motion, strict=True):
        assert_same(a, b)


def test_frames_come_by_number_and_the_last_of_a_number_counts():
    stacker = Stacker[Proxies]()
    for index, stamp_s in ((4, 0.0), (2, 1.0), (9, 2.0), (2, 3.0)):
        stacker.add(somebody(index, stamp_s))
    frames = stacker.by_number()
    assert [(p.index, p.stamp_s) for p in frames] == [(2, 3.0), (4, 0.0), (9, 2.0)]
    found = ByNumber(frames)
    assert found.get(3) is None
    assert_same(found.get(9), somebody(9, 2.0))
    assert len(Stacker[Proxies]().by_number()) == 0


# -- pass 2 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [12.0, 30.0, 50.0, None])
def test_a_take_in_pieces_has_the_same_motion(monkeypatch, rate):
    count = 110
    stamps = np.arange(count) / rate if rate else np.cumsum(np.random.default_rng(1).uniform(0.01, 0.05, count))
    estimate, _ = fusion_takes.see(fusion_takes.made_walk(400), fusion_takes.Errors())
    proxies = [replace(p, stamp_s=float(s)) for p, s in zip(see(walk(np.arange(count) / 30)), stamps, strict=True)]
    proxies[:3] = map(absent, proxies[:3])
    proxies[40:80] = map(absent, proxies[40:80])  # for longer than a piece, and than is bridged
    proxies[90:] = [replace(p, stamp_s=p.stamp_s + 5) for p in proxies[90:]]
    whole = motion_of_take(proxies, CAMERA, MotionNetwork(Oracle(estimate, 8), INFO, 8))
    monkeypatch.setattr(take_joints, "PIECE", 17)
    parts = motion_of_take(Stacked.of(proxies), CAMERA, MotionNetwork(Oracle(estimate, 8), INFO, 8))
    for a, b in zip(parts, whole, strict=True):
        for name in ("poses", "trans_m", "T_cam_world", "contact", "confidence", "reprojection_error", "measured"):
            np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-6, err_msg=name)


def test_ticks_in_pieces_show_the_same():
    stamps = np.cumsum(np.random.default_rng(2).uniform(0.005, 0.08, 90))
    line, observed = timeline(stamps, cuts=[30]), seen_at_random(90)
    whole, sampler = Sampler.of(line)(observed), Sampler.of(line)
    for begin in range(0, len(line.ticks_s), 13):
        ticks = slice(begin, min(begin + 13, len(line.ticks_s)))
        piece, frames = sampler.piece(ticks)
        part = piece(observed.map(lambda a, frames=frames: a[frames]))
        for name in FIELDS:
            np.testing.assert_allclose(getattr(part, name), getattr(whole, name)[ticks], atol=1e-6, err_msg=name)


# -- an hour without a frame -------------------------------------------------------------------------------------------


def test_an_hour_without_a_frame_is_no_hour_of_ticks():
    stamps = np.concatenate([np.arange(60) / 30, HOUR_S + np.arange(60) / 30])
    assert len(timeline(stamps).ticks_s) == 120
    clock, observed = LiveClock(), seen_at_random(1)
    given = [clock.push(observed, s) for s in stamps]
    assert sum(len(ticks.xy) for ticks, _ in given) == 120
    assert [i for i, (_, anew) in enumerate(given) if anew] == [0, 60]


def test_the_longest_pause_that_is_bridged_live_is_two_seconds_of_ticks():
    clock, observed = LiveClock(), seen_at_random(1)
    clock.push(observed, 0.0)
    assert len(clock.push(observed, 2.0)[0].xy) == round(2 * RATE_HZ)
    for k in range(1000):  # stamps that hardly go on
        clock.push(observed, 2.0 + 1e-7 * k)
    assert len(clock._waiting) <= 64


def test_the_frame_rate_of_a_camera_that_was_away_is_its_own():
    stamps = [*np.arange(50) / 25, *(HOUR_S + np.arange(50) / 25)]
    assert with_measured_fps(make_header(fps=30.0), stamps).fps == pytest.approx(25)
    assert with_measured_fps(make_header(fps=30.0), stamps[:50]).fps == pytest.approx(25)
    assert with_measured_fps(make_header(fps=30.0), [0.0, 5.0, 10.0]).fps == pytest.approx(0.2)


def test_a_hole_of_months_is_told_and_not_filled():
    motion = make_motion(40, stamps_s=np.arange(40) / 25 + np.where(np.arange(40) < 20, 0, 1e7))
    track = tracks.stack_motion(motion, lambda _: np.zeros(3))
    with pytest.raises(HmcapError, match=r"between 0\.76 and 10000000\.80 s there is none.*--trim"):
        uniform_track(track, 25.0)


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bvh", "glb", "trc", "c3d", "csv", "json"])
def test_files_written_in_blocks_are_the_same(tmp_path, monkeypatch, name):
    take = make_take(make_motion(60, stamps_s=np.cumsum(np.random.default_rng(0).uniform(0.02, 0.06, 60))))
    options = ExportOptions(up="z" if name in ("csv", "c3d") else "y", smooth=3.0)
    EXPORTERS[name].export(prepare(take, options), tmp_path / f"whole.{name}")
    preparing = importlib.import_module("hmcap.realtime.exporters.prepare")
    for module, block in ((preparing, "BLOCK_FRAMES"), (bvh, "_BLOCK"), (tracks, "_BLOCK")):
        monkeypatch.setattr(module, block, 7)
    EXPORTERS[name].export(prepare(take, options), tmp_path / f"parts.{name}")
    whole, parts = ((tmp_path / f"{stem}.{name}").read_bytes() for stem in ("whole", "parts"))
    assert whole.replace(b"whole", b"parts") == parts


def test_a_format_that_finds_no_memory_stops_none_of_the_others(tmp_path, monkeypatch):
    def starved(ready, path):
        raise MemoryError

    monkeypatch.setitem(EXPORTERS, "glb", replace(EXPORTERS["glb"], export=starved))
    take = make_take(make_motion(20))
    planned = plan_outputs("t", tmp_path, CaptureOptions(export=("glb", "bvh")))
    with pytest.raises(HmcapError, match=r"memory to write t\.glb \(20 frames\).*The take is kept.*--trim"):
        write_files(take, planned, ExportOptions(), "nothing.mp4", summarise(take), Display(False))
    assert (tmp_path / "t.bvh").is_file()
    monkeypatch.setattr(outputs, "prepare", lambda take, options: starved(take, options))
    with pytest.raises(HmcapError, match=r"memory to prepare the files \(20 frames\)"):
        write_files(take, planned, ExportOptions(), "nothing.mp4", summarise(take), Display(False))


def test_a_take_too_long_to_solve_is_told(tmp_path):
    def starved(proxies, camera, **_):
        raise MemoryError

    with pytest.raises(HmcapError, match=r"memory to solve the motion \(3 frames\).*The take is kept.*hmcap export"):
        solve_all([somebody(i, i / 30) for i in range(3)], CAMERA, None, None, starved, Display(False))
