"""The pipeline at work on a clip: module by module, as fast as it goes, at the clip's own rate, and as a file."""

import datetime
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...engines.base import Engine
from ...models.body import load_body
from ...models.camera import Camera
from ...models.errors import HmcapError
from ...realtime.camera_options import choose_camera
from ...realtime.frames import Source
from ...realtime.journal import TakeWriter
from ...realtime.loop import CaptureLoop, RunStats
from ...realtime.motion import Motion
from ...realtime.options import CaptureOptions
from ...realtime.sinks import JournalSink
from ...realtime.sources import open_source
from ...realtime.stages import open_landmarks, open_motion
from ...realtime.take import TakeHeader
from .clocks import Arrivals, ClockedEngine, ClockedLandmarks, ClockedMotion, ClockedSink, Times
from .peer import Peer
from .records import PeerTime, Setup, Spread
from .sources import BlockSource, PacedSource

WARM_UP_FRAMES = 10
BLOCK_FRAMES = 100
"""Frames that each side runs before the other has its turn."""


@dataclass(frozen=True, slots=True)
class Clip:
    """Footage, and how much of it to use."""

    spec: str
    frames: int

    def open(self) -> Source:
        """From its first frame."""
        return open_source(self.spec, max_frames=self.frames)


class Pipeline:
    """The stages of one setup, opened once and used on every clip."""

    def __init__(self, setup: Setup, choices: CaptureOptions) -> None:
        self.setup, self.choices = setup, choices
        self.times = Times()
        self.landmarks = ClockedLandmarks(open_landmarks(choices), self.times)
        self.motion = clocked_motion(open_motion(choices, live=True), self.times)
        self.body = load_body()

    @property
    def engines(self) -> dict[str, Engine]:
        """Module -> what runs it."""
        return self.landmarks.engines | self.motion.engines

    def fresh_motion(self, camera: Camera) -> ClockedMotion:
        """A live motion stage that has seen nothing yet."""
        return ClockedMotion(self.motion.live(camera, self.choices.solver_settings(), self.body), self.times)

    def camera(self, source: Source) -> Camera:
        """The lens that a capture without options would take."""
        return choose_camera(source.width_px, source.height_px, self.choices.camera_options(), source.metadata)


def clocked_motion(motion: Motion, times: Times) -> Motion:
    """The same with a clock on its network, where it has one."""
    from dataclasses import replace

    from ...realtime.motion import NetworkMotion

    if not isinstance(motion, NetworkMotion):
        return motion
    clocked: list[Any] = [
        None if engine is None else ClockedEngine(engine, times, "motion_networks")
        for engine in (motion.engine, motion.live_engine)
    ]
    return replace(motion, engine=clocked[0], live_engine=clocked[1])


def one_by_one(pipeline: Pipeline, clip: Clip) -> tuple[dict[str, list[float]], int]:
    """Seconds of every call of every module, each frame through all of them on one thread, and the frames counted."""
    times, count = pipeline.times, 0
    pipeline.landmarks.reset()
    with clip.open() as source, journal(source, pipeline) as sink:
        stage = pipeline.fresh_motion(pipeline.camera(source))
        frames = iter(source)
        for count in range(clip.frames + 1):
            if count == WARM_UP_FRAMES:
                times.clear()
            started = time.perf_counter()
            frame = next(frames, None)
            if frame is None:
                break
            times.add("capture", time.perf_counter() - started)
            proxies = pipeline.landmarks.hands(pipeline.landmarks.body(frame.image_rgb, frame.index, frame.stamp_s))
            sink(frame, proxies, stage.push_all([proxies])[0])
    found = {name: list(seconds) for name, seconds in times.seconds.items()}
    times.clear()
    return found, count - WARM_UP_FRAMES


@dataclass(frozen=True, slots=True)
class Throughput:
    """A run as fast as it goes."""

    frames: int
    hands: int
    seconds: float
    cpu_s: float
    peer: PeerTime | None

    @property
    def fps(self) -> float:
        """Frames a second."""
        return self.frames / self.seconds if self.seconds else 0.0


def as_file(pipeline: Pipeline, clip: Clip, peer: Peer | None) -> Throughput:
    """A file as ``hmcap --video`` takes it: landmarks and journal as fast as they go, in turns with the peer, if any;
    then the motion of the whole take.

    The two sides never run at the same time: in each pause the pipeline is empty and its clock stands.
    """
    arrivals, laps = Arrivals(), Laps()

    def halt(given: int) -> None:
        laps.stop(given, arrivals)
        if peer is not None:
            peer.run(given - peer.given, warm_up=laps.warm_frames == given)
        laps.go()

    pipeline.landmarks.reset()
    with clip.open() as inner:
        source = BlockSource(inner, WARM_UP_FRAMES, BLOCK_FRAMES, halt)
        camera, settings = pipeline.camera(source), pipeline.choices.solver_settings()
        with journal(source, pipeline) as sink:
            laps.go()
            stats = run_loop(pipeline, source, [sink, arrivals], None)
            halt(stats.frames)
            pipeline.motion.solve(sink.inner.proxies(), camera, settings=settings, model=pipeline.body, progress=None)
            laps.add((stats.frames - laps.warm_frames) / stats.frames)
    pipeline.times.clear()
    return laps.result(stats.frames, arrivals, None if peer is None else peer.result())


