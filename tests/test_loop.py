"""The capture loop: order, drops, errors in every stage, clean ends, and a real Ctrl-C."""

import dataclasses
import signal
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from hmcap.models.camera import Camera
from hmcap.models.errors import HmcapError
from hmcap.models.proxies import Proxies
from hmcap.realtime.frames import Frame, Source, Window
from hmcap.realtime.interrupts import Interrupts
from hmcap.realtime.journal_reading import read_take
from hmcap.realtime.loop import CaptureLoop
from hmcap.realtime.queues import Ended, Handover
from hmcap.realtime.take import TakeHeader

HEADER = TakeHeader("x", "x", 30.0, 8, 6, Camera.from_fov(8, 6, 55))


class Broken(RuntimeError):
    """What the stages of these tests raise."""


class Frames(Source):
    """Numbered black frames; ``gate`` is called before each."""

    def __init__(self, count, *, live=False, gate=lambda index: None):
        super().__init__("frames", "frames", Window())
        self.live, self.frame_count, self._gate, self.given = live, count, gate, 0
        self.width_px, self.height_px = 8, 6

    def _frames(self):
        for index in range(self.frame_count):
            self._gate(index)
            self.given += 1
            yield Frame(index, index / 30, np.zeros((6, 8, 3), np.uint8))

    def close(self):
        pass


class Landmarks:
    """Sees a person in every frame but each fourth."""

    def __init__(self, gate=lambda index: None):
        self.engines = {"net": SimpleNamespace(backend="stand-in", device="none")}
        self._gate = gate

    def body(self, image_rgb, index, stamp_s):
        return SimpleNamespace(image_rgb=image_rgb, index=index, stamp_s=stamp_s, times_s={"net": 0.001})

    def hands(self, sighting):
        index, stamp_s, image_rgb = sighting.index, sighting.stamp_s, sighting.image_rgb
        self._gate(index)
        seen = Proxies.absent(index, stamp_s, image_rgb.shape[1::-1])
        return seen if index % 4 == 3 else dataclasses.replace(seen, score=0.9)


def seen_in(index):
    stage = Landmarks()
    return stage.hands(stage.body(np.zeros((6, 8, 3), np.uint8), index, index / 30))


class Motion:
    def __init__(self, gate=lambda index: None, together=True):
        self._gate, self.together, self.sizes = gate, together, []

    def push_all(self, proxies):
        self.sizes.append(len(proxies))
        for one in proxies:
            self._gate(one.index)
        return [SimpleNamespace(index=one.index) for one in proxies]


class Recorder:
    """A sink that keeps what it was given and which methods were called on which thread."""

    def __init__(self, gate=lambda index: None, fail=""):
        self.seen, self.calls, self._gate, self._fail = [], [], gate, fail

    def open(self, header):
        self.calls.append("open")
        if self._fail == "open":
            raise Broken("open")

    def __call__(self, frame, proxies, motion):
        self._gate(frame.index)
        self.seen.append((frame.index, proxies.index, None if motion is None else motion.index))

    def close(self):
        self.calls.append("close")
        if self._fail == "close":
            raise Broken("close")


@pytest.fixture(autouse=True)
def no_thread_left():
    """Every run ends all of its threads, whatever happened."""
    before = set(threading.enumerate())
    yield
    left = [t for t in threading.enumerate() if t not in before and t.is_alive()]
    assert left == []


def fail_at(number):
    def gate(index):
        if index == number:
            raise Broken(f"at {number}")

    return gate


def test_a_file_passes_every_stage_in_order_and_drops_nothing():
    sink = Recorder()
    stats = CaptureLoop(Frames(50), Landmarks(), [sink], Motion()).run(HEADER)
    assert sink.seen == [(i, i, i) for i in range(50)]
    assert sink.calls == ["open", "close"]
    assert (stats.frames, stats.seen, stats.dropped, stats.stopped) == (50, 38, 0, False)
    assert stats.calls == {"capture": 50, "body": 50, "hands": 50, "landmarks.net": 50, "motion": 50, "sinks": 50}
    assert stats.busy_s["landmarks.net"] == pytest.approx(0.05)
    assert stats.stage_fps()["landmarks.net"] == pytest.approx(1000)


def test_without_a_motion_stage_sinks_get_none():
    sink = Recorder()
    CaptureLoop(Frames(5), Landmarks(), [sink]).run(HEADER)
    assert sink.seen == [(i, i, None) for i in range(5)]


def test_an_empty_source_ends():
    sink = Recorder()
    assert CaptureLoop(Frames(0), Landmarks(), [sink]).run(HEADER).frames == 0
    assert sink.calls == ["open", "close"]


def test_a_live_source_keeps_only_its_newest_frame_and_counts_the_rest():
    all_given, first_taken = threading.Event(), threading.Event()

    def capture(index):
        # Frames 1 to 9 arrive while the landmark stage is busy with frame 0.
        if index == 1:
            assert first_taken.wait(10)

    def measure(index):
        first_taken.set()
        if index == 0:
            assert all_given.wait(10)

    class Live(Frames):
        def _frames(self):
            yield from super()._frames()
            all_given.set()

    sink = Recorder()
    stats = CaptureLoop(Live(10, live=True, gate=capture), Landmarks(measure), [sink]).run(HEADER)
    assert [index for index, _, _ in sink.seen] == [0, 9]
    assert stats.dropped == 8


def test_a_file_waits_for_slow_stages_with_a_bounded_queue():
    release, ahead = threading.Event(), []

    def measure(index):
        if index == 0:
            assert release.wait(10)

    source = Frames(40)
    loop = CaptureLoop(source, Landmarks(measure), [Recorder()])

    def tick(stats):
        if not release.is_set():
            ahead.append(source.given)
            if len(ahead) > 3 and ahead[-1] == ahead[-3]:
                release.set()

    stats = loop.run(HEADER, tick, tick_s=0.01)
    assert max(ahead) <= 7
    assert stats.frames == 40


@pytest.mark.parametrize("together", [True, False])
def test_frames_that_pile_up_go_through_the_motion_together_where_that_pays(together):
    release = threading.Event()
    motion = Motion(lambda index: release.wait(10), together)
    source = Frames(30)
    loop = CaptureLoop(source, Landmarks(), [Recorder()], motion)
    seen = []

    def tick(stats):
        seen.append(source.given)
        if len(seen) > 5 and seen[-1] == seen[-4]:
            release.set()

    assert loop.run(HEADER, tick, tick_s=0.01).frames == 30
    assert sum(motion.sizes) == 30
    assert (max(motion.sizes) > 1) == together


def test_settings_of_the_process_are_as_they_were_when_the_last_run_has_ended():
    import cv2
    from hmcap.realtime.processor import shared_processor

    before = cv2.getNumThreads(), sys.getswitchinterval()
    one, two = shared_processor(), shared_processor()
    one.__enter__()
    two.__enter__()
    assert cv2.getNumThreads() == 1
    one.__exit__(None, None, None)
    assert cv2.getNumThreads() == 1  # the other run goes on
    two.__exit__(None, None, None)
    assert (cv2.getNumThreads(), sys.getswitchinterval()) == before


@pytest.mark.parametrize("number", [0, 7, 29])
@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("place", ["source", "landmarks", "motion", "sink"])
def test_an_exception_in_any_stage_ends_the_run_and_reaches_the_caller(place, live, number):
    gates = {
        name: fail_at(number) if name == place else (lambda index: None)
        for name in ("source", "landmarks", "motion", "sink")
    }
    if live and place != "source":
        # A live source may drop the very frame: fail at whatever frame comes then.
        gates[place] = fail_from(number)
    sink = Recorder(gates["sink"])
    source = Frames(30 if not live else 100_000, live=live, gate=gates["source"])
    loop = CaptureLoop(source, Landmarks(gates["landmarks"]), [sink], Motion(gates["motion"]))
    with pytest.raises(Broken, match="at"):
        loop.run(HEADER)
    assert sink.calls == ["open", "close"]
    assert [a for a, _, _ in sink.seen] == sorted(a for a, _, _ in sink.seen)


def fail_from(number):
    def gate(index):
        if index >= number:
            raise Broken(f"at {index}")

    return gate


def test_a_sink_that_cannot_open_stops_the_run_before_it_begins():
    source, good, bad, late = Frames(5), Recorder(), Recorder(fail="open"), Recorder()
    with pytest.raises(Broken, match="open"):
        CaptureLoop(source, Landmarks(), [good, bad, late]).run(HEADER)
    assert source.given == 0
    assert good.calls == bad.calls == ["open", "close"]
    assert late.calls == []


def test_a_sink_that_cannot_close_is_told_and_the_others_are_closed():
    bad, good = Recorder(fail="close"), Recorder()
    loop = CaptureLoop(Frames(3), Landmarks(), [bad, good])
    assert loop.run(HEADER).frames == 3
    assert good.calls == ["open", "close"]
    assert [(sink, str(error)) for sink, error in loop.set_aside] == [(bad, "close")]


@pytest.mark.parametrize("error", [Broken("no"), MemoryError(), OSError(28, "No space left on device")])
def test_a_sink_that_fails_is_set_aside_and_the_others_get_every_frame(error):
    def gate(index):
        if index == 7:
            raise error

    bad, good = Recorder(gate), Recorder()
    loop = CaptureLoop(Frames(20), Landmarks(), [bad, good], Motion())
    assert loop.run(HEADER).frames == 20
    assert (len(bad.seen), len(good.seen)) == (7, 20)
    assert loop.set_aside == [(bad, error)]
    assert bad.calls == good.calls == ["open", "close"]