def as_live(pipeline: Pipeline, clip: Clip) -> Throughput:
    """All stages at once, live motion and journal included, as fast as they go."""
    arrivals, laps = Arrivals(), Laps()

    def warm(given: int) -> None:
        laps.stop(given, arrivals)
        laps.go()

    pipeline.landmarks.reset()
    with clip.open() as inner:
        source = BlockSource(inner, WARM_UP_FRAMES, clip.frames, warm)
        motion = pipeline.fresh_motion(pipeline.camera(source))
        with journal(source, pipeline) as sink:
            laps.go()
            stats = run_loop(pipeline, source, [sink, arrivals], motion)
            laps.stop(stats.frames, arrivals)
    pipeline.times.clear()
    return laps.result(stats.frames, arrivals, None)


class Laps:
    """A clock of wall and processor time that can be stopped; the first lap is the warm-up and does not count."""

    def __init__(self) -> None:
        self.warm_frames = self.warm_hands = 0
        self._wall_s = self._cpu_s = 0.0

    def go(self) -> None:
        """Start, or go on."""
        self._began = time.perf_counter(), time.process_time()

    def stop(self, given: int, arrivals: Arrivals) -> None:
        """Stop when the last of the frames that were ``given`` has come through."""
        self._wall_s += arrivals.wait_for(given) - self._began[0]
        self._cpu_s += time.process_time() - self._began[1]
        if not self.warm_frames:
            self.warm_frames, self.warm_hands = given, arrivals.hands
            self._wall_s = self._cpu_s = 0.0

    def add(self, part: float) -> None:
        """Stop now, and count ``part`` of what has passed."""
        self._wall_s += part * (time.perf_counter() - self._began[0])
        self._cpu_s += part * (time.process_time() - self._began[1])

    def result(self, frames: int, arrivals: Arrivals, peer: PeerTime | None) -> Throughput:
        """Of ``frames`` in all."""
        hands = arrivals.hands - self.warm_hands
        return Throughput(frames - self.warm_frames, hands, self._wall_s, self._cpu_s, peer)


@dataclass(frozen=True, slots=True)
class Delay:
    """A run at the clip's own rate."""

    latency: Spread
    fps: float
    dropped: int


def delay(pipeline: Pipeline, clip: Clip) -> Delay:
    """From each frame's due time to its motion in the last sink, with the footage played like a camera."""
    arrivals = Arrivals()
    pipeline.landmarks.reset()
    with clip.open() as inner:
        source = PacedSource(inner)
        motion = pipeline.fresh_motion(pipeline.camera(source))
        with journal(source, pipeline) as sink:
            # the motion is what the user waits for: the journal comes after
            stats = run_loop(pipeline, source, [arrivals, sink], motion)
    pipeline.times.clear()
    came = sorted(arrivals.times_s)
    late = [arrivals.times_s[i] - source.due_s[i] for i in came if i >= WARM_UP_FRAMES]
    dropped = sum(i >= WARM_UP_FRAMES for i in source.due_s) - len(late)
    return Delay(Spread.of(late), stats.fps, dropped)


def run_loop(pipeline: Pipeline, source: Source, sinks: list[Any], motion: ClockedMotion | None) -> RunStats:
    """One run of the capture loop."""
    stats = CaptureLoop(source, pipeline.landmarks, sinks, motion).run(header_of(source, pipeline))
    if stats.frames <= WARM_UP_FRAMES:
        raise HmcapError(
            f"Expected more than {WARM_UP_FRAMES} frames to measure in {source.spec}, found {stats.frames}. Name "
            "longer footage, or give --frames a larger number."
        )
    return stats


class Journal(ClockedSink):
    """The journal with a clock."""

    def __init__(self, inner: JournalSink, times: Times) -> None:
        super().__init__(inner, times, "journal")
        self.inner = inner


@contextmanager
def journal(source: Source, pipeline: Pipeline) -> Iterator[Journal]:
    """A journal in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="hmcap-bench-") as folder:
        writer = TakeWriter(Path(folder) / "take.hmcap", header_of(source, pipeline))
        with writer:
            yield Journal(JournalSink(writer), pipeline.times)


def header_of(source: Source, pipeline: Pipeline) -> TakeHeader:
    """What a take of the source says of itself."""
    return TakeHeader(
        source=source.spec, name=source.name, fps=source.fps, width_px=source.width_px, height_px=source.height_px,
        camera=pipeline.camera(source), frame_count=source.expected_frames, live=source.live,
        engines={n: {"backend": e.backend, "device": e.device} for n, e in pipeline.engines.items()},
        settings=pipeline.choices.to_settings(),
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), version=version("hmcap"),
    )  # fmt: skip