def test_what_had_passed_the_stage_that_fails_still_reaches_the_sinks():
    sink = Recorder()
    loop = CaptureLoop(Frames(50, gate=fail_at(20)), Landmarks(), [sink], Motion())
    with pytest.raises(Broken):
        loop.run(HEADER)
    assert [a for a, _, _ in sink.seen] == list(range(20))
    assert loop.failed_stage == "capture"


def test_stop_lets_what_was_captured_pass():
    loop = None

    def gate(index):
        if index == 20:
            loop.stop()

    sink = Recorder()
    source = Frames(100_000, gate=gate)
    loop = CaptureLoop(source, Landmarks(), [sink])
    stats = loop.run(HEADER)
    assert stats.stopped
    assert [a for a, _, _ in sink.seen] == list(range(source.given))
    assert source.given == 21


def test_an_interrupt_on_the_main_thread_breaks_off():
    def tick(stats):
        raise KeyboardInterrupt

    sink = Recorder()
    with pytest.raises(KeyboardInterrupt):
        CaptureLoop(Frames(1_000_000), Landmarks(), [sink]).run(HEADER, tick, tick_s=0.001)
    assert sink.calls == ["open", "close"]


def test_a_source_that_hangs_does_not_hold_up_what_it_gave():
    release, asked = threading.Event(), []

    class Hanging(Frames):
        def interrupt(self):
            asked.append(1)

    hung = Hanging(5, live=True, gate=lambda index: release.wait(30) if index == 2 else None)
    loop = CaptureLoop(hung, Landmarks(), [sink := Recorder()])
    stats = loop.run(HEADER, lambda stats: loop.stop() if stats.frames else None, tick_s=0.01)
    assert stats.frames == len(sink.seen) >= 1
    assert sink.calls == ["open", "close"]
    assert asked
    assert loop.stuck == ["capture"]
    release.set()  # what it gives now is ignored
    for thread in threading.enumerate():
        if thread.name.startswith("hmcap-"):
            thread.join(10)
    assert loop.stuck == []
    assert stats.frames == len(sink.seen)


def test_a_handover_ends_both_ways():
    queue = Handover(2)
    queue.put(1)
    queue.put(2)
    queue.finish()
    assert [queue.get(), queue.get()] == [1, 2]
    with pytest.raises(Ended):
        queue.get()
    queue.break_off()
    with pytest.raises(Ended):
        queue.put(3)


def test_interrupts_ask_once_and_then_break_off():
    asked = []
    before = signal.getsignal(signal.SIGINT)
    with Interrupts() as interrupts:
        interrupts.ask = lambda: asked.append(1)
        signal.raise_signal(signal.SIGINT)
        assert asked == [1]
        assert interrupts.asked
        signal.raise_signal(signal.SIGINT)  # whoever was asked says where it may be raised
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
    assert signal.getsignal(signal.SIGINT) is before
    with Interrupts(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)


def test_a_take_that_was_broken_off_is_solved_by_the_export(tmp_path):
    from hmcap.realtime import TakeWriter, export_take

    with TakeWriter(tmp_path / "a.hmcap", HEADER) as writer:
        for i in range(8):
            writer.add_proxies(seen_in(i))

    def solve(proxies, camera, *, settings, model, progress):
        from hmcap.models.motion import MotionFrame

        progress(0.5)
        return [
            MotionFrame(
                p.index, p.stamp_s, p.present, np.zeros(10), np.zeros((55, 3)), np.zeros(3), np.eye(4), camera,
                np.zeros(4), np.ones(8), np.ones(8, bool), 1.0,
            )
            for p in proxies
        ]  # fmt: skip

    unsolved = (tmp_path / "a.hmcap").read_bytes()
    result = export_take(tmp_path / "a.hmcap", to="bvh", solve=solve)
    assert result.files == (tmp_path / "a.bvh",)
    take = read_take(tmp_path / "a.hmcap")
    assert take.solved
    assert take.revision == 1
    # What a killed process leaves is exported from under its working name, and then has its final one.
    (tmp_path / "c.hmcap.part").write_bytes(unsolved[:-100])
    result = export_take(tmp_path / "c.hmcap.part", to="npz", solve=solve)
    assert result.take == tmp_path / "c.hmcap"
    assert result.files == (tmp_path / "c.npz",)
    assert len(read_take(result.take).motion) == 8
    assert not (tmp_path / "c.hmcap.part").exists()

    with TakeWriter(tmp_path / "b.hmcap", HEADER) as writer:
        writer.add_proxies(Proxies.absent(0, 0.0, (8, 6)))
    with pytest.raises(HmcapError, match="nobody"):
        export_take(tmp_path / "b.hmcap", to="bvh", solve=solve)
